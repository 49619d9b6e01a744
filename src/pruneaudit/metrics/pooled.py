"""One ROC over all (victim, sample) pairs: another estimand than the mean over victims.

It asks for scores that compare across samples and models, which a mean over victims does not. With
V times as many non-members it resolves lower false-positive rates. Its errors are clustered by
sample and by model like those of the mean (see `intervals`).
"""

# V victims, N samples, L levels, B replicates, P pairs, T pairs that can matter

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from pruneaudit.metrics.arrays import Floats, checked
from pruneaudit.metrics.intervals import FEW_MODELS, Estimate
from pruneaudit.metrics.roc import auc_influence, tpr_at_fpr


def pooled_auc(scores: ArrayLike, member: ArrayLike, alpha: float = 0.05) -> Estimate:
    """AUC over all pairs, with an interval over the draw of both samples and models.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        alpha: error probability.
    """
    rows, truth = checked(scores, member)
    values, influence = auc_influence(rows.reshape(1, -1), truth.reshape(1, -1))
    influence = influence.reshape(rows.shape)  # (V, N)
    by_sample = float((influence.sum(axis=0) ** 2).sum())
    by_model = float((influence.sum(axis=1) ** 2).sum())
    by_both = float((influence**2).sum())
    variance = max(by_sample + by_model - by_both, by_sample, by_model if len(rows) > 1 else 0.0)
    return _estimate(float(values[0]), float(np.sqrt(variance)), len(rows), alpha)


def bootstrap_pooled_tpr(
    scores: ArrayLike,
    member: ArrayLike,
    levels: ArrayLike,
    num_resamples: int,
    rng: np.random.Generator,
    alpha: float = 0.05,
) -> tuple[Estimate, ...]:
    """True-positive rates over all pairs at given false-positive rates, the threshold re-estimated each time.

    Each replicate weighs every sample and every model, and a pair by the product of the two (the
    pigeonhole bootstrap of Owen 2007), which errs on the side of wide intervals.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        levels: (L,) false-positive rates in (0, 1).
        num_resamples: B.
        rng: source of the weights.
        alpha: error probability.

    Returns:
        An estimate per level; NaN where no member or no non-member is scored.
    """
    rows, truth = checked(scores, member)
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    values = tpr_at_fpr(rows.reshape(1, -1), truth.reshape(1, -1), wanted)[0]  # (L,)
    if np.isnan(values).any():
        return tuple(_estimate(np.nan, np.nan, len(rows), alpha) for _ in values)
    scored = ~np.isnan(rows)
    victims, samples = np.nonzero(scored & ~truth)
    order = np.argsort(-rows[victims, samples], kind="stable")
    others = _Pairs(victims[order], samples[order], -rows[victims, samples][order])
    victims, samples = np.nonzero(scored & truth)
    order = np.argsort(-rows[victims, samples], kind="stable")
    members = _Pairs(victims[order], samples[order], -rows[victims, samples][order])
    replicates = np.empty((num_resamples, wanted.size))
    for replicate in range(num_resamples):
        by_model = rng.standard_exponential((len(rows),)) if len(rows) > 1 else np.ones(1)  # (V,)
        by_sample: Floats = rng.standard_exponential((rows.shape[1],))  # (N,)
        budgets = wanted * float(by_model @ ((scored & ~truth) @ by_sample))  # (L,)
        total = float(by_model @ ((scored & truth) @ by_sample))
        replicates[replicate] = _weighted_tpr(others, members, by_model, by_sample, budgets) / total
    errors = replicates.std(axis=0, ddof=1)
    return tuple(
        _estimate(float(value), float(error), len(rows), alpha) for value, error in zip(values, errors, strict=True)
    )


class _Pairs:
    """(victim, sample) pairs from the highest score down."""

    def __init__(self, victims: np.ndarray, samples: np.ndarray, negated: Floats) -> None:
        self.victims, self.samples, self.negated = victims, samples, negated

    def __len__(self) -> int:
        return len(self.negated)

    def weights(self, num: int, by_model: Floats, by_sample: Floats) -> Floats:
        """Weights of the `num` highest pairs."""
        return by_model[self.victims[:num]] * by_sample[self.samples[:num]]


def _weighted_tpr(others: _Pairs, members: _Pairs, by_model: Floats, by_sample: Floats, budgets: Floats) -> Floats:
    """Weight of the members strictly above the first non-member that breaks each budget, (L,)."""
    num_kept = min(len(others), 1000)
    accused = np.cumsum(others.weights(num_kept, by_model, by_sample))  # (T,)
    while accused[-1] <= budgets.max() and num_kept < len(others):
        num_kept = min(len(others), 2 * num_kept)
        accused = np.cumsum(others.weights(num_kept, by_model, by_sample))
    barriers = np.minimum(np.searchsorted(accused, budgets, side="right"), num_kept - 1)  # (L,)
    above = np.searchsorted(members.negated, others.negated[barriers], side="left")  # (L,)
    caught = np.concatenate([[0.0], np.cumsum(members.weights(int(above.max()), by_model, by_sample))])
    return np.asarray(caught[above])


def _estimate(value: float, error: float, num_victims: int, alpha: float) -> Estimate:
    freedom = num_victims - 1 if num_victims > 1 else np.inf
    reach = float(stats.t.ppf(1 - alpha / 2, freedom)) * error
    method = "all pairs, clustered by sample and model"
    if 1 < num_victims < FEW_MODELS:
        method += ", conditional on this bank"
    low, high = np.clip([value - reach, value + reach], 0.0, 1.0)  # NaN stays NaN
    return Estimate(value, float(low), float(high), error, method)
