"""Measure how training grows: with ten times the rows, and from one process to two ranks.

    python scripts/measure_growth.py

The train stage of the benchmark's BERT (full) is run in fresh processes, as `benchmark.py` does.
Rows: the CPU time of a row among 3,200 against one among 320, steps after the second; 1.00 is
proportional. Ranks: useful tokens per second by the clock, two ranks of one thread each against
one process of two threads, on the same global batches; the machine must be quiet for that.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmark import environment
from benchmark_families import FAMILIES, Family, prepare

HERE = Path(__file__).resolve().parent
FEW, MANY = 20, 200
"""Steps of 16 rows."""


def trained(family: Family, folder: Path, *, threads: int, ranks: int = 1) -> dict[str, Any]:
    """Train in fresh processes and return what the first of them measured."""
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    launcher = [sys.executable]
    if ranks > 1:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={ranks}"]
    program = [str(HERE / "benchmark_contestants.py"), family.name, "ours", str(folder)]
    told = [str(family.steps), repr(time.time()), str(result)]
    done = subprocess.run(
        [*launcher, *program, *told], env=environment(threads, folder), cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode or not result.is_file():
        sys.exit(done.stderr[-3000:])
    found: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return found


def told(values: list[float]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


def main() -> None:
    """Print both ratios, medians over the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--family", choices=[n for n, f in FAMILIES.items() if f.unit == "tokens"],
                        default="bert-full")  # fmt: skip
    given = parser.parse_args()
    sys.path.insert(0, str(HERE.parent))
    base = FAMILIES[given.family]
    growth, ranks = [], []
    with tempfile.TemporaryDirectory(prefix="finetune-growth-") as name:
        few, many = (replace(base, steps=steps) for steps in (FEW, MANY))
        for family, place in ((few, "few"), (many, "many")):
            prepare(family, Path(name) / place)
        for _ in range(given.rounds):
            small = trained(few, Path(name) / "few", threads=1)
            large = trained(many, Path(name) / "many", threads=1)
            growth.append(small["tokens_per_cpu_second"] / large["tokens_per_cpu_second"])
            one = trained(few, Path(name) / "few", threads=2)
            two = trained(few, Path(name) / "few", threads=1, ranks=2)
            ranks.append(two["tokens_per_second"] / one["tokens_per_second"])
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}, no GPU, load "
        f"{os.getloadavg()[1]:.1f}, {given.rounds} rounds\n"
        f"time of a row among {many.rows:,} against {few.rows:,}: {told(growth)}\n"
        f"two ranks of a thread against one process of two threads: {told(ranks)}"
    )


if __name__ == "__main__":
    main()
