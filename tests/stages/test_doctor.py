"""Doctor: is this machine ready."""

from __future__ import annotations

import shutil
from types import SimpleNamespace

from packaging.requirements import Requirement

from finetune.stages import doctor
from tests.stages.finished import say


def test_a_ready_machine_is_said_to_be_ready(monkeypatch):
    monkeypatch.setattr(doctor, "requirements", lambda: [Requirement("numpy>=1")])
    lines, ready = doctor.checks()
    assert ready
    assert lines[0].startswith("✓ numpy")
    assert any("trains on" in line for line in lines)


def test_a_missing_and_an_old_package_are_named(monkeypatch):
    wanted = [Requirement("no-such-package-anywhere>=2"), Requirement("numpy>=999")]
    monkeypatch.setattr(doctor, "requirements", lambda: wanted)
    said = say("doctor")
    assert said.code == 2
    assert "✗ no-such-package-anywhere is not installed (needs >=2)" in said.out
    assert "(needs >=999)" in said.out
    assert "not ready" in said.problems()[0]


def test_a_full_disk_is_not_ready(monkeypatch):
    monkeypatch.setattr(doctor, "requirements", list)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=5))
    lines, ready = doctor.checks()
    assert not ready
    assert lines[-1].startswith("✗ 0.0 GiB")


def test_extras_are_not_asked_for():
    names = {requirement.name for requirement in doctor.requirements()}
    assert "torch" in names
    assert "pytest" not in names
