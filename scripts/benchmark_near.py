"""Time and memory of the search for near-duplicates: ``python scripts/benchmark_near.py 10000 …``.

Sentences of 5 to 20 words are drawn from a vocabulary with the frequencies of a language (Zipf);
2 % of the rows are an earlier row with a doubled blank, another case, or one letter changed.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from finetune.data.near.text import find_near

PLANTED = 0.02


def sentences(count: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return sentences, and for each the row it was made from, or -1."""
    draw = np.random.default_rng(seed)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    lengths = draw.integers(2, 10, 30_000)
    words = ["".join(draw.choice(letters, length)) for length in lengths]
    shares = 1 / (np.arange(len(words)) + 10.0)
    spans = draw.integers(5, 21, count)
    chosen = draw.choice(len(words), int(spans.sum()), p=shares / shares.sum())
    texts, origin, place = [], np.full(count, -1), 0
    for row, span in enumerate(spans.tolist()):
        if row > 10 and draw.random() < PLANTED:
            origin[row] = draw.integers(0, row)
            texts.append(varied(texts[origin[row]], draw))
        else:
            texts.append(" ".join(words[word] for word in chosen[place : place + span]))
        place += span
    return texts, origin


def varied(text: str, draw: np.random.Generator) -> str:
    """Return a text with one small change."""
    kind = draw.integers(3)
    if kind == 0:
        return text.replace(" ", "  ", 1)
    if kind == 1:
        return text.upper() + "!"
    place = int(draw.integers(len(text)))
    return text[:place] + "x" + text[place + 1 :]


def resident() -> int:
    """Return the most memory this process has held, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    for count in [int(argument) for argument in sys.argv[1:]] or [10_000, 100_000, 1_000_000]:
        texts, origin = sentences(count)
        table = pa.table({"text": texts})
        del texts
        before, begin = resident(), time.perf_counter()
        near = find_near([table])
        seconds = time.perf_counter() - begin
        rows = np.flatnonzero(origin >= 0)
        group = near.connected()
        recall = float(np.mean(group[rows] == group[origin[rows]]))
        print(
            f"{count:>9,} rows  {seconds:6.1f} s  {count / seconds:>8,.0f} rows/s  "
            f"{before:,} → {resident():,} MiB  recall {recall:.4f}  "
            f"rows in clusters {int((near.clusters >= 0).sum()):,}"
        )


if __name__ == "__main__":
    main()
