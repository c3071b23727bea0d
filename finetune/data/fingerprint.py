"""What data a run was made from, so that another content under the same name is noticed.

Files are known by their hash, a hub data set by its commit, an object in a store by the checksum
that the store keeps. What has nothing of the kind, such as the answer of a database, is named as
not verifiable; so is what cannot be reached at the moment.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finetune.data import cache, cached, databases, hub, remote
from finetune.errors import FinetuneError
from finetune.runs import storage

GONE = "it is not there"
_WILD = re.compile(r"[*?\[]")


@dataclass
class Fingerprint:
    """What the sources of a run are.

    Args:
        parts: ``role:name`` → what identifies that file, object or data set.
        not_verifiable: Role → why nothing, or not everything, identifies it.
    """

    parts: dict[str, str] = field(default_factory=dict)
    not_verifiable: dict[str, str] = field(default_factory=dict)

    def compared(self, now: Fingerprint) -> tuple[list[tuple[str, str, str]], dict[str, str]]:
        """Return name, old and new of what differs now, and the roles that cannot be compared."""
        known = {name.partition(":")[0] for name in self.parts}
        here = {name.partition(":")[0] for name in now.parts}
        blind = {role: now.not_verifiable.get(role, GONE) for role in sorted(known - here)}
        names = [n for n in self.parts.keys() | now.parts.keys() if n.partition(":")[0] in here]
        absent = "not there"
        pairs = [(n, self.parts.get(n, absent), now.parts.get(n, absent)) for n in sorted(names)]
        return [(name, was, is_) for name, was, is_ in pairs if was != is_], blind


def of(settings: Mapping[str, Any], hashes: Mapping[str, str] | None = None) -> Fingerprint:
    """Return the fingerprint of what the keyword arguments of `prepare` name.

    Args:
        settings: The arguments.
        hashes: What `cached.source_hashes` returned for them, when that was asked already.
    """
    found = Fingerprint()
    if settings.get("rows") is not None:
        _of_rows(settings["rows"], found)
        return found
    hashes = cached.source_hashes(settings) if hashes is None else hashes
    if hashes:
        found.parts = {name: f"sha256 {value}" for name, value in hashes.items()}
        return found
    for role, text in cached.places(settings).items():
        reading = {**(settings.get("reading") or {})}
        if role.startswith("mix."):
            reading |= settings["mix"][role.removeprefix("mix.")]
        try:
            _of_place(role, text, reading, found)
        except (FinetuneError, OSError) as error:
            found.not_verifiable[role] = type(error).__name__
        is_known = any(part.startswith(f"{role}:") for part in found.parts)
        if is_known and cached.may_name_media(settings):
            found.not_verifiable.setdefault(role, "the files that its rows name are not looked at")
    return found


def _of_place(role: str, text: str, reading: Mapping[str, Any], found: Fingerprint) -> None:
    if "://" in text:
        _of_url(role, text, found)
        return
    path = cached.local(text)
    if path is not None and reading.get("format") != "hub":
        _of_paths(role, [path], found)
    elif _WILD.search(text):
        _of_pattern(role, Path(text).expanduser(), found)
    elif reading.get("format") == "hub" or hub.looks_like_id(text):
        commit = _commit(text, reading.get("revision") or "main")
        if commit is None:
            found.not_verifiable[role] = "the hub does not say its commit now"
        else:
            found.parts[f"{role}:{text}"] = f"commit {commit}"
    else:
        found.not_verifiable[role] = GONE


def _of_paths(role: str, paths: list[Path], found: Fingerprint) -> None:
    hashes = cache.source_hashes(paths)
    found.parts |= {f"{role}:{name}": f"sha256 {value}" for name, value in hashes.items()}


def _of_pattern(role: str, pattern: Path, found: Fingerprint) -> None:
    parts = pattern.parts
    fixed = next(index for index, part in enumerate(parts) if _WILD.search(part))
    base = Path(*parts[:fixed])
    for file in sorted(base.glob(str(Path(*parts[fixed:])))) if base.is_dir() else ():
        if file.is_file():
            name = file.relative_to(base).as_posix()
            found.parts[f"{role}:{name}"] = f"sha256 {storage.sha256(file)}"
    if not any(name.startswith(f"{role}:") for name in found.parts):
        found.not_verifiable[role] = GONE


def _of_url(role: str, url: str, found: Fingerprint) -> None:
    if databases.is_url(url):
        file = _sqlite_file(url)
        if file is None:
            found.not_verifiable[role] = "a database says nothing of its content"
        else:
            _of_paths(role, [file], found)
        return
    name = remote.shown(url)
    try:
        system, path = remote._system(url, name)
        base, files, _ = remote._wanted(system, path, name)
        for stored in files:
            inside = stored.removeprefix(base).lstrip("/")
            found.parts[f"{role}:{inside}"] = f"checksum {system.checksum(stored)}"
    except Exception as error:  # each driver has its own tree of errors
        found.not_verifiable[role] = f"the store does not answer ({type(error).__name__})"


def _sqlite_file(url: str) -> Path | None:
    import sqlalchemy

    parsed = sqlalchemy.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return None
    file = Path(parsed.database).expanduser()
    return file if file.is_file() else None


def _commit(name: str, revision: str) -> str | None:
    """Return the commit that a revision of a hub data set is, None when it cannot be told."""
    from huggingface_hub import HfApi, constants

    if re.fullmatch(r"[0-9a-f]{40}", revision):
        return revision
    if constants.HF_HUB_OFFLINE:
        folder = f"datasets--{name.replace('/', '--')}"
        file = Path(constants.HF_HUB_CACHE, folder, "refs", revision)
        return file.read_text("utf-8").strip() if file.is_file() else None
    try:
        commit = HfApi().dataset_info(name, revision=revision, timeout=10).sha
    except Exception:  # the network's and the hub's own trees of errors
        return None
    return None if commit is None else str(commit)


def _of_rows(rows: Any, found: Fingerprint) -> None:
    """Hash rows from Python; an iterator can be read only once, and that is for training."""
    parts = rows if isinstance(rows, Mapping) else {"all": rows}
    if any(iter(part) is part for part in parts.values()):
        found.not_verifiable["rows"] = "they come from an iterator, which is read only once"
        return
    for name, part in parts.items():
        digest = hashlib.sha256()
        try:
            for row in part:
                for piece in _pieces(row):
                    digest.update(len(piece).to_bytes(8, "little") + piece)
        except TypeError as error:
            found.not_verifiable["rows"] = str(error)
            return
        found.parts[f"rows:{name}"] = f"sha256 {digest.hexdigest()}"


def _pieces(value: Any) -> Iterator[bytes]:
    """Yield the bytes of a value, its type and its shape."""
    yield type(value).__name__.encode()
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key).encode("utf-8", "surrogatepass")
            yield from _pieces(item)
    elif isinstance(value, list | tuple):
        yield str(len(value)).encode()
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, bytes | bytearray):
        yield bytes(value)
    elif isinstance(value, str | int | float | bool | None):
        yield str(value).encode("utf-8", "surrogatepass")
    elif hasattr(value, "tobytes"):  # arrays and pictures
        yield str((getattr(value, "shape", ""), getattr(value, "size", ""))).encode()
        yield value.tobytes()
    elif hasattr(value, "isoformat"):
        yield value.isoformat().encode()
    else:
        raise TypeError(f"they hold a {type(value).__name__}, which has no bytes to compare")
