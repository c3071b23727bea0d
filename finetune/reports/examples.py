"""Examples: rows of the test set with what the model made of them; read only when asked for."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.reports.facts import strict_json
from finetune.reports.masking import mask_personal
from finetune.reports.numbers import number

_LONGEST = 600
_THUMBNAIL = 128
_MOST_PIXELS = 40_000_000


@dataclass(frozen=True)
class Example:
    """One row as it is shown: personal data masked, long texts cut."""

    id: str
    right: bool
    reference: str
    prediction: str
    score: float | None
    inputs: dict[str, str] = field(default_factory=dict)
    thumbnail: str | None = None


def examples(folder: Path, count: int, problem: str = "") -> list[Example]:
    """Return up to ``count`` test rows, mistakes first, the surest mistakes before the others.

    Args:
        folder: The run folder.
        count: How many rows at most.
        problem: The task's tag; a preference's score is a margin, whose sign is the answer.
    """
    rows = _predictions(folder / "eval/predictions.jsonl")

    def sure(row: dict[str, Any]) -> float:
        score = number(row.get("score")) or 0.0
        return abs(score) if problem == "preference" else score

    # A stable order: wrong before right, then the score, then the place in the file.
    rows.sort(key=lambda row: (_right(row), -sure(row)))
    chosen = rows[:count]
    inputs = _inputs(folder / "data/test.parquet", [str(row.get("id")) for row in chosen])
    return [_example(row, inputs.get(str(row.get("id")), {})) for row in chosen]


def _example(row: dict[str, Any], source: dict[str, Any]) -> Example:
    reference = _text(row.get("reference"))
    shown: dict[str, str] = {}
    thumbnail = None
    for name, value in source.items():
        if isinstance(value, dict) and "bytes" in value:
            thumbnail = thumbnail or _thumbnail(value.get("bytes"))
        elif name == "messages" and isinstance(value, list):
            turns = [turn for turn in value if isinstance(turn, dict)]
            # The last answer is the reference and stands there already.
            asked = turns[:-1] if turns and turns[-1].get("role") == "assistant" else turns
            for place, turn in enumerate(asked, 1):
                shown[f"{turn.get('role')} {place}"] = _text(turn.get("content"))
        elif _conversation(value):
            said = [_said(turn, alone=len(value) == 1) for turn in value]
            shown[name] = _text("\n".join(said))
        elif value is not None and _text(value) != reference:
            shown[name] = _text(value)
    return Example(
        id=str(row.get("id")),
        right=_right(row),
        reference=reference,
        prediction=_text(row.get("prediction")),
        score=number(row.get("score")),
        inputs=shown,
        thumbnail=thumbnail,
    )


def _conversation(value: Any) -> bool:
    """Say whether a cell holds turns of a conversation."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(turn, dict) and {"role", "content"} <= turn.keys() for turn in value)
    )


def _said(turn: dict[str, Any], *, alone: bool) -> str:
    """Return what was said, and by whom where others speak too."""
    said = turn["content"] if isinstance(turn["content"], str) else str(turn["content"] or "")
    return said if alone else f"{turn['role']}: {said}"


def _right(row: dict[str, Any]) -> bool:
    return bool(row.get("reference") == row.get("prediction"))


def _text(value: Any) -> str:
    text = "" if value is None else value if isinstance(value, str) else str(value)
    text = mask_personal(text.strip())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _predictions(path: Path) -> list[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    rows = []
    for line in lines:
        try:
            row = strict_json(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _inputs(path: Path, ids: list[str]) -> dict[str, dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, filters=[("id", "in", ids)]) if ids else None
    except (OSError, pa.ArrowException):
        return {}
    rows = table.to_pylist() if table is not None else []
    return {
        str(row["id"]): {key: value for key, value in row.items() if key != "id"} for row in rows
    }


def _thumbnail(raw: Any) -> str | None:
    """Return a small PNG as a data URI; None for sound and for what is no picture."""
    from PIL import Image, UnidentifiedImageError

    if not isinstance(raw, bytes):
        return None
    try:
        with Image.open(io.BytesIO(raw), formats=("PNG", "JPEG", "WEBP", "BMP", "GIF")) as image:
            if image.width * image.height > _MOST_PIXELS:
                return None
            small = image.convert("RGB")
            small.thumbnail((_THUMBNAIL, _THUMBNAIL))
            out = io.BytesIO()
            small.save(out, format="PNG", optimize=True)
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError):
        return None
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode("ascii")
