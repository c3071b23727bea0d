"""Every key below `data.clean`: a small named step each, and what it does with what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from finetune.config.bounds import bounded

Action = Literal["skip", "report", "repair", "drop"]
"""Do not look; count; put right; leave the row out. What was is in data/quarantine.jsonl."""
Report = Literal["skip", "report"]
ReportOrDrop = Literal["skip", "report", "drop"]


@dataclass
class Encoding:
    """Text that was decoded with the wrong encoding, such as `Ã¼` for `ü` (ftfy)."""

    action: Action = "repair"
    """What to do about it."""


@dataclass
class Unicode:
    """Characters in one normal form, and none that Unicode forbids."""

    action: Action = "repair"
    """What to do about it."""
    form: Literal["NFC", "NFKC", "NFD", "NFKD"] = "NFC"
    """The normal form."""


@dataclass
class Control:
    """Control characters and other invisible remnants."""

    action: Action = "repair"
    """What to do about them."""


@dataclass
class Html:
    """Remnants of HTML: entities and tags."""

    action: Action = "report"
    """What to do about them."""


@dataclass
class Whitespace:
    """Runs of blanks, and blanks at the ends."""

    action: Action = "report"
    """What to do about them."""


@dataclass
class Markers:
    """Cells that say that there is nothing: `N/A`, `null`, `-`, `#REF!`."""

    action: ReportOrDrop = "report"
    """What to do about them."""


@dataclass
class Length:
    """Texts that are too short or too long to be meant."""

    action: ReportOrDrop = "skip"
    """What to do about them."""
    min_chars: int = bounded(1, low=0)
    """Fewest characters."""
    max_chars: int | None = bounded(low=1)
    """Most characters."""
    min_words: int = bounded(0, low=0)
    """Fewest words."""


@dataclass
class Language:
    """Texts in another language than those to keep (py3langid)."""

    action: ReportOrDrop = "skip"
    """What to do about them."""
    keep: list[str] = field(default_factory=list)
    """Languages to keep, by ISO 639-1 code."""
    min_confidence: float = bounded(0.8, low=0.0, high=1.0)
    """Probability from which a text counts as of another language."""
    min_chars: int = bounded(20, low=1)
    """Shorter texts are not judged."""


@dataclass
class PersonalData:
    """E-mail addresses, phone and card numbers, IBANs and IP addresses."""

    action: Action = "report"
    """What to do about them; repair puts `[EMAIL]` and the like in their place."""
    kinds: list[Literal["email", "phone", "card", "iban", "ip"]] = field(
        default_factory=lambda: ["email", "phone", "card", "iban", "ip"]
    )
    """What to look for."""
    region: str | None = None
    """Country of phone numbers without a prefix, by ISO 3166 code; null finds prefixed ones."""
    engine: Literal["builtin", "presidio"] = "builtin"
    """Who looks; presidio needs `pip install finetune[pii]` and finds names and places too."""


@dataclass
class LabelSpelling:
    """Labels that differ only in case, blanks, punctuation or a letter."""

    action: Literal["skip", "report", "repair"] = "report"
    """Propose, or also rename the rarer spelling."""


@dataclass
class Cells:
    """Cells of the columns in use that don't fit their column: outliers, units, dates, typos."""

    action: Report = "report"
    """Whether to look."""


@dataclass
class ExactDuplicates:
    """Rows that are there more than once."""

    action: Literal["report", "drop"] = "report"
    """What to do about them; a row that a later split asks too leaves the earlier one."""


@dataclass
class NearDuplicates:
    """Rows whose inputs are nearly the same."""

    action: ReportOrDrop = "report"
    """What to do about them; dropping keeps the first of each cluster."""
    threshold: float = bounded(0.7, low=0.5, high=1.0)
    """Similarity from which two rows are nearly the same."""


@dataclass
class LabelErrors:
    """Labels that a simple model, trained on the other rows, finds wrong (cleanlab)."""

    action: ReportOrDrop = "report"
    """What to do about them; only training rows are dropped."""


@dataclass
class CleanConfig:
    """The steps, in the order in which they run."""

    encoding: Encoding = field(default_factory=Encoding)
    """Text decoded with the wrong encoding."""
    unicode: Unicode = field(default_factory=Unicode)
    """One normal form."""
    control: Control = field(default_factory=Control)
    """Invisible remnants."""
    html: Html = field(default_factory=Html)
    """HTML remnants."""
    whitespace: Whitespace = field(default_factory=Whitespace)
    """Blanks."""
    markers: Markers = field(default_factory=Markers)
    """Marks for nothing."""
    length: Length = field(default_factory=Length)
    """Too short or too long."""
    language: Language = field(default_factory=Language)
    """Another language."""
    personal_data: PersonalData = field(default_factory=PersonalData)
    """Personal data."""
    label_spelling: LabelSpelling = field(default_factory=LabelSpelling)
    """Spellings of a label."""
    cells: Cells = field(default_factory=Cells)
    """Cells that don't fit their column."""
    exact_duplicates: ExactDuplicates = field(default_factory=ExactDuplicates)
    """The same row again."""
    near_duplicates: NearDuplicates = field(default_factory=NearDuplicates)
    """Nearly the same row again."""
    label_errors: LabelErrors = field(default_factory=LabelErrors)
    """Labels that are probably wrong."""
