"""Speech recognition: word and character error rates, as spoken and normalised.

Edits over the whole set, divided by its reference words (characters); above 1 when a model talks
too much. Against references without any word, the rate is the number of words inserted.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from finetune.metrics.base import Array, Metric, divide


def normalized(text: str) -> str:
    """Lower-case, drop apostrophes, and turn other punctuation and symbols into single spaces."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("'", "").replace("’", "")
    kept = (" " if unicodedata.category(letter)[0] in "PS" else letter for letter in folded)
    return " ".join("".join(kept).split())


def _edit_statistics(
    align: str, prepare: Callable[[str], str]
) -> Callable[[Sequence[Any], Sequence[Any]], Array]:
    """Make statistics (rows, 2): edits, and words or characters of the reference."""

    def statistics(predictions: Sequence[Any], references: Sequence[Any]) -> Array:
        import jiwer

        output = getattr(jiwer, align)(
            [prepare(str(reference)) for reference in references],
            [prepare(str(prediction)) for prediction in predictions],
        )
        edits = [
            sum(
                max(part.ref_end_idx - part.ref_start_idx, part.hyp_end_idx - part.hyp_start_idx)
                for part in parts
                if part.type != "equal"
            )
            for parts in output.alignments
        ]
        return np.stack([edits, [len(units) for units in output.references]], axis=-1).astype(
            np.float64
        )

    return statistics


def _rate(sums: Array) -> Array:
    return divide(sums[..., 0], np.maximum(sums[..., 1], 1))


wer = Metric(
    "wer",
    _edit_statistics("process_words", str),
    _rate,
    greater_is_better=False,
    description="Words to change, insert or delete for each word of the reference; 0 is perfect.",
)
cer = Metric(
    "cer",
    _edit_statistics("process_characters", str),
    _rate,
    greater_is_better=False,
    description="Characters to change, insert or delete for each of the reference; 0 is perfect.",
)
wer_normalized = Metric(
    "wer_normalized",
    _edit_statistics("process_words", normalized),
    _rate,
    greater_is_better=False,
    description="Word error rate, letter case and punctuation aside; 0 is perfect.",
)
cer_normalized = Metric(
    "cer_normalized",
    _edit_statistics("process_characters", normalized),
    _rate,
    greater_is_better=False,
    description="Character error rate, letter case and punctuation aside; 0 is perfect.",
)
