"""The whole job: done stages are skipped, finished runs are kept, failures are written down."""

from __future__ import annotations

import json
import os
import re
import signal

import pytest
import yaml

from finetune import cli
from finetune.errors import DataError, StorageError
from finetune.runs import storage
from finetune.runs.folder import STAGES, RunFolder
from finetune.stages import job
from tests.stages.finished import BERT, arguments, copy_of, finished, say


@pytest.fixture
def run(tmp_path):
    return copy_of(finished(BERT), tmp_path)


def test_a_run_leaves_what_is_promised():
    run = finished(BERT)
    manifest = run.manifest()
    assert set(manifest["stages"]) == set(STAGES)
    assert all(
        facts["seconds"] >= 0 and facts["peak_memory_bytes"] > 0
        for facts in manifest["stages"].values()
    )
    for file in (run.config, run.report, run.metrics_log, run.data / "audit.json",
                 run.data / "quarantine.jsonl", run.evaluation / "metrics.json",
                 run.evaluation / "predictions.jsonl"):  # fmt: skip
        assert file.is_file(), file
    assert not run.error.exists()
    assert manifest["command"][:3] == ["python", "-m", "finetune"]
    assert manifest["data"]["rows"] == storage.read_json(run.data / "audit.json")["splits"]
    assert manifest["strategy"]["peft_type"] == "LORA"
    assert (
        0 < manifest["strategy"]["trainable_parameters"] < manifest["strategy"]["total_parameters"]
    )


def test_every_json_of_a_run_is_strict():
    for file in finished(BERT).path.rglob("*.json*"):
        for line in (
            file.read_text("utf-8").splitlines()
            if file.suffix == ".jsonl"
            else [file.read_text("utf-8")]
        ):
            json.loads(line, parse_constant=pytest.fail)


@pytest.mark.parametrize("stage", ["train", "export", "evaluate", "report"])
def test_the_same_command_does_only_what_is_not_done(tmp_path, run, monkeypatch, stage):
    undone = STAGES[STAGES.index(stage) :]
    run.forget_stages(undone)
    before = {name: facts["finished_at"] for name, facts in run.manifest()["stages"].items()}
    said = say(*arguments(BERT, tmp_path))
    assert said.code == 0, said.err
    begun = {line.split()[0] for line in said.err.splitlines() if line and line[0] != " "}
    assert begun & set(STAGES) == set(undone) - {"report"}
    after = run.manifest()["stages"]
    assert {name: after[name]["finished_at"] for name in before} == before
    assert run.is_finished()


def test_a_finished_run_is_refused_and_kept(tmp_path, run):
    report = run.report.read_bytes()
    said = say(*arguments(BERT, tmp_path))
    assert said.code == 2
    assert "is a finished run" in said.problems()[0]
    assert "run.overwrite=true" in said.err
    assert run.report.read_bytes() == report
    assert not run.error.exists()


def test_another_configuration_of_an_unfinished_run_is_refused_by_key(tmp_path, run):
    run.forget_stages(["report"])
    said = say(*arguments(BERT, tmp_path, "seed=7"))
    assert said.code == 2
    assert re.search(r"seed +42 +7", said.err)
    assert "run.allow_changes=[seed]" in said.err


def test_overwriting_starts_anew(tmp_path, run):
    (run.path / "leftover").write_text("x")
    said = say("prepare", *arguments(BERT, tmp_path, "run.overwrite=true"))
    assert said.code == 0, said.err
    assert not (run.path / "leftover").exists()
    assert not run.merged.exists()


def test_a_failure_is_written_down_and_forgotten_when_the_run_succeeds(tmp_path, monkeypatch):
    from finetune.stages import prepare as stage

    def fail(*_, **__):
        raise DataError("The data is odd.", fix="Look at it.", where="row 3")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "prepare", fail)
        said = say("prepare", *arguments(BERT, tmp_path))
    assert said.code == 3
    written = storage.read_json(tmp_path / "case" / "error.json")
    assert written == {
        "code": 3,
        "what": ["The data is odd."],
        "where": "row 3",
        "fix": "Look at it.",
    }
    assert say("prepare", *arguments(BERT, tmp_path)).code == 0
    assert not (tmp_path / "case" / "error.json").exists()


def test_a_fault_of_the_program_is_written_down_too(tmp_path, monkeypatch):
    from finetune.stages import prepare as stage

    monkeypatch.setattr(stage, "prepare", lambda *_, **__: 1 / 0)
    said = say("prepare", *arguments(BERT, tmp_path))
    assert said.code == 1
    written = storage.read_json(tmp_path / "case" / "error.json")
    assert written["code"] == 1
    assert "ZeroDivisionError" in written["what"][0]


def test_prepare_alone_leaves_splits_audit_and_report(tmp_path):
    said = say("prepare", *arguments(BERT, tmp_path))
    assert said.code == 0, said.err
    run = RunFolder(tmp_path / "case")
    assert run.report.is_file()
    assert {file.stem for file in run.data.glob("*.parquet")} == {"train", "validation", "test"}
    assert not run.checkpoints.exists()


def test_a_missed_goal_exits_10_after_a_complete_report(tmp_path, run):
    run.forget_stages(["evaluate", "report"])
    run.report.unlink()
    said = say(*arguments(BERT, tmp_path, "evaluate.goal.target=1.01"))
    assert said.code == 10
    assert "The goal is not met: accuracy is" in said.problems()[0]
    assert run.is_finished()
    assert run.report.is_file()
    assert storage.read_json(run.evaluation / "metrics.json")["goal"]["met"] is False


def test_a_met_goal_exits_0(tmp_path, run):
    run.forget_stages(["evaluate", "report"])
    said = say(*arguments(BERT, tmp_path, "evaluate.goal.target=0.0"))
    assert said.code == 0, said.err


def test_no_absolute_path_is_left_though_the_user_gave_one():
    run = finished(BERT)
    parent = str(run.path.parent).encode()
    found = [f for f in run.path.rglob("*") if f.is_file() and parent in f.read_bytes()]
    assert found == []
    assert yaml.safe_load(run.config.read_text())["run"] == job.ONCE
    commands = [run.manifest()["command"], run.manifest()["attempts"][0]["command"]]
    assert all("name=case" in command for command in commands)


def test_a_place_that_the_user_gave_relative_to_where_he_works_is_kept():
    words = ["-m", "finetune", "run.dir=runs/here", "run=runs/x", "data.path=/data/mail.csv"]
    assert job.moved(words) == words
    assert job.moved(["run=/home/me/runs/x", "run.dir=~/runs", "name=y"]) == [
        "run=runs/x", "name=y"
    ]  # fmt: skip


def test_another_name_for_a_replayed_run_lies_beside_it_wherever_it_was_moved(run, tmp_path):
    moved = run.path.rename(tmp_path / "elsewhere")
    config = cli.compose([f"run={moved}", "name=other"])
    assert (config.name, config.run.dir) == ("other", str(tmp_path))
    config = cli.compose([f"run={moved}", "run.dir=there"])
    assert (config.name, config.run.dir) == ("elsewhere", "there")


def test_each_attempt_says_how_it_ended(tmp_path, monkeypatch):
    from finetune.stages import prepare as stage

    def ends() -> list[object]:
        attempts = RunFolder(tmp_path / "case").manifest()["attempts"]
        return [(each["ended"]["code"], each["ended"]["why"]) for each in attempts]

    def full(run, *_, **__):
        raise StorageError(f"`{run.path}/data` cannot be written.", fix="Make room.")

    def signalled(*_, **__):
        os.kill(os.getpid(), signal.SIGTERM)

    def broken(*_, **__):
        raise ZeroDivisionError("a row's text")

    wanted = []
    for fault, code, why in (
        (broken, 1, "An unexpected ZeroDivisionError."),
        (signalled, 143, "Stopped by SIGTERM during prepare."),
        (full, 6, "`case/data` cannot be written."),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(stage, "prepare", fault)
            assert say("prepare", *arguments(BERT, tmp_path)).code == code
        wanted = [(code, why)]  # nothing was finished, so that each begins anew
        assert ends() == wanted
    assert say("prepare", *arguments(BERT, tmp_path)).code == 0
    assert ends() == [(0, "done")]
    assert say("prepare", *arguments(BERT, tmp_path, "seed=7")).code == 2
    assert ends() == [(0, "done")]  # a refusal is no end of the attempt before


def test_no_python_path_of_the_package_is_left():
    import finetune

    package = str(next(iter(finetune.__path__))).encode()
    run = finished(BERT)
    found = [f for f in run.path.rglob("*") if f.is_file() and package in f.read_bytes()]
    assert not found


def test_a_moved_run_still_evaluates_reports_and_answers(run, tmp_path):
    run = RunFolder(run.path.rename(tmp_path / "renamed"))
    assert say("evaluate", str(run.path), "evaluate.max_rows=4").code == 0
    run.report.unlink()
    assert say("report", str(run.path)).code == 0
    assert run.report.is_file()
    (tmp_path / "rows.csv").write_text("text\nwhere is my parcel\n")
    said = say("predict", str(run.path), str(tmp_path / "rows.csv"))
    assert said.code == 0, said.err
    assert len(said.out.splitlines()) == 1
