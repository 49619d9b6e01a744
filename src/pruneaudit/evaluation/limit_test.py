"""Tests of one figure against its limit: a one-sided p-value and a one-sided bound.

The hypothesis is that the limit is broken: leakage of at least the limit, or accuracy of at most the limit. A small
p-value is evidence that the limit is kept. Bounds follow the same rule: a p-value is at most alpha exactly where the
bound keeps the limit.

Several victims: standard error and degrees of freedom are those of `two_way`, over samples and models. The larger of
two p-values counts, of the t form and of the t form on the logit scale. Rates such as a TPR at 1% FPR have an error
that grows with them, so a TPR that is low by chance comes with an error that is too small. The t form alone rejects a
limit that is the truth in up to 13% of banks, the percentile of replicates in up to 18% (`docs/statistics.md`).

One victim: the error over its samples alone, in the t form (which is a normal one). Within three standard errors of a
bound of (0, 1) the percentile of the replicates counts if it is larger.
"""

# V victims, N samples, B replicates

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from pydantic import Field

from pruneaudit.core import seeds
from pruneaudit.core.options import Options
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.limits import ACCURACY
from pruneaudit.evaluation.measure import NUM_RESAMPLES
from pruneaudit.metrics import Measurement, Replicated, mean_of
from pruneaudit.metrics.arrays import Floats

NEAR = 3.0
"""A value within this many standard errors of a bound of (0, 1) is near it."""
T, LOGIT, PERCENTILE, EXACT, UNKNOWN = "normal", "t and logit", "normal and percentile", "exact", "none"
"""Methods of a p-value."""
_ANY_LIMIT = 0.5
_ROUNDING = 1e-7


class LimitTest(Options):
    """One figure of one candidate, and whether it keeps its limit."""

    figure: str
    """The column: `test_accuracy`, `auc`, `tpr_at_1%_fpr`."""
    attack: str = ""
    """The attack; empty for the accuracy."""
    references: str = ""
    """The kind of references; empty for the accuracy."""
    limit: float | None = None
    """In (0, 1); the lowest value of an accuracy, the highest of a leakage figure. None: reported without a limit."""
    value: float | None = None
    """The mean over victims; None if it could not be measured."""
    error: float | None = Field(default=None, ge=0)
    """Its standard error; None if unknown."""
    freedom: float | None = Field(default=None, gt=0)
    """Degrees of freedom; None: the normal distribution."""
    p_value: float | None = Field(default=None, ge=0, le=1)
    """Of "the limit is broken"; None without a limit. 1 if the figure could not be measured."""
    bound: float | None = None
    """The one-sided bound at alpha: upper for leakage, lower for accuracy."""
    method: str = UNKNOWN
    """How: t and logit (several victims), normal, normal and percentile (one victim), exact, or none."""
    suppressed: str = ""
    """Why there is no value."""

    @property
    def is_upper(self) -> bool:
        """Whether the limit is an upper one."""
        return self.figure != ACCURACY

    @property
    def margin(self) -> float | None:
        """How far the value lies within its limit, in standard errors; below 0 it breaks it."""
        if self.value is None or self.limit is None or not self.error:
            return None
        distance = self.limit - self.value if self.is_upper else self.value - self.limit
        return distance / self.error


@dataclass(frozen=True)
class Question:
    """What is asked about a figure."""

    figure: str
    """The column; `test_accuracy` has a lower limit, every other one an upper limit."""
    limit: float | None = None
    """None: only a bound is wanted."""
    attack: str = ""
    references: str = ""
    alpha: float = 0.05
    """Error probability of the one-sided bound."""
    num_trials: int | None = None
    """Independent trials behind one value, for a value at a bound of (0, 1); see `intervals.two_way`."""
    seed: int = 0
    """The study's seed, for the replicates near a bound."""


def follows(test: LimitTest, alpha: float) -> bool:
    """Whether p-value and bound follow from value, error and limit; of replicates only what the error alone implies.

    Args:
        test: as written to a file.
        alpha: error probability of the bound.
    """
    if test.method == UNKNOWN or test.value is None or test.error is None or test.bound is None:
        return test.value is None and test.bound is None and test.p_value == (None if test.limit is None else 1.0)
    if (test.p_value is None) != (test.limit is None) or test.method not in (T, LOGIT, PERCENTILE, EXACT):
        return False
    if test.method == EXACT:
        return test.error == 0
    value, bound, limit = _mirrored(test.is_upper, test.value, test.bound, test.limit)
    freedom = math.inf if test.freedom is None else test.freedom
    if not test.error or (test.method == LOGIT) != math.isfinite(freedom):
        return False
    by_error = (value, test.error, freedom, limit, alpha)
    shown = _by_t(*by_error) if test.method != LOGIT else _larger(_by_t(*by_error), _by_logit(*by_error), LOGIT)
    least = min(max(shown.bound, 0.0), 1.0)
    p_value = shown.p_value if test.p_value is None else test.p_value
    if test.method == PERCENTILE:
        return p_value > shown.p_value - _ROUNDING and bound > least - _ROUNDING
    return abs(p_value - shown.p_value) < _ROUNDING and abs(bound - least) < _ROUNDING


def _mirrored(is_upper: bool, value: float, bound: float, limit: float | None) -> tuple[float, float, float]:
    """Value, bound and limit as those of a figure with an upper limit; without a limit, any will do."""
    asked = _ANY_LIMIT if limit is None else limit
    return (value, bound, asked) if is_upper else (1 - value, 1 - bound, 1 - asked)


class _Shown(NamedTuple):
    p_value: float
    bound: float
    method: str


def answer(question: Question, found: Measurement) -> LimitTest:
    """Tests a figure against its limit.

    Args:
        question: the figure and the limit.
        found: the figure of every victim, with influence values or replicates. Values lie in [0, 1].
    """
    estimate = mean_of(found)
    if not (math.isfinite(estimate.value) and math.isfinite(estimate.std_error)):
        return unanswered(question, "no victim has a value, or there are too few samples for a standard error")
    upper = question.figure != ACCURACY
    # Everything below is about a figure with an upper limit; a lower one is mirrored.
    value, _, limit = _mirrored(upper, estimate.value, 0.0, question.limit)
    shown = _shown(value, estimate.std_error, estimate.freedom, limit, question, found)
    bound = min(max(shown.bound, 0.0), 1.0)
    return LimitTest(
        figure=question.figure,
        attack=question.attack,
        references=question.references,
        limit=question.limit,
        value=estimate.value,
        error=estimate.std_error,
        freedom=estimate.freedom if math.isfinite(estimate.freedom) else None,
        p_value=None if question.limit is None else shown.p_value,
        bound=bound if upper else 1 - bound,
        method=shown.method,
    )


def unanswered(question: Question, why: str) -> LimitTest:
    """The test of a figure that could not be measured: its limit counts as broken."""
    return LimitTest(
        figure=question.figure,
        attack=question.attack,
        references=question.references,
        limit=question.limit,
        p_value=None if question.limit is None else 1.0,
        suppressed=why,
    )


def _shown(value: float, error: float, freedom: float, limit: float, question: Question, found: Measurement) -> _Shown:
    """P-value of "at least `limit`" and upper bound of a value in [0, 1]."""
    if error == 0:
        return _without_spread(value, limit, question)
    shown = _by_t(value, error, freedom, limit, question.alpha)
    num_victims = int(np.count_nonzero(~np.isnan(found.values)))
    if num_victims > 1:
        return _larger(shown, _by_logit(value, error, freedom, limit, question.alpha), LOGIT)
    if NEAR * error < value < 1 - NEAR * error:
        return shown
    return _larger(shown, _by_percentile(found, limit, question), PERCENTILE)


def _larger(first: _Shown, second: _Shown, method: str) -> _Shown:
    """The more cautious of two."""
    return _Shown(max(first.p_value, second.p_value), max(first.bound, second.bound), method)


def _by_t(value: float, error: float, freedom: float, limit: float, alpha: float) -> _Shown:
    distance = (value - limit) / error
    # The functions behind `scipy.stats`, which is many times slower: a race makes thousands of these.
    if math.isinf(freedom):
        return _Shown(float(scipy.special.ndtr(distance)), float(value - scipy.special.ndtri(alpha) * error), T)
    reach = -scipy.special.stdtrit(freedom, alpha) * error
    return _Shown(float(scipy.special.stdtr(freedom, distance)), float(value + reach), T)


def _by_logit(value: float, error: float, freedom: float, limit: float, alpha: float) -> _Shown:
    """The t form on the logit scale, with the error of the first order (the delta method)."""
    inside = min(max(value, error), max(1 - error, 0.5))  # next to 0 or 1 the scale has no end
    scaled, middle = error / (inside * (1 - inside)), float(scipy.special.logit(inside))
    found = _by_t(middle, scaled, freedom, float(scipy.special.logit(limit)), alpha)
    return _Shown(found.p_value, float(scipy.special.expit(found.bound)), LOGIT)


def _by_percentile(found: Measurement, limit: float, question: Question) -> _Shown:
    """The share of one victim's replicates above the limit, and their percentile."""
    draws = _replicates(found, question.seed)  # (B,)
    draws = np.sort(draws if question.figure != ACCURACY else 1 - draws)[::-1]
    # At most this many draws lie above the bound, so that the share above it is at most alpha.
    most = max(math.floor(question.alpha * (len(draws) + 1)) - 1, 0)
    share = (1 + int(np.count_nonzero(draws > limit))) / (len(draws) + 1)
    return _Shown(share, float(draws[most]), PERCENTILE)


def _without_spread(value: float, limit: float, question: Question) -> _Shown:
    """No observed spread does not mean no error: at 0 the exact binomial limit of the trials behind one value."""
    if value == 0 and question.num_trials:
        trials = question.num_trials
        return _Shown((1 - limit) ** trials, 1 - question.alpha ** (1 / trials), EXACT)
    return _Shown(float(value >= limit), value, EXACT)


def _replicates(found: Measurement, seed: int) -> Floats:
    """Replicates (B,) of the one victim that has a value, over the draw of samples."""
    victim = int(np.flatnonzero(~np.isnan(found.values))[0])
    if isinstance(found, Replicated):
        return found.replicates[:, victim]
    # To first order; the influence values of a victim sum to 0.
    generator = numpy_generator(seed, seeds.CERTIFICATE)
    weights = generator.standard_exponential((NUM_RESAMPLES, found.influence.shape[1])) - 1  # (B, N)
    return np.asarray(found.values[victim] + weights @ found.influence[victim])
