"""What scraping leaves behind: entities, tags and comments of HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import unescape
from html.entities import html5
from typing import TYPE_CHECKING, ClassVar

from finetune.data.cleaning.base import Finding, Step, matching

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

BLOCKS = (
    "blockquote|br|center|dd|div|dl|dt|fieldset|figcaption|h[1-6]|hr|html|li|ol|p|pre|table|tbody|"
    "td|tfoot|th|thead|tr|ul"
)
"""Tags that part what stands before and behind them."""
INLINE = (
    "abbr|acronym|big|dfn|em|font|iframe|img|ins|kbd|nobr|noscript|script|small|span|strike|strong|"
    "style|sub|sup|tt"
)
"""Tags within a line. Not `s`, `mask`, `pad`, `think` and other markup of language models."""
LOOSE_BLOCKS = (
    "address|article|aside|body|figure|footer|form|head|header|main|nav|option|section|select|title"
)
LOOSE_INLINE = "button|cite|embed|input|label|link|meta|object|param|picture|source|svg|video"
"""Tags that prompts use too, as in `<article>…</article>`: HTML only in the company of others."""
PAIRED = ("a", "b", "i", "u", "del", "code")
"""Tags that count with attributes or with both ends only: `List<a>` is no link."""

ATTRIBUTES = r"(?:\s+[a-zA-Z_:@][\w:.-]*(?:\s*=\s*(?:\"[^\"<>]*\"|'[^'<>]*'|[^\s\"'<>=`]+))?)"
END = rf"{ATTRIBUTES}{{0,50}}\s*/?>"
VALUED = rf"(?=\s[^<>]*=){END}"
"""With a value: in `if a<b then b>a` the words would pass for attributes."""
BLOCK = re.compile(rf"</?(?:{BLOCKS}|{LOOSE_BLOCKS}){END}", re.IGNORECASE)
LINE = re.compile(rf"</?(?:{INLINE}|{LOOSE_INLINE}){END}", re.IGNORECASE)
SURE = re.compile(
    rf"</?(?:{BLOCKS}|{INLINE}){END}|<(?:{LOOSE_BLOCKS}|{LOOSE_INLINE}){VALUED}|<!doctype html",
    re.IGNORECASE,
)
LINK = re.compile(rf"<(?:{'|'.join(PAIRED)}){VALUED}|</(?:{'|'.join(PAIRED)})>", re.IGNORECASE)
OPENING = {tag: re.compile(rf"<{tag}>", re.IGNORECASE) for tag in PAIRED}
COMMENT = re.compile(r"<!--(?:[^<-]|<(?!!--)|-(?!->))*-->|<!doctype html[^<>]*>", re.IGNORECASE)
"""Each ends where the next begins, so that a million that never end take no time."""
INVISIBLE = re.compile(
    rf"<(script|style){ATTRIBUTES}{{0,50}}\s*>(?:[^<]|<(?!/?\1))*</\1\s*>", re.IGNORECASE
)
ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
AMPERSANDS = re.compile(r"&(?:(?:amp|AMP|#0{0,4}38|#[xX]0{0,4}26);)+")
CODE = re.compile(r"(```.*?```|`[^`\n]+`)", re.DOTALL)
"""Code in Markdown, where a tag is what the text is about."""
MAX_PASSES = 16
"""Layers of escaping that are undone; a text with more was made to be slow and is left alone."""


@dataclass(frozen=True)
class Html(Step):
    """Finds entities and tags; repair puts characters in their place, down to the last layer.

    `a < b`, `<3`, `Tom & Jerry`, `<think>`, `<article>` alone and code in backticks are no HTML.
    """

    trouble: ClassVar[str] = "has remnants of HTML"

    def candidates(self, texts: pa.Array) -> npt.NDArray[np.bool_]:
        """All of it begins with one of two characters."""
        return matching(texts, r"&#?[A-Za-z0-9]+;|<[A-Za-z/!]")

    def check(self, text: str) -> Finding | None:
        """Count what stands there, then peel layer by layer: `&amp;lt;` is `&lt;` is `<`."""
        counts = _counted(_parts(text))
        if not counts:
            return None
        fixed = text
        for _ in range(MAX_PASSES):
            before, parts = fixed, _parts(fixed)
            markup = _is_markup(parts)
            fixed = "".join(
                part if index % 2 else _peeled(part, markup) for index, part in enumerate(parts)
            )
            if fixed == before:
                return Finding(counts, fixed)
        return Finding(counts)


def _parts(text: str) -> list[str]:
    """Return a text cut up; every second part is code."""
    return CODE.split(text) if "`" in text else [text]


def _is_markup(parts: Sequence[str]) -> bool:
    """Tell whether there is a tag outside of code that nothing but HTML has."""
    return any("<" in part and SURE.search(part) for part in parts[::2])


def _counted(parts: Sequence[str]) -> dict[str, int]:
    tags = entities = comments = 0
    markup = _is_markup(parts)
    for part in parts[::2]:
        entities += sum(_is_entity(match[0]) for match in ENTITY.finditer(part))
        if "<" in part:
            comments += len(COMMENT.findall(part))
            tags += len(LINK.findall(part))
            if markup:
                tags += len(BLOCK.findall(part)) + len(LINE.findall(part))
    counts = {"entity": entities, "tag": tags, "comment": comments}
    return {kind: count for kind, count in counts.items() if count}


def _peeled(text: str, markup: bool) -> str:
    if "<" in text:
        text = COMMENT.sub(" ", INVISIBLE.sub(" ", text))
        for tag, opening in OPENING.items():
            if f"</{tag}>" in text.lower():
                text = opening.sub("", text)
        text = LINK.sub("", text)
        if markup:
            text = BLOCK.sub(_parted, LINE.sub("", text))
    return ENTITY.sub(_character, AMPERSANDS.sub("&amp;", text)) if "&" in text else text


def _parted(match: re.Match[str]) -> str:
    """Return what parts the texts on both sides of a tag: a line's end, or a blank in a row."""
    around = match.string[max(match.start() - 1, 0) : match.end() + 1]
    cell = match[0].lower().startswith(("<td", "</td", "<th>", "<th ", "</th>"))
    return "" if "\n" in around[:1] + around[-1:] else " " if cell else "\n"


def _is_entity(entity: str) -> bool:
    return entity[1] == "#" or entity[1:] in html5


def _character(match: re.Match[str]) -> str:
    return unescape(match[0]) if _is_entity(match[0]) else match[0]
