"""Numbers far from all others, on the usual and on the logarithmic scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetune.data.cells.encoded import Encoded, Found, by_mask
from finetune.data.cells.numbers import Numbers

if TYPE_CHECKING:
    from finetune.data.cells.encoded import Codes, Mask
    from finetune.data.cells.numbers import Floats

FENCE = 8.0
"""Distance from the median in robust standard deviations; at 3.5, every long tail is an alarm."""
TAIL = 5.0
"""How many times farther out than 99 % of the numbers: a long tail goes on, a slip stands apart."""
LEAST_ROWS = 30
MOST_SHARE = 0.005
"""More rows than this beyond the fence are a second population rather than slips."""
STAND_INS = (-1.0, -9.0, -99.0, -999.0, -9999.0, -99999.0, 999.0, 9999.0, 99999.0, 999999.0)
"""Numbers written where there was none."""


def stand_ins(column: Encoded, numbers: Numbers, present: Mask) -> Mask:
    """Tell which values are numbers that stand for none, such as -999: far off, and repeated."""
    import numpy as np

    use = numbers.readable & present
    known = np.isin(numbers.amounts, STAND_INS) & use & (column.counts >= 3)
    if not known.any() or not (use & ~known).any():
        return np.zeros(len(use), bool)
    rest = numbers.amounts[use & ~known]
    span = float(rest.max() - rest.min())
    low, high = float(rest.min()), float(rest.max())
    far = (numbers.amounts < low - span) | (numbers.amounts > high + span)
    lone_negative = (numbers.amounts < 0) & (low >= 0) & (numbers.amounts <= -9)
    found: Mask = known & (far | lone_negative)
    return found


def outliers(column: Encoded, numbers: Numbers, present: Mask) -> Found | None:
    """Find numbers beyond a wide fence on both scales, unless they are codes.

    Whole numbers with nearly all the same count of digits, five or more, are postcodes and phone
    numbers, whose size means nothing.
    """
    import numpy as np
    import pyarrow as pa

    use = numbers.readable & present
    amounts, weights = numbers.amounts[use], column.counts[use]
    if weights.sum() < LEAST_ROWS or len(amounts) < 5 or _codes(amounts, weights):
        return None
    beyond = _beyond(amounts, weights)
    if (amounts > 0).all():
        beyond &= _beyond(np.log(amounts), weights)
    beyond &= _apart(amounts, weights)
    if not beyond.any() or weights[beyond].sum() > max(1, MOST_SHARE * weights.sum()):
        return None
    flagged = np.zeros(len(use), bool)
    flagged[np.flatnonzero(use)[beyond]] = True
    return by_mask(column, "outlier", flagged, pa.nulls(len(use), pa.string()))


def _beyond(amounts: Floats, weights: Codes) -> Mask:
    import numpy as np

    middle = _quantile(amounts, weights, 0.5)
    spread = 1.4826 * _quantile(np.abs(amounts - middle), weights, 0.5)
    quartiles = _quantile(amounts, weights, 0.75) - _quantile(amounts, weights, 0.25)
    spread = max(spread, quartiles / 1.349)
    if spread == 0 or not np.isfinite(spread):
        return np.zeros(len(amounts), bool)
    far: Mask = np.abs(amounts - middle) > FENCE * spread
    return far


def _apart(amounts: Floats, weights: Codes) -> Mask:
    """Tell which numbers are far beyond their tail; with few rows, two of them are no tail."""
    import numpy as np

    share = min(0.99, 1 - 2 / float(weights.sum()))
    middle = _quantile(amounts, weights, 0.5)
    high = _quantile(amounts, weights, share) - middle
    low = middle - _quantile(amounts, weights, 1 - share)
    apart: Mask = np.where(
        amounts > middle, amounts - middle > TAIL * high, middle - amounts > TAIL * low
    )
    return apart


def _quantile(amounts: Floats, weights: Codes, share: float) -> float:
    import numpy as np

    order = np.argsort(amounts, kind="stable")
    heaped = np.cumsum(weights[order])
    return float(amounts[order][int(np.searchsorted(heaped, share * heaped[-1]))])


def _codes(amounts: Floats, weights: Codes) -> bool:
    import numpy as np

    whole = np.mod(amounts, 1) == 0
    if weights[whole].sum() < 0.98 * weights.sum():
        return False
    digits = np.floor(np.log10(np.maximum(np.abs(amounts), 1))).astype(np.int64) + 1
    lengths = np.bincount(digits[whole], weights[whole])
    return bool(lengths.argmax() >= 5 and lengths.max() >= 0.95 * weights.sum())
