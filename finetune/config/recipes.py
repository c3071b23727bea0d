"""The `recipe=` group: Hydra reads it from ./recipes and from ours; what recipes may extend."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from finetune.config import places, yaml_file
from finetune.config.overrides import GROUPS, unknown_choice
from finetune.config.refusals import refuse, refuse_code
from finetune.errors import did_you_mean


def check(recipe: str) -> list[str]:
    """Return what is wrong with the `defaults` of a recipe and of those it extends.

    Raises:
        ConfigError: A file cannot be read.
        ArtefactError: A file names code to run.
    """
    problems: list[str] = []
    waiting: list[tuple[str, tuple[str, ...]]] = [(recipe, (recipe,))]
    while waiting:
        name, chain = waiting.pop()
        file = places.find("recipe", name)
        if file is None:
            problems.append(f"Recipe `{chain[-2]}`: {unknown_choice('recipe', name)}")
            continue
        content = yaml_file.read(file)
        refuse(content)
        for group, choice in entries(content.get("defaults"), f"Recipe `{name}`", problems):
            if group != "recipe":
                if choice is not None and places.find(group, choice) is None:
                    problems.append(f"Recipe `{name}`: {unknown_choice(group, choice)}")
            elif choice in chain:
                problems.append(extends_itself(str(choice), chain))
            else:
                waiting.append((str(choice), (*chain, str(choice))))
    return problems


def extends_itself(name: str, chain: tuple[str, ...]) -> str:
    """Return the sentence for a circle of recipes."""
    if chain[-1] == name:
        return f"Recipe `{name}` extends a recipe of its own name; rename your file."
    return f"Recipe `{name}` extends itself, by way of `{'`, `'.join(chain[1:])}`."


def entries(defaults: Any, owner: str, problems: list[str]) -> Iterator[tuple[str, str | None]]:
    """Yield group and choice of each entry of a recipe's `defaults`, but for ``_self_``.

    A bare name is a recipe to extend; ``model: tiny/bert`` and Hydra's
    ``override /model: tiny/bert`` are the same.
    """
    plain = OmegaConf.to_container(defaults) if OmegaConf.is_config(defaults) else defaults
    if not isinstance(plain, list):
        if plain is not None:
            problems.append(f"{owner}: `defaults` must be a list, got {plain!r}.")
        return
    for entry in plain:
        if isinstance(entry, str):
            if entry != "_self_":
                yield "recipe", entry.removeprefix("/").removeprefix("recipe/")
            continue
        if not isinstance(entry, dict) or len(entry) != 1:
            problems.append(f"{owner}: `defaults` has an entry that is no name: {entry!r}.")
            continue
        [(key, choice)] = entry.items()
        group = str(key).split()[-1].removeprefix("/") if str(key).split() else ""
        refuse_code([group])
        if group not in GROUPS:
            hint = did_you_mean(group, GROUPS) or f"; groups are: {', '.join(GROUPS)}."
            problems.append(
                f"{owner}: `defaults` names the group `{group}`, which is unknown{hint}"
            )
        elif choice is not None and not isinstance(choice, str):
            problems.append(f"{owner}: `{group}` must be the name of a choice, got {choice!r}.")
        else:
            yield group, choice


def absolute(defaults: Any) -> list[Any]:
    """Return a recipe's `defaults` as Hydra needs them, wherever in a chain the recipe stands.

    Hydra would look for a bare name beside the recipe when that is itself extended, but at the
    top of the group when it is not.
    """
    result: list[Any] = []
    plain = OmegaConf.to_container(defaults)
    for entry in plain if isinstance(plain, list) else ():
        if entry == "_self_":
            result.append(entry)
            continue
        for group, choice in entries([entry], "", []):
            result.append(
                f"/recipe/{choice}" if group == "recipe" else {f"override /{group}": choice}
            )
    return result


class RecipeSource(ConfigSource):
    """A folder of recipes, seen by Hydra as the group `recipe` with package ``_global_``."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of such folders in Hydra's search path."""
        return "recipes"

    def _name(self, config_path: str) -> str | None:
        """Return the recipe's name for a path in the group, None for any other path."""
        if config_path == "recipe":
            return ""
        return config_path.removeprefix("recipe/") if config_path.startswith("recipe/") else None

    def load_config(self, config_path: str) -> ConfigResult:
        """Read one recipe; its keys land at the root, so authors need no package directive."""
        name = self._name(config_path)
        file = Path(self.path) / self._normalize_file_name(name or "")
        if not file.is_file():
            raise ConfigLoadError(f"Recipe not found: {file.name}")
        content = yaml_file.read(file)
        if "defaults" in content:
            content.defaults = absolute(content.defaults)
        return ConfigResult(
            config=content,
            path=f"{self.scheme()}://{self.path}",
            provider=self.provider,
            header={"package": "_global_"},
        )

    def available(self) -> bool:
        """Tell whether the folder exists."""
        return self.is_group("recipe")

    def is_group(self, config_path: str) -> bool:
        """Tell whether the path is a folder of recipes."""
        name = self._name(config_path)
        return name is not None and (Path(self.path) / name).is_dir()

    def is_config(self, config_path: str) -> bool:
        """Tell whether the path is a recipe."""
        name = self._name(config_path)
        return bool(name) and (Path(self.path) / self._normalize_file_name(name or "")).is_file()

    def list(self, config_path: str, results_filter: Any) -> list[str]:
        """Return the recipes and folders directly below a path of the group."""
        files: list[str] = []
        name = self._name(config_path)
        folder = Path(self.path) / (name or "")
        for entry in sorted(folder.iterdir()) if name is not None and folder.is_dir() else []:
            self._list_add_result(
                files=files,
                file_path=f"{config_path}/{entry.name}",
                file_name=entry.name,
                results_filter=results_filter,
            )
        return sorted(set(files))


class RecipeSearchPath(SearchPathPlugin):
    """Puts the recipe folders on Hydra's search path, the user's own first."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Prepend each folder; the last prepended is the first searched."""
        for folder in reversed(places.recipe_folders()):
            search_path.prepend(provider="recipes", path=f"recipes://{folder}")


def register() -> None:
    """Make both known to Hydra; calling it again changes nothing."""
    plugins = Plugins.instance()
    plugins.register(RecipeSource)
    plugins.register(RecipeSearchPath)
