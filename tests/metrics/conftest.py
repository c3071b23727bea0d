"""Every metric that exists, found and never listed, with rows that fit it."""

import importlib
import pkgutil
from typing import Any

import pytest

import finetune.metrics
from finetune.metrics import Metric

from .rows import FAMILIES, PERFECT, SINGLE


def homes() -> dict[str, str]:
    """Return {metric: the first module that has it as a variable}."""
    found: dict[str, str] = {}
    for module in pkgutil.iter_modules(finetune.metrics.__path__):
        for value in vars(importlib.import_module(f"finetune.metrics.{module.name}")).values():
            if isinstance(value, Metric):
                found.setdefault(value.name, module.name)
    return found


@pytest.fixture(params=sorted(homes()))
def metric(request: pytest.FixtureRequest) -> Metric:
    return finetune.metrics.find(request.param)


@pytest.fixture
def family(metric: Metric) -> Any:
    return SINGLE.get(metric.name) or FAMILIES[homes()[metric.name]]


@pytest.fixture
def perfect(metric: Metric) -> Any:
    return PERFECT.get(metric.name) or PERFECT[homes()[metric.name]]
