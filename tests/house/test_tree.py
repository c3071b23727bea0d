"""What holds for every file of the project, found by looking rather than by a list."""

from __future__ import annotations

import ast
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

CODE = (".py", ".sh", ".yaml")
DATA = re.compile(r"^finetune/(data/samples|models/tiny)/")

# Files over 300 lines, each with the reason why cutting it would make it worse. Only shrinks.
LONG: dict[str, str] = {
    "finetune/cli.py": "a short function for each verb; apart, no one could see what there is",
    "finetune/config/schema.py": "every configuration key, most lines being their docstrings",
    "finetune/data/columns.py": "from said to recognised columns: one decision, told in one place",
    "finetune/data/media.py": "decoding and its limits; apart, a limit could be passed by",
    "finetune/reports/card.py": "the model card, a function for each section of the Hub's template",
    "scripts/pretrain/whisper.py": "a pretraining script that stands alone, with its sounds",
}

# Modules without a test file of their own, each with where they are tested. Only shrinks.
TESTED_ELSEWHERE: dict[str, str] = {
    "finetune/__main__.py": "tests/test_cli.py starts it in subprocesses",
    "finetune/config/bounds.py": "tests/config/test_validate.py, by every bounded key",
    "finetune/config/clean_schema.py": "tests/config/test_schema.py",
    "finetune/config/data_schema.py": "tests/config/test_schema.py",
    "finetune/data/canonical.py": "tests/data/test_prepare.py, whose rows all pass through it",
    "finetune/data/folders.py": "tests/data/test_sources.py",
    "finetune/data/problems.py": "tests/data/test_values.py and test_prepare.py",
    "finetune/data/synonyms.py": "tests/data/test_columns.py",
    "finetune/reports/names.py": "tests/reports/test_report.py",
    "finetune/stages/frozen_parts.py": "tests/stages/test_frozen.py",
    "finetune/training/absorbed_search.py": "tests/training/test_absorbed.py",
    "finetune/reports/sections.py": "tests/reports/test_report.py and test_card.py",
}

PLANTED = re.compile("ABCD|CANARY|EXAMPLE", re.IGNORECASE)
SECRETS = re.compile(
    r"hf_[A-Za-z0-9]{30}|gh[opsu]_[A-Za-z0-9]{30}|github_pat_\w{30}|AKIA[0-9A-Z]{16}|sk-[A-Za-z0-9]{32}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
MACHINE_PATH = re.compile(
    r"(?<![\w.:/~$})>-])/(?:home|Users|root|work|mnt|opt|srv|private)/[\w.-]+"
)


def code(texts: dict[str, str]) -> dict[str, str]:
    return {
        name: text for name, text in texts.items() if name.endswith(CODE) and not DATA.match(name)
    }


def test_every_yaml_opens_with_what_it_is(texts):
    silent = [
        name
        for name, text in texts.items()
        if name.startswith(("conf/", "recipes/")) and name.endswith((".yaml", ".yml"))
        if not re.match(r"# \S.{8,}", text)
    ]
    assert not silent, f"these must open with a comment line that says what they are: {silent}"


def test_yaml_files_end_in_yaml(texts):
    assert not [
        name for name in texts if name.startswith(("conf/", "recipes/")) and name.endswith(".yml")
    ]


def test_no_file_is_long_without_a_reason(texts):
    source = {n: text for n, text in code(texts).items() if not n.startswith("tests/")}
    long = {name for name, text in source.items() if len(text.splitlines()) > 300}
    assert not long - set(LONG), (
        f"over 300 lines: cut, or list with a reason: {sorted(long - set(LONG))}"
    )
    assert not set(LONG) - long, f"no longer long, take off the list: {sorted(set(LONG) - long)}"
    assert all(len(reason) > 20 for reason in LONG.values())


def has_behaviour(text: str) -> bool:
    """Tell whether a module defines anything, beyond a docstring and imports."""
    return any(
        isinstance(node, ast.FunctionDef | ast.ClassDef | ast.If) for node in ast.parse(text).body
    )


def test_every_module_has_a_test_file(texts):
    untested = set()
    for name, text in texts.items():
        path = Path(name)
        if path.parts[0] != "finetune" or path.suffix != ".py" or DATA.match(name):
            continue
        if path.name == "__init__.py" and not has_behaviour(text):
            continue
        module = path.relative_to("finetune")
        stem = module.stem.strip("_")
        if str(Path("tests", module.parent, f"test_{stem}.py").as_posix()) not in texts:
            untested.add(name)
    missing = sorted(untested - set(TESTED_ELSEWHERE))
    assert not missing, (
        f"write tests/<package>/test_<module>.py, or list with where it is tested: {missing}"
    )
    stale = sorted(set(TESTED_ELSEWHERE) - untested)
    assert not stale, f"have a test file now or are gone, take off the list: {stale}"


def test_no_test_file_has_outlived_its_module(project_files, root):
    names = {file.relative_to(root).as_posix() for file in project_files}
    packages = {name.split("/")[1] for name in names if re.match(r"finetune/\w+/.+\.py$", name)}
    gone = []
    for name in names:
        match = re.fullmatch(r"tests/(\w+)/test_(\w+)\.py", name)
        if not match or match[1] not in packages or match[2].startswith("sample_"):
            continue
        package, stem = match.groups()
        candidates = (
            f"finetune/{package}/{stem}.py",
            f"finetune/{package}/__{stem}__.py",
            f"finetune/{package}/{stem}",
        )
        if not any(c in names or any(n.startswith(f"{c}/") for n in names) for c in candidates):
            gone.append(name)
    assert not gone, f"these test modules that don't exist: {gone}"


def test_no_machine_path_is_written_down(texts):
    found = [
        f"{name}:{number}: {match[0]}"
        for name, text in texts.items()
        if not name.startswith("tests/")  # where invented ones are planted, to see them masked
        for number, line in enumerate(text.splitlines(), 1)
        if (match := MACHINE_PATH.search(line))
    ]
    assert not found, f"paths that exist on one machine only: {found}"


def test_the_machine_path_check_sees_one():
    assert MACHINE_PATH.search('open("/home/someone/data.csv")')
    assert not MACHINE_PATH.search("https://example.org/home/page and tests/work/x and ~/opt/y")


def test_no_secret_is_written_down(texts):
    found = [
        f"{name}: {match[0][:8]}…"
        for name, text in texts.items()
        for match in SECRETS.finditer(text)
        if not PLANTED.search(match[0])
    ]
    assert not found, f"look like secrets: {found}"


def test_the_secret_check_sees_one():
    assert SECRETS.search("token = 'hf_" + "a1" * 17 + "'")


def test_nothing_is_left_to_do_in_comments(texts):
    marker = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    found = [
        f"{name}:{number}"
        for name, text in code(texts).items()
        for number, line in enumerate(text.splitlines(), 1)
        if marker.search(line)
    ]
    assert not found, f"do it, or open an issue: {found}"


def test_no_module_is_called_utils(texts):
    vague = [
        name for name in texts if re.search(r"(^|/)(utils?|helpers?|common|misc)(\.py|/)", name)
    ]
    assert not vague, f"name the module after what it is: {vague}"


def test_no_file_is_larger_than_a_repository_should_carry(project_files, root):
    large = [f.relative_to(root).as_posix() for f in project_files if f.stat().st_size > 10 * 2**20]
    assert not large, f"over 10 MiB: {large}"


def test_every_module_opens_with_a_docstring(texts):
    silent = [
        name
        for name, text in texts.items()
        if name.endswith(".py")
        and name.startswith(("finetune/", "scripts/"))
        and not DATA.match(name)
        and text.strip()
        and not ast.get_docstring(ast.parse(text))
    ]
    assert not silent, f"say in one line what the file is: {silent}"


def test_notebooks_are_valid_and_carry_no_output(texts):
    for name, text in texts.items():
        if not name.endswith(".ipynb"):
            continue
        notebook = json.loads(text)
        assert notebook["nbformat"] == 4, name
        assert notebook["cells"], name
        for cell in notebook["cells"]:
            assert cell["cell_type"] in {"markdown", "code", "raw"}, name
            assert not cell.get("outputs"), f"{name}: clear the outputs before committing"


def shell_scripts(texts: dict[str, str]) -> list[str]:
    return [n for n, t in texts.items() if n.endswith(".sh") or re.match(r"#!.*\b(ba)?sh\b", t)]


def test_shell_scripts_parse(texts, root):
    scripts = shell_scripts(texts)
    assert ".ci/run" in scripts
    for name in scripts:
        parsed = subprocess.run(
            ["bash", "-n", name], cwd=root, capture_output=True, text=True, check=False
        )
        assert parsed.returncode == 0, parsed.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_shell_scripts_pass_shellcheck(texts, root):
    command = ["shellcheck", "-x", "-S", "warning", *shell_scripts(texts)]
    checked = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_scripts_that_are_called_can_be_run(root, texts):
    for name in shell_scripts(texts):
        if texts[name].startswith("#!"):
            assert (root / name).stat().st_mode & 0o111, (
                f"{name} has an interpreter line but may not be run"
            )
