"""What the run ran on."""

from __future__ import annotations

import json
import subprocess

from finetune.stages import environment


def test_versions_and_machine_are_described_in_plain_values():
    found = environment.describe(device="cpu", world_size=2)
    json.dumps(found, allow_nan=False)
    assert found["packages"]["torch"]
    assert found["device"] == "cpu"
    assert found["world_size"] == 2
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 1 << 20
    assert found["processor"]


def test_a_package_that_is_not_there_has_no_version():
    assert environment.version("no-such-package-anywhere") is None


def test_the_commit_is_recorded_and_nothing_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert environment.git() is None
    for command in (
        ["git", "init", "-q"],
        [
            "git",
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            "x",
        ],
    ):
        subprocess.run(command, check=True)
    found = environment.git()
    assert found is not None
    assert len(found["commit"]) == 40
    assert found["dirty"] is False
    (tmp_path / "new").touch()
    assert environment.git()["dirty"] is True
