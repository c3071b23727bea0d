"""The project's tree, as the house tests look at it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP = (".ci", "conf", "docs", "finetune", "notebooks", "recipes", "scripts", "tests")


def files_of_the_project() -> list[Path]:
    """Return the files that git tracks or would track; in an unpacked sdist, all in its folders."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            check=True,
        ).stdout.decode()
        found = [ROOT / name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        found = [file for folder in TOP for file in (ROOT / folder).rglob("*")]
        found = [file for file in found if "__pycache__" not in file.parts] + list(ROOT.glob("*.*"))
    return sorted(file for file in found if file.is_file())


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's folder."""
    return ROOT


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file of the project, absolute."""
    found = files_of_the_project()
    assert found
    return found


@pytest.fixture(scope="session")
def texts(project_files: list[Path]) -> dict[str, str]:
    """The content of every text file, by its path below the project's folder."""
    found = {}
    for file in project_files:
        content = file.read_bytes()
        if b"\0" not in content[:4096]:
            found[file.relative_to(ROOT).as_posix()] = content.decode("utf-8")
    return found
