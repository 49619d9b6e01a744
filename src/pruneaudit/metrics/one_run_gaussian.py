"""A lower bound on epsilon from one training, for mechanisms with a Gaussian trade-off curve.

Mahloujifar, Melis and Chaudhuri 2024 (arXiv 2410.22235). Under f-differential privacy the trade-off curve f limits how
many guesses about canaries can be right. Here f is Gaussian (mu-GDP), with mu in place of epsilon. From the same
guesses this bound is higher than `one_run_epsilon`, which holds for every (epsilon, delta)-DP mechanism. It is a bound
only if the mechanism's curve really lies above that Gaussian curve: state this assumption with the figure.
"""

# m canaries, g guesses

from __future__ import annotations

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.epsilon import checked_count, checked_probabilities
from pruneaudit.metrics.trade_off import is_refuted

PRECISION = 1e-4
"""The returned bound is at most this much lower than the exact one."""
_LEAST = 1e-6
"""Bounds below it count as 0."""
_LOG_SCALES = (-10.0, 40.0)
"""Logarithm of the noise scale 1 / mu, between which it is searched."""


def one_run_gaussian_epsilon(
    num_canaries: int, num_guesses: int, num_correct: int, delta: float = 1e-5, alpha: float = 0.05
) -> float:
    """The epsilon that a mechanism with a Gaussian trade-off curve exceeds, from the guesses of a single training.

    Args:
        num_canaries: m, each included with probability 1/2 independently.
        num_guesses: g <= m, fixed in advance.
        num_correct: c <= g, the number of right guesses.
        delta: the delta of the tested claim, in (0, 1): a Gaussian curve has no finite epsilon at delta = 0.
        alpha: error probability in (0, 1), one-sided: how often the bound may exceed the truth.

    Returns:
        A lower bound >= 0, rounded down by at most `PRECISION`; 0 if the guesses refute nothing.

    Raises:
        UserError: the counts do not fit each other, or a probability is out of range.

    Example:
        >>> round(one_run_gaussian_epsilon(1000, 100, 95), 2)
        3.32
    """
    canaries = checked_count("num_canaries", num_canaries, 1)
    guesses = checked_count("num_guesses", num_guesses, 0, canaries, "num_canaries")
    correct = checked_count("num_correct", num_correct, 0, guesses, "num_guesses")
    checked_probabilities(delta, alpha)
    if delta == 0:
        raise UserError("delta: got 0, expected a probability above 0, such as 1e-5, for a Gaussian trade-off curve")

    def exceeds(epsilon: float) -> bool:
        mu = mu_of(epsilon, delta)
        return is_refuted(canaries, guesses, correct, lambda r: float(ndtr(ndtri(r) - mu)), alpha)

    if correct == 0 or not exceeds(_LEAST):
        return 0.0
    low, high = _LEAST, 1.0
    while exceeds(high):
        low, high = high, 2 * high
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if exceeds(middle) else (low, middle)
    return low


def mu_of(epsilon: float, delta: float) -> float:
    """The mu of the Gaussian curve that is exactly (epsilon, delta)-DP.

    delta = Phi(mu/2 - epsilon/mu) - e^epsilon Phi(-mu/2 - epsilon/mu) (Balle and Wang 2018, arXiv 1805.06530).

    Args:
        epsilon: above 0.
        delta: in (0, 1).
    """
    from scipy.optimize import brentq  # takes long to import, and few commands come here

    def excess(log_scale: float) -> float:
        mu = np.exp(-log_scale)
        other = np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu))
        return float(ndtr(mu / 2 - epsilon / mu) - other - delta)

    return float(np.exp(-brentq(excess, *_LOG_SCALES, xtol=1e-12)))
