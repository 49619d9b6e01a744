"""Lower bounds on the epsilon of differential privacy, from the success of an attack.

`one_run_epsilon` is Steinke, Nasr and Jagielski 2023 (arXiv 2305.08846): one training with m canaries, each included by
an independent coin, and guesses about r of them. `many_run_epsilon` compares error rates over many trainings (Nasr et
al. 2021, arXiv 2101.04535, with exact binomial limits). Both are valid only for coins that are independent of
everything else, and for a number of guesses fixed in advance. Scores of ordinary audit data give no valid bound: their
samples are not canaries, and their errors are not independent (arXiv 2605.25819).
"""

# m canaries, r guesses

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import scipy
from numpy.typing import ArrayLike

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Floats, checked
from pruneaudit.metrics.intervals import binomial_interval

PRECISION = 1e-6
"""The returned one-run bound is at most this much lower than the exact one."""
OneRunBound = Callable[[int, int, int, float, float], float]
"""Of canaries, guesses, right guesses, delta and alpha."""


def one_run_epsilon(
    num_canaries: int, num_guesses: int, num_correct: int, delta: float = 0.0, alpha: float = 0.05
) -> float:
    """The epsilon that a mechanism exceeds, from the guesses about the canaries of a single training.

    Under (epsilon, delta)-DP the number of right guesses is at least v with a probability of at most

        p = min(1, beta + 2 m delta max_i P[v > B >= v - i] / i),   beta = P[B >= v],

    B binomial of r trials at q = 1 / (1 + e^-epsilon) (arXiv 2305.08846). The bound is the largest epsilon with
    p < alpha, rounded down by at most `PRECISION`.

    Args:
        num_canaries: m, each included with probability 1/2 independently.
        num_guesses: r <= m, fixed in advance; the best of several choices, without correction, finds leaks that do not
            exist (see `one_run_over_grid`).
        num_correct: v <= r, the number of right guesses.
        delta: the delta of the tested claim, in [0, 1).
        alpha: error probability in (0, 1), one-sided: how often the bound may exceed the truth.

    Returns:
        A lower bound >= 0; 0 if the guesses refute nothing.

    Raises:
        UserError: the counts do not fit each other, or a probability is out of range.
    """
    canaries = checked_count("num_canaries", num_canaries, 1)
    guesses = checked_count("num_guesses", num_guesses, 0, canaries, "num_canaries")
    correct = checked_count("num_correct", num_correct, 0, guesses, "num_guesses")
    checked_probabilities(delta, alpha)
    if correct == 0:
        return 0.0
    excess = _largest_excess(guesses, correct)

    def p_value(epsilon: float) -> float:
        beta = float(scipy.special.betainc(correct, guesses - correct + 1, scipy.special.expit(epsilon)))
        return min(1.0, beta + (2 * canaries * delta * excess(epsilon) if delta else 0.0))

    if p_value(0.0) >= alpha:
        return 0.0
    low, high = 0.0, 1.0
    while p_value(high) < alpha:  # ends: beta reaches 1 once e^-epsilon rounds to 0
        low, high = high, 2 * high
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle) < alpha else (low, middle)
    return low


def _largest_excess(guesses: int, correct: int) -> Callable[[float], float]:
    """max_i P[v > B >= v - i] / i as a function of epsilon; beyond i = v only the divisor grows."""
    outcomes = np.arange(correct - 1, -1, -1.0)  # v - 1, v - 2, ..., 0
    log_ways = -scipy.special.betaln(guesses - outcomes + 1, outcomes + 1) - np.log(guesses + 1)
    widths = np.arange(1.0, correct + 1)

    def excess(epsilon: float) -> float:
        right, wrong = (scipy.special.log_expit(sign * epsilon) for sign in (1, -1))
        logs = log_ways + outcomes * right + (guesses - outcomes) * wrong
        return float((np.cumsum(np.exp(logs)) / widths).max())

    return excess


def guess_canaries(scores: ArrayLike, included: ArrayLike, num_positive: int, num_negative: int) -> tuple[int, int]:
    """Guesses "in" for the highest scores and "out" for the lowest, and counts how many are right.

    If a cut goes through tied scores, the tied canaries with wrong guesses are chosen first: the order of the input,
    or luck, cannot raise the count.

    Args:
        scores: (m,), higher = more likely included; infinities are allowed, NaN is not.
        included: (m,) bool, whether the canary was in the training set.
        num_positive: k+ guesses "in", fixed in advance.
        num_negative: k- guesses "out", fixed in advance; k+ + k- <= m.

    Returns:
        The number of guesses r = k+ + k-, and the number v of right ones.

    Raises:
        UserError: the shapes do not fit, a score is NaN, or there are fewer canaries than guesses.
    """
    order, truth = _ranked(scores, included)
    return _guessed(truth[order], num_positive, num_negative)


def one_run_over_grid(
    scores: ArrayLike,
    included: ArrayLike,
    grid: Sequence[tuple[int, int]],
    delta: float = 0.0,
    alpha: float = 0.05,
    bound: OneRunBound = one_run_epsilon,
) -> tuple[float, tuple[int, int]]:
    """The best one-run bound over several numbers of guesses, each tested at alpha / len(grid) (Bonferroni).

    Args:
        scores: (m,) as for `guess_canaries`.
        included: (m,) bool.
        grid: pairs (k+, k-), all declared before the scores were seen.
        delta: as for `one_run_epsilon`.
        alpha: error probability of the returned bound.
        bound: of one pair; `one_run_gaussian_epsilon` needs a delta above 0.

    Returns:
        The bound, and the pair that gave it (the first of the grid if all give 0).

    Raises:
        UserError: as for `guess_canaries` and `one_run_epsilon`, or the grid is empty.
    """
    if not len(grid):
        raise UserError("grid: got no pairs, expected at least one (num_positive, num_negative), such as (100, 100)")
    checked_probabilities(delta, alpha)
    order, truth = _ranked(scores, included)
    ranked = truth[order]
    best, chosen = -1.0, (0, 0)
    for num_positive, num_negative in grid:
        guesses, correct = _guessed(ranked, num_positive, num_negative)
        found = bound(ranked.size, guesses, correct, delta, alpha / len(grid))
        if found > best:
            best, chosen = found, (int(num_positive), int(num_negative))
    return best, chosen


def one_run_by_halves(
    scores: ArrayLike,
    included: ArrayLike,
    shares: Sequence[tuple[float, float]],
    chooses: ArrayLike,
    delta: float = 0.0,
    alpha: float = 0.05,
    bound: OneRunBound = one_run_epsilon,
) -> tuple[float, int, int]:
    """The one-run bound of the canaries that did not choose the number of guesses, at the whole alpha.

    Some canaries choose the pair of shares with the highest bound on them; the bound is that of the others. They are
    fewer, but many pairs can be tried at no price (sample splitting, as in jax_privacy's `auditing.py`).

    Args:
        scores: (m,) as for `guess_canaries`.
        included: (m,) bool.
        shares: pairs of fractions of the canaries to guess "in" and "out", each pair with a sum of at most 1.
        chooses: (m,) bool, drawn without looking at scores: the canaries that choose.
        delta: as for `one_run_epsilon`.
        alpha: error probability of the returned bound.
        bound: of one pair.

    Returns:
        The bound, the number of guesses, and the number of right ones, among the canaries that did not choose.

    Raises:
        UserError: as for `one_run_over_grid`, or all canaries are on one side.
    """
    halves = np.asarray(chooses, dtype=bool)
    if halves.all() or not halves.any():
        raise UserError(f"chooses: got {halves.sum()} of {halves.size} canaries, expected some on either side")
    values, truth = np.asarray(scores)[~halves], np.asarray(included)[~halves]
    first = np.asarray(scores)[halves], np.asarray(included)[halves]
    found = [one_run_over_grid(*first, [_counted(pair, int(halves.sum()))], delta, alpha, bound)[0] for pair in shares]
    chosen = _counted(shares[int(np.argmax(found))], values.size)
    guesses, correct = guess_canaries(values, truth, *chosen)
    return bound(values.size, guesses, correct, delta, alpha), guesses, correct


def _counted(pair: tuple[float, float], num_canaries: int) -> tuple[int, int]:
    """The numbers of guesses for shares of the canaries."""
    return int(pair[0] * num_canaries), int(pair[1] * num_canaries)


def many_run_epsilon(
    true_positives: int,
    positives: int,
    false_positives: int,
    negatives: int,
    delta: float = 0.0,
    alpha: float = 0.05,
) -> float:
    """The epsilon that a mechanism exceeds, from the error rates of an attack over independent trainings.

    max{ln((TPR_lo - delta) / FPR_hi), ln((TNR_lo - delta) / FNR_hi)}, with Clopper and Pearson's limits at alpha / 2
    each: TPR and FNR share one, TNR and FPR the other.

    Args:
        true_positives: trainings with the canary in which it was accused.
        positives: trainings with the canary, each independent of all others.
        false_positives: trainings without the canary in which it was accused.
        negatives: trainings without the canary.
        delta: the delta of the tested claim, in [0, 1).
        alpha: error probability in (0, 1), one-sided. The threshold must be fixed without these trainings.

    Returns:
        A lower bound >= 0.

    Raises:
        UserError: the counts do not fit each other, or a probability is out of range.
    """
    positives, negatives = checked_count("positives", positives, 1), checked_count("negatives", negatives, 1)
    hits = checked_count("true_positives", true_positives, 0, positives, "positives")
    alarms = checked_count("false_positives", false_positives, 0, negatives, "negatives")
    checked_probabilities(delta, alpha)
    low, high = binomial_interval([hits, alarms], [positives, negatives], alpha)
    tpr_low, fpr_high = float(low[0]), float(high[1])
    return max(_log_ratio(tpr_low - delta, fpr_high), _log_ratio(1 - fpr_high - delta, 1 - tpr_low), 0.0)


def _log_ratio(numerator: float, denominator: float) -> float:
    """Ln of a ratio; the denominator, an upper limit, is above 0. -inf if the numerator is not above 0."""
    return float(np.log(numerator / denominator)) if numerator > 0 else -np.inf


def _ranked(scores: ArrayLike, included: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Canaries from the highest score down, and their true inclusion.

    Among ties, excluded canaries come first, so that guesses "in" from the front are wrong; included ones come last, so
    that guesses "out" from the back are wrong.
    """
    rows, truth = checked(np.atleast_2d(np.asarray(scores)), np.atleast_2d(np.asarray(included)))
    values: Floats = rows[0]
    if len(rows) != 1 or np.isnan(values).any():
        problem = f"{np.isnan(values).sum()} NaN" if len(rows) == 1 else f"shape {rows.shape}"
        raise UserError(f"scores: got {problem}, expected one number per canary; choose one model, score every canary")
    return np.lexsort((truth[0], -values)), truth[0]


def _guessed(ranked: np.ndarray, num_positive: int, num_negative: int) -> tuple[int, int]:
    """Number of guesses and of right ones, from the truth (m,) in the order of `_ranked`."""
    top = checked_count("num_positive", num_positive, 0, ranked.size, "the canaries")
    bottom = checked_count("num_negative", num_negative, 0, ranked.size - top, "the canaries left by num_positive")
    right = np.count_nonzero(ranked[:top]) + np.count_nonzero(~ranked[ranked.size - bottom :])
    return top + bottom, int(right)


def checked_count(name: str, value: Any, least: int, most: int | None = None, limit: str = "") -> int:
    """A whole number within its limits; refuses any other."""
    is_whole = isinstance(value, int | np.integer) and not isinstance(value, bool | np.bool_)
    if is_whole and least <= value and (most is None or value <= most):
        return int(value)
    expected = f"at least {least}" if most is None else f"between {least} and {limit} ({most})"
    raise UserError(f"{name}: got {value!r}, expected a whole number {expected}")


def checked_probabilities(delta: float, alpha: float) -> None:
    """Refuses a delta outside [0, 1) and an alpha outside (0, 1)."""
    if not 0 <= delta < 1:
        raise UserError(f"delta: got {delta!r}, expected a probability in [0, 1), such as 1e-5")
    if not 0 < alpha < 1:
        raise UserError(f"alpha: got {alpha!r}, expected a probability in (0, 1), such as 0.05 for 95% confidence")
