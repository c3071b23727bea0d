"""Fixtures of the model tests."""

from __future__ import annotations

import pytest

from tests.models import bases
from tests.models.fake_hub import cache, hub, no_sockets

__all__ = ["cache", "hub", "no_sockets"]

FAMILIES = ("bert", "t5", "gpt", "clip", "whisper")


@pytest.fixture(scope="session")
def tiny() -> dict[str, bases.Base]:
    """The minute bases by family."""
    return bases.tiny_bases()


@pytest.fixture(params=FAMILIES)
def base(request: pytest.FixtureRequest, tiny: dict[str, bases.Base]) -> bases.Base:
    """Each minute base in turn."""
    return tiny[request.param]
