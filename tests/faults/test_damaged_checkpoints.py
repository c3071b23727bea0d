"""A damaged checkpoint is never used, not even in part: the one before it is, and it is said."""

from __future__ import annotations

import random

import pytest

from finetune.runs import storage
from finetune.training import checkpoint
from tests.contracts.cases import RECIPES
from tests.faults import harness

BERT, *_ = RECIPES
ARGUMENTS = tuple(harness.command(BERT, "strategy=lora"))
STOPPED = 6
"""The step after which the run was stopped; the checkpoint before it is of step 4."""
BITS = 50


def cut(share, bytes_more=0):
    """Return a damage: the file ends earlier."""

    def damage(file, chance):
        content = file.read_bytes()
        file.write_bytes(content[: max(int(len(content) * share) + bytes_more, 0)])

    return damage


def flip(file, chance):
    """Flip a random bit."""
    content = bytearray(file.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    file.write_bytes(content)


def delete(file, chance):
    """Delete the file."""
    file.unlink()


CUTS = {"to nothing": cut(0), "to a byte": cut(0, 1), "by half": cut(0.5), "by a byte": cut(1, -1)}


def stopped(folder):
    """Return a copy of a run that was stopped with two checkpoints or more."""
    return harness.copy_of(harness.stopped_in(STOPPED, BERT, ARGUMENTS), folder)


def files_of(folder):
    """Return the names of all files in the newest checkpoint, its manifest last."""
    newest = harness.run_in(folder).checkpoints / f"step-{STOPPED}"
    listed = storage.read_json(newest / checkpoint.MANIFEST)["files"]
    return [*sorted(listed), checkpoint.MANIFEST]


def goes_on_without_it(folder, *, seen=True):
    """Finish the run; check that the damaged checkpoint was set aside and the bits are right."""
    checkpoints = harness.run_in(folder).checkpoints
    ended = harness.finish(lambda: harness.fork(folder, ARGUMENTS), trained=True)
    set_aside = (checkpoints / f".bad-step-{STOPPED}").is_dir()
    if seen or set_aside:
        assert set_aside, sorted(entry.name for entry in checkpoints.iterdir())
        warnings = [line for line in ended.said.splitlines() if "is not used" in line]
        assert len(warnings) == 1, ended.said
        assert f"step-{STOPPED}" in warnings[0]
        assert "step-4" in warnings[0]
        assert "going on from step-4" in ended.said
    found = harness.differences(
        harness.uninterrupted(ARGUMENTS), harness.fingerprint(folder), trained=True
    )
    assert not found, found


def test_one_damage_of_each_kind(tmp_path):
    chance = random.Random(1)
    files = [name for name in files_of(stopped(tmp_path / "list")) if name != checkpoint.MANIFEST]
    for number, damage in enumerate([chance.choice(list(CUTS.values())), flip, delete]):
        folder = stopped(tmp_path / str(number))
        target = harness.run_in(folder).checkpoints / f"step-{STOPPED}"
        damage(target / chance.choice(files), chance)
        goes_on_without_it(folder)


@pytest.mark.slow
@pytest.mark.parametrize("how", CUTS)
def test_every_file_cut(tmp_path, how):
    for number, name in enumerate(files_of(stopped(tmp_path / "list"))):
        folder = stopped(tmp_path / str(number))
        CUTS[how](harness.run_in(folder).checkpoints / f"step-{STOPPED}" / name, None)
        # the last byte of the manifest is the end of its last line, and says nothing
        goes_on_without_it(folder, seen=(name, how) != (checkpoint.MANIFEST, "by a byte"))


@pytest.mark.slow
def test_every_file_missing(tmp_path):
    for number, name in enumerate(files_of(stopped(tmp_path / "list"))):
        folder = stopped(tmp_path / str(number))
        delete(harness.run_in(folder).checkpoints / f"step-{STOPPED}" / name, None)
        goes_on_without_it(folder)


@pytest.mark.slow
def test_any_one_bit(tmp_path):
    chance = random.Random(16)
    files = files_of(stopped(tmp_path / "list"))
    for number in range(BITS):
        folder = stopped(tmp_path / str(number))
        name = files[number % len(files)]
        flip(harness.run_in(folder).checkpoints / f"step-{STOPPED}" / name, chance)
        # in the manifest it may hit what doesn't matter; the bits in the end do
        goes_on_without_it(folder, seen=name != checkpoint.MANIFEST)


@pytest.mark.parametrize(
    "kind", ["flip", pytest.param("delete", marks=pytest.mark.slow),
             pytest.param("cut", marks=pytest.mark.slow)],
)  # fmt: skip
def test_without_a_valid_checkpoint_nothing_is_started_anew(tmp_path, kind):
    chance = random.Random(18)
    damage = {"flip": flip, "delete": delete, "cut": CUTS["by half"]}[kind]
    folder = stopped(tmp_path / "run")
    run = harness.run_in(folder)
    steps = checkpoint.all_in(run.checkpoints)
    for step in steps:
        damage(next(step.glob("*.safetensors")), chance)
    before = contents(run.checkpoints), run.metrics_log.read_bytes()
    job = harness.fork(folder, ARGUMENTS)
    assert job.wait() == 4
    assert "Traceback" not in job.said()
    for step in steps:
        assert f"error: {step.name}: " in job.said()
    assert "train.resume=never" in job.said()
    assert (contents(run.checkpoints), run.metrics_log.read_bytes()) == before
    assert storage.read_json(run.error)["code"] == 4


def contents(folder):
    """Return every file below a folder with its bytes."""
    return {file: file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.slow
def test_resume_never_starts_anew_where_no_checkpoint_is_valid(tmp_path):
    folder = stopped(tmp_path / "run")
    for step in checkpoint.all_in(harness.run_in(folder).checkpoints):
        delete(step / checkpoint.MANIFEST, None)
    again = [*ARGUMENTS, "train.resume=never"]
    harness.finish(lambda: harness.fork(folder, again), trained=True)
    found = harness.differences(
        harness.uninterrupted(ARGUMENTS), harness.fingerprint(folder), trained=True
    )
    assert not found, found
