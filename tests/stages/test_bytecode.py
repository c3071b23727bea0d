"""Bytecode is kept where Python keeps none, and nowhere else."""

import subprocess
import sys

import pytest

from finetune.stages import bytecode


@pytest.fixture
def alone(monkeypatch, tmp_path):
    monkeypatch.setenv("FINETUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("FINETUNE_BYTECODE", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    return tmp_path


@pytest.fixture
def module(alone, monkeypatch):
    """A module that was imported without bytecode."""
    (alone / "without_bytecode.py").write_text("ANSWER = 42\n")
    monkeypatch.syspath_prepend(str(alone))
    monkeypatch.setattr(bytecode, "FEW", 1)
    yield __import__("without_bytecode")
    del sys.modules["without_bytecode"]


def test_it_is_made_once_and_used_from_then_on(module, alone):
    bytecode.use()
    assert sys.pycache_prefix is None  # nothing has been made yet
    bytecode.make()
    assert bytecode.is_ours(bytecode.folder())
    [made] = bytecode.folder().rglob("without_bytecode.*.pyc")
    bytecode.use()
    assert sys.pycache_prefix == str(bytecode.folder())
    assert not sys.dont_write_bytecode
    found = subprocess.run(
        [sys.executable, "-v", "-c", "import without_bytecode as m; print(m.ANSWER)"],
        env={"PYTHONPATH": str(alone), "PYTHONPYCACHEPREFIX": sys.pycache_prefix},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"matches {module.__file__}" in found.stderr
    assert str(made) in found.stderr
    assert not list(alone.glob("__pycache__"))


@pytest.mark.parametrize("why", ["python writes it", "elsewhere", "switched off", "too few"])
def test_nothing_is_made_where_it_is_not_wanted(module, monkeypatch, why):
    if why == "python writes it":
        monkeypatch.setattr(sys, "dont_write_bytecode", False)
    if why == "elsewhere":
        monkeypatch.setattr(sys, "pycache_prefix", "/nowhere")
    if why == "switched off":
        monkeypatch.setenv("FINETUNE_BYTECODE", "0")
    if why == "too few":
        monkeypatch.setattr(bytecode, "FEW", 10**6)
    bytecode.make()
    assert not bytecode.folder().exists()


def test_a_folder_that_others_can_write_to_is_not_used(module):
    bytecode.make()
    bytecode.folder().chmod(0o777)
    bytecode.use()
    assert sys.pycache_prefix is None


def test_a_cache_that_cannot_be_written_costs_nothing(module, alone):
    (alone / "cache").write_text("a file")
    bytecode.make()
    assert (alone / "cache").read_text() == "a file"
