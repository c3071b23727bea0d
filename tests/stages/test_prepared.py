"""Prepared rows are compared with what was written before they are used again."""

from __future__ import annotations

import pytest

from finetune.errors import ArtefactError
from finetune.runs.folder import RunFolder
from finetune.stages import prepared


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "x")
    (run.data / "encoded").mkdir(parents=True)
    for name in ("train.parquet", "encoded/train.arrow", "audit.json"):
        (run.data / name).write_bytes(name.encode() * 9)
    run.record(data={"files": prepared.hashes(run)}, stages={"prepare": {"finished_at": "now"}})
    return run


def flip(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


DAMAGE = {
    "missing": lambda file: file.unlink(),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "empty": lambda file: file.write_bytes(b""),
    "flipped": flip,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["train.parquet", "encoded/train.arrow", "audit.json"])
def test_damaged_rows_are_made_anew_before_training_and_refused_after(run, capsys, name, damage):
    assert prepared.problem_with(run) is None
    prepared.verify(run)
    assert run.is_done("prepare")
    DAMAGE[damage](run.data / name)
    (run.checkpoints / "step-1").mkdir(parents=True)
    with pytest.raises(ArtefactError, match=name) as caught:
        prepared.verify(run)
    assert caught.value.exit_code == 4
    assert run.is_done("prepare")
    (run.checkpoints / "step-1").rmdir()
    prepared.verify(run)
    assert not run.is_done("prepare")
    assert f"prepared anew: {name}" in capsys.readouterr().err


def test_rows_of_an_older_version_without_hashes_are_taken_as_they_are(run):
    run.record(data={})
    assert prepared.problem_with(run) is None
