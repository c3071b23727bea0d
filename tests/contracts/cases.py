"""What each task is tried on: its minute base and its bundled sample, found by tag."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from finetune import cli, tasks
from finetune.runs.folder import RunFolder
from finetune.stages import base_model, job
from finetune.stages.prepare import prepare

RECIPES = {
    "text-classification": ("bert/text_classification", "tiny/bert"),
    "text2text-generation": ("t5/text2text", "tiny/t5"),
    "text-generation": ("gpt/chat", "tiny/gpt"),
    "preference": ("gpt/dpo", "tiny/gpt"),
    "zero-shot-image-classification": ("clip/image_text", "tiny/clip"),
    "automatic-speech-recognition": ("whisper/transcription", "tiny/whisper"),
}
"""By tag: a recipe, and a base that is small enough to try it on."""

TAGS = tasks.tags()
STRATEGIES = ("full", "lora", "qlora")


def compose(tag: str, folder: Path, *overrides: str) -> Any:
    """Return the configuration of a task's case, its run under a folder."""
    recipe, model = RECIPES[tag]
    return cli.compose(
        [
            f"recipe={recipe}",
            f"model={model}",
            f"run.dir={folder}",
            "data.max_rows=40",
            "tracking.report_to=[]",
            "train.eval_strategy=no",
            *overrides,
        ]
    )


def prepared(config: Any) -> tuple[RunFolder, Any]:
    """Claim a run folder and prepare its data; return it with the base model."""
    run = RunFolder(Path(config.run.dir) / config.name)
    run.claim("{}\n", overwrite=True)
    job.begin(run, config, [])
    base = base_model.resolve(config)
    base_model.record(run, base)
    with run.stage("prepare"):
        prepare(run, config, base)
    return run, base
