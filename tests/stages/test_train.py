"""The train stage through the command line: killed, stopped, resumed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from finetune.runs.folder import RunFolder
from finetune.training import attention
from tests.stages.finished import BERT, GPT, arguments
from tests.training.drive import config_of, log_of, train, weights_of

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import os, signal, sys
from finetune import cli
number, step = int(sys.argv[1]), int(sys.argv[2])
if number:
    from finetune.training.trainer import TaskTrainer
    inner = TaskTrainer.training_step
    def training_step(self, *args, **kwargs):
        if self.state.global_step == step - 1:
            os.kill(os.getpid(), number)
        return inner(self, *args, **kwargs)
    TaskTrainer.training_step = training_step
sys.exit(cli.call(sys.argv[3:]))
"""
STEPS = (
    "train.max_steps=6",
    "train.eval_strategy=steps",
    "train.eval_steps=2",
    "task.primary_metric=perplexity",
)


def command(folder, number=0, step=0, tag=BERT, *more):
    """Run the whole job in a process that sends itself a signal while it trains a step."""
    steps = [s for s in STEPS if tag == GPT or not s.startswith("task.")]
    program = [sys.executable, "-c", PROGRAM, str(int(number)), str(step)]
    return subprocess.run(
        [*program, *arguments(tag, folder, *steps, *more)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.slow
@pytest.mark.parametrize(("tag", "strategy"), [(GPT, "lora"), (BERT, "full")])
def test_kill_9_and_the_same_command_end_bit_identical_to_an_uninterrupted_run(
    tmp_path, tag, strategy
):
    more = (f"strategy={strategy}",)
    whole = command(tmp_path / "whole", 0, 0, tag, *more)
    assert whole.returncode == 0, whole.stderr
    killed = command(tmp_path / "cut", signal.SIGKILL, 4, tag, *more)
    assert killed.returncode == -signal.SIGKILL
    again = command(tmp_path / "cut", 0, 0, tag, *more)
    assert again.returncode == 0, again.stderr
    assert "going on from step-2" in again.stderr
    one, other = (RunFolder(tmp_path / name / "case") for name in ("whole", "cut"))
    assert weights_of(one, 6) == weights_of(other, 6)
    assert log_of(one) == log_of(other)
    name = "merged/model.safetensors"
    assert (one.path / name).read_bytes() == (other.path / name).read_bytes()


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_a_signal_ends_with_a_checkpoint_one_sentence_and_a_resumable_run(tmp_path, number, code):
    stopped = command(tmp_path, number, 3)
    run = RunFolder(tmp_path / "case")
    assert stopped.returncode == code, stopped.stderr
    assert stopped.stderr.count("error: ") == 1
    assert "after step 3, which is saved as checkpoint step-3" in stopped.stderr
    assert "The same command goes on from there." in stopped.stderr
    assert "Traceback" not in stopped.stderr
    assert (run.checkpoints / "step-3").is_dir()
    assert not run.error.exists()
    again = command(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "going on from step-3" in again.stderr
    assert [line["step"] for line in log_of(run) if "loss" in line] == [1, 2, 3, 4, 5, 6]


def test_resume_never_starts_anew_and_leaves_no_later_step_behind(tmp_path):
    train(config_of(BERT, tmp_path, "train.max_steps=5"))
    run, _ = train(config_of(BERT, tmp_path, "train.max_steps=2", "train.resume=never"))
    assert [entry.name for entry in run.checkpoints.iterdir()] == ["step-2"]
    assert [line["step"] for line in log_of(run)] == [1, 2]


def test_the_best_checkpoint_is_kept_and_named(tmp_path, monkeypatch):
    from finetune.tasks.text_classification import TextClassification

    scores = iter([0.5, 0.9, 0.3, 0.1])
    monkeypatch.setattr(
        TextClassification, "score", lambda *_: {"accuracy": next(scores), "macro_f1": 0.0}
    )
    options = ("train.max_steps=4", "train.eval_strategy=steps", "train.eval_steps=1")
    run, facts = train(config_of(BERT, tmp_path, *options))
    assert facts["best_step"] == 2
    assert facts["kept"] == "step-2"
    assert weights_of(run, 2) != weights_of(run, 4)
    assert {c.name for c in run.checkpoints.iterdir()} == {"step-2", "step-3", "step-4"}


@pytest.mark.parametrize(
    "tag",
    [
        "text-classification",
        "text2text-generation",
        "text-generation",
        "zero-shot-image-classification",
        "automatic-speech-recognition",
    ],
)
def test_every_family_computes_without_padding_and_says_so(tag, tmp_path):
    made, steps = {}, 3
    for free in (True, False):
        before = attention.switch.made
        told = (f"train.padding_free={free}", "train.eval_strategy=no")
        _, facts = train(config_of(tag, tmp_path / str(free), f"train.max_steps={steps}", *told))
        made[free] = attention.switch.made - before
        assert facts["padding_free"] is free
    assert made[False] == 0
    assert made[True] > steps  # once to compare, and for each step


@pytest.mark.parametrize("strategy", ["full", "lora"])
def test_a_model_that_is_wrapped_computes_without_padding_too(strategy, tmp_path):
    # its attention is chosen in the model of transformers within: asking the wrapper was a crash
    told = ("task.pooling=mean", f"strategy={strategy}", "train.max_steps=2")
    losses = {}
    for free in (True, False):
        folder = tmp_path / str(free)
        told_all = (*told, f"train.padding_free={free}", "train.eval_strategy=no")
        run, facts = train(config_of("text-classification", folder, *told_all))
        assert facts["padding_free"] is free
        losses[free] = [line["loss"] for line in log_of(run) if "loss" in line]
    assert losses[True] == pytest.approx(losses[False], rel=1e-5)


def test_facts_say_how_the_batch_was_cut(tmp_path):
    _, facts = train(config_of(BERT, tmp_path, "train.max_steps=1", "train.micro_batch_size=3"))
    assert facts["micro_batch_size"] == 3
    assert facts["gradient_accumulation_steps"] == 3
    assert facts["global_batch_size"] == 8
    assert 0 < facts["trainable_parameters"] < facts["total_parameters"]


def test_a_run_without_validation_rows_trains_on_all_others_and_keeps_the_last_step(
    tmp_path: Path,
) -> None:
    from finetune import cli
    from finetune.runs import storage
    from finetune.stages.job import run_job

    file = tmp_path / "rows.csv"
    rows = [f"i want {word} number {n},{word}" for n in range(20) for word in ("tea", "bread")]
    file.write_text("text,label\n" + "\n".join(rows) + "\n", encoding="utf-8")
    config = cli.compose(
        [
            "recipe=bert/text_classification",
            "model=tiny/bert",
            f"run.dir={tmp_path}",
            "name=case",
            f"data.path={file}",
            "data.split.train=0.8",
            "data.split.validation=0.0",
            "data.split.test=0.2",
            "train.max_steps=2",
            "tracking.report_to=[]",
        ]
    )
    run = run_job(config)
    assert storage.read_json(run.data / "audit.json")["splits"]["validation"] == 0
    assert run.manifest()["stages"]["train"]["kept"] == "step-2"
    assert (run.merged / "model.safetensors").is_file()


@pytest.mark.parametrize(("rank", "is_left"), [("0", False), ("1", True)])
def test_one_rank_deletes_what_a_run_does_not_go_on_from(tmp_path, monkeypatch, rank, is_left):
    from finetune.stages.train import resumable

    monkeypatch.setenv("RANK", rank)
    config = config_of(BERT, tmp_path, "train.resume=never")
    run = RunFolder(Path(config.run.dir) / config.name)
    (run.checkpoints / "step-1").mkdir(parents=True)
    assert resumable(run, config) is None
    assert (run.checkpoints / "step-1").exists() == is_left
