"""pyproject.toml, constraints.txt and the changelog agree with each other and with the code."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import finetune


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(scope="module")
def pins(root: Path) -> dict[str, Requirement]:
    lines = (root / "constraints.txt").read_text("utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found}


def every_requirement(project: dict) -> list[Requirement]:
    extras = project["optional-dependencies"].values()
    return [
        Requirement(line)
        for line in [*project["dependencies"], *(one for extra in extras for one in extra)]
    ]


def test_every_dependency_is_pinned_within_its_bounds(project, pins):
    for requirement in every_requirement(project):
        pin = pins[canonicalize_name(requirement.name)]
        (specifier,) = pin.specifier
        assert specifier.operator == "==", pin
        assert requirement.specifier.contains(specifier.version), f"{pin} is outside {requirement}"


def test_every_dependency_has_a_lower_and_an_upper_bound(project):
    for requirement in every_requirement(project):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert {">=", "<"} <= operators or requirement.name.startswith("types-"), str(requirement)


def test_pins_name_no_build_of_one_machine(pins):
    labelled = [str(pin) for pin in pins.values() if "+" in str(pin) or pin.url]
    assert not labelled, (
        f"local version labels and addresses can't be installed elsewhere: {labelled}"
    )


def test_everything_imported_is_declared(project, root):
    declared = {canonicalize_name(Requirement(line).name) for line in project["dependencies"]}
    declared |= {
        canonicalize_name(r.name) for r in every_requirement({**project, "dependencies": []})
    }
    owners = packages_distributions()
    missing: dict[str, set[str]] = {}
    for file in (root / "finetune").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            else:
                continue
            for top in {name.split(".")[0] for name in names}:
                if top in sys.stdlib_module_names or top in {"finetune", "__future__"}:
                    continue
                # an extra that is not installed here has no owner: it is taken for its own name
                if not {canonicalize_name(name) for name in owners.get(top, [top])} & declared:
                    missing.setdefault(top, set()).add(file.relative_to(root).as_posix())
    assert not missing, f"imported, but not among the dependencies: {missing}"


def test_the_changelog_opens_with_this_version(root):
    heading = re.search(
        r"^## \[([^\]]+)\] - (.+)$", (root / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )
    assert heading, "CHANGELOG.md has no `## [version] - date`"
    assert heading[1] == finetune.__version__
    assert heading[2] == "unreleased" or re.fullmatch(r"\d{4}-\d{2}-\d{2}", heading[2])


def test_the_oldest_python_is_the_same_everywhere(project, root):
    tools = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["tool"]
    assert project["requires-python"] == ">=3.11"
    assert tools["ruff"]["target-version"] == "py311"
    assert tools["mypy"]["python_version"] == "3.11"
    assert "(3, 11)" in (root / "scripts" / "environment.sh").read_text("utf-8")


def test_every_ignored_lint_rule_says_why(root):
    text = (root / "pyproject.toml").read_text("utf-8")
    block = re.search(r"^ignore = \[\n(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    assert block
    for line in filter(None, block[1].splitlines()):
        assert re.search(r'",\s+# \S.{8,}', line), f"say why this rule is ignored: {line.strip()}"


def test_public_names_are_sorted():
    names = list(getattr(finetune, "__all__", []))
    assert names == sorted(names)
    for name in names:
        assert hasattr(finetune, name), name
