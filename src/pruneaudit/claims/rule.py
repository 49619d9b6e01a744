"""The verdict on a claim: a pure function of an interval, fixed before any result.

| kind | holds | does not hold |
|---|---|---|
| `increase` | the interval lies above +.01 AUC | it lies below +.01 |
| `decrease` | the interval lies below -.01 AUC | it lies above -.01 |
| `no change` | the interval lies inside -.01 to +.01 | it lies wholly outside |
| `half` | the interval lies above 0 | it lies below 0 |

Everything else is "not shown". An interval that touches a limit does not lie beyond it. `half` is about
(L - .5) - (L' - .5) / 2: whether a network keeps at least half of what another one gives away beyond guessing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

Kind = Literal["increase", "decrease", "no change", "half"]
Verdict = Literal["holds", "does not hold", "not shown", "not tested"]
HOLDS: Verdict = "holds"
FAILS: Verdict = "does not hold"
NOT_SHOWN: Verdict = "not shown"
NOT_TESTED: Verdict = "not tested"
MARGIN = 0.01
"""The smallest change of AUC that counts as one."""
ERROR = 0.05
"""Error probability of all intervals together."""
DEPENDS = "depends on the data"


def verdict(kind: Kind, low: float, high: float) -> Verdict:
    """The verdict that an interval gives.

    Args:
        kind: what is claimed.
        low: lower end of the interval; NaN: open.
        high: upper end; NaN: open.

    Example:
        >>> verdict("increase", 0.012, 0.020)
        'holds'
        >>> verdict("decrease", -0.005, 0.020)
        'does not hold'
        >>> verdict("no change", -0.005, 0.020)
        'not shown'
    """
    low = -math.inf if math.isnan(low) else low
    high = math.inf if math.isnan(high) else high
    if kind == "decrease":
        return verdict("increase", -high, -low)
    if kind == "no change":
        if low > -MARGIN and high < MARGIN:
            return HOLDS
        return FAILS if low > MARGIN or high < -MARGIN else NOT_SHOWN
    limit = MARGIN if kind == "increase" else 0.0
    if low > limit:
        return HOLDS
    return FAILS if high < limit else NOT_SHOWN


def overall(verdicts: Sequence[Verdict]) -> str:
    """The verdict on all data sets: the one on which they agree.

    Args:
        verdicts: one per data set.

    Example:
        >>> overall(["holds", "not shown"])
        'depends on the data'
    """
    tested = [each for each in verdicts if each != NOT_TESTED]
    if not tested:
        return NOT_TESTED
    return tested[0] if len(set(tested)) == 1 else DEPENDS


def level_of(num_intervals: int) -> float:
    """The level of each of several intervals that together miss with probability .05 at most (Bonferroni).

    Args:
        num_intervals: how many intervals give verdicts, at least 1.

    Example:
        >>> level_of(1)
        0.95
    """
    return 1 - ERROR / num_intervals
