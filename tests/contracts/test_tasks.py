"""What every Task promises, whatever its problem; a new task is picked up by its file alone."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from finetune.models import merge, strategy
from finetune.models.load import LoadOptions
from finetune.tasks.base import CoupledTask, Prediction
from finetune.training.coupled import CoupledStep
from tests.contracts.conftest import Case
from tests.models.bases import LORA, answers, disturb


def batch_of(case: Case, rows: Any = None) -> Any:
    return case.task.collate(case.task.encode(case.rows if rows is None else rows))


def inputs_of(case: Case) -> Any:
    """Return what a model takes of a batch, its labels left out."""
    return {k: v for k, v in batch_of(case).items() if k not in ("labels", "group", "reference")}


def trainable(model: Any) -> Any:
    model = copy.deepcopy(model)
    model.requires_grad_(True)
    return model


def test_loss_is_finite_and_reaches_every_weight(case: Case, model: Any) -> None:
    model = trainable(model)
    sums, counts = case.task.row_losses(model, batch_of(case))
    assert sums.shape == counts.shape == (len(case.rows),)
    assert torch.isfinite(sums).all()
    assert (sums > 0).all()
    sums.sum().backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert all(g is None or torch.isfinite(g).all() for g in gradients.values())
    assert not [name for name, gradient in gradients.items() if gradient is None]


def test_units_are_what_the_loss_counts(case: Case, model: Any) -> None:
    batch = batch_of(case)
    with torch.inference_mode():
        total, units = case.task.loss(model, batch)
    assert case.task.units(batch) == int(units) > 0
    assert math.isfinite(float(total))


def test_padding_has_no_part_in_the_loss(case: Case, model: Any) -> None:
    if isinstance(case.task, CoupledTask):
        pytest.skip("its rows are contrasted with each other; see the next test")
    with torch.inference_mode():
        together, units = case.task.row_losses(model, batch_of(case))
        alone = [case.task.row_losses(model, batch_of(case, [row])) for row in case.rows]
    assert units.tolist() == [int(count[0]) for _, count in alone]
    wanted = torch.cat([losses for losses, _ in alone])
    assert torch.allclose(together, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("micro", [1, 3, 8])
def test_a_coupled_loss_in_pieces_is_the_loss_in_one_pass(
    micro: int, case: Case, model: Any
) -> None:
    if not isinstance(case.task, CoupledTask):
        pytest.skip("its rows are independent; see the test before")
    task, rows = case.task, case.rows
    whole = trainable(model)
    batch = batch_of(case)
    total, _ = task.coupled_loss(whole, task.embed(whole, batch), task.groups(batch))
    total.backward()
    pieces = trainable(model)
    batches = [batch_of(case, rows[start : start + micro]) for start in range(0, len(rows), micro)]
    step = CoupledStep(task, pieces, batches, [False] * len(batches))
    step.embed()
    step.differentiate(pieces)
    for number, part in enumerate(batches):
        last = number == len(batches) - 1
        step.surrogate(number, part, factor=1.0, world=1, last=last).backward()
    assert step.total.item() == pytest.approx(total.item(), rel=1e-5)
    for (name, one), (_, other) in zip(
        whole.named_parameters(), pieces.named_parameters(), strict=True
    ):
        assert one.grad is not None, name
        assert other.grad is not None, name
        assert (one.grad - other.grad).norm() <= 1e-4 * one.grad.norm() + 1e-5, name


def test_answers_do_not_depend_on_the_batch(case: Case, model: Any) -> None:
    rows = case.rows[:4]
    together = case.task.predict(model, rows, batch_size=4)
    apart = case.task.predict(model, rows, batch_size=1)
    assert [p.value for p in together] == [p.value for p in apart]
    assert [p.rank for p in together] == [p.rank for p in apart]
    for one, other in zip(together, apart, strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-3, abs=1e-4)


def test_answers_come_in_the_order_of_the_rows(case: Case, model: Any) -> None:
    rows = case.rows[:4]
    found = case.task.predict(model, rows, batch_size=2)
    turned = case.task.predict(model, rows[::-1], batch_size=2)
    assert len(found) == len(rows)
    for one, other in zip(found, turned[::-1], strict=True):
        assert one.value == other.value
        assert one.score == pytest.approx(other.score, rel=1e-3, abs=1e-4)


def test_no_rows_have_no_answers(case: Case, model: Any) -> None:
    assert case.task.predict(model, []) == []


def test_answers_need_no_target(case: Case, model: Any) -> None:
    """What is asked for is not among the inputs; a contrastive row's text is its candidate."""
    if isinstance(case.task, CoupledTask):
        pytest.skip("the captions of the rows are the candidates")
    targets = {"label", "target"} | ({"text"} if "audio" in case.task.columns else set())
    rows = [{k: v for k, v in row.items() if k not in targets} for row in case.rows[:2]]
    for row in rows:
        if "messages" in row:
            row["messages"] = row["messages"][:-1]
    found = case.task.predict(model, rows)
    wanted = case.task.predict(model, case.rows[:2])
    assert [p.value for p in found] == [p.value for p in wanted]


def perfect(case: Case, rows: Any) -> list[Prediction]:
    """Return the right answers as predictions."""
    return [Prediction(value, 1.0, rank=1) for value in case.task.references(rows)]


def test_perfect_answers_score_best(case: Case) -> None:
    task = case.task
    scores = task.score(perfect(case, case.rows), task.references(case.rows))
    assert set(scores) == set(task.scored_by) - set(task.row_metrics)
    for metric in task.scorers():
        if metric.name in scores:
            best = 1.0 if metric.greater_is_better else 0.0
            assert scores[metric.name] in (pytest.approx(best), pytest.approx(100 * best))
    wrong = [Prediction("?", 0.0, rank=999) for _ in case.rows]
    worst = task.score(wrong, task.references(case.rows))[task.primary]
    assert worst < scores[task.primary] if task.greater_is_better else worst > scores[task.primary]
    assert task.primary == task.scored_by[0]


def test_baselines_answer_every_row(case: Case) -> None:
    found = case.task.baselines()
    assert found
    for name, baseline in found.items():
        predictions = baseline(case.rows, case.rows[:3])
        assert len(predictions) == 3, name
        scores = case.task.score(predictions, case.task.references(case.rows[:3]))
        assert all(math.isfinite(value) for value in scores.values()), name


def test_a_profile_has_a_number_for_every_row(case: Case, model: Any) -> None:
    rows = case.rows[:3]
    profile = case.task.profile(rows, case.task.predict(model, rows))
    assert profile
    assert all(len(values) == 3 for values in profile.values())


def test_measuring_is_cheap_encoding(case: Case) -> None:
    for measured in case.task.measure(case.rows):
        assert measured["length"] > 0
        assert measured["n_tokens"] >= measured["length"]
        assert not measured.get("overlong", False)
        if case.task.lazy:
            assert not {"pixel_values", "input_features"} & set(measured)


def test_a_saved_model_gives_the_same_outputs(case: Case, model: Any, tmp_path: Path) -> None:
    case.task.save_model(model, tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.suffix in (".bin", ".pt", ".pkl")]
    again = copy.copy(case.task)
    again.load_processor(tmp_path)
    found = again.load_model(tmp_path, LoadOptions(dropout=0.0))
    assert found.new_modules == []
    inputs = inputs_of(case)
    assert torch.equal(answers(found.model, inputs), answers(model, inputs))
    rows = case.rows[:2]
    assert again.predict(found.model, rows) == case.task.predict(model, rows)


@pytest.mark.parametrize("quantized", [False, True], ids=["lora", "qlora"])
def test_an_adapter_folds_into_what_the_task_loads(
    quantized: bool, case: Case, tmp_path: Path
) -> None:
    found = case.load(quantized=quantized)
    model: Any = strategy.apply(
        found.model, peft_type="LORA", options=LORA, new_modules=found.new_modules
    )
    disturb(model)
    model.eval().save_pretrained(str(tmp_path), save_embedding_layers=False)
    inputs = inputs_of(case)
    wanted = answers(model, inputs)
    plain = case.load().model
    if quantized:
        merge.dequantise_into(plain, case.load(quantized=True).model)
    got = answers(merge.merged(merge.with_adapter(plain, tmp_path)), inputs)
    tolerance = (1e-3 if quantized else 1e-5) * max(1.0, float(wanted.abs().max()))
    assert (got - wanted).abs().max() <= tolerance
