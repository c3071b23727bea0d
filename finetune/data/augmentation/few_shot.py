"""Prompts that show rows and ask for one more, and what a model writes turned back into a row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finetune.data.kinds import Messages, Text, input_columns, label_column
from finetune.errors import ConfigError

LONGEST = 8000
"""Characters of an answer beyond which it is taken for rambling."""
LABELLED = 'Messages of the kind "{label}", each different:\n\n{examples}'
PAIRED = "Inputs with their outputs, each different:\n\n{examples}"


@dataclass(frozen=True)
class Shape:
    """What the rows of a task are made of, as far as a language model can make them up."""

    inputs: list[str]
    """The one column that the model reads."""
    label: str | None = None
    """Column of the label, which is given and not made up."""
    target: str | None = None
    """Column of the answer, which is made up as well; a conversation's is its own."""

    @classmethod
    def of(cls, kinds: Mapping[str, Any]) -> Shape:
        """Return the shape of a task's columns.

        Raises:
            ConfigError: They are nothing that a language model can make up.
        """
        inputs, label = input_columns(kinds), label_column(kinds)
        rest = [name for name in kinds if name not in inputs and name != label]
        if len(inputs) == 1 and isinstance(kinds[inputs[0]], Messages):
            return cls(inputs, target=inputs[0])
        if len(inputs) == 1 and isinstance(kinds[inputs[0]], Text):
            if label and not rest:
                return cls(inputs, label=label)
            if label is None and len(rest) == 1 and isinstance(kinds[rest[0]], Text):
                return cls(inputs, target=rest[0])
        raise ConfigError(
            f"`data.synthesize` can't make up rows of {', '.join(kinds)}.",
            fix="It makes up a text with a label, an input with an output, or a conversation.",
        )

    def prompt(
        self, rows: Sequence[Mapping[str, Any]], label: str | None, template: str | None
    ) -> str:
        """Return a prompt after which a model writes one more row.

        Args:
            rows: Examples.
            label: Label of the examples and of what is asked for.
            template: With ``{examples}`` and ``{label}``; ours when None.
        """
        text = template or (LABELLED if self.label else PAIRED)
        if "{examples}" not in text:
            raise ConfigError("`data.synthesize.prompt` must contain `{examples}`.")
        if self.label:
            shown = "".join(f"- {line(row[self.inputs[0]])}\n" for row in rows) + "-"
        else:
            pairs = [self.pair(row) for row in rows]
            shown = "".join(f"Input: {line(q)}\nOutput: {line(a)}\n\n" for q, a in pairs) + "Input:"
        # Replaced and not formatted: braces in a row or a template mean nothing.
        return text.replace("{label}", str(label)).replace("{examples}", shown)

    def pair(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """Return input and output of a row; of a conversation, the first question and answer."""
        assert self.target is not None
        if self.target != self.inputs[0]:
            return str(row[self.inputs[0]]), str(row[self.target])
        turns = row[self.target]
        said = {turn["role"]: turn["content"] for turn in reversed(turns)}
        return str(said.get("user", "")), str(said.get("assistant", ""))

    def parse(self, answer: str, label: str | None) -> dict[str, Any] | None:
        """Return the row that a model wrote, or None where it is none."""
        if len(answer) > LONGEST:
            return None
        if self.label:
            text = next((part.strip() for part in answer.splitlines() if part.strip()), "")
            text = text.removeprefix("-").strip()
            return {self.inputs[0]: text, self.label: label} if says_something(text) else None
        question, found, rest = answer.partition("\nOutput:")
        said = re.split(r"\n\s*\n|\nInput:", rest, maxsplit=1)[0].strip()
        question = question.strip()
        if not found or not says_something(question) or not says_something(said):
            return None
        if self.target == self.inputs[0]:
            turns = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": said},
            ]
            return {self.target: turns}
        assert self.target is not None
        return {self.inputs[0]: question, self.target: said}


def line(text: str) -> str:
    """Return a text on one line, as the lists of a prompt need it."""
    return " ".join(str(text).split())


def says_something(text: str) -> bool:
    """Tell whether a text has a letter or a digit."""
    return any(character.isalnum() for character in text)
