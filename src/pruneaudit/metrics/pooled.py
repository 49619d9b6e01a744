"""One ROC over all (victim, sample) pairs: a different quantity from the mean over victims.

Unlike a mean over victims, it needs scores that are comparable across samples and models. V times as many
non-members do not resolve lower false-positive rates, because pairs share their samples (docs/statistics.md). Its
errors are clustered by sample and by model like those of the mean (see `intervals`), always with V - 1 degrees of
freedom.

In simulations with a known truth (`docs/statistics.md`) the 95% intervals are right or too wide: the bootstrap of the
rates gives every pair the product of two weights, and so counts the pairs' own noise three times (Owen 2007).
"""

# V victims, N samples, L levels, B replicates, P pairs

from __future__ import annotations

import numpy as np
import scipy
from numpy.typing import ArrayLike

from pruneaudit.metrics.arrays import Floats, checked, for_each, sums_of_squares
from pruneaudit.metrics.intervals import FEW_MODELS, Estimate
from pruneaudit.metrics.ranking import Sides, sides
from pruneaudit.metrics.roc import area_of, rates_of
from pruneaudit.metrics.sample_weights import PairWeights

ALPHA = 0.05
PAIRS_AT_ONCE = 2**16  # few enough for a processor's cache
SPARE = 1.25  # of the non-members that are looked at for a threshold


def pooled_auc(scores: ArrayLike, member: ArrayLike, alpha: float = ALPHA, ranked: Sides | None = None) -> Estimate:
    """AUC over all pairs, with an interval over the draw of both samples and models.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        alpha: error probability.
        ranked: `sides` of all pairs, if they are already ranked.
    """
    rows, truth = checked(scores, member)
    ranked = sides(rows.ravel(), truth.ravel()) if ranked is None else ranked
    value, pairs = area_of(ranked, rows.size)
    return clustered(value, pairs.reshape(rows.shape), alpha)


def bootstrap_pooled_tpr(
    scores: ArrayLike,
    member: ArrayLike,
    levels: ArrayLike,
    num_resamples: int,
    rng: np.random.Generator | PairWeights,
    alpha: float = ALPHA,
    ranked: Sides | None = None,
) -> tuple[Estimate, ...]:
    """True-positive rates over all pairs at given false-positive rates, the threshold re-estimated each time.

    Each replicate draws a weight for every sample and every model; a pair's weight is their product (the
    pigeonhole bootstrap of Owen 2007), which tends to give wide intervals.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        levels: (L,) false-positive rates in (0, 1); can be empty.
        num_resamples: B.
        rng: source of the weights; or the weights themselves, as many as `num_resamples`.
        alpha: error probability.
        ranked: `sides` of all pairs, if they are already ranked.

    Returns:
        An estimate per level; NaN without scored members or scored non-members.
    """
    rows, truth = checked(scores, member)
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if not wanted.size:
        return ()
    ranked = sides(rows.ravel(), truth.ravel()) if ranked is None else ranked
    values = rates_of(ranked.member_scores, ranked.other_scores, wanted)  # (L,)
    errors = np.full(wanted.size, np.nan)
    if not np.isnan(values).any():
        weights = rng if isinstance(rng, PairWeights) else PairWeights(lambda: rng, num_resamples)
        scored = ~np.isnan(rows)
        totals = weights.totals(scored & truth, True), weights.totals(scored & ~truth, False)  # (B,) each
        errors = _replicates(ranked, wanted, weights.of(rows.shape), totals).std(axis=0, ddof=1)
        weights.let_go()
    return tuple(
        _estimate(float(value), float(error), len(rows), alpha) for value, error in zip(values, errors, strict=True)
    )


def clustered(
    value: float, influence: Floats, alpha: float = ALPHA, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """A figure of all pairs, with errors clustered by sample and by model.

    Args:
        value: the figure.
        influence: (V, N) of each pair, scaled so that the squares would sum to the variance if pairs were independent.
        alpha: error probability.
        bounds: smallest and largest possible value.
    """
    num_victims = len(influence)
    by_sample = float((influence.sum(axis=0) ** 2).sum())
    # The models' sums are centred on their mean, which costs one degree of freedom.
    by_model = float((influence.sum(axis=1) ** 2).sum()) * num_victims / max(num_victims - 1, 1)
    by_both = float(sums_of_squares(influence).sum())
    variance = max(by_sample + by_model - by_both, by_sample, by_model if num_victims > 1 else 0.0)
    return _estimate(value, float(np.sqrt(variance)), num_victims, alpha, bounds)


def _replicates(ranked: Sides, levels: Floats, weights: tuple[Floats, Floats], totals: tuple[Floats, Floats]) -> Floats:
    """True-positive rates of all pairs (B, L).

    Args:
        ranked: all pairs.
        levels: (L,) false-positive rates.
        weights: (B, V) of models and (B, N) of samples.
        totals: (B,) weight of all members, and of all non-members.
    """
    (by_model, by_sample), (inside, outside) = weights, totals
    members, others = (_Pairs(side, by_sample.shape[1]) for side in (ranked.members, ranked.others))
    replicates = np.empty((len(by_model), levels.size))
    expected = int(SPARE * levels.max() * len(others))

    def resample(replicate: int) -> None:
        drawn = by_model[replicate], by_sample[replicate]
        barriers = _barriers(others, *drawn, levels * outside[replicate], expected)  # (L,) places, from the highest
        scores = ranked.other_scores[::-1][barriers]
        above = ranked.members.size - np.searchsorted(ranked.member_scores, scores, side="right")  # (L,)
        replicates[replicate] = members.tops(above, *drawn) / inside[replicate]

    for_each(resample, len(replicates), len(replicates) * (len(members) + len(others)))
    return replicates


class _Pairs:
    """Some (victim, sample) pairs, from the highest score down, and their weights."""

    def __init__(self, ascending: np.ndarray, num_samples: int) -> None:
        """Takes places (P,) in the flattened (V, N) matrix, by ascending score."""
        self.places, self.num_samples = ascending[::-1], num_samples
        self.blocks: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # computed when needed

    def __len__(self) -> int:
        return len(self.places)

    def block(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Victims and samples of the `index`-th `PAIRS_AT_ONCE` pairs."""
        if index not in self.blocks:  # two threads may both find it missing, and store equal values
            part = self.places[index * PAIRS_AT_ONCE : (index + 1) * PAIRS_AT_ONCE]
            victims, samples = np.divmod(part, self.num_samples)
            self.blocks[index] = victims.astype(np.intp), samples.astype(np.intp)  # as `take` wants them
        return self.blocks[index]

    def weights(self, index: int, by_model: Floats, by_sample: Floats, num: int = PAIRS_AT_ONCE) -> Floats:
        """Weights of the first `num` pairs of a block in one replicate."""
        victims, samples = self.block(index)
        found = by_model.take(victims[:num], mode="clip")  # every place is valid: "clip" is the fast mode
        found *= by_sample.take(samples[:num], mode="clip")
        return found

    def tops(self, counts: np.ndarray, by_model: Floats, by_sample: Floats) -> Floats:
        """Total weight of the `counts` (L,) highest pairs in one replicate, (L,)."""
        found, before, most = np.zeros(counts.size), 0.0, int(counts.max())
        for index in range(-(-most // PAIRS_AT_ONCE)):
            start = index * PAIRS_AT_ONCE
            weights = self.weights(index, by_model, by_sample, most - start)
            for level in np.flatnonzero((start < counts) & (counts <= start + PAIRS_AT_ONCE)):
                found[level] = before + float(weights[: counts[level] - start].sum())
            before += float(weights.sum())
        return found


def _barriers(others: _Pairs, by_model: Floats, by_sample: Floats, budgets: Floats, expected: int) -> np.ndarray:
    """Place of the first non-member that exceeds each budget, (L,); the last one if none does.

    Args:
        others: the non-members.
        by_model: (V,) weights of one replicate.
        by_sample: (N,) likewise.
        budgets: (L,).
        expected: about how many non-members are within the highest budget; a wrong guess costs time.
    """
    barriers, spent, most = np.full(budgets.size, len(others) - 1), 0.0, budgets.max()
    for index in range(-(-len(others) // PAIRS_AT_ONCE)):
        start = index * PAIRS_AT_ONCE
        for num in (max(expected - start, 1), PAIRS_AT_ONCE):
            accused = spent + np.cumsum(others.weights(index, by_model, by_sample, num))
            if num >= PAIRS_AT_ONCE or accused[-1] > most:
                break
        broken = (spent <= budgets) & (budgets < accused[-1])
        barriers[broken] = start + np.searchsorted(accused, budgets[broken], side="right")
        spent = float(accused[-1])
        if spent > most:
            break
    return barriers


def _estimate(
    value: float, error: float, num_victims: int, alpha: float, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    freedom = num_victims - 1 if num_victims > 1 else np.inf
    reach = float(scipy.stats.t.ppf(1 - alpha / 2, freedom)) * error
    method = "all pairs, clustered by sample and model"
    if 1 < num_victims < FEW_MODELS:
        method += ", conditional on this bank"
    low, high = np.clip([value - reach, value + reach], *bounds)  # NaN stays NaN
    return Estimate(value, float(low), float(high), error, method)
