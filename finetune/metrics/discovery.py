"""Find a metric by its name: the modules of this package are the registry."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from finetune.errors import ConfigError, did_you_mean
from finetune.metrics.base import Metric


def find(name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        ConfigError: There is none; the nearest names are given.
    """
    metrics = _metrics()
    if name not in metrics:
        raise ConfigError(
            f"There is no metric `{name}`{did_you_mean(name, metrics) or '.'}",
            fix=f"Choose one of {', '.join(f'`{known}`' for known in metrics)}.",
        )
    return metrics[name]


def names() -> list[str]:
    """Return the name of every metric, sorted."""
    return list(_metrics())


@functools.cache
def _metrics() -> dict[str, Metric]:
    """Return the public `Metric`s of every module beside this one; none imports heavy packages."""
    package = __package__ or "finetune.metrics"
    path = importlib.import_module(package).__path__
    modules = [importlib.import_module(f"{package}.{m.name}") for m in pkgutil.iter_modules(path)]
    found = {
        value.name: value
        for module in modules
        for variable, value in vars(module).items()
        if isinstance(value, Metric) and not variable.startswith("_")
    }
    return dict(sorted(found.items()))
