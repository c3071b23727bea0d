"""Prepare, or take what was prepared before from the same files with the same settings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from finetune.data import cache
from finetune.data.kinds import MEDIA
from finetune.data.packages import package_folder
from finetune.data.prepare import Prepared, prepare

PLACES = ("path", "train", "validation", "test")


def prepare_cached(
    settings: Mapping[str, Any], hashes: dict[str, str] | None = None
) -> tuple[Prepared, dict[str, str], bool]:
    """Prepare with the given keyword arguments of `prepare`, unless that was done before.

    Args:
        settings: The arguments.
        hashes: What `source_hashes` returned for them, when that was asked already.

    Returns:
        What was prepared, the sha256 of each local file that it comes from (none when it comes
        from elsewhere), and whether it was taken from the cache.
    """
    hashes = source_hashes(settings) if hashes is None else hashes
    if not hashes:
        return prepare(**settings), {}, False
    told = {name: value for name, value in settings.items() if name not in (*PLACES, "mix")}
    key = cache.key_of(hashes, told | {"mix": _without_paths(settings.get("mix") or {})})
    found = cache.load(key)
    if found is not None:
        return found, hashes, True
    made = prepare(**settings)
    cache.store(key, made)
    return made, hashes, False


def source_hashes(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 of each local file by its role and name; nothing if some are elsewhere."""
    hashes: dict[str, str] = {}
    for role, text in places(settings).items():
        path = local(text)
        # A table may name pictures beside it, which would not be looked at here.
        if path is None or (may_name_media(settings) and path.is_file()):
            return {}
        hashes |= {f"{role}:{name}": each for name, each in cache.source_hashes([path]).items()}
    return hashes


def places(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return by its role each place that rows come from; none when rows were given themselves."""
    if settings.get("rows") is not None:
        return {}
    named = {role: settings.get(role) for role in PLACES if settings.get(role)}
    if settings.get("train"):
        named.pop("path", None)
    mixed = settings.get("mix") or {}
    named |= {f"mix.{name}": source.get("path") for name, source in mixed.items()}
    return {role: str(text) for role, text in named.items()}


def may_name_media(settings: Mapping[str, Any]) -> bool:
    """Tell whether rows may name pictures or sound beside them."""
    kinds = settings.get("kinds")
    return kinds is None or any(isinstance(kind, MEDIA) for kind in kinds.values())


def local(text: str) -> Path | None:
    """Return what a place names on this machine, None when it is elsewhere or nowhere."""
    if text.startswith("package:"):
        return package_folder(text)
    path = Path(text).expanduser()
    return path if path.exists() else None


def _without_paths(mix: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    return {
        name: {key: value for key, value in source.items() if key != "path"}
        for name, source in mix.items()
    }
