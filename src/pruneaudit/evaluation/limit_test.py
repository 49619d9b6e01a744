"""Tests of one figure against its limit: a one-sided p-value and a one-sided bound.

The hypothesis is that the limit is broken: leakage of at least the limit, or accuracy of at most the limit. A small
p-value is evidence that the limit is kept. The t form takes standard error and degrees of freedom from `two_way`, over
samples and models. With one victim the error is that over samples.

Within three standard errors of a bound of (0, 1) the distribution is skewed, and the t form claims too much. There the
larger of two p-values counts: that of the t form, and that of the percentile of joint replicates
(`envelope.joint_replicates`). Bounds follow the same rule, so a p-value is at most alpha exactly where the bound keeps
the limit.
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
from pruneaudit.evaluation.envelope import joint_replicates
from pruneaudit.evaluation.limits import ACCURACY
from pruneaudit.metrics import Measurement, Replicated, mean_of
from pruneaudit.metrics.arrays import Floats

NEAR = 3.0
"""A value within this many standard errors of a bound of (0, 1) is near it."""
NUM_JOINT, NUM_WEIGHTS = 1000, 200
T, PERCENTILE, EXACT, UNKNOWN = "t", "t and percentile", "exact", "none"
"""Methods of a p-value."""


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
    """How p-value and bound were computed: t, t and percentile, exact, or none."""
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
    value = estimate.value if upper else 1 - estimate.value
    limit = question.limit if upper or question.limit is None else 1 - question.limit
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
        p_value=None if limit is None else shown.p_value,
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


def p_below(value: float, error: float, freedom: float, limit: float) -> float:
    """The one-sided p-value of "the true value is at least `limit`", by the t form.

    Args:
        value: the estimate.
        error: its standard error, above 0.
        freedom: its degrees of freedom; infinite for a normal distribution.
        limit: the upper limit.
    """
    return float(scipy.stats.t.cdf((value - limit) / error, freedom))


def upper_bound(value: float, error: float, freedom: float, alpha: float) -> float:
    """The one-sided upper bound at `alpha`, by the t form; arguments as in `p_below`."""
    return float(value + scipy.stats.t.ppf(1 - alpha, freedom) * error)


def _shown(
    value: float, error: float, freedom: float, limit: float | None, question: Question, found: Measurement
) -> _Shown:
    """P-value of "at least `limit`" and upper bound of a value in [0, 1]."""
    asked = 1.0 if limit is None else limit
    if error == 0:
        return _without_spread(value, asked, question)
    p_value, bound = p_below(value, error, freedom, asked), upper_bound(value, error, freedom, question.alpha)
    if NEAR * error < value < 1 - NEAR * error:
        return _Shown(p_value, bound, T)
    draws = np.sort(_draws(found, question.seed))[::-1]  # (B,) of the figure itself
    if question.figure == ACCURACY:
        draws = (1 - draws)[::-1]
    # At most this many draws lie above the bound, so that the share above it is at most alpha.
    most = max(math.floor(question.alpha * (len(draws) + 1)) - 1, 0)
    share = (1 + int(np.count_nonzero(draws > asked))) / (len(draws) + 1)
    return _Shown(max(p_value, share), max(bound, float(draws[most])), PERCENTILE)


def _without_spread(value: float, limit: float, question: Question) -> _Shown:
    """No observed spread does not mean no error: at 0 the exact binomial limit of the trials behind one value."""
    if value == 0 and question.num_trials:
        trials = question.num_trials
        return _Shown((1 - limit) ** trials, 1 - question.alpha ** (1 / trials), EXACT)
    return _Shown(float(value >= limit), value, EXACT)


def _draws(found: Measurement, seed: int) -> Floats:
    """Replicates of the mean over victims (B,), over the draw of samples and of models."""
    generator = numpy_generator(seed, seeds.CERTIFICATE)
    present = ~np.isnan(found.values)
    if isinstance(found, Replicated):
        replicates = found.replicates[:, present]
    else:  # to first order; the influence values of a victim sum to 0
        weights = generator.standard_exponential((NUM_WEIGHTS, found.influence.shape[1])) - 1  # (B, N)
        replicates = found.values[present] + weights @ found.influence[present].T  # (B, V)
    values = found.values[present][:, None]  # (V, 1)
    return joint_replicates(values, replicates[:, :, None], NUM_JOINT, generator)[:, 0]
