"""The floors of the house: nothing imports upwards or sideways, and the check sees it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


def lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache", "--no-logo"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )


@pytest.fixture
def house(root: Path, tmp_path: Path) -> Path:
    """A package with this project's floors and nothing on them, under this project's contract."""
    pyproject = (root / "pyproject.toml").read_text("utf-8")
    (contract,) = tomllib.loads(pyproject)["tool"]["importlinter"]["contracts"]
    (tmp_path / "pyproject.toml").write_text(pyproject, "utf-8")
    package = tmp_path / "finetune"
    package.mkdir()
    (package / "__init__.py").touch()
    for floor in contract["layers"]:
        for name in floor.split("|"):
            (package / f"{name.strip()}.py").touch()
    return tmp_path


def test_nothing_imports_upwards_or_sideways(root):
    checked = lint_imports(root)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_an_empty_house_passes(house):
    checked = lint_imports(house)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    ("module", "imports"), [("errors", "cli"), ("metrics", "data"), ("reports", "training")]
)
def test_an_import_upwards_or_sideways_is_seen(house, module, imports):
    (house / "finetune" / f"{module}.py").write_text(f"from finetune import {imports}\n", "utf-8")
    checked = lint_imports(house)
    assert checked.returncode != 0
    assert f"finetune.{module} -> finetune.{imports}" in checked.stdout


def test_a_module_on_no_floor_is_seen(house):
    (house / "finetune" / "attic.py").touch()
    checked = lint_imports(house)
    assert checked.returncode != 0
    assert "attic" in checked.stdout
