"""sdist → wheel: what is installed is what is in the source tree, no more and no less."""

from __future__ import annotations

import os
import tarfile
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def sdist(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source distribution, unpacked."""
    from hatchling.builders.sdist import SdistBuilder

    target = tmp_path_factory.mktemp("sdist")
    (archive,) = SdistBuilder(str(root)).build(directory=str(target), versions=["standard"])
    with tarfile.open(archive) as packed:
        packed.extractall(target, filter="data")
    (unpacked,) = (path for path in target.iterdir() if path.is_dir())
    return unpacked


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> zipfile.Path:
    """The wheel, built from the unpacked source distribution as an index's users would."""
    from hatchling.builders.wheel import WheelBuilder

    target = tmp_path_factory.mktemp("wheel")
    before = Path.cwd()
    os.chdir(sdist)
    try:
        (built,) = WheelBuilder(str(sdist)).build(directory=str(target), versions=["standard"])
    finally:
        os.chdir(before)
    return zipfile.Path(built)


@pytest.fixture(scope="module")
def installed(wheel: zipfile.Path) -> set[str]:
    return {name for name in wheel.root.namelist() if not name.endswith("/")}


def below(project_files: list[Path], root: Path, *folders: str) -> set[str]:
    names = (file.relative_to(root).as_posix() for file in project_files)
    return {name for name in names if name.startswith(tuple(f"{folder}/" for folder in folders))}


def test_the_wheel_holds_exactly_the_yaml_of_conf_and_recipes(installed, project_files, root):
    shipped = {
        name for name in installed if name.startswith(("finetune/conf/", "finetune/recipes/"))
    }
    assert shipped == {f"finetune/{name}" for name in below(project_files, root, "conf", "recipes")}
    assert "finetune/conf/finetune.yaml" in shipped


def test_the_wheel_holds_every_file_of_the_package(installed, project_files, root):
    """Code, samples, tiny base models and report templates alike."""
    shipped = {n for n in installed if n.startswith("finetune/")}
    shipped -= {n for n in shipped if n.startswith(("finetune/conf/", "finetune/recipes/"))}
    assert shipped == below(project_files, root, "finetune")


def test_the_wheel_installs_one_package_and_its_metadata(installed):
    tops = {name.split("/")[0] for name in installed}
    assert {top.split("-")[0] for top in tops} == {"finetune"}, tops
    assert sum(top.endswith(".dist-info") for top in tops) == 1


def test_the_wheel_says_its_licence_and_its_command(wheel, installed):
    (metadata,) = (name for name in installed if name.endswith(".dist-info/METADATA"))
    text = wheel.joinpath(metadata).read_text("utf-8")
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text
    assert any(name.endswith("/licenses/LICENSE") for name in installed)
    (entry_points,) = (name for name in installed if name.endswith("entry_points.txt"))
    assert "finetune = finetune.cli:main" in wheel.joinpath(entry_points).read_text("utf-8")


def test_the_sdist_holds_what_the_tests_need(sdist, project_files, root):
    shipped = {file.relative_to(sdist).as_posix() for file in sdist.rglob("*") if file.is_file()}
    wanted = below(
        project_files,
        root,
        "finetune",
        "conf",
        "recipes",
        "scripts",
        "tests",
        "docs",
        "notebooks",
        ".ci",
    )
    wanted |= {
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "constraints.txt",
    }
    assert not wanted - shipped


def test_nothing_of_this_machine_is_packed(sdist):
    folders = {path.name for path in sdist.rglob("*") if path.is_dir()}
    assert not folders & {".venv", "__pycache__", ".git", ".mypy_cache", ".ruff_cache"}
    assert not {path.name for path in sdist.iterdir()} & {"runs", "outputs", "multirun", "dist"}
