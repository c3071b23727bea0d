"""What changed under a run: its data and its base model, compared with what was recorded."""

from __future__ import annotations

from types import SimpleNamespace

from finetune import cli
from finetune.models.source import BaseModel
from finetune.stages import base_model
from finetune.stages.since import Since
from tests.stages.finished import BERT, copy_of, finished


def base(revision=None, **files):
    return BaseModel("org/x", revision, None, files, None)  # type: ignore[arg-type]


def test_nothing_has_changed_under_a_run_of_the_bundled_sample():
    run = finished(BERT)
    since = Since(run, cli.compose([f"run={run.path}"]), None)
    assert since.changes() == []
    assert since.base is not None
    assert run.manifest()["data"]["sources"]
    assert run.manifest()["data"]["not_verifiable"] == {}


def test_a_recorded_hash_that_is_no_longer_met_is_a_change_of_that_file(tmp_path):
    run = copy_of(finished(BERT), tmp_path)
    data = run.manifest()["data"]
    name = next(iter(data["sources"]))
    known = {**data, "sources": {**data["sources"], name: "sha256 0"}}
    hashes = {**run.manifest()["base_model"]["sha256"], "model.safetensors": "0"}
    run.record(data=known, base_model={**run.manifest()["base_model"], "sha256": hashes})
    since = Since(run, cli.compose([f"run={run.path}"]), None)
    assert [each.key for each in since.changes()] == [f"data: {name}", "model: model.safetensors"]
    since.accept()
    assert Since(run, since.config, None)._of_data() == []


def test_rows_that_were_given_once_need_not_be_given_again(tmp_path):
    run = copy_of(finished(BERT), tmp_path)
    run.record(data={**run.manifest()["data"], "sources": {"rows:all": "sha256 0"}})
    config = SimpleNamespace(model=SimpleNamespace(name_or_path=""))
    assert Since(run, config, None).changes() == []  # type: ignore[arg-type]


def test_the_bytes_of_a_base_decide_and_its_revision_is_told_beside():
    known = {"sha256": {"a": "1", "b": "2"}, "revision": "r1"}
    assert base_model.changes(known, base("r2", a="1", b="2")) == []
    found = base_model.changes(known, base("r2", a="1", c="3"))
    assert [tuple(each) for each in found] == [
        ("model: b", "sha256 2", "not there"),
        ("model: c", "not there", "sha256 3"),
        ("model: revision", "r1", "r2"),
    ]
    assert base_model.changes({}, base(None, a="1")) == []
