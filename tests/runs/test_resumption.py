"""Going on with a run: what is remembered, what is done again, what is refused."""

from __future__ import annotations

import pytest

from finetune.errors import ArtefactError, ConfigError
from finetune.runs.changes import Change
from finetune.runs.folder import RunFolder

CONFIG = "seed: 42\ntrain:\n  max_steps: 3\nevaluate:\n  max_rows: null\nexport:\n  dtype: auto\n"


@pytest.fixture
def run(tmp_path):
    run = RunFolder(tmp_path / "x")
    run.claim(CONFIG)
    with run.stage("prepare"):
        pass
    run.unlock()
    yield run
    run.unlock()


def trained(run):
    (run.checkpoints / "step-3").mkdir(parents=True)


def test_an_allowed_change_is_recorded_with_both_values_and_asked_for_once(run):
    trained(run)
    changed = CONFIG.replace("42", "7")
    assert run.claim(changed, allow=["seed"]) == [Change("seed", 42, 7)]
    assert run.manifest()["allowed_changes"] == [{"key": "seed", "old": 42, "new": 7}]
    assert run.is_done("prepare")
    run.unlock()
    assert run.claim(changed) == []
    assert len(run.manifest()["allowed_changes"]) == 1


def test_what_was_found_outside_the_configuration_is_in_the_same_table(run):
    with pytest.raises(ConfigError) as caught:
        run.claim(CONFIG.replace("42", "7"), found=lambda: [Change("data: path:a.csv", "1", "2")])
    [problem] = caught.value.problems
    assert "seed" in problem
    assert "data: path:a.csv" in problem


def test_an_allowed_change_of_the_data_prepares_anew_only_before_training(run):
    found = [Change("data: path:a.csv", "1", "2")]
    run.claim(CONFIG, allow=["data"], found=lambda: found)
    assert not run.is_done("prepare")
    run.unlock()
    with run.stage("prepare"):
        pass
    trained(run)
    run.claim(CONFIG, allow=["data"], found=lambda: found)
    assert run.is_done("prepare")


def test_a_configuration_edited_in_the_folder_is_a_change(run):
    edited = CONFIG.replace("42", "7")
    run.config.write_text(edited, "utf-8")
    with pytest.raises(ConfigError, match=r"seed +42 +7"):
        run.claim(edited)


@pytest.mark.parametrize("left", ["", "seed: 4", "a: [", "\x00"])
def test_a_cut_configuration_is_restored_from_the_manifest(run, left):
    run.config.write_text(left, "utf-8")
    run.claim(CONFIG)
    assert run.config.read_text("utf-8") == CONFIG
    assert run.is_done("prepare")


def test_other_settings_of_a_later_stage_let_it_run_again(run):
    trained(run)
    for stage in ("train", "export", "evaluate"):
        with run.stage(stage):
            pass
    run.claim(CONFIG.replace("auto", "bfloat16"))
    assert run.is_done("train")
    assert not run.is_done("export")
    assert not run.is_done("evaluate")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b'{"stages": 3}', b'{"stages": {"a": 1}}',
                                     b'{"stages": {', b"\xff\xfe", b"[" * 100_000])  # fmt: skip
def test_a_manifest_that_is_none_is_refused_and_nothing_is_deleted(run, content):
    trained(run)
    run.manifest_file.write_bytes(content)
    with pytest.raises(ArtefactError, match="cut or changed"):
        run.claim(CONFIG)
    assert (run.checkpoints / "step-3").is_dir()


@pytest.mark.parametrize("content", [None, b"{}"])
def test_checkpoints_without_a_manifest_are_not_deleted_unasked(run, content):
    trained(run)
    run.manifest_file.unlink() if content is None else run.manifest_file.write_bytes(content)
    with pytest.raises(ArtefactError, match="though there are checkpoints"):
        run.claim(CONFIG)
    assert (run.checkpoints / "step-3").is_dir()
    run.claim(CONFIG, overwrite=True)
    assert not run.checkpoints.exists()
