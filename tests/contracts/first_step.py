"""Run as a program: the first step's loss and gradient norm of every task, on this many ranks.

``python first_step.py FOLDER OUT MICRO…`` (each rank) trains one step of 8 rows per task and size
of micro-batch, on data that was prepared under FOLDER/<tag>; rank 0 writes
{micro: {tag: [loss, grad_norm]}} to OUT.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from finetune import cli

EXTRA = {
    "text-classification": (
        "task.class_weights=auto",
        "task.focal_gamma=2",
        "train.sampling=balanced",
        "data.augment.text.delete=0.3",
    ),
    "zero-shot-image-classification": ("data.augment.pictures.rotate=20",),
    "automatic-speech-recognition": (
        "data.augment.sound.noise=10",
        "data.augment.sound.mask_time=0.2",
    ),
}
"""By tag, what makes the promise harder to keep: weights, repeated rows, changes by chance."""


def first_step(tag: str, folder: Path, micro: int) -> tuple[float, float]:
    """Return loss and gradient norm of one step on a prepared run."""
    from finetune.runs import storage
    from finetune.runs.folder import RunFolder
    from finetune.stages import base_model, train
    from tests.contracts.cases import compose

    config = compose(
        tag,
        folder,
        "name=case",
        "train.global_batch_size=8",
        f"train.micro_batch_size={micro}",
        "train.max_steps=1",
        "train.warmup_ratio=0",
        "model.dropout=0.0",
        *EXTRA.get(tag, ()),
    )
    run = RunFolder(folder / "case")
    rank = int(os.environ.get("RANK", 0))
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:  # with more, another rank might be reading them
        storage.remove_tree(run.checkpoints)
        run.metrics_log.unlink(missing_ok=True)
    train.train(run, config, base_model.resolve(config))
    if rank != 0:
        return 0.0, 0.0
    line = storage.read_jsonl(run.metrics_log)[0]
    return line["loss"], line["grad_norm"]


def main() -> None:
    """Try every task that was prepared."""
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    cli.settle()
    found = {
        micro: {tag.name: first_step(tag.name, tag, int(micro)) for tag in sorted(folder.iterdir())}
        for micro in sys.argv[3:]
    }
    if int(os.environ.get("RANK", 0)) == 0:
        out.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
