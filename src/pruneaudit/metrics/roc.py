"""The ROC curve of every victim: its area, its area with influence values, its points, and the mean curve.

Every victim has its own curve. The curve over all (victim, sample) pairs pooled is a different quantity (it also
depends on whether scores are comparable across models); for that, pass one flattened row.
"""

# V victims, N samples, L levels, G grid points

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.metrics.arrays import Floats, PerVictim, checked, for_each, spread
from pruneaudit.metrics.ranking import Sides, sides


def auc(scores: ArrayLike, member: ArrayLike) -> Floats:
    """Area under each victim's ROC curve: how often a member outscores a non-member; ties count half.

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

    def measure(victim: int) -> None:
        ranked = sides(rows[victim], truth[victim])
        num_pairs = ranked.members.size * ranked.others.size
        if num_pairs:
            areas[victim] = ranked.members_outscore.sum() / num_pairs

    for_each(measure, len(rows), rows.size)
    return areas


def auc_influence(scores: ArrayLike, member: ArrayLike, ranked: Sequence[Sides] | None = None) -> PerVictim:
    """AUC of every victim with DeLong's structural components, by ranks in O(N log N).

    The component of a member is the fraction of non-members that it outscores; that of a non-member is the fraction of
    members that outscore it (ties count half). Their deviations from the AUC are scaled so that the squares of a row
    sum to DeLong's variance (DeLong, DeLong and Clarke-Pearson 1988), with the unbiased n - 1. The inner product of two
    rows is then the covariance of two AUCs on the same samples, which paired and two-way intervals need.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored and gets influence 0.
        member: (V, N) bool.
        ranked: the ranking of every victim, if it is known.

    Raises:
        UserError: the two shapes do not fit.
    """
    rows, truth = checked(scores, member)
    areas, influence = np.full(len(rows), np.nan), np.zeros(rows.shape)  # (V,), (V, N)

    def measure(victim: int) -> None:
        own = sides(rows[victim], truth[victim]) if ranked is None else ranked[victim]
        areas[victim] = place_area(own, influence[victim])

    for_each(measure, len(rows), rows.size)
    return PerVictim(areas, influence)


def area_of(ranked: Sides, num_samples: int) -> tuple[float, Floats]:
    """AUC of one row of `num_samples` scores, and its influence values (N,); see `auc_influence`."""
    influence = np.zeros(num_samples)
    return place_area(ranked, influence), influence


def place_area(ranked: Sides, influence: Floats) -> float:
    """AUC of one row; its influence values are written into zeros (N,)."""
    if not (ranked.members.size and ranked.others.size):
        return np.nan
    outscored = ranked.members_outscore / ranked.others.size
    outscoring = 1 - ranked.others_outscored / ranked.members.size
    area = float(outscored.mean())
    influence[ranked.members] = spread(outscored - area)
    influence[ranked.others] = spread(outscoring - area)
    return area


def allowed_false_positives(num_nonmembers: int, levels: Floats) -> np.ndarray:
    """How many false positives each level allows: the largest k with k / num_nonmembers <= level, exactly.

    Rounding `level * num_nonmembers` down would lose one if the product is slightly too small: 0.29 * 100 < 29.
    """
    count = np.floor(levels * num_nonmembers).astype(np.int64) + 1
    for _ in range(2):
        count -= count / num_nonmembers > levels
    return np.minimum(count, num_nonmembers)


def barrier_places(num_nonmembers: int, levels: Floats) -> np.ndarray:
    """The place of each level's barrier among the non-members' scores in ascending order, (L,) int.

    The barrier is the highest score of a non-member that must not be accused; scores above it are accused.
    """
    return np.maximum(num_nonmembers - 1 - allowed_false_positives(num_nonmembers, levels), 0)


def barriers(others: ArrayLike, levels: ArrayLike, ascending: bool = False) -> Floats:
    """The scores to exceed for an accusation, so that at most each level's fraction of non-members is accused.

    Learn them on reference models and use them on victims.

    Args:
        others: (n,) scores of non-members, in any order, without NaN.
        levels: (L,) false-positive rates in [0, 1).
        ascending: whether the scores are in ascending order.

    Returns:
        (L,); NaN without non-members.
    """
    scores, wanted = np.asarray(others, dtype=np.float64), np.asarray(levels, dtype=np.float64)
    if not scores.size:
        return np.full(wanted.size, np.nan)
    places = barrier_places(scores.size, wanted)
    return np.asarray((scores if ascending else np.partition(scores, places))[places])


def tpr_at_fpr(
    scores: ArrayLike, member: ArrayLike, levels: ArrayLike, ranked: Sequence[Sides] | None = None
) -> Floats:
    """True-positive rate at the lowest threshold whose empirical false-positive rate is at most each level.

    Tied scores are accused together or not at all, so a tie that would exceed the level is not accused, members
    included. There is no interpolation between thresholds.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        levels: (L,) false-positive rates in [0, 1].
        ranked: the ranking of every victim, if it is known.

    Returns:
        (V, L) in [0, 1]; NaN where a victim has no scored member or no scored non-member.

    Raises:
        UserError: the two shapes do not fit.
    """
    rows, truth = checked(scores, member)
    wanted = np.asarray(levels, dtype=np.float64)
    if ranked is not None:
        return curves_of(ranked, wanted)
    rates = np.full((len(rows), wanted.size), np.nan)  # (V, L)

    def measure(victim: int) -> None:
        row, inside = rows[victim], truth[victim]
        scored = ~np.isnan(row)
        members, others = np.sort(row[scored & inside]), np.sort(row[scored & ~inside])
        rates[victim] = rates_of(members, others, wanted)

    for_each(measure, len(rows), rows.size)
    return rates


def curves_of(ranked: Sequence[Sides], levels: Floats) -> Floats:
    """`tpr_at_fpr` of every victim (V, L), from rankings."""
    curves = [rates_of(own.member_scores, own.other_scores, levels) for own in ranked]
    return np.reshape(curves, (len(ranked), levels.size))


def rates_of(members: Floats, others: Floats, levels: Floats) -> Floats:
    """`tpr_at_fpr` of one victim, (L,), from the scores of its members and of its non-members, both ascending."""
    if not (members.size and others.size):
        return np.full(levels.size, np.nan)
    allowed = allowed_false_positives(others.size, levels)  # (L,)
    barrier = others[barrier_places(others.size, levels)]
    accused = members.size - np.searchsorted(members, barrier, side="right")
    return np.asarray(np.where(allowed == others.size, members.size, accused) / members.size)


def mean_roc(scores: ArrayLike, member: ArrayLike, fpr_grid: ArrayLike) -> Floats:
    """The victims' step ROC curves, averaged at each false-positive rate of a grid.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        fpr_grid: (G,) false-positive rates in [0, 1].

    Returns:
        (G,) mean true-positive rate over the victims that have one; NaN if none has.
    """
    return mean_curve(tpr_at_fpr(scores, member, fpr_grid))


def mean_curve(curves: Floats) -> Floats:
    """The mean (G,) of the victims' curves (V, G) that exist; NaN if none does."""
    curves = curves[~np.isnan(curves).any(axis=1)]
    return curves.mean(axis=0) if len(curves) else np.full(curves.shape[1], np.nan)
