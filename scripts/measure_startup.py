"""Measure how long a command takes to the end of its first optimiser step.

    python scripts/measure_startup.py --rounds 5
    python scripts/measure_startup.py --against /path/to/another/checkout

Each measurement is a fresh process that ends itself once the first line of logs/metrics.jsonl is
written. With another checkout the two take turns; what is printed is the minimum over the rounds of
the time by the clock, of the CPU time, and of the memory. `docs/startup.md` has what was found.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMMANDS: dict[str, tuple[str, ...]] = {
    "bert": ("recipe=bert/text_classification", "model=tiny/bert"),
    "gpt-lora": ("recipe=gpt/chat", "model=tiny/gpt", "strategy=lora"),
}
PROGRAM = """
import json, os, resource, sys, time
begun, out = float(sys.argv[1]), sys.argv[2]
sys.argv = ["finetune", *sys.argv[3:]]
from finetune import cli
from finetune.runs import storage
write = storage.append_line
def watched(path, value):
    write(path, value)
    if path.name == "metrics.jsonl":
        found = {"seconds": time.time() - begun, "cpu_seconds": time.process_time(),
                 "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
                 "modules": sorted(sys.modules)}
        open(out, "w").write(json.dumps(found))
        try:
            from finetune.stages import bytecode
            bytecode.make()
        except ImportError:
            pass
        os._exit(0)
storage.append_line = watched
cli.main()
"""


def first_step(arguments: Sequence[str], root: Path = ROOT) -> dict[str, Any]:
    """Return seconds, CPU seconds, memory and modules at the end of a command's first step."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, "-c", PROGRAM, repr(time.time()), str(out), *arguments]
        done = subprocess.run(
            [*command, f"run.dir={folder}", "name=startup"],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if not out.is_file():
            raise SystemExit(f"No step was trained:\n{done.stderr[-3000:]}")
        found: dict[str, Any] = json.loads(out.read_text("utf-8"))
        return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, for before and after")
    options = parser.parse_args()
    roots = {"here": ROOT} | ({"there": options.against.resolve()} if options.against else {})
    for name, arguments in COMMANDS.items():
        for root in roots.values():
            first_step(arguments, root)  # fills caches
        rounds = [
            {place: first_step(arguments, root) for place, root in roots.items()}
            for _ in range(options.rounds)
        ]
        for place in roots:
            best = {
                key: min(found[place][key] for found in rounds)
                for key in ("seconds", "cpu_seconds", "rss_mb")
            }
            modules = len(rounds[0][place]["modules"])
            sys.stdout.write(
                f"{name:9} {place:6} {best['seconds']:5.1f} s  {best['cpu_seconds']:5.1f} CPU s  "
                f"{best['rss_mb']:4.0f} MB  {modules} modules\n"
            )


if __name__ == "__main__":
    main()
