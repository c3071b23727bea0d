"""Read a YAML that anybody may have written: small, shallow, keys and values, and nothing else."""

from __future__ import annotations

from pathlib import Path

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from finetune.errors import ConfigError

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(file: Path) -> DictConfig:
    """Return the keys and values of a YAML file, not resolved.

    Raises:
        ConfigError: It is no such file, or one that would cost unreasonable time or memory.
    """
    try:
        with file.open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise ConfigError(
            f"`{file}` cannot be read: {error.strerror or error}.", where=str(file)
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"`{file}` is not UTF-8 text: byte {error.start} is 0x{content[error.start]:02x}.",
            fix="Save it as UTF-8.",
            where=str(file),
        ) from error
    if len(content) > MAX_BYTES:
        raise ConfigError(
            f"`{file}` is larger than {MAX_BYTES // 1024} KiB, which no configuration is.",
            fix="Name data by `data.path`, don't write it into the configuration.",
            where=str(file),
        )
    try:
        measure(text, file)
        node = OmegaConf.create(text)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError) as error:
        raise ConfigError(
            f"`{file}` is no valid configuration: {first_words(error)}.", where=str(file)
        ) from error
    if not isinstance(node, DictConfig):
        raise not_keys(file)
    return node


def measure(text: str, file: Path) -> None:
    """Refuse depth and size before anything is built, aliases counted as often as they are used.

    Raises:
        ConfigError: The file is deeper or larger than any configuration, or no mapping.
    """
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and how many nodes came before it
    total = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            total += sizes.get(str(event.anchor), MAX_NODES)  # one still open holds itself
        elif isinstance(event, yaml.ScalarEvent):
            if not open_nodes:
                raise not_keys(file)
            total += 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            if not open_nodes and not isinstance(event, yaml.MappingStartEvent):
                raise not_keys(file)
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if len(open_nodes) > MAX_DEPTH or total > MAX_NODES:
            raise ConfigError(
                f"`{file}` is nested deeper than {MAX_DEPTH} levels or has more than "
                f"{MAX_NODES:,} values, which no configuration has.",
                where=str(file),
            )


def not_keys(file: Path) -> ConfigError:
    """Return the error for a file that is a list or a bare value."""
    return ConfigError(
        f"`{file}` must have keys and values at its top, such as `seed: 42`.", where=str(file)
    )


def first_words(error: Exception) -> str:
    """Return what a YAML error says and where, on one line, without the file's name again."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    place = f" in line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
    tabs = " (blanks indent YAML, not tabs)" if "cannot start any token" in problem else ""
    return f"{' '.join(str(problem).split()).rstrip('.')}{place}{tabs}"
