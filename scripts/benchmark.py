"""Train the same rows with ours and with peers, and write how fast each was.

    python scripts/benchmark.py --json speed.json --page docs/speed.md
    python scripts/benchmark.py --quick --families gpt-lora

Peers are transformers' Trainer with dynamic padding (with PEFT for LoRA), and for chat TRL's
SFTTrainer at its defaults and at its best settings. All get the same checkpoint, token ids,
batches, optimiser and threads, each in a fresh process; contestants take turns in each round, and
what is reported is the median over the rounds. Ratios are by CPU time, which neighbours on a shared
machine change less than the clock. A contestant whose mean loss differs from the best peer's by
more than 1 % hasn't done the same work: its row is void. Files are written after each round.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmark_families import FAMILIES, GPU_FAMILIES, SEED, Family, family_of, prepare
from benchmark_page import page

HERE = Path(__file__).resolve().parent
PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate")
MEASURED = (
    "tokens_per_cpu_second",
    "tokens_per_second",
    "first_step_seconds",
    "first_step_cpu_seconds",
    "peak_rss_mb",
    "loss",
)
AGREE = 1e-2
"""How far losses may be apart, relative to the peer's."""
QUICK_STEPS = 4
"""Two are left after the two that aren't counted."""


def environment(threads: int, folder: Path) -> dict[str, str]:
    """Return what every contestant runs in, ours alike."""
    # with PYTHONDONTWRITEBYTECODE everybody compiles thousands of modules at each start, ours not
    others = ("OMP_", "MKL_", "KMP_", "PYTHONDONTWRITEBYTECODE")
    cleaned = {key: value for key, value in os.environ.items() if not key.startswith(others)}
    return {
        **cleaned,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(HERE.parent),
        "FINETUNE_CACHE": str(folder / "cache"),
    }


def run(family: Family, contestant: str, folder: Path, threads: int) -> dict[str, Any]:
    """Let a contestant train in a fresh process and return what it measured."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    program = [sys.executable, str(HERE / "benchmark_contestants.py"), family.name, contestant]
    command = [*program, str(folder), str(family.steps), repr(time.time()), str(result)]
    done = subprocess.run(
        command,
        env=environment(threads, folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not result.is_file():
        sys.exit(f"{family.name}, {contestant}:\n{done.stderr[-3000:]}")
    found: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return found


def one_round(
    number: int, families: Sequence[Family], folder: Path, threads: int
) -> list[dict[str, Any]]:
    """Return the measurements of a round: each family's contestants, one after the other."""
    found = []
    for family in families:
        for contestant in family.contestants:
            measured = run(family, contestant, folder / family.name, threads)
            found.append({"round": number, **measured})
            sys.stderr.write(
                f"round {number + 1}  {family.name:10} {contestant:12} "
                f"{measured['tokens_per_cpu_second']:8.0f} tokens per CPU second, "
                f"loss {measured['loss']:.5f}\n"
            )
    return found


def summary(family: Family, measurements: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return a row for each contestant: medians, the ratio to the best peer, and whether void."""
    rows = []
    for contestant in family.contestants:
        own = [
            m for m in measurements if (m["family"], m["contestant"]) == (family.name, contestant)
        ]
        speeds = [m["tokens_per_cpu_second"] for m in own]
        rows.append({
            "family": family.name,
            "contestant": contestant,
            "steps": own[0]["steps"],
            "trainable_parameters": own[0]["trainable_parameters"],
            "padding_free": own[0]["padding_free"],
            "frozen_part": own[0]["frozen_part"],
            **{key: statistics.median(m[key] for m in own) for key in MEASURED},
            "later_epochs": middle([m["later_epochs"] for m in own]),
            "spread": [min(speeds), max(speeds)],
        })  # fmt: skip
    best = max(
        (row for row in rows if row["contestant"] in family.peers),
        key=lambda row: row["tokens_per_cpu_second"],
    )
    for row in rows:
        row["ratio"] = row["tokens_per_cpu_second"] / best["tokens_per_cpu_second"]
        row["ratio_by_clock"] = row["tokens_per_second"] / best["tokens_per_second"]
        row["best_peer"] = best["contestant"]
        row["void"] = reason_against(row, best, family)
    return rows


def middle(values: Sequence[float | None]) -> float | None:
    """Return the median, or None where there is nothing."""
    found = [value for value in values if value is not None]
    return statistics.median(found) if found else None


def reason_against(row: dict[str, Any], best: dict[str, Any], family: Family) -> str | None:
    """Return why a row is no comparison with the best peer's, if it is none."""
    if not abs(row["loss"] - best["loss"]) <= AGREE * abs(best["loss"]):
        return f"mean loss {row['loss']:.4f} against {best['loss']:.4f}"
    if row["trainable_parameters"] != best["trainable_parameters"]:
        return f"trains {row['trainable_parameters']:,} of {best['trainable_parameters']:,} weights"
    if row["steps"] != best["steps"]:
        return f"{row['steps']} steps of {best['steps']}"
    if row["contestant"] != "ours":
        return None
    if family.unit == "tokens" and not row["padding_free"]:
        return "its layers saw padding"
    if (family.freeze or family.targets) and not row["frozen_part"]:
        return "it computed what is frozen in each epoch"
    return None


def machine() -> dict[str, Any]:
    """Return what it was measured on."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        )
        if Path("/proc/cpuinfo").is_file()
        else iter(()),
        platform.machine(),
    )
    return {
        "cores": os.cpu_count(),
        "processor": model,
        "gpu": graphics(),
        "load": round(os.getloadavg()[2], 1),
    }


def command(words: Sequence[str]) -> str:
    """Return what was typed, without places of this machine."""
    kept = [Path(word).name if Path(word).is_absolute() else word for word in words]
    return shlex.join(["python", "scripts/benchmark.py", *kept])


def versions() -> dict[str, str]:
    """Return the versions of what was measured."""
    found = {package: metadata.version(package) for package in PACKAGES}
    return {"python": platform.python_version(), **found}


def refuse_without_gpu(families: Sequence[Family]) -> None:
    """End in a sentence where a GPU is asked for and none is there."""
    if any(family.device == "cuda" for family in families):
        import torch

        if not torch.cuda.is_available():
            sys.exit("No GPU is at hand, so nothing was measured. BENCHMARK_REHEARSAL=1 runs the "
                     "same with small shapes on the CPU.")  # fmt: skip


def graphics() -> dict[str, Any] | None:
    """Return the GPU and the matrix products that it reaches in bf16, or None without one."""
    import torch

    if not torch.cuda.is_available():
        return None
    size, times = 8192, 20
    one = torch.randn(size, size, device="cuda", dtype=torch.bfloat16)
    for _ in range(3):
        one @ one
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(times):
        one @ one
    torch.cuda.synchronize()
    rate = times * 2 * size**3 / (time.perf_counter() - began)
    return {"name": torch.cuda.get_device_name(), "matmul_tflops": round(rate / 1e12, 1)}


def main() -> None:
    """Measure, and write the JSON and the page after each round."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [*FAMILIES, *GPU_FAMILIES]
    parser.add_argument("--families", nargs="+", choices=known, metavar="FAMILY")
    parser.add_argument("--gpu", action="store_true", help="real shapes, on a GPU")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="one round of few steps")
    parser.add_argument("--json", type=Path, help="where measurements are written")
    parser.add_argument("--page", type=Path, help="where the page is written")
    given = parser.parse_args()
    families = [family_of(n) for n in given.families or (GPU_FAMILIES if given.gpu else FAMILIES)]
    refuse_without_gpu(families)
    if given.quick:
        families = [replace(family, steps=QUICK_STEPS) for family in families]
    began, measurements = time.perf_counter(), []
    before = given.page.read_text("utf-8") if given.page and given.page.is_file() else ""
    with tempfile.TemporaryDirectory(prefix="finetune-benchmark-") as name:
        sys.path.insert(0, str(HERE.parent))
        for family in families:
            prepare(family, Path(name) / family.name)
        for number in range(1 if given.quick else given.rounds):
            measurements += one_round(number, families, Path(name), given.threads)
            report = {
                "command": command(sys.argv[1:]),
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
                "machine": machine(),
                "versions": versions(),
                "settings": {"rounds": number + 1, "threads": given.threads, "seed": SEED},
                "minutes": round((time.perf_counter() - began) / 60, 1),
                "rows": [row for family in families for row in summary(family, measurements)],
                "measurements": measurements,
            }
            if given.json:
                given.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
            if given.page:
                given.page.write_text(page(report, before), "utf-8")
    if not given.page:
        print(page(report))


if __name__ == "__main__":
    main()
