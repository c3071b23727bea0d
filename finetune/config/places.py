"""Where conf/ and recipes/ are: beside the package when installed, in the source tree otherwise."""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent
INNER_GROUPS: dict[str, tuple[str, ...]] = {"data": ("clean/",)}
"""Folders of a group that are groups of their own: `data/clean=NAME` is no choice of `data`."""


def shipped(folder: str) -> Path:
    """Return the shipped folder, preferring the one inside the installed package."""
    packaged = PACKAGE / folder
    return packaged if packaged.is_dir() else PACKAGE.parent / folder


def recipe_folders() -> list[Path]:
    """Return the folders that hold recipes, the user's own first."""
    own = Path.cwd() / "recipes"
    ours = shipped("recipes")
    return [own, ours] if own.is_dir() and own.resolve() != ours.resolve() else [ours]


def names_in(folder: Path) -> list[str]:
    """Return the YAML files below a folder as names, such as ``bert/text_classification``."""
    if not folder.is_dir():
        return []
    return sorted(
        file.relative_to(folder).with_suffix("").as_posix()
        for file in folder.rglob("*.yaml")
        if not file.name.startswith(".")
    )


def recipe_names() -> list[str]:
    """Return every recipe that `recipe=` can find."""
    return sorted({name for folder in recipe_folders() for name in names_in(folder)})


def group_names(group: str) -> list[str]:
    """Return the choices of a configuration group such as `model`."""
    if group == "recipe":
        return recipe_names()
    inner = INNER_GROUPS.get(group, ())
    return [name for name in names_in(shipped("conf") / group) if not name.startswith(inner)]


def first_line(file: Path) -> str:
    """Return what a YAML file says of itself in its opening comment."""
    with file.open(encoding="utf-8") as lines:
        line = lines.readline().strip()
    return line.lstrip("# ").strip() if line.startswith("#") else ""


def find(group: str, name: str) -> Path | None:
    """Return the file of a choice, or None."""
    folders = recipe_folders() if group == "recipe" else [shipped("conf") / group]
    if name.startswith(INNER_GROUPS.get(group, ())):
        return None
    for folder in folders:
        file = folder / f"{name}.yaml"
        if file.is_file():
            return file
    return None
