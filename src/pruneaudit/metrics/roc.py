"""The ROC curve of every victim, read in four ways: area, area with influence, points, and mean curve.

Every victim has a curve of its own. The curve over all (victim, sample) pairs thrown together is another
estimand (it also asks whether scores compare across samples); who wants it passes one flattened row.
"""

# V victims, N samples, L levels, G grid points

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import rankdata

from pruneaudit.metrics.arrays import Floats, PerVictim, checked, spread


def auc(scores: ArrayLike, member: ArrayLike) -> Floats:
    """Area under each victim's ROC curve: how often a member outscores a non-member, ties counting half.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.

    Returns:
        (V,) in [0, 1]; NaN where a victim has no scored member or no scored non-member.

    Raises:
        UserError: the two shapes do not fit.
    """
    rows, truth = checked(scores, member)
    areas = np.full(len(rows), np.nan)  # (V,)
    for victim, (row, inside) in enumerate(zip(rows, truth, strict=True)):
        scored = ~np.isnan(row)
        row, inside = row[scored], inside[scored]
        num_members = np.count_nonzero(inside)
        num_pairs = num_members * (inside.size - num_members)
        if num_pairs:
            rank_sum = rankdata(row)[inside].sum()
            areas[victim] = (rank_sum - num_members * (num_members + 1) / 2) / num_pairs
    return areas


def auc_influence(scores: ArrayLike, member: ArrayLike) -> PerVictim:
    """AUC of every victim with DeLong's structural components, by ranks in O(N log N).

    The component of a member is the fraction of non-members that it outscores, that of a non-member the fraction of
    members that outscore it (ties half). Their deviations from the AUC are scaled so that the squares of a row sum to
    DeLong's variance (DeLong, DeLong and Clarke-Pearson 1988), with the unbiased n - 1. The inner product of two rows
    is then the covariance of two AUCs on the same samples, which is what paired and two-way intervals need.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored and gets influence 0.
        member: (V, N) bool.

    Raises:
        UserError: the two shapes do not fit.
    """
    rows, truth = checked(scores, member)
    areas, influence = np.full(len(rows), np.nan), np.zeros(rows.shape)  # (V,), (V, N)
    for victim, (row, inside) in enumerate(zip(rows, truth, strict=True)):
        scored = ~np.isnan(row)
        members, others = np.flatnonzero(scored & inside), np.flatnonzero(scored & ~inside)
        if not (members.size and others.size):
            continue
        ranks = rankdata(np.concatenate([row[members], row[others]]))
        # Of the samples ranked below a member, those that are not members: overall rank less rank among members.
        outscored = (ranks[: members.size] - rankdata(row[members])) / others.size
        outscoring = 1 - (ranks[members.size :] - rankdata(row[others])) / members.size
        areas[victim] = outscored.mean()
        influence[victim, members] = spread(outscored - areas[victim])
        influence[victim, others] = spread(outscoring - areas[victim])
    return PerVictim(areas, influence)


def allowed_false_positives(num_nonmembers: int, levels: Floats) -> np.ndarray:
    """How many false positives each level allows: the largest k with k / num_nonmembers <= level, exactly.

    Rounding `level * num_nonmembers` down would lose one where the product falls just short: 0.29 * 100 < 29.
    """
    count = np.floor(levels * num_nonmembers).astype(np.int64) + 1
    for _ in range(2):
        count -= count / num_nonmembers > levels
    return np.minimum(count, num_nonmembers)


def tpr_at_fpr(scores: ArrayLike, member: ArrayLike, levels: ArrayLike) -> Floats:
    """True-positive rate at the lowest threshold whose empirical false-positive rate is at most each level.

    Tied scores are accused together or not at all, so a tie that would break the level costs its members too.
    No interpolation between thresholds.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        levels: (L,) false-positive rates in [0, 1].

    Returns:
        (V, L) in [0, 1]; NaN where a victim has no scored member or no scored non-member.

    Raises:
        UserError: the two shapes do not fit.
    """
    rows, truth = checked(scores, member)
    wanted = np.asarray(levels, dtype=np.float64)
    rates = np.full((len(rows), wanted.size), np.nan)  # (V, L)
    for victim, (row, inside) in enumerate(zip(rows, truth, strict=True)):
        scored = ~np.isnan(row)
        members, others = np.sort(row[scored & inside]), np.sort(row[scored & ~inside])
        if not (members.size and others.size):
            continue
        allowed = allowed_false_positives(others.size, wanted)  # (L,)
        # The first non-member that may not be accused: every member strictly above it may.
        barrier = others[np.maximum(others.size - 1 - allowed, 0)]
        accused = members.size - np.searchsorted(members, barrier, side="right")
        rates[victim] = np.where(allowed == others.size, members.size, accused) / members.size
    return rates


def mean_roc(scores: ArrayLike, member: ArrayLike, fpr_grid: ArrayLike) -> Floats:
    """The victims' step ROC curves, averaged at each false-positive rate of a grid.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        fpr_grid: (G,) false-positive rates in [0, 1].

    Returns:
        (G,) mean true-positive rate over the victims that have one; NaN where none has.
    """
    curves = tpr_at_fpr(scores, member, fpr_grid)  # (V, G)
    curves = curves[~np.isnan(curves).any(axis=1)]
    return curves.mean(axis=0) if len(curves) else np.full(np.size(fpr_grid), np.nan)
