"""A checkpoint of another run is told from one's own."""

from __future__ import annotations

import json

import pytest

from finetune.runs.folder import RunFolder
from finetune.runs.identity import identity, stranger


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "x")
    run.claim("seed: 1\ntrain: {logging_steps: 1}\n")
    run.record(
        data={"files": {"train.parquet": "aa", "test.parquet": "bb"}},
        base_model={"sha256": {"model.safetensors": "cc"}},
        attempts=[{"world_size": 2, "versions": {"torch": "1"}}],
    )
    yield run
    run.unlock()


def test_a_run_is_its_configuration_data_base_and_versions(run):
    found = identity(run)
    json.dumps(found, allow_nan=False)
    assert found["world_size"] == 2
    assert found["versions"] == {"torch": "1"}
    assert all(len(found[key]) == 64 for key in found if key.endswith("sha256"))


def test_what_is_not_known_yet_is_none_and_nobody_is_a_stranger(tmp_path):
    empty = RunFolder(tmp_path / "empty")
    assert not any(identity(empty).values())
    assert stranger({}, empty) is None
    assert stranger({"data_sha256": "z"}, empty) is None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"configuration": {"seed": 2}}, "configuration"),
        ({"data": {"files": {"train.parquet": "ab", "test.parquet": "bb"}}}, "data"),
        ({"base_model": {"sha256": {"model.safetensors": "cd"}}}, "base model"),
    ],
)
def test_a_checkpoint_of_another_run_is_a_stranger(run, change, word):
    checkpoint = {"step": 3, **identity(run)}
    assert stranger(checkpoint, run) is None
    run.record(**change)
    assert stranger(checkpoint, run) == f"it was written with another {word}"


def test_versions_and_free_settings_make_no_stranger(run):
    checkpoint = identity(run)
    run.record(
        attempts=[{"world_size": 1, "versions": {"torch": "2"}}],
        configuration={"seed": 1, "train.logging_steps": 7},
    )
    assert stranger(checkpoint, run) is None


def test_what_a_run_was_before_an_allowed_change_is_its_own(run):
    run.record(stages={"prepare": {"finished_at": "now"}})
    run.unlock()
    checkpoint = identity(run)
    run.claim("seed: 2\ntrain: {logging_steps: 1}\n", allow=["seed"])
    assert identity(run)["configuration_sha256"] != checkpoint["configuration_sha256"]
    assert stranger(checkpoint, run) is None


def test_an_early_checkpoint_with_a_pickle_is_told_by_its_list_of_files(run):
    checkpoint = {"step": 3, **identity(run), "files": {"optimizer.pt": {"bytes": 1}}}
    assert "optimizer.pt, a pickle, which is not opened any more" in str(stranger(checkpoint, run))
    assert stranger({**checkpoint, "files": {"optimizer.json": {}}}, run) is None
