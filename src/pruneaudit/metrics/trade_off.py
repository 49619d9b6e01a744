"""Computes how many right guesses about canaries a trade-off curve allows in one training.

Mahloujifar, Melis and Chaudhuri 2024 (arXiv 2410.22235). A trade-off curve f gives, for each rate of false alarms, the
least rate of misses of any membership test. It is symmetric here, and given as r -> f(1 - r), which keeps its digits
for small r.
"""

# m canaries, g guesses

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

Curve = Callable[[float], float]
"""f(1 - r) of r in [0, 1]; increasing, and at most r."""


def is_refuted(canaries: int, guesses: int, correct: int, curve: Curve, alpha: float) -> bool:
    """Whether a mechanism with this curve gives so many right guesses with a probability below alpha.

    The recursion goes from the observed number of right guesses down. `right` and `wrong` are the largest
    probabilities, per canary, of guessing right and wrong in outcomes with at least i right guesses; the curve limits
    by how much each step may raise the second.

    Args:
        canaries: m, each included with probability 1/2 independently.
        guesses: g <= m, fixed in advance.
        correct: how many of them are right.
        curve: the claim.
        alpha: error probability in (0, 1), one-sided.
    """
    right, wrong = alpha * correct / canaries, alpha * (guesses - correct) / canaries
    for index in range(correct - 1, -1, -1):
        raised = max(wrong, curve(right))
        if raised <= wrong:
            break
        right = min(1.0, right + index / (guesses - index) * (raised - wrong))
        wrong = raised
    return right + wrong > guesses / canaries


def curve_of(epsilons: ArrayLike, deltas: ArrayLike) -> Curve:
    """The trade-off curve of a mechanism that is (epsilon, delta)-DP for each of these pairs.

    f(a) = max over the pairs of max(0, 1 - delta - e^epsilon a, e^-epsilon (1 - delta - a)) (Wasserman and Zhou 2010;
    arXiv 1905.02383). Fewer pairs, or larger deltas, give a lower curve, which refutes less.

    Args:
        epsilons: (E,) from 0 up.
        deltas: (E,) in [0, 1].

    Example:
        >>> round(curve_of([0.0, 1.0], [0.5, 0.1])(0.6), 3)  # e^-1 (0.6 - 0.1)
        0.184
    """
    epsilon, delta = np.asarray(epsilons, dtype=float), np.asarray(deltas, dtype=float)
    shrunk, grown = np.exp(-epsilon), np.expm1(epsilon)

    def at(r: float) -> float:
        first = r - delta - grown * (1 - r)  # 1 - delta - e^epsilon (1 - r)
        return max(0.0, float(first.max()), float((shrunk * (r - delta)).max()))

    return at
