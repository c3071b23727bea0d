"""What a checkpoint holds beside the weights."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import EarlyStoppingCallback, TrainerState, get_scheduler
from transformers.trainer_callback import TrainerControl

from finetune.training import resuming
from finetune.training.seen import Seen


class Scaler:
    """fp16's scaler, of which only the scale matters here."""

    def __init__(self, scale):
        self.scale = scale

    def state_dict(self):
        return {"scale": self.scale}

    def load_state_dict(self, state):
        self.scale = state["scale"]


def parts(scale=None):
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([weight], lr=0.1)
    schedule = get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=9)
    return {
        "optimizer": optimizer,
        "scheduler": schedule,
        "scaler": Scaler(scale) if scale else None,
        "seen": Seen(),
    }, weight


def advance(given, weight, steps):
    for number in range(steps):
        weight.grad = torch.full((3,), 1.0 + number)
        given["optimizer"].step()
        given["scheduler"].step()


def write(folder, given):
    state = {"state": TrainerState(global_step=4), "optimizer": given["optimizer"].state_dict()}
    resuming.write(folder, **{**given, **state})


def test_everything_is_taken_up_where_it_was(tmp_path):
    one, weight = parts(scale=1024.0)
    advance(one, weight, 4)
    one["seen"].count(2.5, 7)
    write(tmp_path, one)
    other, copy = parts(scale=1.0)
    copy.data.copy_(weight.data)
    resuming.read(tmp_path, **other)
    assert other["seen"] == one["seen"]
    assert other["scaler"].scale == 1024.0
    advance(one, weight, 3)
    advance(other, copy, 3)
    assert torch.equal(weight, copy)
    assert one["scheduler"].get_last_lr() == other["scheduler"].get_last_lr()


def test_no_pickle_is_among_the_files(tmp_path):
    given, weight = parts(scale=2.0)
    advance(given, weight, 1)
    write(tmp_path, given)
    assert {file.suffix for file in tmp_path.iterdir()} == {".safetensors", ".json"}


def test_what_was_learnt_about_memory_outlives_the_checkpoint(tmp_path):
    given, weight = parts()
    advance(given, weight, 1)
    (tmp_path / "step-4").mkdir()
    write(tmp_path / "step-4", given)
    resuming.remember_plan(tmp_path, 2)
    assert resuming.remembered_plan(tmp_path) == 2
    resuming.read(tmp_path / "step-4", **given)
    assert given["seen"].halvings == 2


@pytest.mark.parametrize("content", [None, "{}", "[]"])
def test_without_a_plan_nothing_is_halved(tmp_path, content):
    if content:
        (tmp_path / "plan.json").write_text(content)
    assert resuming.remembered_plan(tmp_path) == 0


@pytest.mark.parametrize("stopping", [False, True])
def test_the_state_names_no_folder_no_history_and_nothing_of_the_moment(stopping):
    state = TrainerState(best_model_checkpoint="/home/me/x", log_history=[{"loss": 1.0}])
    control = TrainerControl(should_save=stopping, should_training_stop=stopping)
    state.stateful_callbacks["TrainerControl"] = control.state()
    handler = SimpleNamespace(callbacks=[EarlyStoppingCallback(3)])
    found = resuming.current_state(
        SimpleNamespace(state=state, control=control, callback_handler=handler)
    )
    assert found.best_model_checkpoint is None
    assert found.log_history == []
    assert set(found.stateful_callbacks) == {"EarlyStoppingCallback"}


@pytest.mark.parametrize(("before", "now"), [(1, 2), (2, 1)])
def test_a_schedule_goes_on_with_another_number_of_groups(before, now):
    """ZeRO drops the groups that have no weight, such as an adapter's biases."""

    def schedule(groups):
        weights = [{"params": [torch.nn.Parameter(torch.ones(1))]} for _ in range(groups)]
        optimizer = torch.optim.AdamW(weights, lr=0.1)
        return get_scheduler("cosine", optimizer, num_warmup_steps=2, num_training_steps=9)

    first, second = schedule(before), schedule(now)
    first.optimizer.step()
    first.step()
    second.load_state_dict(resuming.fitted(first.state_dict(), second))
    for each in (first, second):
        each.optimizer.step()
        each.step()
    assert second.get_last_lr() == [first.get_last_lr()[0]] * now


@pytest.mark.parametrize("rate", [0.1, 0.02])
def test_a_learning_rate_that_may_differ_holds_from_the_next_step_on(rate):
    def made(lr, decay):
        optimizer = torch.optim.AdamW(
            [torch.nn.Parameter(torch.ones(1))], lr=lr, weight_decay=decay
        )
        return optimizer, get_scheduler("linear", optimizer, 2, 9)

    optimizer, schedule = made(0.1, 0.5)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    other, again = made(rate, 0.0)
    asked = [{**group, "params": None} for group in other.param_groups]
    other.load_state_dict(optimizer.state_dict())
    again.load_state_dict(schedule.state_dict())
    resuming.keep_asked(other, again, asked)
    assert other.param_groups[0]["weight_decay"] == 0.0
    for _ in range(3):
        here, there = optimizer.param_groups[0]["lr"], other.param_groups[0]["lr"]
        assert there == (here if rate == 0.1 else pytest.approx(here * rate / 0.1))
        for each in (optimizer, schedule, other, again):
            each.step()
