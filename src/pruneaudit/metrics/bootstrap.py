"""Bootstrap of the true-positive rate at a false-positive rate; every resample estimates the threshold again.

The bootstrap is Rubin's (1981) Bayesian one: instead of drawing samples with replacement, each replicate gives every
sample an exponential weight (same first two moments, no zeros). Members and non-members of each victim are normalised
separately, which stratifies. A sample has the same weight in all victims, because victims share samples. Two calls with
equally seeded generators draw the same weights, which pairs releases and attacks.

A replicate's threshold is known in advance to within a few deviations. Samples that score above this window are
accused in every replicate: one matrix product sums their weights for all replicates and victims. Only the window is
processed score by score. A window that is too narrow for some replicate is widened.
"""

# V victims, N samples, L levels, B replicates, T non-members in a window, S members in a window

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Floats, checked, for_each
from pruneaudit.metrics.ranking import Sides, ranked_or
from pruneaudit.metrics.roc import tpr_at_fpr
from pruneaudit.metrics.sample_weights import SampleWeights, weighed

SPARE_DEVIATIONS, SPARE_SAMPLES = 5.0, 10  # half-width of the window around a level, whose weighted place varies
VICTIMS_AT_ONCE = 32  # independent of the number of threads, so that results are too


class _Window(NamedTuple):
    """The part of one victim's ranking with the weighted thresholds of one level.

    From the score of its highest non-member, the ceiling, to that of its lowest, the floor. Samples that score above
    the ceiling are accused in every replicate.
    """

    others: slice
    """Places of its non-members, (T,), from the lowest score up."""
    members: slice
    """Places of the members at or below the ceiling and above the floor, (S,), likewise."""
    all_tie: bool
    """Whether all its samples have one score."""
    num_looked_at: int
    """Number of non-members in the window and above it."""
    complete: bool
    """Whether all non-members are in the window."""


def bootstrap_tpr(
    scores: ArrayLike,
    member: ArrayLike,
    levels: ArrayLike,
    num_resamples: int,
    rng: np.random.Generator | SampleWeights,
    ranked: Sequence[Sides] | None = None,
) -> tuple[Floats, Floats]:
    """True-positive rates at given false-positive rates, and their bootstrap replicates.

    A replicate takes the lowest threshold whose weighted false-positive rate is at most the level; ties are accused
    together or not at all. The weights are `rng.standard_exponential((num_resamples, N))`, drawn in blocks.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        levels: (L,) false-positive rates in [0, 1).
        num_resamples: B.
        rng: source of the weights; pass equally seeded generators to pair two calls on the same samples. Or the weights
            themselves, as many as `num_resamples`.
        ranked: the ranking of every victim, if it is known.

    Returns:
        The estimates (V, L) of `tpr_at_fpr`, and the replicates (B, V, L). NaN where undefined.

    Raises:
        UserError: the shapes do not fit, or a level is outside [0, 1).
    """
    rows, truth = checked(scores, member)
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if not ((wanted >= 0) & (wanted < 1)).all():
        raise UserError(f"got false-positive rates {wanted.tolist()}, expected each in [0, 1): 0.01 means 1%")
    given = rng if isinstance(rng, SampleWeights) else SampleWeights(lambda: rng, num_resamples)
    ranked = ranked_or(ranked, rows, truth)
    replicates = np.full((num_resamples, len(rows), wanted.size), np.nan)
    windows = [_windows(own, wanted) for own in ranked]
    groups = [slice(start, start + VICTIMS_AT_ONCE) for start in range(0, len(rows), VICTIMS_AT_ONCE)]
    scored = ~np.isnan(rows)
    members, others = scored & truth, scored & ~truth  # (V, N)
    for part, weights in given.blocks(rows.shape[1]):

        def resample(index: int, part: slice = part, weights: Floats = weights) -> None:
            group = groups[index]
            inside, outside = (
                given.totals((part.start, index, side), chosen[group], weights)
                for side, chosen in enumerate((members, others))
            )  # (V, B)
            found = _of_group(ranked[group], wanted, weights, windows[group], outside)  # (V, L, B)
            replicates[part, group] = np.moveaxis(np.minimum(found / inside[:, None], 1.0), 2, 0)

        for_each(resample, len(groups), rows.size)
    return tpr_at_fpr(rows, truth, wanted, ranked), replicates


def _of_group(
    ranked: Sequence[Sides], levels: Floats, weights: Floats, windows: list[list[_Window | None]], outside: Floats
) -> Floats:
    """Weight of the accused members of a few victims (V, L, B); a window that is too narrow is widened in `windows`.

    Args:
        ranked: their rankings.
        levels: (L,).
        weights: (N, B).
        windows: of every victim, at every level.
        outside: (V, B) weight of all non-members.
    """
    found = np.full((len(ranked), levels.size, weights.shape[1]), np.nan)
    for place, level in enumerate(levels):
        here = [of_victim[place] for of_victim in windows]
        caught = _weigh(weights, [own.members[w.members.stop :] if w else None for own, w in _both(ranked, here)])
        accused = _weigh(weights, [own.others[w.others.stop :] if w else None for own, w in _both(ranked, here)])
        tied = _weigh(weights, [own.others[w.others] if w and w.all_tie else None for own, w in _both(ranked, here)])
        for victim, (own, window) in enumerate(_both(ranked, here)):
            budget = outside[victim] * level
            sums = caught[victim], accused[victim], tied[victim]
            while window is not None:
                weight = _replicates(weights, own, window, *sums, budget)
                if weight is not None:
                    found[victim, place] = weight
                    break
                window = windows[victim][place] = _window(own, None, 2 * window.num_looked_at)
                sums = (np.zeros(weights.shape[1]),) * 3  # nothing is above a widened window
    return found


def _both(ranked: Sequence[Sides], windows: list[_Window | None]) -> list[tuple[Sides, _Window | None]]:
    return list(zip(ranked, windows, strict=True))


def _weigh(weights: Floats, chosen: Sequence[np.ndarray | None]) -> Floats:
    """Total weight in each replicate, (V, B), of some columns for each of V victims."""
    if not any(columns is not None and columns.size for columns in chosen):
        return np.zeros((len(chosen), weights.shape[1]))
    marked = np.zeros((len(chosen), len(weights)))  # (V, N)
    for row, columns in zip(marked, chosen, strict=True):
        if columns is not None:
            row[columns] = 1.0
    return weighed(marked, weights)


def _windows(ranked: Sides, levels: Floats) -> list[_Window | None]:
    """One victim's window at each level; None without scored members or without scored non-members."""
    num_others = ranked.others.size
    if not (num_others and ranked.members.size):
        return [None] * levels.size
    expected = levels * num_others
    spare = SPARE_DEVIATIONS * np.sqrt(expected) + SPARE_SAMPLES
    firsts, ends = np.maximum(expected - spare, 0).astype(int), (expected + spare).astype(int)
    return [_window(ranked, int(first), int(end)) for first, end in zip(firsts, ends, strict=True)]


def _window(ranked: Sides, first: int | None, end: int) -> _Window:
    """The window of the non-members at places `first` to `end` - 1 of a ranking, the highest score at place 0.

    Args:
        ranked: the ranking.
        first: 0 or more; None: the window has no upper limit, so nothing is above it.
        end: more than `first`; can be beyond the last.
    """
    low, high = ranked.member_scores, ranked.other_scores
    end = min(end, high.size)
    floor = high[high.size - end]
    start, above_floor = int(np.searchsorted(high, floor, "left")), int(np.searchsorted(low, floor, "right"))
    if first is None:
        others, members, all_tie = slice(start, high.size), slice(above_floor, low.size), False
    else:
        ceiling = high[high.size - 1 - first]
        others = slice(start, int(np.searchsorted(high, ceiling, "right")))
        members = slice(above_floor, int(np.searchsorted(low, ceiling, "right")))
        all_tie = bool(ceiling == floor)
    return _Window(others, members, all_tie, end, first is None and end == high.size)


def _replicates(
    weights: Floats,
    ranked: Sides,
    window: _Window,
    caught_above: Floats,
    accused_above: Floats,
    tied: Floats,
    budget: Floats,
) -> Floats | None:
    """Weight of the members above one victim's thresholds (B,), or None if one is outside the window.

    Args:
        weights: (N, B) one weight per sample.
        ranked: the victim's ranking.
        window: the window with the thresholds.
        caught_above: (B,) weight of the members above the window.
        accused_above: (B,) weight of the non-members above the window.
        tied: (B,) weight of the window's non-members, if all of them tie.
        budget: (B,) weight of the non-members that may be accused.
    """
    if window.all_tie:
        stays = (accused_above <= budget) & (budget < accused_above + tied)
        return caught_above if stays.all() else None
    accused = np.cumsum(weights.take(ranked.others[window.others][::-1], axis=0), axis=0)  # (T, B)
    accused += accused_above
    if not window.complete and ((accused_above > budget) | (accused[-1] <= budget)).any():
        return None
    # The first non-member over the budget; rounding in another order of summation must not move it past the last.
    barrier = np.minimum(np.count_nonzero(accused <= budget, axis=0), len(accused) - 1)  # (B,)
    members_above = window.members.stop - ranked.lower_or_same[window.others][::-1]  # (T,) of the window, per other
    counts = members_above[barrier]  # (B,)
    least, most = int(counts.min()), int(counts.max())
    highest = weights.take(ranked.members[window.members][::-1][:most], axis=0)
    # Members that are caught in all replicates are only summed; further ones are summed one by one.
    caught = np.cumsum(np.concatenate([highest[:least].sum(axis=0)[None], highest[least:]]), axis=0)
    return np.asarray(caught_above + caught[counts - least, np.arange(budget.size)])
