"""What differs between two attempts at one run, which of it matters, and how it is told.

Free are the settings that don't touch the mathematics: where things are kept and shown, how a
batch is cut to fit into memory, how many processes make batches, when something is logged or
saved, when an attempt gives up. Some of them change the order in which numbers are added, and so
the last bits, but not what is computed. What chooses the checkpoint that is kept
(`eval_strategy`, `eval_max_rows`, patience) is not among them, for it changes the result.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import yaml

from finetune.errors import ConfigError, did_you_mean

IRRELEVANT = ("run", "report", "tracking", "evaluate", "export")
"""Root keys that may change between two attempts at one run: they don't touch what is trained."""

FREE = frozenset(
    {
        *("name", "model.mirror", "model.license", "model.sha256", "data.cache"),
        *(f"train.{key}" for key in ("micro_batch_size", "gradient_checkpointing")),
        *(f"train.{key}" for key in ("group_by_length", "dataloader_num_workers", "device")),
        *(f"train.{key}" for key in ("logging_steps", "save_total_limit", "save_strategy")),
        *(f"train.{key}" for key in ("save_steps", "resume", "max_hours", "dist_timeout")),
        *("train.async_save", "train.profile", "train.features_cache"),
        *(
            f"train.{key}"
            for key in ("max_nonfinite_steps", "loss_spike", "loss_spike_factor", "save_minutes")
        ),
    }
)
"""Single keys that may change; a key that the schema does not have (yet) does no harm here."""

SETTLED = re.compile(
    r"task\..*|strategy\.(?!learning_rate$|lora_alpha$|lora_dropout$|name$).*"
    r"|data\.(?!augment\.|path$|train$|validation$|test$|revision$|mix\..*\.path$).*"
    r"|model: (?!.*\.safetensors$|config\.json$|generation_config\.json$|revision$).*"
)
"""What shaped the prepared rows or the trained weights, which nothing can change afterwards."""

AFTERWARDS = {"export": ("export", "evaluate", "report"), "evaluate": ("evaluate", "report")}
"""Stages to do again when a setting of this root key changes after them."""

PREPARED_BY = ("data", "task", "seed", "model")
"""Root keys that decide the prepared rows."""

WIDTH, MOST = 30, 20
"""Characters of a value, and rows of the table, that are shown."""


class Change(NamedTuple):
    """One difference: a dotted key, or ``data: NAME`` and ``model: NAME`` for what they point to.

    Args:
        key: What differs.
        old: What it was in the earlier attempt.
        new: What it is now.
    """

    key: str
    old: Any
    new: Any

    @property
    def name(self) -> str:
        """What `run.allow_changes` calls it."""
        return self.key.partition(":")[0]


def settings(config_text: str) -> dict[str, Any]:
    """Return every setting of a config.yaml by dotted key, but for where the run is kept.

    Raises:
        ConfigError: It is not YAML.
    """
    try:
        plain = yaml.safe_load(config_text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(
            "The config.yaml of this run folder cannot be read any more.",
            fix="Give another name=NAME, or run.overwrite=true to start anew.",
        ) from error
    found = {key: value for key, value in flat(plain).items() if key.split(".")[0] != "run"}
    as_json: dict[str, Any] = json.loads(json.dumps(found, default=str))
    return as_json


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted key."""
    if not isinstance(value, dict):
        return {prefix: value}
    result: dict[str, Any] = {}
    for key, item in value.items():
        result.update(flat(item, f"{prefix}.{key}" if prefix else str(key)))
    return result


def matters(key: str) -> bool:
    """Tell whether a setting touches what is trained."""
    return key.split(".")[0] not in IRRELEVANT and key not in FREE


def between(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return every difference between two attempts' settings."""
    return [
        Change(key, old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def digest(values: Mapping[str, Any]) -> str:
    """Return the sha256 of the settings that matter."""
    told = {key: value for key, value in values.items() if matters(key)}
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def refuse_unknown(allow: Iterable[str], keys: Collection[str]) -> None:
    """Refuse names in `run.allow_changes` that name nothing.

    Raises:
        ConfigError: With each of them.
    """
    known = {"data", "model", *keys}
    for key in keys:
        parts = key.split(".")
        known |= {".".join(parts[:end]) for end in range(1, len(parts))}
    unknown = [name for name in allow if name not in known]
    if unknown:
        raise ConfigError(
            [
                f"`run.allow_changes` names `{name}`, which is no key"
                f"{did_you_mean(name, known) or '.'}"
                for name in unknown
            ],
            fix="Name keys as the table of changes does, such as "
            "run.allow_changes=[train.learning_rate,data].",
        )


def judge(
    changes: Sequence[Change], *, allow: Sequence[str], trained: bool, where: str
) -> list[Change]:
    """Return the changes, all of which are allowed.

    Args:
        changes: Differences that matter.
        allow: Names of keys, or of groups of them, that may differ.
        trained: Whether there is anything trained; what it was made with is settled then.
        where: The run folder, as errors call it.

    Raises:
        ConfigError: Some change is not allowed.
    """
    refused = [change for change in changes if not is_allowed(change, allow)]
    settled = [
        change
        for change in changes
        if trained and is_allowed(change, allow) and SETTLED.fullmatch(change.key)
    ]
    if refused:
        names = ",".join(dict.fromkeys([*allow, *(change.name for change in refused)]))
        raise ConfigError(
            "\n    ".join(
                [f"`{where}` is an unfinished run, and this has changed since:", *table(refused)]
            ),
            fix="Give what it was to resume it, another name=NAME (or run.overwrite=true) to "
            f"start anew, or go on with the changes: 'run.allow_changes=[{names}]'.",
            where=where,
        )
    if settled:
        raise ConfigError(
            "\n    ".join(
                [f"`{where}` has trained already with what these decided:", *table(settled)]
            ),
            fix="No permission can change that now: give what it was to resume it, or another "
            "name=NAME (or run.overwrite=true) to start anew.",
            where=where,
        )
    return list(changes)


def is_allowed(change: Change, allow: Sequence[str]) -> bool:
    """Tell whether a change, or a group that it belongs to, is among the allowed names."""
    return any(change.name == name or change.name.startswith(f"{name}.") for name in allow)


def table(changes: Sequence[Change]) -> list[str]:
    """Return lines of a table that a terminal can show: key, old and new value."""
    rows = [("key", "was", "now")]
    rows += [(change.key, *cut(shown(change.old), shown(change.new))) for change in changes[:MOST]]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    lines = [f"{key:<{widths[0]}}  {old:<{widths[1]}}  {new}" for key, old, new in rows]
    return lines + [f"… and {len(changes) - MOST} more"] * (len(changes) > MOST)


def shown(value: Any) -> str:
    """Return a value as one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def cut(old: str, new: str) -> tuple[str, str]:
    """Return two values short enough to stand beside each other, and still different."""
    start = 0
    if old[: WIDTH - 1] == new[: WIDTH - 1]:
        same = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        start = max((min(len(old), len(new)) if same is None else same) - WIDTH // 3, 0)
    return _piece(old, start), _piece(new, start)


def _piece(text: str, start: int) -> str:
    text = ("…" if start else "") + " ".join(text[start:].split())
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"


def undone(free: Sequence[Change], allowed: Sequence[Change], *, trained: bool) -> set[str]:
    """Return the stages whose result no longer holds after these changes."""
    stages = {s for change in free for s in AFTERWARDS.get(change.key.split(".")[0], ())}
    roots = {re.split(r"[.:]", change.key)[0] for change in allowed}
    return stages | ({"prepare"} if not trained and roots & set(PREPARED_BY) else set())
