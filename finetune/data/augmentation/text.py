"""Random changes of a text: words left out, words that change places with the next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

EDGES = re.compile(r"^\W+|\W+$")


@dataclass(frozen=True)
class TextChanges:
    """How texts may change; without an argument they don't.

    A word is what stands between white space. In a script that writes without it, nothing changes.
    """

    probability: float = 1.0
    """Share of the texts that are changed at all."""
    delete: float = 0.0
    """Chance of each word to be left out; one always stays."""
    swap: float = 0.0
    """Chance of each word to change places with the next."""
    protected: Sequence[str] = field(default=())
    """Words that stay where they are, whatever their case and the marks around them."""

    def __bool__(self) -> bool:
        return self.probability > 0 and bool(self.delete or self.swap)

    def apply(self, text: str, draw: np.random.Generator) -> str:
        """Return a changed text; the white space between words stays.

        Args:
            text: Any text.
            draw: The only source of chance.
        """
        if draw.random() >= self.probability:
            return text
        lead = text[: len(text) - len(text.lstrip())]
        parts = re.split(r"(\s+)", text.strip())
        words, spaces = parts[::2], [*parts[1::2], text[len(text.rstrip()) :]]
        if len(words) < 2:
            return text
        kept = {plain(word) for word in self.protected}
        free = [plain(word) not in kept for word in words]
        if self.swap:
            chances = draw.random(len(words) - 1)
            place = 0
            while place < len(words) - 1:
                if free[place] and free[place + 1] and chances[place] < self.swap:
                    words[place : place + 2] = words[place + 1], words[place]
                    place += 1  # a word that has moved does not move on
                place += 1
        if self.delete:
            chances = draw.random(len(words))
            stays = [
                not may or chance >= self.delete for may, chance in zip(free, chances, strict=True)
            ]
            if not any(stays):
                stays[int(chances.argmax())] = True
            last = max(place for place, stay in enumerate(stays) if stay)
            spaces[last] = spaces[-1]  # the end of the text stays its end
            words = [word for word, stay in zip(words, stays, strict=True) if stay]
            spaces = [space for space, stay in zip(spaces, stays, strict=True) if stay]
        return lead + "".join(part for pair in zip(words, spaces, strict=True) for part in pair)


def plain(word: str) -> str:
    """Return a word without the marks around it, whatever its case."""
    return (EDGES.sub("", word) or word).casefold()
