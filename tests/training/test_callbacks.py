"""The metrics log and the progress lines."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest

from finetune.runs import storage
from finetune.training.callbacks import SHOWN, MetricsLog, Progress
from finetune.training.seen import Seen


def state(step=1, main=True):
    return SimpleNamespace(global_step=step, is_world_process_zero=main, max_steps=10)


def control(**switches):
    return SimpleNamespace(
        **{"should_save": False, "should_evaluate": False, "should_log": False, **switches}
    )


@pytest.fixture
def log(tmp_path):
    return MetricsLog(tmp_path / "logs" / "metrics.jsonl", Seen(units=12.0))


def test_a_training_line_has_the_promised_keys_and_resets_the_units(log):
    logs = {"loss": 1.5, "learning_rate": 1e-3, "grad_norm": 2.0, "epoch": 0.5}
    log.on_log(None, state(), None, logs)
    (line,) = storage.read_jsonl(log.file)
    assert set(line) == {*logs, "step", "units", "units_per_second", "memory"}
    assert line["units"] == 12
    assert log.seen.units == 0


def test_an_evaluation_line_has_its_metrics_alone(log):
    log.on_log(None, state(), None, {"eval_loss": 0.5, "eval_accuracy": 1.0, "epoch": 1.0})
    assert storage.read_jsonl(log.file) == [
        {"step": 1, "epoch": 1.0, "eval_loss": 0.5, "eval_accuracy": 1.0}
    ]


def test_a_number_that_is_not_finite_is_null_in_strict_json(log):
    log.on_log(None, state(), None, {"eval_loss": float("nan")})
    assert json.loads(log.file.read_text(), parse_constant=pytest.fail)["eval_loss"] is None


@pytest.mark.parametrize("logs", [None, {}, {"train_runtime": 1.0}])
def test_what_is_no_metric_is_no_line(log, logs):
    log.on_log(None, state(), None, logs)
    assert not log.file.exists()


def test_other_ranks_write_nothing(log):
    log.on_log(None, state(main=False), None, {"loss": 1.0})
    assert not log.file.exists()


def test_a_resumed_run_drops_the_lines_beyond_its_checkpoint(log):
    for step in (1, 2, 3):
        storage.append_line(log.file, {"step": step, "loss": 1.0})
    log.on_train_begin(None, state(2), None)
    assert [line["step"] for line in storage.read_jsonl(log.file)] == [1, 2]


@pytest.mark.parametrize(
    ("step", "switch", "closes"),
    [(1, "should_evaluate", True), (10, "should_save", True), (1, "should_save", False)],
)
def test_a_line_is_closed_by_an_evaluation_and_the_end_but_by_no_checkpoint(
    log, step, switch, closes
):
    switches = control(**{switch: True})
    log.on_step_end(None, state(step), switches)
    assert switches.should_log is closes


def test_units_of_an_earlier_attempt_are_counted_but_make_nobody_faster(log, monkeypatch):
    moments = iter([100.0, 102.0, 102.0])
    monkeypatch.setattr("finetune.training.callbacks.time.perf_counter", lambda: next(moments))
    log.on_train_begin(None, state(2), None)
    log.seen.units += 8
    log.on_log(None, state(3), None, {"loss": 1.0})
    (line,) = storage.read_jsonl(log.file)
    assert (line["units"], line["units_per_second"]) == (20, 4.0)


def test_progress_says_an_evaluation_in_one_line_even_without_a_terminal(capsys):
    shown = Progress()
    shown.on_train_begin(None, state(0), None)
    shown.on_log(None, state(4), None, {"eval_loss": 0.25, "eval_accuracy": 0.5})
    shown.on_log(None, state(4), None, {"loss": 0.25})
    shown.on_step_end(None, state(4), None)
    shown.on_train_end(None, state(4), None)
    assert "step 4 of 10  validation: loss 0.25  accuracy 0.5" in capsys.readouterr().err
    assert shown.bar is None


def test_other_ranks_show_nothing(capsys):
    shown = Progress()
    shown.on_train_begin(None, state(0, main=False), None)
    shown.on_log(None, state(4, main=False), None, {"eval_loss": 0.25})
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    """Stands in for a terminal."""

    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("columns", "shown"), [(80, ["loss"]), (140, ["loss", "grad_norm", "learning_rate"])]
)
def test_beside_the_bar_stand_as_many_fields_as_there_is_room_for(monkeypatch, columns, shown):
    progress, terminal = Progress(), Terminal()
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda _: (columns, 40))
    monkeypatch.setattr("sys.stderr", terminal)
    progress.on_train_begin(None, state(), None)
    logs = {"loss": 2.1234, "grad_norm": 3.4691, "learning_rate": 0.0012345}
    progress.on_log(None, state(3), None, logs)
    last = terminal.getvalue().split("\r")[-1]
    progress.on_train_end(None, state(), None)
    assert [key for key in SHOWN if f"{key}=" in last] == shown
    assert last.endswith("]")
    assert len(last.split("|")[1]) >= 9
