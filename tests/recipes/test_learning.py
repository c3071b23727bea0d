"""Each family × full, LoRA, QLoRA learns its sample for real: clearly better than the base."""

from __future__ import annotations

import pytest

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from tests.contracts.cases import RECIPES, STRATEGIES
from tests.stages.finished import say


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("tag", sorted(RECIPES))
def test_fine_tuning_beats_the_untouched_base_by_intervals_that_do_not_overlap(
    tag, strategy, tmp_path
):
    recipe, model = RECIPES[tag]
    said = say(f"recipe={recipe}", f"model={model}", f"strategy={strategy}",
               f"run.dir={tmp_path}", "name=case", "tracking.report_to=[]")  # fmt: skip
    assert said.code == 0, said.err
    found = storage.read_json(RunFolder(tmp_path / "case").evaluation / "metrics.json")
    name = found["primary_metric"]
    tuned, base = found["test"][name], found["baselines"]["base_model"][name]
    if found["greater_is_better"]:
        assert tuned["low"] > base["high"], (tuned, base)
    else:
        assert tuned["high"] < base["low"], (tuned, base)
