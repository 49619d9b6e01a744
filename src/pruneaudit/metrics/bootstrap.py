"""Bootstrap of the true-positive rate at a false-positive rate, the threshold estimated anew in every resample.

The bootstrap is Rubin's (1981) Bayesian one: instead of drawing samples with replacement, each replicate gives every
sample an exponential weight (same first two moments, no zeros). Members and non-members of each victim are normalised
apart, which stratifies. One weight serves a sample in all victims, because victims share samples; and two calls with
equally seeded generators weigh alike, which pairs releases and attacks.
"""

# V victims, N samples, L levels, B replicates, T samples that can matter

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.errors import UserError
from pruneaudit.metrics.arrays import Bools, Floats, checked
from pruneaudit.metrics.roc import tpr_at_fpr

BLOCK_BYTES = 40_000_000  # of weights; a block's work in progress is at most about four times that
SPARE_DEVIATIONS, SPARE_SAMPLES = 6.0, 10  # of the ranking kept beyond a level, whose weighted place varies


class _Ranking(NamedTuple):
    """One victim, sorted once, from the highest score down."""

    members: np.ndarray
    """Member columns."""
    nonmembers: np.ndarray
    """Non-member columns."""
    members_above: np.ndarray
    """For each non-member in that order, how many members score strictly higher."""


class _Totals(NamedTuple):
    """Weight of all scored samples of each victim, (B, V)."""

    members: Floats
    others: Floats


def bootstrap_tpr(
    scores: ArrayLike, member: ArrayLike, levels: ArrayLike, num_resamples: int, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """True-positive rates at given false-positive rates, and their bootstrap replicates.

    A replicate takes the lowest threshold whose weighted false-positive rate is at most the level; ties are accused
    together or not at all. The weights are `rng.standard_exponential((num_resamples, N))`, drawn in blocks.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        levels: (L,) false-positive rates in [0, 1).
        num_resamples: B.
        rng: source of the weights; pass equally seeded ones to pair two calls on the same samples.

    Returns:
        The estimates (V, L) of `tpr_at_fpr`, and the replicates (B, V, L). NaN where undefined.

    Raises:
        UserError: the shapes do not fit, or a level lies outside [0, 1).
    """
    rows, truth = checked(scores, member)
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if not ((wanted >= 0) & (wanted < 1)).all():
        raise UserError(f"got false-positive rates {wanted.tolist()}, expected each in [0, 1): 0.01 stands for 1%")
    replicates = np.full((num_resamples, len(rows), wanted.size), np.nan)
    members, others = ~np.isnan(rows) & truth, ~np.isnan(rows) & ~truth  # (V, N)
    rankings = [_ranking(row, inside, wanted.max(initial=0)) for row, inside in zip(rows, truth, strict=True)]
    block = max(1, BLOCK_BYTES // (8 * max(1, rows.shape[1])))
    for start in range(0, num_resamples, block):
        part = slice(start, min(start + block, num_resamples))
        weights = rng.standard_exponential((part.stop - part.start, rows.shape[1]))  # (B, N)
        # Of all victims at once: one matrix product instead of one for each.
        totals = _Totals(weights @ members.T.astype(np.float64), weights @ others.T.astype(np.float64))  # (B, V) each
        for victim, (row, inside) in enumerate(zip(rows, truth, strict=True)):
            ranking = rankings[victim]
            while ranking is not None:
                complete = ranking.nonmembers.size == np.count_nonzero(others[victim])
                found = _replicates(
                    weights, ranking, totals.members[:, victim], totals.others[:, victim], wanted, complete
                )
                if found is not None:
                    replicates[part, victim] = found
                    break
                # Some replicate wants more non-members than were kept: keep twice as many (ends with all of them).
                rankings[victim] = ranking = _ranking(row, inside, wanted.max(), 2 * ranking.nonmembers.size)
    return tpr_at_fpr(rows, truth, wanted), replicates


def _ranking(row: Floats, inside: Bools, level: float, num_kept: int | None = None) -> _Ranking | None:
    """The top of one victim's ranking, as far down as weighted thresholds at `level` reach; None where undefined."""
    scored = ~np.isnan(row)
    members, others = np.flatnonzero(scored & inside), np.flatnonzero(scored & ~inside)
    if not (members.size and others.size):
        return None
    if num_kept is None:
        expected = level * others.size
        num_kept = int(expected + SPARE_DEVIATIONS * np.sqrt(expected)) + SPARE_SAMPLES
    others = others[np.argsort(-row[others], kind="stable")][:num_kept]
    members = members[np.argsort(-row[members], kind="stable")]
    above = np.searchsorted(-row[members], -row[others], side="left")  # (T,)
    return _Ranking(members[: above[-1]], others, above)


def _replicates(
    weights: Floats, ranking: _Ranking, inside: Floats, outside: Floats, levels: Floats, complete: bool
) -> Floats | None:
    """One victim's weighted true-positive rates (B, L), or None where `ranking` was cut off too high.

    Args:
        weights: (B, N) one weight per sample.
        ranking: the top of the victim's scores.
        inside: (B,) weight of all its scored members.
        outside: (B,) weight of all its scored non-members.
        levels: (L,) false-positive rates.
        complete: whether the ranking holds all non-members.
    """
    accused_weight = np.cumsum(weights.take(ranking.nonmembers, axis=1), axis=1)  # (B, T)
    budget = np.multiply.outer(outside, levels)  # (B, L)
    if not complete and (accused_weight[:, -1:] <= budget).any():
        return None
    caught_weight = np.zeros((len(weights), ranking.members.size + 1))  # (B, T + 1): weight of the top 0, 1, ... T
    np.cumsum(weights.take(ranking.members, axis=1), axis=1, out=caught_weight[:, 1:])
    rates = np.empty(budget.shape)
    for level in range(levels.size):
        # The first non-member over the budget; rounding of sums in another order must not push it past the last.
        barrier = (accused_weight <= budget[:, level, None]).sum(axis=1)
        barrier = np.minimum(barrier, ranking.nonmembers.size - 1)
        rates[:, level] = caught_weight[np.arange(len(weights)), ranking.members_above[barrier]] / inside
    return np.minimum(rates, 1.0)
