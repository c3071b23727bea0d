"""Kill -9 at any moment, any number of times: the same command gives the same bits in the end."""

from __future__ import annotations

import os
import random
import signal

import pytest

from tests.contracts.cases import RECIPES
from tests.faults import harness
from tests.faults.harness import Moment

BERT, T5, GPT, CLIP, WHISPER = (tag for tag in RECIPES if tag != "preference")
CASES = {
    "full": (BERT, "strategy=full"),
    "lora": (GPT, "strategy=lora"),
    "qlora": (GPT, "strategy=qlora"),
    "accumulation": (T5, "strategy=lora", "train.micro_batch_size=2"),
    "workers": (CLIP, "strategy=lora", "train.dataloader_num_workers=2"),
    "speech": (WHISPER, "strategy=full", "train.micro_batch_size=4"),
}
EPOCH = 6
"""Steps in an epoch of these runs."""


def killed_and_finished(folder, arguments, moments, *, everyone=False, trained=True):
    """Kill a job at each moment in turn, then let it finish; return how many kills struck."""
    struck = 0
    for moment in moments:
        job = harness.fork(folder, arguments)
        try:
            harness.hit(job, moment, signal.SIGKILL, everyone=everyone)
            code = job.wait()
        finally:
            job.end()
        assert code in (-signal.SIGKILL, 0, harness.LOCKED), job.said()
        struck += code == -signal.SIGKILL
        if code == 0:  # it ended before the moment came: there is nothing left to kill
            break
    ended = harness.finish(lambda: harness.fork(folder, arguments), trained=trained)
    found = harness.differences(
        harness.uninterrupted(tuple(arguments)), harness.fingerprint(folder), trained=True
    )
    assert not found, found
    return struck, ended


def test_kills_within_one_epoch_change_no_bit(tmp_path):
    tag, *more = CASES["accumulation"]
    moments = [Moment("step", 3, 0.004), Moment("saving", 4)]
    assert all(moment.step < EPOCH for moment in moments)
    struck, _ = killed_and_finished(tmp_path / "cut", harness.command(tag, *more), moments)
    assert struck == len(moments)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", CASES)
def test_kills_at_random_moments_change_no_bit(tmp_path, name, seed):
    tag, *more = CASES[name]
    chance = random.Random(f"{name} {seed}")
    moments = [harness.draw(chance, steps=8, seconds=4) for _ in range(chance.randint(1, 5))]
    everyone = chance.random() < 0.5
    killed_and_finished(tmp_path / "cut", harness.command(tag, *more), moments, everyone=everyone)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lora", "accumulation"])
def test_python_m_finetune_killed_twice_ends_in_the_same_merged_model(tmp_path, name):
    tag, *more = CASES[name]
    arguments = harness.command(tag, *more)
    for moment in (Moment("saving", 2, 0.005), Moment("step", 5, 0.01)):
        job = harness.start(tmp_path, arguments)
        try:
            assert harness.hit(job, moment, signal.SIGKILL)
            assert job.wait() == -signal.SIGKILL
        finally:
            job.end()
    harness.finish(lambda: harness.start(tmp_path, arguments))
    whole = harness.uninterrupted(tuple(arguments), trained=False)
    assert "merged/model.safetensors" in whole
    assert not harness.differences(whole, harness.fingerprint(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["export", "evaluate"])
def test_a_kill_after_training_repeats_only_what_was_not_done(tmp_path, stage):
    tag, *more = CASES["lora"]
    arguments = harness.command(tag, *more)
    job = harness.fork(tmp_path, arguments)
    before = {"export": "train", "evaluate": "export"}[stage]
    try:
        assert harness.until(job, lambda: job.has_done(before))
        job.send(signal.SIGKILL, everyone=True)
        assert job.wait() == -signal.SIGKILL
    finally:
        job.end()
    ended = harness.finish(lambda: harness.fork(tmp_path, arguments))
    assert "\ntrain " not in ended.said
    whole = harness.uninterrupted(tuple(arguments), trained=False)
    assert not harness.differences(whole, harness.fingerprint(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["all", "0", "1"])
def test_two_ranks_of_which_any_is_killed_end_as_if_nothing_had_happened(tmp_path, victim):
    tag, *more = CASES["lora"]
    arguments = harness.command(tag, *more)
    harness.finish(lambda: harness.start(tmp_path / "whole", arguments, ranks=2), trained=True)
    folder = tmp_path / "cut"
    job = harness.start(folder, arguments, ranks=2)
    try:
        assert Moment("step", 3, 0.01).reached(job)
        if victim == "all":
            job.send(signal.SIGKILL, everyone=True)
        else:
            (rank,) = job.ranks(victim)
            os.kill(rank, signal.SIGKILL)
        assert job.wait(60) != 0
        assert any(not harness.members(job.pid) for _ in harness.polling(30, 0.1))
    finally:
        job.end()
    harness.finish(lambda: harness.start(folder, arguments, ranks=2), trained=True)
    assert not harness.differences(
        harness.fingerprint(tmp_path / "whole"), harness.fingerprint(folder), trained=True
    )
