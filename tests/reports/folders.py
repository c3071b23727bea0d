"""Run folders as the stages leave them, for each family, without running a model."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

INTENTS = [
    "cancel_order", "change_address", "delivery_status", "invoice_copy", "payment_failed",
    "refund_request", "reset_password", "speak_to_agent", "technical_fault", "upgrade_plan",
]  # fmt: skip


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, ensure_ascii=False, allow_nan=False), encoding="utf-8")


def estimate(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def manifest(name: str, task: str, **changes: Any) -> dict[str, Any]:
    base = {
        "finetune_version": "0.1.0",
        "created_at": "2026-03-14T09:26:53Z",
        "command": ["python", "-m", "finetune", f"recipe={name}", "train.max_steps=200"],
        "recipe": name,
        "name": name,
        "task": task,
        "seed": 42,
        "git": {"commit": "0f3a9c1d2e4b5a6978876655443322110fedcba9", "dirty": False},
        "environment": {
            "python": "3.11.9",
            "platform": "Linux-6.1.0-x86_64",
            "processor": "AMD EPYC 7763",
            "cores": 2,
            "memory_bytes": 8_321_499_136,
            "device": "cpu",
            "world_size": 1,
            "packages": {"torch": "2.13.0", "transformers": "5.23.0", "peft": "0.21.2"},
        },
        "base_model": {
            "name_or_path": "sentence-transformers/all-MiniLM-L6-v2",
            "revision": "c9745ed1d9f207416be6d2e6f8de32d1f16199bf",
            "license": "apache-2.0",
            "sha256": {"model.safetensors": "53aa51172d14" + "0" * 52},
            "parameters": 22_713_216,
        },
        "data": {
            "fingerprints": {"train": "ab" * 32, "validation": "cd" * 32, "test": "ef" * 32},
            "rows": {"train": 840, "validation": 180, "test": 240},
        },
        "strategy": {
            "name": "lora",
            "peft_type": "LORA",
            "quantization": None,
            "trainable_parameters": 889_354,
            "total_parameters": 23_602_570,
        },
        "stages": {
            "prepare": {"seconds": 1.94, "peak_memory_bytes": 612_368_384},
            "train": {
                "seconds": 47.3,
                "peak_memory_bytes": 1_532_368_384,
                "steps": 200,
                "epochs": 7.6,
                "best_step": 160,
                "stopped_early": False,
                "global_batch_size": 32,
                "micro_batch_size": 16,
                "gradient_accumulation_steps": 2,
                "precision": "fp32",
            },
            "export": {
                "seconds": 3.2,
                "peak_memory_bytes": 1_032_368_384,
                "parity": {
                    "rows": 32,
                    "max_abs_difference": 3.1e-6,
                    "tolerance": 1e-4,
                    "same_prediction": 1.0,
                    "compared": "logits of 32 test rows in a fresh process",
                    "merge_base": "float32",
                },
            },
            "evaluate": {"seconds": 8.71, "peak_memory_bytes": 1_132_368_384},
        },
    }
    return base | changes


def log(primary: str, *, steps: int = 200, best: float = 0.93, start: float = 0.1, seed: int = 0):
    chance = random.Random(seed)
    lines = []
    for step in range(5, steps + 1, 5):
        left = 0.985**step
        lines.append(
            {
                "step": step,
                "epoch": step / 26,
                "loss": 0.12 + 2.2 * left + chance.uniform(-0.09, 0.09),
                "learning_rate": 1e-3 * min(1, step / 20) * (1 - step / (steps * 1.02)),
                "grad_norm": 0.6 + 3 * left + chance.uniform(0, 0.5),
                "units": 32,
                "units_per_second": 120.5,
                "memory": 1_500_000_000,
            }
        )
        if step % 40 == 0:
            lines.append(
                {
                    "step": step,
                    "epoch": step / 26,
                    "eval_loss": 0.22 + 2.15 * left,
                    f"eval_{primary}": best + (start - best) * left**1.5,
                }
            )
    return lines


def audit(classes: dict[str, int] | None, columns: dict[str, str]) -> dict[str, Any]:
    split = {"train": 840, "validation": 180, "test": 240}
    return {
        "rows": {"read": 1302, "kept": 1260, "dropped": 42},
        "splits": split,
        "steps": [
            {"name": "read", "rows_in": 1302, "rows_out": 1302},
            {"name": "drop_empty", "rows_in": 1302, "rows_out": 1298},
            {"name": "drop_duplicates", "rows_in": 1298, "rows_out": 1260},
            {"name": "split", "rows_in": 1260, "rows_out": 1260},
        ],
        "columns": columns,
        "classes": classes or {},
        "class_splits": {
            name: {label: round(n * rows / 1260) for label, n in (classes or {}).items()}
            for name, rows in split.items()
        },
        "duplicates": {"exact": 38, "near": None},
        "leakage": {"exact": 0, "near": None, "pairs": []},
        "label_conflicts": 0,
        "encoding_repairs": 3,
        "messages": [
            "The column `utterance` was taken as `text`.",
            "There was no validation split: 15 % of the rows were set aside for it.",
        ],
        "tokens": {
            "p50": 14, "p95": 31, "max": 58, "limit": 64, "truncated_rows": 0, "tokens_lost": 0,
            "untrainable_rows": 0,
        },
    }  # fmt: skip


CONFIG = """\
# The resolved configuration of this run; `python -m finetune run=DIR` replays it.
name: quickstart
seed: 42
model:
  name_or_path: sentence-transformers/all-MiniLM-L6-v2
  revision: c9745ed1d9f207416be6d2e6f8de32d1f16199bf
  license: apache-2.0
data:
  path: package:finetune/data/samples/support_intents
  columns: {text: text, label: intent}
  slices: [channel]
strategy:
  name: lora
  r: 16
  lora_alpha: 32
  target_modules: all-linear
train:
  learning_rate: 0.001
  global_batch_size: 32
  micro_batch_size: auto
  max_steps: 200
tracking:
  to: [tensorboard]
  token: ${oc.env:TRACKING_TOKEN}
"""


def classification(folder: Path, labels: list[str] | None = None) -> Path:
    labels = labels or INTENTS
    chance = random.Random(1)
    per = 24 if len(labels) <= 30 else 8
    matrix = [[0] * len(labels) for _ in labels]
    for row in range(len(labels)):
        for _ in range(per):
            wrong = chance.random() < 0.085 + 0.02 * (row % 3)
            near = (row + chance.choice([1, 1, 2])) % len(labels)
            matrix[row][near if wrong else row] += 1
    per_class = {}
    for place, label in enumerate(labels):
        right = matrix[place][place]
        predicted = sum(row[place] for row in matrix)
        precision, recall = right / max(1, predicted), right / per
        both = precision + recall
        per_class[label] = {
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / both if both else 0.0,
            "support": per,
        }
    rows = per * len(labels)
    right = sum(matrix[place][place] for place in range(len(labels))) / rows
    chances = 1 / len(labels)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")
    write(folder / "manifest.json", manifest(folder.name, "text-classification"))
    counts = {label: 1260 // len(labels) + (place * 7) % 23 for place, label in enumerate(labels)}
    found = audit(counts, {"text": "utterance", "label": "intent"})
    write(folder / "data/audit.json", found)
    lines = log("accuracy", best=right)
    (folder / "logs").mkdir()
    (folder / "logs/metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    write(
        folder / "eval/metrics.json",
        {
            "task": "text-classification",
            "primary_metric": "accuracy",
            "greater_is_better": True,
            "confidence": 0.95,
            "rows": {"test": rows},
            "test": {
                "accuracy": estimate(right, 0.034),
                "macro_f1": estimate(right - 0.004, 0.036),
                "macro_precision": estimate(right + 0.003, 0.035),
                "macro_recall": estimate(right - 0.002, 0.034),
                "loss": estimate(0.31, 0.08),
            },
            "baselines": {
                "base_model": {
                    "accuracy": {"value": chances, "low": chances * 0.7, "high": chances * 1.4},
                    "macro_f1": estimate(chances * 0.5, chances * 0.2),
                },
                "majority": {
                    "accuracy": {"value": chances, "low": chances * 0.6, "high": chances * 1.5},
                    "macro_f1": estimate(chances * 0.2, chances * 0.1),
                },
                "tfidf_logistic_regression": {
                    "accuracy": estimate(right - 0.021, 0.041),
                    "macro_f1": estimate(right - 0.027, 0.043),
                },
            },
            "comparisons": {
                "base_model": {
                    "metric": "accuracy", "difference": right - chances,
                    "low": right - chances - 0.05, "high": right - chances + 0.05,
                    "p_value": 0.0005,
                },
                "majority": {
                    "metric": "accuracy", "difference": right - chances,
                    "low": right - chances - 0.05, "high": right - chances + 0.05,
                    "p_value": 0.0005,
                },
                "tfidf_logistic_regression": {
                    "metric": "accuracy", "difference": 0.021, "low": -0.012, "high": 0.054,
                    "p_value": 0.21,
                },
            },
            "slices": {
                "channel": {
                    "email": {"rows": 97, "accuracy": estimate(right + 0.02, 0.05)},
                    "chat": {"rows": 85, "accuracy": estimate(right + 0.03, 0.052)},
                    "phone": {"rows": 58, "accuracy": estimate(right - 0.13, 0.09)},
                }
            },
            "per_class": per_class,
            "confusion": {"labels": labels, "matrix": matrix},
            "goal": {"metric": "accuracy", "target": 0.85, "value": right, "met": right >= 0.85},
        },
    )  # fmt: skip
    texts = [
        (f"test.csv:{n + 1}", f"where is my parcel number {n}", labels[n % len(labels)])
        for n in range(20)
    ]
    table(
        folder, [{"id": i, "text": t, "label": label, "channel": "email"} for i, t, label in texts]
    )
    predictions(folder, [(i, label, labels[0], 0.5) for i, _, label in texts])
    return folder


def table(folder: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "data").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "data/test.parquet")


def predictions(folder: Path, rows: list[tuple[str, str, str, float | None]]) -> None:
    path = folder / "eval/predictions.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ("id", "reference", "prediction", "score")
    path.write_text(
        "".join(json.dumps(dict(zip(keys, row, strict=True))) + "\n" for row in rows),
        encoding="utf-8",
    )


def generic(
    folder: Path,
    task: str,
    base: str,
    primary: str,
    scores: dict[str, dict[str, tuple[float, float]]],
    comparisons: dict[str, tuple[float, float, float]],
    columns: dict[str, str],
    *,
    greater: bool = True,
    rows: int = 240,
    strategy: str = "lora",
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(CONFIG.replace("quickstart", folder.name), encoding="utf-8")
    changes = {"base_model": {"name_or_path": base, "revision": "main", "license": "apache-2.0",
        "sha256": {"model.safetensors": "9b" * 32}, "parameters": 930_816}}  # fmt: skip
    write(folder / "manifest.json", manifest(folder.name, task, **changes))
    write(folder / "data/audit.json", audit(None, columns))
    lines = log(primary, best=scores["test"][primary][0], start=0.9 if not greater else 0.02)
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs/metrics.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    found = {
        name: {metric: estimate(*pair) for metric, pair in each.items()}
        for name, each in scores.items()
    }
    write(
        folder / "eval/metrics.json",
        {
            "task": task,
            "primary_metric": primary,
            "greater_is_better": greater,
            "confidence": 0.95,
            "rows": {"test": rows},
            "test": found.pop("test"),
            "baselines": found,
            "comparisons": {
                name: {
                    "metric": primary,
                    "difference": d,
                    "low": low,
                    "high": high,
                    "p_value": 0.01,
                }
                for name, (d, low, high) in comparisons.items()
            },
            "slices": {},
            "per_class": None,
            "confusion": None,
            "goal": None,
        },
    )
    return folder


def text2text(folder: Path) -> Path:
    generic(
        folder, "translation", "google/flan-t5-small", "exact_match",
        {
            "test": {"exact_match": (0.9583, 0.025), "bleu": (91.23, 3.1), "chrf": (95.4, 1.9)},
            "base_model": {"exact_match": (0.0042, 0.004), "bleu": (3.2, 1.0), "chrf": (18.9, 1.1)},
            "copy_source": {"exact_match": (0.0, 0.0), "bleu": (1.1, 0.3), "chrf": (12.2, 0.7)},
        },
        {"base_model": (0.9541, 0.927, 0.978), "copy_source": (0.9583, 0.93, 0.98)},
        {"source": "words", "target": "date"},
    )  # fmt: skip
    rows = [(f"test.jsonl:{n}", f"the {n} of march 1998", f"1998-03-{n:02d}") for n in range(1, 9)]
    table(folder, [{"id": i, "source": s, "target": t} for i, s, t in rows])
    predictions(folder, [(i, t, "1998-03-01", -0.12) for i, _, t in rows])
    return folder


def chat(folder: Path) -> Path:
    generic(
        folder, "text-generation", "HuggingFaceTB/SmolLM2-135M-Instruct", "perplexity",
        {
            "test": {"perplexity": (2.41, 0.12), "exact_match": (0.62, 0.06)},
            "base_model": {"perplexity": (37.9, 3.3), "exact_match": (0.0, 0.0)},
            "most_frequent": {"exact_match": (0.05, 0.027)},
        },
        {"base_model": (-35.5, -38.8, -32.2)},
        {"messages": "conversation"},
        greater=False, rows=64,
    )  # fmt: skip
    rows = [
        (
            f"test.jsonl:{n}",
            [
                {"role": "user", "content": f"What is {n} plus {n}? Write to anna@example.org"},
                {"role": "assistant", "content": str(2 * n)},
            ],
        )
        for n in range(1, 5)
    ]  # fmt: skip
    table(folder, [{"id": i, "messages": m} for i, m in rows])
    predictions(folder, [(i, m[1]["content"], "4", -0.3) for i, m in rows])
    return folder


def picture(colour: tuple[int, int, int]) -> bytes:
    import io

    from PIL import Image, ImageDraw

    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((12, 12, 52, 52), fill=colour)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def image_text(folder: Path) -> Path:
    generic(
        folder, "zero-shot-image-classification",
        "package:finetune/models/tiny/clip", "recall_at_1",
        {
            "test": {"recall_at_1": (0.812, 0.05), "recall_at_5": (0.979, 0.018)},
            "base_model": {"recall_at_1": (0.112, 0.04), "recall_at_5": (0.4, 0.06)},
            "chance": {"recall_at_1": (0.0042, 0.004), "recall_at_5": (0.021, 0.01)},
        },
        {"base_model": (0.7, 0.64, 0.76), "chance": (0.808, 0.757, 0.857)},
        {"image": "file_name", "text": "caption"},
    )  # fmt: skip
    rows = [(f"test:{n}", ["a red circle", "a blue circle"][n % 2], n) for n in range(6)]
    colours = [(200, 40, 30), (30, 60, 200)]
    images = [{"bytes": picture(colours[n % 2]), "path": f"{n}.png"} for _, _, n in rows]
    table(
        folder,
        [{"id": i, "image": im, "text": t} for (i, t, _), im in zip(rows, images, strict=True)],
    )
    predictions(folder, [(i, t, "a red circle", 0.71) for i, t, _ in rows])
    return folder


def speech(folder: Path) -> Path:
    generic(
        folder, "automatic-speech-recognition", "openai/whisper-tiny", "wer",
        {
            "test": {"wer": (0.182, 0.03), "cer": (0.071, 0.014), "exact_match": (0.61, 0.06)},
            "base_model": {"wer": (1.04, 0.06), "cer": (0.88, 0.04), "exact_match": (0.0, 0.0)},
            "nearest_neighbour": {"wer": (0.1704, 0.05), "cer": (0.31, 0.04)},
        },
        {"base_model": (-0.858, -0.92, -0.79), "nearest_neighbour": (0.0116, 0.001, 0.022)},
        {"audio": "file_name", "text": "transcript"},
        greater=False,
    )  # fmt: skip
    rows = [(f"test:{n}", f"five five {n}") for n in range(4)]
    table(
        folder,
        [{"id": i, "audio": {"bytes": b"RIFF", "path": f"{i}.wav"}, "text": t} for i, t in rows],
    )
    predictions(folder, [(i, t, "five five one", -0.2) for i, t in rows])
    return folder
