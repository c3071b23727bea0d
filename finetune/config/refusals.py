"""What no configuration may hold: keys that name code, and resolvers beyond a few variables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import GrammarParseError
from omegaconf.grammar_parser import parse

from finetune.errors import ArtefactError, ConfigError

FORBIDDEN = ("_target_", "_partial_", "_args_", "_recursive_", "_convert_")
ENVIRONMENT = ("HOME", "USER", "TMPDIR", "HF_HOME", "SLURM_JOB_ID")
PREFIX = "FINETUNE_"


def refuse(node: Any) -> None:
    """Check every key and value of a composed node or of plain values, none of them resolved.

    Raises:
        ArtefactError: A key names code to run.
        ConfigError: A value would be resolved by anything but an allowed variable.
    """
    raw = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node
    refuse_code(key for key, _ in walk(raw))
    for _, value in walk(raw):
        if isinstance(value, str):
            refuse_resolvers(value)


def walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every dotted key and its value, mappings and lists included, of nested plain values."""
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, dict):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, value in items:
        dotted = f"{prefix}.{key}" if prefix else str(key)
        yield dotted, value
        yield from walk(value, dotted)


def refuse_code(keys: Iterable[str]) -> None:
    """Refuse dotted keys by which a configuration could run code.

    Raises:
        ArtefactError: There is one.
    """
    for key in keys:
        parts = key.split(".")
        if set(parts) & set(FORBIDDEN) or parts[0].split("@")[0].split("/")[0] == "hydra":
            raise ArtefactError(
                f"`{key}` is refused: a configuration is data and cannot name code to run.",
                fix="Remove the key; own code comes in through the Python API.",
                where=key,
            )


def refuse_resolvers(value: str) -> None:
    """Refuse a value that is resolved by anything but ``${oc.env:NAME}`` of an allowed name.

    OmegaConf's own parser decides what is a resolver: its name may itself be an interpolation
    (``${${a}:PATH}``), which no pattern on the text would see.

    Raises:
        ConfigError: It is, or it cannot be read.
    """
    if "${" not in value:
        return
    try:
        used = list(resolvers(value))
    except (GrammarParseError, RecursionError) as error:
        raise ConfigError(
            f"`{value[:80]}` cannot be read as an interpolation.",
            fix="Write `\\${` where a literal `${` is meant.",
        ) from error
    for name, argument in used:
        if name != "oc.env" or not (argument in ENVIRONMENT or argument.startswith(PREFIX)):
            raise ConfigError(
                f"`{value[:80]}` is refused: only `${{oc.env:NAME}}` is resolved, with NAME one "
                f"of {', '.join(ENVIRONMENT)} or {PREFIX}….",
                fix="Write the value itself, or `\\${` where a literal `${` is meant.",
            )


def resolvers(value: str) -> Iterator[tuple[str, str]]:
    """Yield name and first argument, as text, of each resolver in a value."""
    waiting = [parse(value)]
    while waiting:
        node = waiting.pop()
        if type(node).__name__ == "InterpolationResolverContext":
            arguments = node.sequence()
            first = arguments.getChild(0).getText() if arguments is not None else ""
            yield node.resolverName().getText(), first.strip()
        waiting.extend(getattr(node, "children", None) or ())
