"""LiRA's AUC with more references than there are: 1/d'^2 = a + b/n, where d' = sqrt(2) * Phi^-1(AUC).

A likelihood ratio whose per-sample means are estimated from n references has d'(n) = t^2 / sqrt(t^2 + 4/n), where
t^2 is the mean squared IN-OUT shift in units of the standard deviation. So 1/d'^2 is linear in 1/n. Two numbers of
references give a and b. Both are fitted: b = 4 a^2, which the formula implies, is off by up to a factor of 4.

The interval refits in every replicate of the bootstrap over samples and models. It is the hull of the intervals of
three forms: this law, A - B/n and A - B/sqrt(n), because none of them is exact. `docs/statistics.md` lists the cases
that are refused.
"""

# V victims, N samples, B replicates, M numbers of references to predict

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy

from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.envelope import joint_replicates
from pruneaudit.evaluation.measure import NUM_RESAMPLES
from pruneaudit.metrics import PerVictim
from pruneaudit.metrics.arrays import Floats

FURTHEST = 8
"""Nothing is extrapolated beyond this many times the largest number of references."""
FEWEST = 8
"""Nothing is fitted to fewer references than this: at small n the law predicts too much."""
APART = 1.5
"""The two numbers of references of a fit differ by at least this factor."""
CLEARLY = 3.0
"""The d' at the smaller number of references must be this many standard errors above 0."""
ALPHA = 0.05
NUM_JOINT = 5 * NUM_RESAMPLES
_SMALLEST = 1e-6  # of 1/d'^2: an AUC of 1


class Extrapolated(NamedTuple):
    """A predicted AUC with its interval; NaN where it is refused."""

    value: float
    low: float
    high: float
    suppressed: str
    """Why it is refused; empty if it is not."""


def extrapolated(measured: Mapping[int, PerVictim], at: Sequence[int], seed: int) -> list[Extrapolated]:
    """LiRA's mean AUC with more references.

    Args:
        measured: the AUC of every victim by number of references, averaged over subsets.
        at: (M,) numbers of references to predict.
        seed: the study's seed.
    """
    fitted, why = fitted_counts(tuple(measured))
    if why:
        return [_refused(why) for _ in at]
    first, last = (measured[count] for count in fitted)
    joint = _joint(first, last, seed)  # (B, 2)
    means = np.array([first.values.mean(), last.values.mean()])
    d_prime, error = _d_prime(means[0]), float(_d_prime(joint[:, 0]).std(ddof=1))
    if np.isnan(error) or d_prime < CLEARLY * error:
        unclear = (
            f"d' with {fitted[0]} references is {d_prime:.3f}, expected at least {CLEARLY:g} times its standard error"
            f" ({error:.3f})"
        )
        return [_refused(unclear) for _ in at]
    return [_predicted(means, joint, fitted, count) for count in at]


def fitted_counts(counts: Sequence[int]) -> tuple[tuple[int, int], str]:
    """The two numbers of references to fit, and why there are none; empty if there are.

    The largest one, and the largest that is at least 1.5 times smaller.
    """
    last = max(counts, default=0)
    first = max((count for count in counts if APART * count <= last), default=0)
    if first >= FEWEST:
        return (first, last), ""
    needed = int(np.ceil(APART * FEWEST))
    return (0, 0), (
        f"the fit needs two numbers of references of at least {FEWEST}, which differ by a factor of {APART:g}: got"
        f" {last} references, expected {needed} or more"
    )


def law(means: Floats, counts: tuple[int, int], at: int) -> Floats:
    """The AUC (...) with `at` references by 1/d'^2 = a + b/n, from the AUCs (..., 2) with `counts` references."""
    inverse = _by(_inverse_square(means), counts, at, lambda n: 1 / n)
    return np.asarray(scipy.stats.norm.cdf(1 / np.sqrt(2 * np.maximum(inverse, _SMALLEST))))


def forms(means: Floats, counts: tuple[int, int], at: int) -> tuple[Floats, Floats, Floats]:
    """The AUCs (...) by the law, by A - B/n and by A - B/sqrt(n), from the AUCs (..., 2) with `counts` references."""
    straight = (_by(means, counts, at, scale) for scale in (lambda n: 1 / n, lambda n: 1 / np.sqrt(n)))
    return law(means, counts, at), *(np.clip(one, 0.0, 1.0) for one in straight)  # type: ignore[return-value]


def _predicted(means: Floats, joint: Floats, counts: tuple[int, int], at: int) -> Extrapolated:
    if at > FURTHEST * counts[1]:
        return _refused(f"{at} is more than {FURTHEST} times {counts[1]}, the largest number of references")
    if at <= counts[1]:
        return _refused(f"{at} is not more than {counts[1]}, the largest number of references")
    ends = [np.quantile(form, [ALPHA / 2, 1 - ALPHA / 2]) for form in forms(joint, counts, at)]
    value = float(law(means, counts, at))
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    return Extrapolated(value, float(min(low, value)), float(max(high, value)), "")


def _joint(first: PerVictim, last: PerVictim, seed: int) -> Floats:
    """Replicates (B, 2) of both mean AUCs, over the draw of samples and of models; to first order."""
    generator = numpy_generator(seed, seeds.POWER_EXTRAPOLATION)
    weights = generator.standard_exponential((NUM_RESAMPLES, first.influence.shape[1])) - 1  # (B, N)
    replicates = np.stack([found.values + weights @ found.influence.T for found in (first, last)], axis=2)  # (B, V, 2)
    values = np.stack([first.values, last.values], axis=1)  # (V, 2)
    return joint_replicates(values, replicates, NUM_JOINT, generator)


def _by(values: Floats, counts: tuple[int, int], at: int, scale: Callable[[int], float]) -> Floats:
    """The line in `scale(n)` through values (..., 2) with `counts` references, at n = `at` (...)."""
    first, last, there = (scale(count) for count in (*counts, at))
    slope = (values[..., 1] - values[..., 0]) / (last - first)
    return np.asarray(values[..., 1] + slope * (there - last))


def _d_prime(auc: Floats | float) -> Floats:
    return np.asarray(np.sqrt(2) * scipy.stats.norm.ppf(auc))


def _inverse_square(auc: Floats) -> Floats:
    """1/d'^2 of AUCs; without a leak (0.5 or less) a large number."""
    return np.asarray(1 / np.maximum(_d_prime(auc), 1e-3) ** 2)


def _refused(why: str) -> Extrapolated:
    return Extrapolated(np.nan, np.nan, np.nan, why)
