"""Every command in the README is one that works: its script exists, its recipe and keys compose."""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDS_CLI = pytest.mark.skipif(
    importlib.util.find_spec("finetune.cli") is None, reason="no command line yet"
)


def commands(markdown: str) -> list[list[str]]:
    """Return the words of each command in the ```bash blocks, comments and prompts taken off."""
    found = []
    for block in re.findall(r"^ *```bash\n(.*?)^ *```", markdown, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.strip().removeprefix("$ "), comments=True)
            if words:
                found.append(words)
    return found


def of_finetune(words: list[str]) -> list[str] | None:
    """Return what follows ``-m finetune``, or None for another command."""
    for index in range(len(words) - 1):
        if words[index : index + 2] == ["-m", "finetune"]:
            return words[index + 2 :]
    return words[1:] if words[0] == "finetune" else None


README = commands((ROOT / "README.md").read_text("utf-8")) if (ROOT / "README.md").is_file() else []
SCRIPTS = [words for words in README if words[0] == "bash"]
FINETUNE = [arguments for words in README if (arguments := of_finetune(words)) is not None]


def run_cli(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    from finetune.cli import main

    monkeypatch.setattr(sys, "argv", ["finetune", *arguments])
    try:
        return int(main() or 0)
    except SystemExit as stopped:
        return int(stopped.code or 0)


def test_commands_are_found_in_a_readme():
    text = (
        "a\n```bash\n$ bash scripts/x.sh  # why\n"
        "OMP=1 python -m finetune recipe=a/b \\\n    train.max_steps=2\n```\n"
    )
    assert commands(text) == [
        ["bash", "scripts/x.sh"],
        ["OMP=1", "python", "-m", "finetune", "recipe=a/b", "train.max_steps=2"],
    ]
    assert of_finetune(commands(text)[1]) == ["recipe=a/b", "train.max_steps=2"]


@pytest.mark.skipif(not (ROOT / "README.md").is_file(), reason="no README yet")
def test_the_readme_opens_with_the_two_commands():
    assert [words[:2] for words in README[:2]] == [
        ["bash", "scripts/quickstart.sh"],
        ["bash", "scripts/test.sh"],
    ]


@pytest.mark.parametrize("words", SCRIPTS, ids=" ".join)
def test_a_script_that_the_readme_calls_exists(words):
    assert (ROOT / words[1]).is_file()


@NEEDS_CLI
@pytest.mark.parametrize(
    "arguments", [a for a in FINETUNE if any(w.startswith("recipe=") for w in a)], ids=" ".join
)
def test_a_run_that_the_readme_shows_composes(arguments, monkeypatch, capsys):
    keys = [word for word in arguments if "=" in word]
    if "-m" in arguments or "--multirun" in arguments:
        keys = [re.sub(r"^([^=]+=[^,\[({]+),.*$", r"\1", key) for key in keys]
    monkeypatch.chdir(ROOT)
    assert run_cli(["show", *keys], monkeypatch) == 0, capsys.readouterr().err


@NEEDS_CLI
@pytest.mark.parametrize(
    "arguments", [a for a in FINETUNE if a and re.fullmatch(r"[a-z]+", a[0])], ids=" ".join
)
def test_a_verb_that_the_readme_shows_exists(arguments, monkeypatch, capsys):
    assert run_cli(["--help"], monkeypatch) == 0
    assert re.search(rf"\b{arguments[0]}\b", capsys.readouterr().out), (
        f"--help knows no `{arguments[0]}`"
    )


@NEEDS_CLI
def test_a_recipe_that_is_not_there_would_be_seen(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    assert run_cli(["show", "recipe=no/such_recipe"], monkeypatch) == 2
    assert "no/such_recipe" in capsys.readouterr().err
