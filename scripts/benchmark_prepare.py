"""How long `prepare` takes and how much memory, for 10^4, 10^5 and 10^6 short texts.

    python scripts/benchmark_prepare.py [ROWS …]

Makes a csv of support-like sentences of 5 to 20 words in 20 classes, 2 % of them repeated exactly
and 2 % with one word changed, a few with mojibake, an e-mail address or blanks, and runs the real
command on it: reading, cleaning, exact and near duplicates, suspected labels, splitting, writing
and the report.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = 8_000
CLASSES = 20


def vocabulary(chance: random.Random) -> list[str]:
    syllables = [a + b for a in "bcdfghklmnprstvw" for b in ("a", "e", "i", "o", "u", "ar", "en")]
    return ["".join(chance.choices(syllables, k=chance.randint(1, 4))) for _ in range(WORDS)]


def rows(count: int) -> list[tuple[str, str]]:
    chance = random.Random(count)
    words = vocabulary(chance)
    weights = list(itertools.accumulate(1 / (rank + 5) for rank in range(WORDS)))
    made: list[tuple[str, str]] = []
    while len(made) < count:
        kind = chance.random()
        if made and kind < 0.02:
            made.append(chance.choice(made[-1000:]))
            continue
        if made and kind < 0.04:
            text, label = chance.choice(made[-1000:])
            parts = text.split(" ")
            parts[chance.randrange(len(parts))] = chance.choice(words)
            made.append((" ".join(parts), label))
            continue
        label = chance.randrange(CLASSES)
        body = chance.choices(words, cum_weights=weights, k=chance.randint(5, 20))
        body[0] = words[label * 7]  # so that there is something to learn
        text = " ".join(body).capitalize()
        if kind < 0.045:
            text += " caf\u00c3\u00a9"
        elif kind < 0.05:
            text += f"  write to {words[label]}@example.com "
        made.append((text, f"class {label}"))
    return made


def measure(count: int, folder: Path) -> None:
    file = folder / "rows.csv"
    with file.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["text", "label"])
        writer.writerows(rows(count))
    settings = ["recipe=data", f"data.path={file}", f"run.dir={folder}", "name=run"]
    command = [sys.executable, "-m", "finetune", "prepare", *settings, "data.cache=false"]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    audit = json.loads((folder / "run" / "data" / "audit.json").read_text())
    print(
        f"{count:>9,} rows  {seconds:7.1f} s  {count / seconds:8,.0f} rows/s  {peak:7,.0f} MiB  "
        f"exact {audit['duplicates']['exact']:,}  near {audit['duplicates']['near']:,}  "
        f"repairs {audit['encoding_repairs']:,}  personal {sum(audit['personal_data'].values()):,}",
        flush=True,
    )


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000, 1_000_000]
    print(f"{os.cpu_count()} cores")
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="finetune-benchmark-") as folder:
            measure(count, Path(folder))


if __name__ == "__main__":
    main()
