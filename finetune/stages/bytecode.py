"""Keep libraries' compiled modules in the cache folder where Python itself keeps none.

Python compiles a module at each start where it has no bytecode of it and may not write any: with
`PYTHONDONTWRITEBYTECODE`, which containers like to set, and after an installation that left the
compiling out. For torch, transformers and what they import that is 2 to 3 seconds of each start.
Nothing is written beside the sources, which is what the variable is about; `FINETUNE_BYTECODE=0`
turns it off.
"""

from __future__ import annotations

import contextlib
import os
import py_compile
import shutil
import sys
from pathlib import Path

from finetune.data import cache

FEW = 100
"""Modules without bytecode that are not worth it."""


def folder() -> Path:
    """Return where the bytecode of this Python is kept."""
    tag = sys.implementation.cache_tag or "none"
    return cache.folder().with_name("bytecode") / tag


def is_wanted() -> bool:
    """Tell whether Python is left without a place for bytecode."""
    return (
        sys.dont_write_bytecode
        and sys.pycache_prefix is None
        and os.environ.get("FINETUNE_BYTECODE", "1") != "0"
    )


def is_ours(place: Path) -> bool:
    """Tell whether nobody else can have put code into a folder."""
    try:
        status = place.lstat()
    except OSError:
        return False
    mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
    return place.is_dir() and not place.is_symlink() and mine and not status.st_mode & 0o022


def use() -> None:
    """Read bytecode from the cache folder, and add to it, once an earlier process has made it."""
    if is_wanted() and is_ours(folder()):
        sys.pycache_prefix, sys.dont_write_bytecode = str(folder()), False


def without() -> list[tuple[Path, Path]]:
    """Return source and would-be bytecode of the imported modules that were compiled just now."""
    found = []
    for module in list(sys.modules.values()):
        spec = getattr(module, "__spec__", None)
        origin, cached = getattr(spec, "origin", None), getattr(spec, "cached", None)
        if origin and cached and origin.endswith(".py") and not Path(cached).is_file():
            found.append((Path(origin), Path(cached)))
    return found


def make() -> None:
    """Put the bytecode of all imported modules into the cache folder, at the end of a process.

    A cache that cannot be written costs nothing but time.
    """
    if not is_wanted() or folder().exists() or len(compiled := without()) < FEW:
        return
    staging = folder().with_name(f".{folder().name}.{os.getpid()}")
    try:
        staging.mkdir(mode=0o700, parents=True)
        for module in list(sys.modules.values()):
            cached = getattr(getattr(module, "__spec__", None), "cached", None)
            if cached and Path(cached).is_file():
                target = placed(staging, Path(cached))
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(cached, target)
        for source, cached in compiled:
            with contextlib.suppress(py_compile.PyCompileError, ValueError):
                py_compile.compile(str(source), cfile=str(placed(staging, cached)), doraise=True)
        staging.replace(folder())
    except OSError:
        pass
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def placed(root: Path, cached: Path) -> Path:
    """Return where Python looks for a module's bytecode below a prefix."""
    return root / cached.parent.parent.relative_to(cached.anchor) / cached.name
