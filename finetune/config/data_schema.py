"""Every key below `data`: where rows come from, how they are cleaned, and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from finetune.config.augment_schema import AugmentConfig, SynthesizeConfig
from finetune.config.bounds import bounded
from finetune.config.clean_schema import CleanConfig

Format = Literal[
    "csv",
    "tsv",
    "json",
    "jsonl",
    "parquet",
    "arrow",
    "excel",
    "sql",
    "conll",
    "text",
    "imagefolder",
    "audiofolder",
    "hub",
]


@dataclass
class SplitConfig:
    """How one file is cut into splits, when it doesn't come in splits."""

    train: float = bounded(0.7, above=0.0, high=1.0)
    """Share of rows for training."""
    validation: float = bounded(0.15, low=0.0, high=1.0)
    """Share of rows for choosing the checkpoint."""
    test: float = bounded(0.15, low=0.0, high=1.0)
    """Share of rows for the report."""
    stratify: bool = True
    """Keep the share of each label in every split."""
    group_by: str | None = None
    """Column whose equal values stay in one split."""
    time: str | None = None
    """Column of dates or numbers: the oldest rows train, the newest are the test."""
    folds: int | None = bounded(low=2)
    """Cut into so many equal parts for cross-validation; `fold` says which one is the test."""
    fold: int = bounded(0, low=0)
    """The part that is the test, counted from 0: `-m data.split.fold=0,1,2,3,4` runs them all."""
    near_duplicates: Literal["together", "apart"] = "together"
    """Whether rows that are nearly the same stay in one split."""


@dataclass
class DataConfig:
    """The data set and its adapter."""

    path: str | None = None
    """File, folder, hub id, or ``package:module/folder``; cut into splits unless it holds them."""
    train: str | None = None
    """File or folder for training, when splits are separate."""
    validation: str | None = None
    """File or folder for validation."""
    test: str | None = None
    """File or folder for the test."""
    format: Format | None = None
    """Format, when the name does not tell it."""
    name: str | None = None
    """Configuration name of a hub data set."""
    revision: str | None = None
    """Revision of a hub data set."""
    query: str | None = None
    """SELECT statement for a database."""
    sheet: str | None = None
    """Sheet of a workbook that has several."""
    encoding: str | None = None
    """Text encoding; UTF-8 when null, found when `auto`."""
    delimiter: str | None = None
    """Column separator of a csv file; found when null."""
    header: list[str] = field(default_factory=list)
    """Column names of a csv file that has no header line."""
    mix: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Several sources instead of `path`: name → {path, weight, columns, format, …}."""
    columns: dict[str, str] = field(default_factory=dict)
    """Canonical column: source column, nested field (``a.b``) or template (``{title} {body}``)."""
    fill: dict[str, str] = field(default_factory=dict)
    """Canonical column: what stands in for a missing or blank value, instead of `on_invalid`."""
    slices: list[str] = field(default_factory=list)
    """Columns by whose values the test is broken down in the report."""
    keep: list[str] = field(default_factory=list)
    """Further columns to carry along into the run folder."""
    clean: CleanConfig = field(default_factory=CleanConfig)
    """What is looked for, repaired or dropped; `data/clean=NAME` picks a set of these."""
    split: SplitConfig = field(default_factory=SplitConfig)
    """How one file is cut."""
    max_rows: int | None = bounded(low=1)
    """Use at most this many rows, drawn by the seed."""
    deduplicate: bool = False
    """Drop exact duplicates, as `clean.exact_duplicates.action=drop`; they are always counted."""
    on_invalid: Literal["error", "drop"] = "error"
    """What to do with rows that are empty, unreadable or of a wrong type."""
    on_overlength: Literal["truncate", "drop", "split", "error"] = "truncate"
    """What to do with rows beyond `task.max_length`; what is lost is always reported."""
    leakage: Literal["warn", "error"] = "warn"
    """What to do when the same or nearly the same row is in two splits."""
    unseen_labels: Literal["error", "report"] = "error"
    """Test labels that train lacks: refused, or scored as wrong and reported apart."""
    cache: bool = True
    """Keep what was prepared, by the content of the files and these settings, and use it again."""
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    """How training rows are changed at random while training."""
    synthesize: SynthesizeConfig = field(default_factory=SynthesizeConfig)
    """Training rows that a language model makes up."""
