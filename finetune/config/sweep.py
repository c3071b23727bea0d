"""`-m`: one command with several values to several commands, by Hydra's sweep grammar."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence

from hydra.core.override_parser.types import Glob

from finetune.config import overrides as command_line
from finetune.config import places
from finetune.errors import ConfigError


def combinations(arguments: Sequence[str]) -> list[list[str]]:
    """Return the overrides of each run, with a name that tells the swept values.

    Raises:
        ConfigError: An override cannot be read, or a sweep has no values.
    """
    problems: list[str] = []
    parsed = command_line.parse(arguments, problems)
    choices: list[list[str]] = []
    swept: list[str] = []
    for override in parsed:
        key = override.get_key_element()
        if not override.is_sweep_override():
            choices.append([override.input_line or ""])
            continue
        value = override.value()
        if isinstance(value, Glob):
            names = value.filter(places.group_names(override.key_or_group))
            values = [f"{key}={name}" for name in names]
        elif override.is_discrete_sweep():
            values = [f"{key}={text}" for text in override.sweep_string_iterator()]
        else:
            values = []
        if not values:
            problems.append(f"`{override.input_line}` gives no values to sweep over.")
        swept.append(key)
        choices.append(values)
    if problems:
        raise ConfigError(problems)
    jobs = [list(job) for job in itertools.product(*choices)]
    if len(jobs) == 1:
        return jobs
    told = [told_by(job, swept) for job in jobs]
    plain = [re.sub(r"[^A-Za-z0-9._=,+-]", "_", text) for text in told]
    return [
        [*job, f"name='{name if plain.count(name) == 1 and len(name) <= 200 else marked(text)}'"]
        for job, text, name in zip(jobs, told, plain, strict=True)
    ]


def marked(text: str) -> str:
    """Return a name that is too long or not distinct, cut, with a mark of the whole."""
    stem = re.sub(r"[^A-Za-z0-9._=,+-]", "_", text)[:180]
    return f"{stem}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def told_by(job: Sequence[str], swept: Sequence[str]) -> str:
    """Return a job's recipe or own name and its swept values, as they were written."""
    given = dict(argument.split("=", 1) for argument in job if "=" in argument)
    stem = given.get("name") or given.get("recipe", "run").replace("/", "-")
    parts = [f"{key.rsplit('.', 1)[-1]}={given[key]}" for key in swept if key != "recipe"]
    return ",".join([stem, *parts])
