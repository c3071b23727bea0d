"""A signal ends a stage in one sentence, whatever is running and whoever catches exceptions."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from finetune.errors import Interrupted
from finetune.stages import signals
from finetune.stages.signals import heeded

ROOT = Path(signals.__file__).parents[2]


@pytest.fixture(autouse=True)
def default_handlers():
    """A test process started in the background ignores Ctrl-C, and heeded would leave it so."""
    before = {number: signal.getsignal(number) for number in signals.SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_signal_is_one_sentence_and_an_exit_code_and_handlers_come_back(name, code):
    number = signal.Signals[name]
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, heeded(lambda: "export"):
        signal.raise_signal(number)
    assert caught.value.exit_code == code
    assert caught.value.problems == [f"Stopped by {name} during export."]
    assert caught.value.fix == "The same command goes on from there."
    assert signal.getsignal(number) is before


def test_no_handler_of_exceptions_on_the_way_takes_it_for_its_own():
    went_on = []

    def work():
        with contextlib.suppress(Exception):
            signal.raise_signal(signal.SIGTERM)
        went_on.append(1)

    with pytest.raises(Interrupted), heeded(lambda: None):
        work()
    assert not went_on


def test_a_signal_that_was_swallowed_still_ends_the_block():
    with pytest.raises(Interrupted), heeded(lambda: None), contextlib.suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)


def test_what_fails_because_of_the_signal_is_not_reported_in_its_place():
    def broken_off():
        try:
            signal.raise_signal(signal.SIGTERM)
        except BaseException as error:
            raise RuntimeError("the pool is broken") from error

    with pytest.raises(Interrupted), heeded(lambda: "prepare"):
        broken_off()


def test_a_failure_without_a_signal_is_itself():
    with pytest.raises(ZeroDivisionError), heeded(lambda: None):
        _ = 1 / 0


def test_a_signal_that_was_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with heeded(lambda: None):
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_other_threads_change_nothing():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with heeded(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_child_that_inherited_the_handler_simply_ends():
    with heeded(lambda: None):
        child = os.fork()
        if child == 0:
            signal.raise_signal(signal.SIGTERM)
            os._exit(7)
        status = os.waitpid(child, 0)[1]
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_an_echo_is_one_request_and_a_second_request_ends_the_process_at_once():
    code = (
        "import signal\nfrom finetune.stages import signals\n"
        "signals.ECHO_SECONDS = ECHO\n"
        "with signals.heeded(lambda: 'export'):\n"
        "    try:\n        signal.raise_signal(signal.SIGTERM)\n"
        "    finally:\n        signal.raise_signal(signal.SIGTERM)\n        print('cleaned up')\n"
    )

    def run(echo):
        text = code.replace("ECHO\n", f"{echo}\n")
        return subprocess.run(
            [sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False
        )

    assert "cleaned up" in run(60).stdout
    at_once = run(0)
    assert at_once.returncode == 143
    assert "cleaned up" not in at_once.stdout
