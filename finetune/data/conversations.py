"""Conversations in the shapes that people keep them in → lists of ``{role, content}``.

Recognised: `messages` (OpenAI), `conversations` (ShareGPT), instruction/input/output (alpaca),
prompt/completion in any of their names, with text or with lists of messages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("messages", "system", "prompt", "input", "completion")
"""Keys of `data.columns` that a conversation can be made of."""
WHOLE = ("messages", "conversations", "conversation", "dialog", "dialogue", "chat")
PROMPTS = ("prompt", "instruction", "instructions", "question", "query", "input", "problem")
COMPLETIONS = ("completion", "output", "response", "answer", "answers", "target", "solution")
ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "bot": "assistant",
    "chatgpt": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
}
"""What others call the speakers, and what chat templates do."""


def find_parts(schema: pa.Schema, said: Mapping[str, str], canonical: str) -> dict[str, str]:
    """Return which source is which part of the conversation; empty when none is recognised.

    Args:
        schema: The source's schema.
        said: The user's `data.columns`.
        canonical: Name of the conversation column.
    """
    if canonical in said:
        return {"messages": said[canonical]}
    parts = {part: said[part] for part in PARTS if part in said}
    names = {name.strip().lower(): name for name in reversed(schema.names)}
    if not parts:
        for name in WHOLE:
            if name in names and _is_list(schema.field(names[name]).type):
                return {"messages": names[name]}
    taken = set(parts.values())
    for part, candidates in (("prompt", PROMPTS), ("completion", COMPLETIONS)):
        if part not in parts:
            free = (names[name] for name in candidates if name in names)
            column = next((name for name in free if name not in taken), None)
            if column is None:
                return {}
            parts[part] = column
            taken.add(column)
    if "input" not in parts and parts["prompt"].lower().startswith("instruction"):
        column = names.get("input")
        if column and column not in taken:
            parts["input"] = column
    if "system" not in parts and "system" in names:
        parts["system"] = names["system"]
    return {part: parts[part] for part in PARTS if part in parts}


def build(parts: Mapping[str, Sequence[Any]]) -> tuple[list[Any], dict[int, str], int]:
    """Make conversations of their parts.

    Returns:
        A list of messages per row (None where there is none to make), the reason for each row
        that cannot be used, and in how many rows turns behind the last answer were cut off.
    """
    count = len(next(iter(parts.values())))
    made: list[Any] = []
    wrong: dict[int, str] = {}
    trimmed = 0
    for index in range(count):
        try:
            turns = _row({part: values[index] for part, values in parts.items()})
            last = max(i for i, turn in enumerate(turns) if turn["role"] == "assistant")
        except WrongError as error:
            wrong[index] = str(error)
            made.append(None)
            continue
        except ValueError:
            wrong[index] = "has no turn of the assistant"
            made.append(None)
            continue
        # Only an answer is learnt or scored; what follows the last one can be neither.
        trimmed += last + 1 < len(turns)
        made.append(turns[: last + 1])
    return made, wrong, trimmed


class WrongError(Exception):
    """A row that makes no conversation, and why."""


def _row(parts: Mapping[str, Any]) -> list[dict[str, str]]:
    if "messages" in parts:
        turns = turns_of(parts["messages"])
    else:
        prompt = parts["prompt"]
        if isinstance(parts.get("input"), str) and parts["input"].strip():
            prompt = f"{_text(prompt)}\n\n{parts['input']}"
        turns = turns_of(prompt) if is_turns(prompt) else [turn_of("user", prompt)]
        completion = parts["completion"]
        answered = is_turns(completion)
        turns += turns_of(completion) if answered else [turn_of("assistant", completion)]
    system = parts.get("system")
    if isinstance(system, str) and system.strip() and turns[0]["role"] != "system":
        turns = [turn_of("system", system), *turns]
    return turns


def is_turns(value: Any) -> bool:
    """Tell whether a value is a list of messages."""
    return isinstance(value, list) and bool(value) and isinstance(value[0], Mapping)


def turns_of(value: Any) -> list[dict[str, str]]:
    """Return messages, or JSON text of them, as ``{role, content}`` with the roles as we know them.

    Raises:
        WrongError: It is no conversation.
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = json.loads(value)
        except ValueError:
            raise WrongError("is text that is not a JSON list of messages") from None
    if value is None or value == [] or value == "":
        raise WrongError("is empty")
    if not is_turns(value):
        raise WrongError("is not a list of messages")
    turns = []
    for turn in value:
        if not isinstance(turn, Mapping):
            raise WrongError("is not a list of messages")
        role = turn.get("role", turn.get("from"))
        turns.append(turn_of(role, turn.get("content", turn.get("value"))))
    return turns


def turn_of(role: Any, content: Any) -> dict[str, str]:
    """Return one message.

    Raises:
        WrongError: Nobody said it, or it is no text.
    """
    known = ROLES.get(str(role).strip().lower())
    if known is None:
        raise WrongError("has a turn of an unknown role")
    return {"role": known, "content": _text(content)}


def _text(content: Any) -> str:
    if isinstance(content, list) and all(
        isinstance(part, Mapping) and part.get("type") == "text" for part in content
    ):
        content = "\n".join(str(part.get("text", "")) for part in content)
    if isinstance(content, bool) or not isinstance(content, str | int | float):
        missing = "missing" if content is None else "not text"
        raise WrongError(f"has a turn that is {missing}")
    text = str(content)
    if not text.strip():
        raise WrongError("has a turn that is empty")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise WrongError("has characters that are not valid Unicode (lone surrogates)") from None
    return text


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    # Mixed lists arrive as JSON text, and are read as such.
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_string(kind))
