"""Every family has code that loads its model with plain libraries."""

from __future__ import annotations

import ast

import pytest

from finetune.reports.usage import _SNIPPETS, snippet


@pytest.mark.parametrize("path", sorted(_SNIPPETS.glob("*.txt")), ids=lambda path: path.stem)
def test_a_snippet_is_python_that_needs_neither_this_project_nor_a_network(path):
    tree = ast.parse(path.read_text())
    imported = {
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for name in [node.module]
    }
    assert imported <= {"transformers", "sentence_transformers"}
    assert '"merged"' in path.read_text()


def test_every_pipeline_in_the_snippets_exists_in_transformers():
    from transformers.pipelines import SUPPORTED_TASKS

    calls = {
        node.args[0].value
        for path in _SNIPPETS.glob("*.txt")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "pipeline"
    }
    assert "text-classification" in calls
    assert calls <= set(SUPPORTED_TASKS)


@pytest.mark.parametrize("task", ["", "unknown", "../report", "any.txt", "/etc/passwd"])
def test_an_unknown_task_gets_the_general_snippet(task):
    assert "AutoModel" in snippet(task)


def test_a_sentence_transformers_folder_is_loaded_by_that_library(tmp_path):
    (tmp_path / "merged").mkdir()
    (tmp_path / "merged/modules.json").write_text("[]")
    assert "SentenceTransformer" in snippet("text-classification", tmp_path)
