"""Facts: what a run folder holds, read strictly, with a note on everything that is not there."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.errors import ArtefactError
from finetune.reports import names
from finetune.reports.masking import mask

# Later stages leave these behind; what their absence costs is said to the reader.
_OPTIONAL = {
    "data/audit.json": "the data summary (written by `prepare`)",
    "logs/metrics.jsonl": "the learning curves (written by `train`)",
    "eval/metrics.json": "the metrics and the verdict (written by `evaluate`)",
}


@dataclass(frozen=True)
class Facts:
    """Everything a report may say, already free of secrets."""

    folder: Path
    config: dict[str, Any]
    manifest: dict[str, Any]
    audit: dict[str, Any] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    prepared_only: bool = False
    """Whether the run made data and nothing else, so that the report is one of the data."""

    @property
    def name(self) -> str:
        """The run's name; the folder's when the manifest has none."""
        return str(self.manifest.get("name") or self.folder.resolve().name)

    @property
    def task(self) -> str:
        """The Hub's pipeline tag of the task."""
        return str(self.metrics.get("task") or self.manifest.get("task") or "")

    @property
    def problem(self) -> str:
        """What was learnt: the task's own tag where the Hub only names what comes out."""
        own = str(dig(self.config, "task", "tag") or "")
        return own if names.is_problem(own) else self.task


def read(folder: Path) -> Facts:
    """Read a run folder.

    Raises:
        ArtefactError: When `config.yaml` or `manifest.json` is missing or unreadable.
    """
    folder = Path(folder)
    config = _config(folder)
    manifest = _object(folder / "manifest.json")
    missing: list[str] = []
    found: dict[str, dict[str, Any]] = {}
    for name in ("data/audit.json", "eval/metrics.json", "error.json"):
        try:
            found[name] = _object(folder / name)
        except FileNotFoundError:
            if name in _OPTIONAL:
                missing.append(f"`{name}` is not there, so {_OPTIONAL[name]} cannot be shown.")
        except ArtefactError as error:
            missing.append(str(error))
    later = set(objects(manifest.get("stages"))) & {"train", "export", "evaluate"}
    traces = ("logs/metrics.jsonl", "eval/metrics.json", "error.json")
    prepared_only = bool(found.get("data/audit.json")) and not (
        later or any((folder / name).exists() for name in traces)
    )
    if prepared_only:
        # Nobody asked for a model yet: that there are no metrics is no gap.
        missing, log, events = [], [], []
    else:
        log = _lines(folder / "logs/metrics.jsonl", missing)
        events = _lines(folder / "logs/events.jsonl", missing)
    return Facts(
        folder=folder,
        config=config,
        manifest=mask(manifest, by_key=False),
        audit=mask(found.get("data/audit.json", {}), by_key=False),
        log=log,
        events=mask(events, by_key=False),
        metrics=mask(found.get("eval/metrics.json", {}), by_key=False),
        error=mask(found.get("error.json", {}), by_key=False),
        missing=missing,
        prepared_only=prepared_only,
    )


def dig(value: Any, *keys: str) -> Any:
    """Follow keys through nested objects; None as soon as one is absent."""
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def objects(value: Any) -> dict[str, Any]:
    """Return the value when it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def records(value: Any) -> list[dict[str, Any]]:
    """Return the objects of a list; an empty list for anything else."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def identities(value: Any) -> list[str]:
    """Return row ids as text; an empty list unless it is a list of them."""
    if not isinstance(value, list):
        return []
    return [str(each) for each in value if isinstance(each, str | int)]


def strict_json(text: str) -> Any:
    """Parse JSON as the standard has it: no NaN, no Infinity.

    Raises:
        ValueError: When the text is anything else.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"`{constant}` is no JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _config(folder: Path) -> dict[str, Any]:
    import yaml

    path = folder / "config.yaml"
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ArtefactError(
            f"`{folder}` is not a run folder: it has no `config.yaml`.",
            fix="Give the folder of a run, such as `runs/quickstart`.",
            where=str(path),
        ) from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ArtefactError(
            f"`{path}` cannot be read: {_first_line(error)}.", fix="Restore it or run again."
        ) from None
    if not isinstance(value, dict):
        raise ArtefactError(f"`{path}` holds no settings.", fix="Restore it or run again.")
    masked: dict[str, Any] = mask(value, by_key=True)
    return masked


def _object(path: Path) -> dict[str, Any]:
    """Read one JSON object; only a file that may be missing raises FileNotFoundError."""
    relative = f"{path.parent.name}/{path.name}" if path.name != "manifest.json" else path.name
    try:
        value = strict_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path.name != "manifest.json":
            raise
        raise ArtefactError(
            f"`{path.parent}` is not a run folder: it has no `manifest.json`.",
            fix="Give the folder of a run, such as `runs/quickstart`.",
            where=str(path),
        ) from None
    except (OSError, ValueError) as error:
        raise ArtefactError(
            f"`{relative}` cannot be read: {_first_line(error)}.",
            fix="Run the stage that writes it again.",
        ) from None
    if not isinstance(value, dict):
        raise ArtefactError(
            f"`{relative}` holds no JSON object.", fix="Run the stage that writes it again."
        )
    return value


def _lines(path: Path, missing: list[str]) -> list[dict[str, Any]]:
    name = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        if name in _OPTIONAL:
            missing.append(f"`{name}` is not there, so {_OPTIONAL[name]} cannot be shown.")
        return []
    rows, broken = [], 0
    for line in text.splitlines():
        if not line.strip():
            continue
        try:
            row = strict_json(line)
        except ValueError:
            broken += 1
            continue
        if isinstance(row, dict):
            rows.append(row)
    if broken:
        missing.append(f"{broken} of {broken + len(rows)} lines of `{name}` are not "
                       "valid JSON and were left out.")  # fmt: skip
    return rows


def _first_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
