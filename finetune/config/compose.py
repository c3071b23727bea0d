"""From a recipe and overrides to one validated RunConfig, with every problem reported at once."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finetune.config import names, places, recipes, yaml_file
from finetune.config import overrides as command_line
from finetune.config.contradictions import contradictions
from finetune.config.known import fill_in, forget_facts
from finetune.config.refusals import refuse, refuse_code, walk
from finetune.config.schema import SECTIONS, RunConfig, strategy_schema
from finetune.config.validate import build, describe, unknown_key
from finetune.errors import ConfigError


def compose(arguments: Sequence[str], *, task_schema: Callable[[str], type]) -> RunConfig:
    """Compose and validate a run configuration.

    Args:
        arguments: Overrides as on the command line, `recipe=` among them.
        task_schema: Finds the Task class, a dataclass of its options, by its tag; raises
            ConfigError for a tag that is none.

    Returns:
        The configuration, with its plain values in ``plain``.

    Raises:
        ConfigError: With every problem found.
        ArtefactError: A value asks for code to be run, such as ``_target_``.
    """
    problems: list[str] = []
    overrides = command_line.parse(arguments, problems)
    refuse_code([override.key_or_group for override in overrides])
    wrong = command_line.check_groups(overrides, problems)
    chosen = [o for o in overrides if o.key_or_group == "recipe"]
    if not chosen and not any(re.match(r"recipes?\b", text) for text in arguments):
        problems.append(
            "No recipe is named: give recipe=NAME; `python -m finetune list` shows them."
        )
    if chosen and "recipe" not in wrong:
        found = recipes.check(str(chosen[-1].value()))
        problems += found
        if not found:
            usable = [o for o in overrides if o.key_or_group not in wrong]
            node, data_choice = composed(usable)
            references = unresolved(node)
            plain = forget_facts(to_plain(node), usable, data_choice=data_choice)
            return validate(
                plain, task_schema=task_schema, references=references, before=problems, wrong=wrong
            )
    node = OmegaConf.create({})
    apply(node, [o for o in overrides if not command_line.is_group(o)])
    wrong = {*wrong, "recipe", "task", "strategy"}  # without a recipe, nobody knows which
    return validate(to_plain(node), task_schema=task_schema, before=problems, wrong=wrong)


def composed(overrides: Sequence[Override]) -> tuple[DictConfig, str | None]:
    """Return what Hydra composes, not resolved, `recipe` put back, and the choice of `data`."""
    recipes.register()
    recipe = [str(o.value()) for o in overrides if o.key_or_group == "recipe"][-1]
    try:
        with initialize_config_dir(str(places.shipped("conf")), version_base="1.3"):
            node = hydra_compose(
                "finetune", command_line.as_hydra(overrides), return_hydra_config=True
            )
    except (HydraException, OmegaConfBaseException) as error:
        text = " ".join(str(error).split()).split(" Config search path:")[0]
        raise ConfigError(f"Recipe `{recipe}`: {text.rstrip('.')}.", where=recipe) from error
    choice = node.hydra.runtime.choices.get("data")
    OmegaConf.set_struct(node, False)
    del node["hydra"]
    node["recipe"] = recipe
    return node, choice


def apply(node: DictConfig, overrides: Sequence[Override]) -> None:
    """Set or delete keys of a node in place."""
    for override in overrides:
        key = override.key_or_group
        if override.is_delete():
            parent, _, leaf = key.rpartition(".")
            holder = OmegaConf.select(node, parent) if parent else node
            if isinstance(holder, DictConfig):
                holder.pop(leaf, None)
        else:
            OmegaConf.update(node, key, override.value(), force_add=True)


def to_plain(node: DictConfig) -> dict[str, Any]:
    """Resolve a node, after refusing code and resolvers that are not allow-listed."""
    refuse(node)
    try:
        resolved = OmegaConf.to_container(node, resolve=True)
    except (OmegaConfBaseException, RecursionError) as error:
        key = getattr(error, "full_key", None)
        text = str(error).splitlines()[0] if str(error) else "it refers to itself"
        raise ConfigError(f"`{key or 'The configuration'}` cannot be resolved: {text}.") from error
    assert isinstance(resolved, dict)
    return {str(key): value for key, value in resolved.items()}


def unresolved(node: DictConfig) -> dict[str, str]:
    """Return the values that refer to something, such as ``${oc.env:NAME}``, by dotted key."""
    raw = OmegaConf.to_container(node, resolve=False)
    return {key: value for key, value in walk(raw) if isinstance(value, str) and "${" in value}


def validate(
    plain: dict[str, Any],
    *,
    task_schema: Callable[[str], type],
    references: dict[str, str] | None = None,
    before: Sequence[str] = (),
    wrong: Collection[str] = (),
) -> RunConfig:
    """Check plain values against the schema and return the RunConfig.

    Args:
        plain: The values, resolved.
        task_schema: As in `compose`.
        references: Values as written, by dotted key, where they refer to something; kept in
            ``RunConfig.plain``, so that no variable's value is saved.
        before: Problems known already.
        wrong: Groups whose choice is wrong; what depends on them is not judged.

    Raises:
        ConfigError: With every problem found.
    """
    problems: list[str] = []
    for key in plain:
        if key not in names.ROOT:
            problems.append(unknown_key("", key, names.ROOT))
    sections = {
        name: build(schema, plain.get(name), name, problems) for name, schema in SECTIONS.items()
    }
    strategy = task = None
    if "strategy" not in wrong:
        values = plain.get("strategy") or {}
        schema = strategy_schema(values if isinstance(values, dict) else {})
        strategy = build(schema, values, "strategy", problems)
    if "task" not in wrong:
        task = build_task(plain.get("task"), task_schema, problems)
    config = RunConfig(
        recipe=str(plain.get("recipe", "")),
        name=run_name(plain, problems),
        seed=seed_of(plain.get("seed", 42), problems),
        task=task,
        strategy=strategy,  # type: ignore[arg-type] # None only when a problem is raised below
        **sections,
    )
    if not wrong:
        given = {key for key, value in (plain.get("train") or {}).items() if value is not None}
        fill_in(config, given, problems)
        problems += contradictions(config)
    problems += refuse_passwords(plain, references or {})
    problems = [without_values(text, plain, references or {}) for text in problems]
    if before or problems:
        raise ConfigError([*before, *problems])
    config.plain = with_references(as_plain(config), plain, references or {})
    return config


def build_task(values: Any, task_schema: Callable[[str], type], problems: list[str]) -> Any:
    """Make the Task from its options, or append why it cannot be."""
    if not isinstance(values, dict) or not values.get("tag"):
        problems.append(
            "No task is named: give task=NAME; `python -m finetune list task` shows them."
        )
        return None
    options = {key: value for key, value in values.items() if key != "tag"}
    try:
        schema = task_schema(str(values["tag"]))
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    return build(schema, options, "task", problems)


def seed_of(value: Any, problems: list[str]) -> int:
    """Return the seed, or append why it is none."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**32:
        problems.append(
            f"`seed` must be a whole number from 0 to 4294967295, got {describe(value)}."
        )
        return 42
    return value


def run_name(plain: dict[str, Any], problems: list[str]) -> str:
    """Return the run's name, the recipe's unless given, or append why it is none."""
    name = plain.get("name")
    if name is None:
        name = re.sub(r"[^A-Za-z0-9._=,+-]+", "-", str(plain.get("recipe", ""))).lstrip("._=,+-")
        return name[:200] or "run"
    text = name if isinstance(name, str) else describe(name).split()[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._=,+-]{0,199}", text):
        problems.append(
            "`name` must begin with a letter or digit and have only letters, digits and ._=,+- "
            f"(at most 200), got {describe(name)}; the folder above it is `run.dir`."
        )
    return text


def as_plain(config: RunConfig) -> dict[str, Any]:
    """Return a validated configuration as plain values, ready for config.yaml."""
    plain: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if field.name not in ("plain", "trust_remote_code"):
            is_group = dataclasses.is_dataclass(value) and not isinstance(value, type)
            plain[field.name] = dataclasses.asdict(value) if is_group else value
    options = {item.name for item in dataclasses.fields(config.task) if item.init}
    plain["task"] = {
        "tag": config.task.tag,
        **{key: value for key, value in plain["task"].items() if key in options},
    }
    return plain


def with_references(
    saved: dict[str, Any], resolved: dict[str, Any], references: dict[str, str]
) -> dict[str, Any]:
    """Return values to save with each reference as it was written, where it was used at all."""
    used = {key for key, _ in walk(resolved)}
    for key, written in references.items():
        holder: Any = saved
        *parents, leaf = key.split(".")
        for part in parents:
            holder = holder[int(part)] if isinstance(holder, list) else (holder or {}).get(part)
        if key in used and isinstance(holder, list):
            holder[int(leaf)] = written
        elif key in used and isinstance(holder, dict):
            holder[leaf] = written
    return saved


def refuse_passwords(plain: dict[str, Any], references: dict[str, str]) -> list[str]:
    """Return a sentence for each URL with a password that would be saved with the run."""
    return [
        f"`{key}` holds a password, which would be saved with the run: put the URL into a variable "
        f"such as FINETUNE_URL and give {key}='${{oc.env:FINETUNE_URL}}'."
        for key, value in walk(plain)
        if isinstance(value, str)
        and key not in references
        and re.search(r"://[^/@\s]*:[^/@\s]+@", value)
    ]


def without_values(text: str, resolved: dict[str, Any], references: dict[str, str]) -> str:
    """Return a problem with each reference as it was written instead of what it resolved to."""
    for key, value in walk(resolved):
        if key in references and f"`{key}" in text:
            text = text.replace(repr(value), f"`{references[key]}`")
    return text


def load(file: Path, arguments: Sequence[str], *, task_schema: Callable[[str], type]) -> RunConfig:
    """Read the config.yaml of a run, with overrides on top.

    Raises:
        ConfigError: The file is missing or invalid, or an override is.
    """
    problems: list[str] = []
    overrides = command_line.parse(arguments, problems)
    refuse_code([override.key_or_group for override in overrides])
    problems += [
        f"`{override.input_line}` picks a choice of a group, but `run=` replays one "
        f"configuration; set its keys instead, such as `{override.key_or_group}.KEY=value`."
        for override in overrides
        if command_line.is_group(override)
    ]
    swept = command_line.check_sweeps(overrides, problems)
    if not file.is_file():
        raise ConfigError([*problems, f"`{file.parent}` is no run folder: it has no config.yaml."])
    node = yaml_file.read(file)
    apply(
        node,
        [o for o in overrides if not command_line.is_group(o) and o.key_or_group not in swept],
    )
    references = unresolved(node)
    return validate(to_plain(node), task_schema=task_schema, references=references, before=problems)
