"""The path is the registry, and looking into it costs nothing heavy."""

import subprocess
import sys

import pytest

from finetune.errors import ConfigError
from finetune.metrics import find, names


def test_what_the_tasks_name_exists() -> None:
    wanted = (
        "accuracy macro_f1 macro_precision macro_recall weighted_f1 bleu chrf rouge1 rouge2 rougeL "
        "exact_match token_f1 perplexity recall_at_1 recall_at_5 recall_at_10 mrr mean_rank "
        "zero_shot_accuracy wer cer"
    )
    assert set(wanted.split()) <= set(names())
    assert names() == sorted(names())
    assert all(find(name).name == name for name in names())


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"`macro_f2`, did you mean `macro_f1`"):
        find("macro_f2")
    with pytest.raises(ConfigError, match=r"no metric `zzz`\. Choose one of `accuracy`"):
        find("zzz")


def test_a_new_file_with_a_metric_is_all_it_takes(tmp_path, monkeypatch) -> None:
    import finetune.metrics
    from finetune.metrics.discovery import _metrics

    (tmp_path / "novel_family.py").write_text(
        "from finetune.metrics.base import Metric, row_mean, with_count\n"
        "always = Metric('always', lambda p, r: with_count([1.0] * len(p)), row_mean)\n"
        "_hidden = Metric('hidden', always.statistics, row_mean)\n"
    )
    monkeypatch.setattr(finetune.metrics, "__path__", [*finetune.metrics.__path__, str(tmp_path)])
    _metrics.cache_clear()
    try:
        assert find("always")(["x"], ["y"]) == 1
        assert "hidden" not in names()
    finally:
        _metrics.cache_clear()
        sys.modules.pop("finetune.metrics.novel_family")


def test_finding_metrics_imports_nothing_heavy() -> None:
    heavy = "sklearn sacrebleu evaluate pandas datasets torch transformers jiwer rouge_score nltk"
    code = (
        "import sys, finetune.metrics as m; m.names(); "
        f"print(*[name for name in {heavy.split()!r} if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
