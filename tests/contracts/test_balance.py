"""Weights, balanced epochs and augmentation in whole trainings: they resume, and they help."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file

from finetune import cli
from finetune.errors import ConfigError
from finetune.runs.folder import RunFolder
from finetune.stages import base_model
from finetune.stages import train as stage
from finetune.stages.prepare import prepare
from tests.training.drive import config_of, log_of, train, weights_of

BERT, CLIP, WHISPER = (
    "text-classification",
    "zero-shot-image-classification",
    "automatic-speech-recognition",
)
EVERY = {
    BERT: (
        "task.class_weights=auto",
        "task.focal_gamma=1",
        "train.sampling=balanced",
        "data.augment.text.swap=0.3",
    ),
    CLIP: ("data.augment.pictures.rotate=20", "data.augment.pictures.color=0.3"),
    WHISPER: ("data.augment.sound.speed=0.1", "data.augment.sound.mask_time=0.2"),
}
STEPS = ("train.eval_strategy=steps", "train.eval_steps=1", "train.save_total_limit=9")


@pytest.mark.parametrize("tag", EVERY)
def test_a_resumed_training_is_the_uninterrupted_one_to_the_bit(tag, tmp_path):
    options = (*EVERY[tag], *STEPS, "train.max_steps=4")
    run, _ = train(config_of(tag, tmp_path / "whole", *options))
    wanted, log = weights_of(run, 4), log_of(run)
    again, _ = train(config_of(tag, tmp_path / "cut", *options))
    for step in (3, 4):
        import shutil

        shutil.rmtree(again.checkpoints / f"step-{step}")
    again, _ = train(config_of(tag, tmp_path / "cut", *options))
    assert weights_of(again, 4) == wanted
    assert log_of(again)[-1] == log[-1]


@pytest.mark.parametrize("tag", EVERY)
def test_the_settings_change_what_is_learnt(tag, tmp_path):
    options = ("train.max_steps=1", "model.dropout=0.0")
    plain, _ = train(config_of(tag, tmp_path / "plain", *options))
    other, _ = train(config_of(tag, tmp_path / "other", *options, *EVERY[tag]))
    assert log_of(plain)[0]["loss"] != log_of(other)[0]["loss"]


def test_worker_processes_draw_the_same(tmp_path):
    options = (*EVERY[BERT], "train.max_steps=3")
    alone, _ = train(config_of(BERT, tmp_path / "alone", *options))
    workers = "train.dataloader_num_workers=2"
    helped, _ = train(config_of(BERT, tmp_path / "helped", *options, workers))
    assert [x.get("loss") for x in log_of(alone)] == [x.get("loss") for x in log_of(helped)]


def test_an_unknown_label_in_the_weights_is_refused_while_preparing(tmp_path):
    config = config_of(BERT, tmp_path, "+task.class_weights={card_losst: 3}")
    base = base_model.resolve(config)
    with pytest.raises(ConfigError, match="no label of the data"):
        prepare(RunFolder(tmp_path / config.name), config, base)


def imbalanced(folder, *options):
    """Train on 12 rows of a rare class among 200 and return its recall on even validation rows."""
    from tests.contracts.cases import prepared

    words = ["tea", "milk", "bread", "salt", "rice", "soap"]
    rows = [f"{'urgent ' if n % 17 == 0 else ''}please {words[n % 6]} {n}" for n in range(204)]
    rare = [n % 17 == 0 for n in range(204)]
    for name, chosen in (("train", range(204)), ("validation", range(0, 204, 17))):
        text = "text,label\n"
        text += "".join(
            f"{rows[n]}{' x' * (name != 'train')},{'rare' if rare[n] else 'usual'}\n"
            for n in chosen
        )
        if name == "validation":
            text += "".join(f"please {word} now,usual\n" for word in words)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    config = cli.compose(
        [
            "recipe=bert/text_classification",
            "model=tiny/bert",
            f"run.dir={folder}",
            "name=case",
            f"data.train={folder}/train.csv",
            f"data.validation={folder}/validation.csv",
            "strategy=full",
            "train.max_steps=20",
            "train.global_batch_size=16",
            "train.learning_rate=5e-4",
            "train.eval_strategy=no",
            "tracking.report_to=[]",
            "model.dropout=0.0",
            *options,
        ]
    )
    run, base = prepared(config)
    facts = stage.train(run, config, base)
    task = config.task
    from finetune.models.load import LoadOptions
    from finetune.stages import splits

    model = task.load_model(base.folder, LoadOptions()).model
    model.load_state_dict(load_file(run.checkpoints / facts["kept"] / "model.safetensors"))
    found = splits.read(run, "validation").to_list()
    answers = task.predict(model.eval(), found)
    hits = [
        p.value == "rare" for p, row in zip(answers, found, strict=True) if row["label"] == "rare"
    ]
    return sum(hits) / len(hits)


@pytest.mark.parametrize("option", ["task.class_weights=auto", "train.sampling=balanced"])
def test_a_rare_class_is_found_that_was_passed_over(option, tmp_path):
    assert imbalanced(tmp_path / "plain") < 0.5
    assert imbalanced(tmp_path / "helped", option) > 0.8
