"""Ctrl-C and termination: the step is finished, saved, and the run says how to go on."""

from __future__ import annotations

import signal
import threading
from types import SimpleNamespace

import pytest

from finetune.errors import Interrupted, TimeIsUp
from finetune.training.interruption import Interruption

ARGUMENTS = SimpleNamespace(world_size=1, device="cpu")


def switches():
    return SimpleNamespace(should_save=False, should_training_stop=False, should_evaluate=False)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_asks_for_a_checkpoint_and_the_end(number, code):
    interruption, control = Interruption(), switches()
    with interruption.watching():
        signal.raise_signal(number)
        interruption.on_step_end(ARGUMENTS, None, control)
    assert control.should_save
    assert control.should_training_stop
    with pytest.raises(Interrupted) as caught:
        interruption.raise_if_asked(7)
    assert caught.value.exit_code == code
    assert "step-7" in caught.value.problems[0]
    assert "same command" in caught.value.fix


@pytest.fixture
def heeded():
    """Ctrl-C as in a terminal: a shell starts what runs in the background with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_second_signal_ends_at_once(heeded):
    interruption = Interruption()
    with interruption.watching():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted, match="second SIGTERM") as caught:
            signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert "last checkpoint" in caught.value.fix


def test_a_launchers_echo_of_ctrl_c_is_no_second_signal(heeded, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    interruption = Interruption()
    with interruption.watching():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        interruption.signalled -= 2
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)


def test_a_checkpoint_that_was_asked_for_is_waited_for_and_no_other():
    interruption, control = Interruption(), switches()
    interruption.on_step_end(ARGUMENTS, None, control)
    assert not interruption.urgent
    with interruption.watching():
        signal.raise_signal(signal.SIGUSR1)
        interruption.on_step_end(ARGUMENTS, None, control)
    assert interruption.urgent
    interruption.on_save(ARGUMENTS, None, control)
    assert not interruption.urgent


def test_sigusr1_saves_and_goes_on():
    interruption, control = Interruption(), switches()
    with interruption.watching():
        signal.raise_signal(signal.SIGUSR1)
        interruption.on_step_end(ARGUMENTS, None, control)
    assert control.should_save
    assert not control.should_training_stop
    later = switches()
    interruption.on_step_end(ARGUMENTS, None, later)
    assert not later.should_save
    interruption.raise_if_asked(7)


def test_a_file_saves_once_and_is_taken_away(tmp_path):
    file = tmp_path / "SAVE"
    interruption = Interruption(file=file)
    file.touch()
    interruption.looked -= 2
    first, second = switches(), switches()
    interruption.on_step_end(ARGUMENTS, None, first)
    interruption.looked -= 2
    interruption.on_step_end(ARGUMENTS, None, second)
    assert (first.should_save, second.should_save) == (True, False)
    assert not file.exists()


def test_an_old_checkpoint_makes_for_a_new_one():
    interruption, control = Interruption(save_minutes=5), switches()
    interruption.on_step_end(ARGUMENTS, None, control)
    assert not control.should_save
    interruption.saved -= 301
    interruption.on_step_end(ARGUMENTS, None, control)
    assert control.should_save
    again = switches()
    interruption.on_save(ARGUMENTS, None, again)
    interruption.on_step_end(ARGUMENTS, None, again)
    assert not again.should_save


def test_a_time_budget_saves_and_ends_without_an_error_code():
    interruption, control = Interruption(max_hours=0.5), switches()
    interruption.on_step_end(ARGUMENTS, None, control)
    assert not control.should_training_stop
    interruption.begun -= 1801
    interruption.on_step_end(ARGUMENTS, None, control)
    assert control.should_save
    assert control.should_training_stop
    with pytest.raises(TimeIsUp, match=r"train\.max_hours=0\.5") as caught:
        interruption.raise_if_asked(7)
    assert caught.value.exit_code == 0


def test_what_another_rank_was_asked_for_is_done_here_too(monkeypatch):
    asked = iter([1, 3 + signal.SIGTERM])
    monkeypatch.setattr("finetune.training.ranks.largest", lambda *_: next(asked))
    interruption, control = Interruption(), switches()
    interruption.on_step_end(ARGUMENTS, None, control)
    assert (control.should_save, control.should_training_stop) == (True, False)
    interruption.on_step_end(ARGUMENTS, None, control)
    assert control.should_training_stop
    assert interruption.signal == signal.SIGTERM


def test_handlers_are_given_back():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with Interruption().watching():
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_without_a_signal_nothing_is_asked():
    interruption, control = Interruption(), switches()
    interruption.on_step_end(ARGUMENTS, None, control)
    assert not control.should_training_stop
    interruption.raise_if_asked(7)


@pytest.mark.parametrize(
    ("epoch", "step", "evaluated"), [(0.5, 3, False), (1.0, 6, True), (1.5, 9, True)]
)
def test_only_an_epoch_that_was_broken_off_is_not_evaluated(epoch, step, evaluated):
    interruption = Interruption()
    interruption.asked = 3 + signal.SIGINT
    control = SimpleNamespace(should_save=True, should_evaluate=True)
    interruption.on_epoch_end(
        None, SimpleNamespace(epoch=epoch, global_step=step, max_steps=9), control
    )
    assert control.should_evaluate is evaluated


def test_outside_the_main_thread_signals_are_left_alone():
    found = []

    def work():
        with Interruption().watching():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert found == [before]
