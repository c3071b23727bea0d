"""Postpone what libraries import and may never use, so that the first step comes sooner.

Nothing is left out: whatever is asked for later is imported then, and is the real thing.
`docs/startup.md` says what each of these saves.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

EAGER = "bitsandbytes"
"""Calls `torch.compile` on import, which imports the compiler (2 s), though it may never be run."""
LAZY: dict[str, tuple[str, ...]] = {"scipy.optimize": ("linear_sum_assignment",)}
"""Modules that are executed when something of theirs is used, and functions that are bound before.

transformers binds `linear_sum_assignment` wherever it builds a loss, and calls it for boxes alone.
"""
COLLECT = (100_000, 50, 100)
"""Thresholds of the garbage collector while modules are imported, nearly all of which stay."""

lock = threading.RLock()
usual: list[tuple[int, int, int]] = []
"""The garbage collector's thresholds of before."""


class Postponed(ModuleType):
    """A module that is executed when something is asked of it that it doesn't know yet."""

    def __getattr__(self, name: str) -> Any:
        """Execute the module, then answer."""
        if name.startswith("__") and name != "__all__":  # what tools ask of every module they see
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        execute(self)
        return getattr(self, name)

    def __dir__(self) -> list[str]:
        """Execute the module, then list what it has."""
        execute(self)
        return list(super().__dir__())


def execute(module: ModuleType) -> None:
    """Turn a postponed module into itself."""
    with lock:
        if not isinstance(module, Postponed):
            return
        module.__class__ = ModuleType  # type: ignore[assignment] # what importlib's LazyLoader does
        for name in LAZY.get(module.__name__, ()):
            vars(module).pop(name, None)
        spec = module.__spec__
        assert spec is not None
        assert spec.loader is not None
        try:
            type(spec.loader).exec_module(spec.loader, module)
        except BaseException:
            sys.modules.pop(module.__name__, None)  # as a failed import leaves nothing behind
            raise


def forwarded(module: ModuleType, name: str) -> Callable[..., Any]:
    """Return a function that calls a postponed module's own."""

    def call(*args: Any, **kwargs: Any) -> Any:
        execute(module)
        return getattr(module, name)(*args, **kwargs)

    call.__name__ = call.__qualname__ = name
    return call


def empty(module: ModuleType) -> None:
    """Stand for the execution of a module until something of it is used."""
    module.__class__ = Postponed
    for name in LAZY[module.__name__]:
        setattr(module, name, forwarded(module, name))


@contextlib.contextmanager
def compiling_later() -> Iterator[None]:
    """Let `torch.compile` look for its compiler when what it returns is first called."""
    import torch

    at_once = torch.compile

    def later(model: Any = None, **options: Any) -> Any:
        if model is None:
            return functools.partial(later, **options)
        if isinstance(model, torch.nn.Module):
            return at_once(model, **options)

        @functools.wraps(model)
        def first(*args: Any, **kwargs: Any) -> Any:
            if not made:
                made.append(at_once(model, **options))
            return made[0](*args, **kwargs)

        made: list[Any] = []
        return first

    torch.compile = later
    try:
        yield
    finally:
        torch.compile = at_once


class Postponing(MetaPathFinder):
    """Finds the modules named above as ever, and has them executed otherwise."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders have, with another execution."""
        parent = sys.modules.get(name.rpartition(".")[0])
        if isinstance(parent, Postponed):
            execute(parent)
        if name != EAGER and name not in LAZY:
            return None
        for finder in sys.meta_path:
            if isinstance(finder, Postponing) or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader.exec_module = (  # type: ignore[method-assign]
                        empty if name in LAZY else functools.partial(run_later, spec.loader)
                    )
                return spec
        return None


def run_later(loader: Any, module: ModuleType) -> None:
    """Execute a module that compiles on import, without the compiler."""
    with compiling_later():
        type(loader).exec_module(loader, module)


def install() -> None:
    """Postpone from now on what isn't imported yet, and collect garbage rarely."""
    if not any(isinstance(finder, Postponing) for finder in sys.meta_path):
        sys.meta_path.insert(0, Postponing())
    if gc.get_threshold()[0] < COLLECT[0]:
        usual.append(gc.get_threshold())
        gc.set_threshold(*COLLECT)


@contextlib.contextmanager
def settled() -> Iterator[None]:
    """Collect garbage as ever from now on; while the block runs, not in what was imported."""
    if usual:
        gc.set_threshold(*usual.pop())
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
