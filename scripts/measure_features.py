"""Measure what decoding pictures and sound once per row spares an epoch after the first.

    OMP_NUM_THREADS=1 python scripts/measure_features.py

Random weights of the benchmark's shapes: CLIP in squares of 32 on photographs of 3000x2000 pixels,
and Whisper-tiny's shape on recordings of 2 to 12 seconds, LoRA, in one process. Each way in turn,
minimum of the rounds, CPU seconds: everything between the first step of the second epoch and the
last step. `made` is a set beyond the memory in which decoded rows stay (here none does), `kept`
is the default, and `in memory` shows that nothing is left to gain within a run where all of it
stays there; a later run gains what making it once took.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EPOCHS = 3
RECIPES = {"clip": "clip/image_text", "whisper": "whisper/transcription"}
WAYS = {
    "kept": ("train.features_cache=true",),
    "made": ("train.features_cache=false", "train.dataloader_num_workers=0"),
    "in memory": ("train.features_cache=false", "train.dataloader_num_workers=0"),
}


def photographs(folder: Path, count: int) -> list[dict[str, str]]:
    """Write pictures of six megapixels and return the rows that name them."""
    from benchmark_media import text
    from PIL import Image

    chance, rows = random.Random(count), []
    (folder / "media").mkdir(parents=True)
    for number in range(count):
        coarse = Image.frombytes("RGB", (600, 400), chance.randbytes(600 * 400 * 3))
        name = f"media/{number}.jpg"
        coarse.resize((3000, 2000), Image.Resampling.BICUBIC).save(folder / name, quality=90)
        rows.append({"image": name, "text": text(chance.randint(3, 7), chance)})
    return rows


def prepared(architecture: str, folder: Path, count: int) -> list[str]:
    """Write rows and a base model, and return the settings of a run of them."""
    import benchmark_media

    data, base = folder / "data", folder / "base"
    rows = (
        photographs(data, count)
        if architecture == "clip"
        else benchmark_media.rows(architecture, count, data)
    )
    with (data / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    benchmark_media.make_base(architecture, base, 0, (4, 2 if architecture == "clip" else 4),
                              patch=32)  # fmt: skip
    return [
        f"recipe={RECIPES[architecture]}", f"model.name_or_path={base}", "model.sha256=null",
        f"data.path={data / 'rows.csv'}", "data/clean=as_is", "data.split.train=0.8",
        "data.split.validation=0.1", "data.split.test=0.1", "strategy=lora",
        "train.eval_strategy=no",
        f"train.num_train_epochs={EPOCHS}", "train.global_batch_size=8", "tracking.report_to=[]",
        "train.learning_rate=1e-4",
    ]  # fmt: skip


def trained(settings: list[str], folder: Path, name: str) -> dict[str, float]:
    """Train and return the CPU seconds before the first step, of epochs after the first, of all."""
    from finetune import cli
    from finetune.runs.folder import RunFolder
    from finetune.stages import base_model, job
    from finetune.stages import train as stage
    from finetune.stages.prepare import prepare
    from finetune.training.trainer import TaskTrainer

    config = cli.compose([*settings, *WAYS[name], f"run.dir={folder}", "name=run"])
    run = RunFolder(folder / "run")
    run.claim("{}\n", overwrite=True)
    job.begin(run, config, [])
    base = base_model.resolve(config)
    base_model.record(run, base)
    with run.stage("prepare"):
        prepare(run, config, base)
    marks, step = [], TaskTrainer.training_step

    def marked(self: Any, *given: Any, **options: Any) -> Any:
        marks.append(time.process_time())
        return step(self, *given, **options)

    TaskTrainer.training_step = marked  # type: ignore[method-assign]
    start = time.process_time()
    try:
        facts = stage.train(run, config, base)
    finally:
        TaskTrainer.training_step = step  # type: ignore[method-assign]
        run.unlock()
    if name == "kept" and facts["features_kept"] is None:
        sys.exit(facts["features_because"])
    steps = facts["steps"] // EPOCHS
    return {
        "before": marks[0] - start,
        "epoch": (marks[-1] - marks[steps]) / (EPOCHS - 1 - 1 / steps),
        "all": time.process_time() - start,
    }


def main() -> None:
    """Print CPU seconds and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--family", choices=RECIPES, action="append")
    given = parser.parse_args()
    sys.path[:0] = [str(HERE.parent)]
    from finetune import cli

    cli.settle()
    from finetune.stages import features, splits

    memory = splits.CACHED_BYTES
    features.LEAST = 0.0  # so few rows would not be kept
    print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, no GPU, "
          f"{given.rounds} rounds, {given.rows} rows")  # fmt: skip
    for architecture in given.family or RECIPES:
        with tempfile.TemporaryDirectory(prefix="finetune-features-") as name:
            folder = Path(name)
            os.environ["FINETUNE_CACHE"] = str(folder / "cache")
            settings = prepared(architecture, folder, given.rows)
            first = trained(settings, folder, "kept")
            found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
            for _ in range(given.rounds):
                for way in WAYS:
                    splits.CACHED_BYTES = memory if way == "in memory" else 0
                    found[way].append(trained(settings, folder, way))
            least = {
                way: {key: min(one[key] for one in ones) for key in ones[0]}
                for way, ones in found.items()
            }
            print(f"{architecture}: before the first step {first['before']:.2f} s at first, "
                  f"{least['kept']['before']:.2f} s where kept, {least['made']['before']:.2f} s "
                  "without")  # fmt: skip
            for way, taken in least.items():
                ratio = taken["epoch"] / least["kept"]["epoch"]
                print(f"  {way}: {taken['epoch']:.2f} s an epoch, ×{ratio:.2f} of kept; "
                      f"{taken['all']:.2f} s in all")  # fmt: skip


if __name__ == "__main__":
    main()
