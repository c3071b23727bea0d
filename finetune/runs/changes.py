"""What differs between two configurations of one run."""

from __future__ import annotations

import json
from typing import Any

import yaml

from finetune.errors import ConfigError

IRRELEVANT = ("run", "report", "tracking", "evaluate")
"""Root keys that may change between two attempts at one run: they don't touch what is trained."""


def changed_keys(old_text: str, new_text: str) -> list[tuple[str, str, str]]:
    """Return dotted key, old and new value of every setting that matters and differs."""
    try:
        old, new = flat(yaml.safe_load(old_text)), flat(yaml.safe_load(new_text))
    except yaml.YAMLError as error:
        raise ConfigError(
            "The config.yaml of this run folder cannot be read any more.",
            fix="Give another name=NAME, or run.overwrite=true to start anew.",
        ) from error
    return [
        (key, json.dumps(old.get(key)), json.dumps(new.get(key)))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key.split(".")[0] not in IRRELEVANT
    ]


def flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as one, by dotted key."""
    if not isinstance(value, dict):
        return {prefix: value}
    result: dict[str, Any] = {}
    for key, item in value.items():
        result.update(flat(item, f"{prefix}.{key}" if prefix else str(key)))
    return result
