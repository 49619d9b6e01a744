"""Confidence intervals that account for the structure of a bank: victims share samples, and models differ.

A mean over victims has two sources of error. The samples are a random draw, and one sample shifts many victims
together; the models are a random draw too. Two-way clustering (Cameron, Gelbach and Miller 2011) adds both and
subtracts their common part. With S the variance by sample, M by model (about the victims' own mean) and B by both, for
V victims:

    shared = max(0, S - B) V / (V - 1),    variance = max(shared + M, S)

The plain formula is S + M - B. It is too small by shared / V, because M is taken about the victims' mean, which hides
what they share; the floor S is the error due to samples alone. The degrees of freedom are Satterthwaite's: V - 1 for
the part M, many for the rest. `docs/statistics.md` has the simulations.
"""

# V victims, N samples, B replicates

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import ArrayLike

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Floats, PerVictim, sums_of_squares

FEW_MODELS = 10
"""With fewer victims, an interval is labelled as conditional on this bank."""


@dataclass(frozen=True)
class Estimate:
    """A number, its interval, and the method of the interval."""

    value: float
    low: float
    """Lower end of the interval; NaN if there is no interval."""
    high: float
    """Upper end of the interval."""
    std_error: float
    method: str
    """The kind of interval, in words for a table's footnote."""
    freedom: float = np.inf
    """Degrees of freedom of its t distribution; infinite for a normal one."""

    def p_at_most(self, limit: float) -> float:
        """The one-sided p-value of "the true value is at most `limit`"; 1 without a standard error."""
        if not np.isfinite(self.std_error):
            return 1.0
        if self.std_error == 0:
            return float(self.value <= limit)
        return float(scipy.stats.t.sf((self.value - limit) / self.std_error, self.freedom))


def per_victim(
    values: ArrayLike,
    influence: ArrayLike,
    bounds: tuple[float, float] = (0.0, 1.0),
    alpha: float = 0.05,
    num_trials: int | None = None,
) -> tuple[Estimate, ...]:
    """An interval for each single victim (for AUC: DeLong's), over the draw of its samples.

    Args:
        values: (V,) a metric of each victim.
        influence: (V, N) as in `PerVictim`.
        bounds: smallest and largest possible value; intervals are clipped there.
        alpha: error probability; 0.05 gives 95% intervals.
        num_trials: see `two_way`.
    """
    metric, rows = _aligned(values, influence)
    errors = np.sqrt(sums_of_squares(rows))  # (V,)
    return tuple(
        _estimate(value, error, np.inf, bounds, "one model, over samples", alpha, num_trials)
        for value, error in zip(metric, errors, strict=True)
    )


def two_way(
    values: ArrayLike,
    influence: ArrayLike,
    bounds: tuple[float, float] = (0.0, 1.0),
    alpha: float = 0.05,
    num_trials: int | None = None,
) -> Estimate:
    """The mean over victims, with an interval over the draw of both samples and models.

    One victim gives its own interval over samples. Victims without a value are left out, and `method` says so.

    Args:
        values: (V,) a metric of each victim.
        influence: (V, N) as in `PerVictim`.
        bounds: smallest and largest possible value; the interval is clipped there.
        alpha: error probability; 0.05 gives a 95% interval.
        num_trials: number of independent trials behind one value: the members for a TPR, the non-members for an FPR,
            the smaller of the two for an AUC (that many disjoint pairs). If given, a value at a bound without any
            spread, such as an AUC of 1, gets the exact one-sided binomial limit instead of an interval of zero width.

    Raises:
        UserError: the shapes do not fit.
    """
    metric, rows = _aligned(values, influence)
    present = ~np.isnan(metric)
    if not present.all():
        metric, rows = metric[present], rows[present]
    if metric.size < 2:
        alone = per_victim(metric, rows, bounds, alpha, num_trials)
        return _noted(alone[0] if alone else _NOTHING, np.size(values), metric.size)
    by_sample = float((rows.mean(axis=0) ** 2).sum())
    by_both = float(sums_of_squares(rows).sum()) / metric.size**2
    num_samples = int(np.count_nonzero(rows.any(axis=0)))
    error, freedom = _combined(by_sample, by_both, metric, num_samples)
    found = _estimate(metric.mean(), error, freedom, bounds, _two_way_method(metric.size), alpha, num_trials)
    return _noted(found, np.size(values), metric.size)


def difference_two_way(first: PerVictim, second: PerVictim, alpha: float = 0.05) -> Estimate:
    """The mean paired difference first - second of a metric in [0, 1], on the same victims and samples.

    Errors that both have in common cancel, per sample and per victim. Two overlapping intervals do not show
    that two releases or attacks are equal; this interval does, if it is narrow and contains 0.
    """
    values, influence = first.values - second.values, first.influence - second.influence
    return two_way(values, influence, bounds=(-1.0, 1.0), alpha=alpha)


def per_victim_replicates(
    values: ArrayLike,
    replicates: ArrayLike,
    bounds: tuple[float, float] = (0.0, 1.0),
    alpha: float = 0.05,
    num_trials: int | None = None,
) -> tuple[Estimate, ...]:
    """A bootstrap interval for each single victim: percentiles, or for a paired difference value -+ z standard errors.

    `bounds` below 0 mark a difference. The bootstrap exaggerates the spread of a difference of two
    TPRs by about a tenth at ten false positives, and percentiles make this worse (they cover 99% instead of 95%).

    Args:
        values: (V,) a metric of each victim; for a paired difference, the difference.
        replicates: (B, V) its bootstrap replicates; for a difference, differences of paired ones.
        bounds: smallest and largest possible value; (-1, 1) for a difference.
        alpha: error probability.
        num_trials: see `two_way`.

    Raises:
        UserError: the shapes do not fit, or there are fewer than two replicates.
    """
    metric, draws = _replicated(values, replicates)
    errors = draws.std(axis=0, ddof=1)  # (V,)
    if bounds[0] < 0:
        method = "one model, bootstrap standard error"
        return tuple(
            _estimate(value, error, np.inf, bounds, method, alpha, num_trials)
            for value, error in zip(metric, errors, strict=True)
        )
    found = []
    ends = np.quantile(draws, [alpha / 2, 1 - alpha / 2], axis=0)  # (2, V)
    for value, error, low, high in zip(metric, errors, *ends, strict=True):
        estimate = Estimate(float(value), float(low), float(high), float(error), "one model, bootstrap percentile")
        found.append(_at_bound(estimate, bounds, alpha, num_trials))
    return tuple(found)


def two_way_replicates(
    values: ArrayLike,
    replicates: ArrayLike,
    bounds: tuple[float, float] = (0.0, 1.0),
    alpha: float = 0.05,
    num_trials: int | None = None,
) -> Estimate:
    """`two_way` from bootstrap replicates that share one weight per sample over all victims.

    By sample: the variance of the replicates' mean over victims. By both: the mean of the victims' own bootstrap
    variances, over V. One victim gives the interval of `per_victim_replicates`.

    Args:
        values: (V,) a metric of each victim; for a paired difference, the difference.
        replicates: (B, V) its bootstrap replicates; for a difference, differences of paired ones.
        bounds: smallest and largest possible value, where the interval is clipped; (-1, 1) for a difference.
        alpha: error probability.
        num_trials: see `two_way`.

    Raises:
        UserError: the shapes do not fit, or there are fewer than two replicates.
    """
    metric, draws = _replicated(values, replicates)
    present = ~np.isnan(metric)
    metric, draws = metric[present], draws[:, present]
    if metric.size < 2:
        alone = per_victim_replicates(metric, draws, bounds, alpha, num_trials)
        return _noted(alone[0] if alone else _NOTHING, np.size(values), metric.size)
    by_sample = float(draws.mean(axis=1).var(ddof=1))
    by_both = float(draws.var(axis=0, ddof=1).mean()) / metric.size
    error, freedom = _combined(by_sample, by_both, metric, len(draws))
    method = f"{_two_way_method(metric.size)}, bootstrap"
    found = _estimate(metric.mean(), error, freedom, bounds, method, alpha, num_trials)
    return _noted(found, np.size(values), metric.size)


def binomial_interval(successes: ArrayLike, trials: ArrayLike, alpha: float = 0.05) -> tuple[Floats, Floats]:
    """Clopper and Pearson's exact interval of a proportion, for decisions at a threshold fixed in advance.

    For a threshold from the same non-members it is far too narrow (see `docs/statistics.md`): use
    `bootstrap_tpr` there.

    Args:
        successes: counts, any shape.
        trials: counts, at least `successes`, of a shape that broadcasts.
        alpha: error probability, half of it on each side.

    Returns:
        Lower and upper limits in [0, 1].
    """
    hits, total = np.broadcast_arrays(np.asarray(successes), np.asarray(trials))
    if ((hits < 0) | (hits > total)).any():
        raise UserError("got successes below 0 or above the trials, expected 0 <= successes <= trials in every place")
    low, high = np.zeros(hits.shape), np.ones(hits.shape)
    some, missed = hits > 0, hits < total
    low[some] = scipy.stats.beta.ppf(alpha / 2, hits[some], (total - hits + 1)[some])
    high[missed] = scipy.stats.beta.ppf(1 - alpha / 2, (hits + 1)[missed], (total - hits)[missed])
    return low, high


_NOTHING = Estimate(np.nan, np.nan, np.nan, np.nan, "no victim has a value")


def _combined(by_sample: float, by_both: float, metric: Floats, num_draws: int) -> tuple[float, float]:
    """Standard error of the mean of `metric` (V,), and its degrees of freedom; see the module's formula."""
    if np.isnan(by_sample):
        return np.nan, np.nan
    num_victims = metric.size
    by_model = float(metric.var(ddof=1)) / num_victims
    shared = max(0.0, by_sample - by_both) * num_victims / (num_victims - 1)
    variance = max(shared + by_model, by_sample)
    # Two models leave one degree of freedom, too few for Satterthwaite's approximation (90% instead of 95%).
    freedom = num_victims - 1.0
    if num_victims > 2 and variance > 0:
        part = by_model / variance  # in [0, 1]: squares of shares do not underflow, squares of variances can
        freedom = 1 / (part**2 / (num_victims - 1) + (1 - part) ** 2 / max(num_draws - 1, 1))
    return float(np.sqrt(variance)), float(freedom)


def _two_way_method(num_victims: int) -> str:
    method = f"two-way over samples and {num_victims} models"
    return f"{method}, conditional on this bank" if num_victims < FEW_MODELS else method


def _estimate(
    value: float,
    error: float,
    freedom: float,
    bounds: tuple[float, float],
    method: str,
    alpha: float,
    num_trials: int | None,
) -> Estimate:
    reach = _quantile(freedom, alpha) * error
    low, high = np.clip([value - reach, value + reach], *bounds)
    found = Estimate(float(value), float(low), float(high), float(error), method, freedom)
    return _at_bound(found, bounds, alpha, num_trials)


def _quantile(freedom: float, alpha: float) -> float:
    """Of the t distribution; of the normal one for infinite degrees of freedom."""
    # The functions behind `scipy.stats`: the same bits, many times faster.
    if np.isinf(freedom):
        return float(scipy.special.ndtri(1 - alpha / 2))
    return float(scipy.special.stdtrit(freedom, 1 - alpha / 2))


def _at_bound(found: Estimate, bounds: tuple[float, float], alpha: float, num_trials: int | None) -> Estimate:
    """The exact limit in place of an interval of zero width at a bound: no observed spread does not mean no error."""
    if not num_trials or found.std_error != 0 or found.value not in bounds:
        return found
    reach = (bounds[1] - bounds[0]) * (1 - (alpha / 2) ** (1 / num_trials))
    low, high = (found.value, bounds[0] + reach) if found.value == bounds[0] else (bounds[1] - reach, found.value)
    return replace(found, low=low, high=high, method=f"{found.method}, exact at the bound")


def _noted(found: Estimate, num_given: int, num_used: int) -> Estimate:
    if num_used == num_given or not num_used:
        return found
    method = f"{found.method}; {num_given - num_used} of {num_given} victims without a value left out"
    return replace(found, method=method)


def _aligned(values: ArrayLike, influence: ArrayLike) -> tuple[Floats, Floats]:
    metric, rows = np.asarray(values, dtype=np.float64), np.asarray(influence, dtype=np.float64)
    if metric.ndim != 1 or rows.ndim != 2 or len(rows) != metric.size:
        raise UserError(
            f"values have shape {metric.shape} and influence {rows.shape}, expected (victims,) and (victims, samples): "
            "pass both as `auc_influence` or `rate_influence` gave them"
        )
    return metric, rows


def _replicated(values: ArrayLike, replicates: ArrayLike) -> tuple[Floats, Floats]:
    metric, draws = np.asarray(values, dtype=np.float64), np.asarray(replicates, dtype=np.float64)
    if metric.ndim != 1 or draws.ndim != 2 or draws.shape[1] != metric.size or len(draws) < 2:
        raise UserError(
            f"values have shape {metric.shape} and replicates {draws.shape}, expected (victims,) and "
            "(at least 2 resamples, victims): choose one level, as in tpr[:, 0] and replicates[:, :, 0]"
        )
    return metric, draws
