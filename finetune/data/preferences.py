"""Two answers to one question in the shapes that people keep them in → three lists of turns.

Recognised: texts; lists of messages; whole conversations that begin alike, which is then what was
asked (`prompt` may be missing); transcripts of `Human:` and `Assistant:`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from finetune.data.conversations import WrongError, is_turns, turn_of, turns_of
from finetune.data.kinds import Kind, Turns

if TYPE_CHECKING:
    from finetune.data.values import Checked

Messages = list[dict[str, str]]
COLUMNS = ("prompt", "chosen", "rejected")
TRANSCRIPT = re.compile(r"(?:^|\n\n)(Human|Assistant):[ \t]*")


def source_of_prompt(kinds: Mapping[str, Kind], found: Mapping[str, str]) -> str | None:
    """Return where a prompt is that has no column of its own: in what `chosen` begins with."""
    asked = kinds.get("prompt")
    return found.get("chosen") if isinstance(asked, Turns) and "prompt" not in found else None


def converted(picked: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Checked]:
    """Bring prompt, chosen and rejected to lists of turns, of which no turn is in two.

    Args:
        picked: Raw columns by canonical name; all three, or none of them is touched.
        kinds: The task's canonical columns.
    """
    import pyarrow as pa

    from finetune.data.values import messages_type

    present = [name for name in COLUMNS if isinstance(kinds.get(name), Turns) and name in picked]
    if not present:
        return {}
    given = {
        name: picked[name] if isinstance(picked[name], list) else picked[name].to_pylist()
        for name in present
    }
    made: dict[str, list[Messages | None]] = {name: [] for name in present}
    wrong: dict[str, dict[int, str]] = {name: {} for name in present}
    for index in range(len(given[present[0]])):
        row = {name: given[name][index] for name in present}
        try:
            for name, turns in zip(present, _parts(row, present), strict=True):
                made[name].append(turns)
        except _ColumnError as error:
            wrong[error.column][index] = str(error)
            for name in present:
                made[name].append(None)
    kind = messages_type()
    return {
        name: (pa.chunked_array([pa.array(made[name], kind)]), wrong[name], []) for name in present
    }


def pair(row: Mapping[str, Any]) -> tuple[Messages, Messages, Messages]:
    """Return prompt, chosen and rejected of a row in any of the shapes.

    Raises:
        ValueError: The row holds no two answers to one question; it says which column is wrong.
    """
    try:
        prompt, chosen, rejected = _parts(row, COLUMNS)
    except _ColumnError as error:
        raise ValueError(f"`{error.column}` {error}") from error
    return prompt, chosen, rejected


class _ColumnError(Exception):
    """What is wrong with which column of a row."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def _parts(row: Mapping[str, Any], present: Sequence[str]) -> list[Messages]:
    if list(present) != list(COLUMNS):  # a file of questions, to which no answers are known
        return [_turns(name, row[name], "user") for name in present]
    chosen, rejected = (_turns(name, row[name], "assistant") for name in ("chosen", "rejected"))
    if chosen == rejected:
        raise _ColumnError("rejected", "is what is chosen")
    if all(answer[0]["role"] != "assistant" for answer in (chosen, rejected)):
        shared = _alike(chosen, rejected)
        prompt = chosen[:shared]
        chosen, rejected = chosen[shared:], rejected[shared:]
        if not prompt:
            raise _ColumnError("rejected", "begins otherwise than what is chosen")
    else:
        value = row["prompt"]
        if value is None or value == "" or value == row["chosen"]:
            raise _ColumnError("prompt", "is missing")
        prompt = _turns("prompt", value, "user")
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        if not answer:
            raise _ColumnError(name, "ends where the other answer begins")
        if answer[0]["role"] != "assistant":
            raise _ColumnError(name, "is asked something else than the other answer")
        if answer[-1]["role"] != "assistant":
            raise _ColumnError(name, "does not end with the assistant's turn")
    return [prompt, chosen, rejected]


def _turns(column: str, value: Any, role: str) -> Messages:
    try:
        if isinstance(value, str) and value.lstrip().startswith("Human:") and "Assistant:" in value:
            return _transcript(value)
        if is_turns(value):
            return turns_of(value)
        if isinstance(value, list) and not value:
            raise WrongError("is empty")
        return [turn_of(role, value)]
    except WrongError as error:
        raise _ColumnError(column, str(error)) from error


def _transcript(text: str) -> Messages:
    """Return the turns of ``Human: … Assistant: …``, as hh-rlhf keeps them."""
    _, *pieces = TRANSCRIPT.split(text.strip())
    said = zip(pieces[::2], pieces[1::2], strict=True)
    turns = [(role, content.strip()) for role, content in said]
    if turns and not turns[-1][1]:
        turns.pop()  # opened for an answer that is in another column
    return [turn_of(role, content) for role, content in turns]


def _alike(one: Messages, other: Messages) -> int:
    """Return how many turns two conversations share at their beginning."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
