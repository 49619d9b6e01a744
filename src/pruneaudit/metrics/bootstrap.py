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

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Bools, Floats, checked, for_each
from pruneaudit.metrics.roc import tpr_at_fpr

BLOCK_BYTES = 40_000_000  # of weights; a block's work in progress is at most about four times that
SPARE_DEVIATIONS, SPARE_SAMPLES = 5.0, 10  # half-width of the window around a level, whose weighted place varies
VICTIMS_AT_ONCE = 32  # independent of the number of threads, so that results are too


class _Window(NamedTuple):
    """The part of one victim's ranking with the weighted thresholds of one level."""

    ceiling: float
    """Samples that score above it are accused in every replicate."""
    floor: float
    """Lowest score of the window's non-members. If it equals the ceiling, everything in between ties."""
    nonmembers: np.ndarray
    """(T,) columns of the non-members from ceiling to floor, from the highest score down; empty if all tie."""
    members: np.ndarray
    """(S,) columns of the members at or below the ceiling and above the floor, likewise."""
    members_above: np.ndarray
    """(T,) how many of these members score strictly higher than each non-member."""
    num_looked_at: int
    """Number of non-members in the window and above it."""
    complete: bool
    """Whether all non-members are in the window."""


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
        rng: source of the weights; pass equally seeded generators to pair two calls on the same samples.

    Returns:
        The estimates (V, L) of `tpr_at_fpr`, and the replicates (B, V, L). NaN where undefined.

    Raises:
        UserError: the shapes do not fit, or a level is outside [0, 1).
    """
    rows, truth = checked(scores, member)
    wanted = np.atleast_1d(np.asarray(levels, dtype=np.float64))
    if not ((wanted >= 0) & (wanted < 1)).all():
        raise UserError(f"got false-positive rates {wanted.tolist()}, expected each in [0, 1): 0.01 means 1%")
    replicates = np.full((num_resamples, len(rows), wanted.size), np.nan)
    windows: list[list[_Window | None]] = [[] for _ in rows]

    def look(victim: int) -> None:
        windows[victim] = _windows(rows[victim], truth[victim], wanted)

    for_each(look, len(rows), rows.size)
    groups = [slice(start, start + VICTIMS_AT_ONCE) for start in range(0, len(rows), VICTIMS_AT_ONCE)]
    block = max(1, BLOCK_BYTES // (8 * max(1, rows.shape[1])))
    for start in range(0, num_resamples, block):
        part = slice(start, min(start + block, num_resamples))
        drawn = rng.standard_exponential((part.stop - part.start, rows.shape[1]))  # (B, N)
        weights = np.ascontiguousarray(drawn.T)  # (N, B): contiguous weights of one sample

        def resample(index: int, part: slice = part, weights: Floats = weights) -> None:
            group = groups[index]
            found = _of_group(rows[group], truth[group], wanted, weights, windows[group])  # (V, L, B)
            replicates[part, group] = np.moveaxis(found, 2, 0)

        for_each(resample, len(groups), rows.size)
    return tpr_at_fpr(rows, truth, wanted), replicates


def _of_group(
    rows: Floats, truth: Bools, levels: Floats, weights: Floats, windows: list[list[_Window | None]]
) -> Floats:
    """Replicates (V, L, B) of a few victims; a window that is too narrow is widened in `windows`."""
    scored = ~np.isnan(rows)
    members, others = scored & truth, scored & ~truth  # (V, N)
    inside, outside = _weigh(members, weights), _weigh(others, weights)  # (V, B)
    rates = np.full((len(rows), levels.size, weights.shape[1]), np.nan)
    for place, level in enumerate(levels):
        here = [of_victim[place] for of_victim in windows]
        ceilings = np.array([[np.nan if window is None else window.ceiling] for window in here])  # (V, 1)
        floors = np.array([[np.nan if window is None else window.floor] for window in here])  # (V, 1)
        above, in_ties = rows > ceilings, (rows == ceilings) & (ceilings == floors)  # (V, N)
        caught, accused = _weigh(members & above, weights), _weigh(others & above, weights)  # (V, B)
        tied = _weigh(others & in_ties, weights)  # (V, B)
        for victim, window in enumerate(here):
            budget = outside[victim] * level
            sums = caught[victim], accused[victim], tied[victim]
            while window is not None:
                found = _replicates(weights, window, *sums, budget)
                if found is not None:
                    rates[victim, place] = found / inside[victim]
                    break
                wider = 2 * window.num_looked_at
                window = windows[victim][place] = _window(rows[victim], members[victim], others[victim], None, wider)
                sums = (np.zeros(weights.shape[1]),) * 3  # nothing is above a widened window
    return np.minimum(rates, 1.0)


def _weigh(chosen: Bools, weights: Floats) -> Floats:
    """Total weight of the chosen samples (V, N) in each replicate, (V, B)."""
    if not chosen.any():
        return np.zeros((len(chosen), weights.shape[1]))
    return np.asarray(chosen.astype(np.float64) @ weights)


def _windows(row: Floats, inside: Bools, levels: Floats) -> list[_Window | None]:
    """One victim's window at each level; None without scored members or without scored non-members."""
    scored = ~np.isnan(row)
    members, others = scored & inside, scored & ~inside
    num_others = np.count_nonzero(others)
    if not (num_others and members.any()):
        return [None] * levels.size
    expected = levels * num_others
    spare = SPARE_DEVIATIONS * np.sqrt(expected) + SPARE_SAMPLES
    firsts, ends = np.maximum(expected - spare, 0).astype(int), (expected + spare).astype(int)
    return [_window(row, members, others, int(first), int(end)) for first, end in zip(firsts, ends, strict=True)]


def _window(row: Floats, members: Bools, others: Bools, first: int | None, end: int) -> _Window:
    """The window of the non-members at places `first` to `end` - 1 of a ranking, the highest score at place 0.

    Args:
        row: (N,) scores.
        members: (N,) bool, the scored members.
        others: (N,) bool, the scored non-members.
        first: 0 or more; None: the window has no upper limit, so nothing is above it.
        end: more than `first`; can be beyond the last.
    """
    ranked = np.sort(row[others])  # (n,) ascending
    end = min(end, ranked.size)
    ceiling, floor = np.inf if first is None else ranked[ranked.size - 1 - first], ranked[ranked.size - end]
    at_most = row <= ceiling
    all_tie = first is not None and ceiling == floor
    nonmembers = np.flatnonzero(others & at_most & (row >= floor) & ~all_tie)
    nonmembers = nonmembers[np.argsort(-row[nonmembers])]
    caught = np.flatnonzero(members & at_most & (row > floor))
    caught = caught[np.argsort(-row[caught])]
    above = np.searchsorted(-row[caught], -row[nonmembers], side="left")  # (T,)
    return _Window(float(ceiling), float(floor), nonmembers, caught, above, end, first is None and end == ranked.size)


def _replicates(
    weights: Floats, window: _Window, caught_above: Floats, accused_above: Floats, tied: Floats, budget: Floats
) -> Floats | None:
    """Weight of the members above one victim's thresholds (B,), or None if one is outside the window.

    Args:
        weights: (N, B) one weight per sample.
        window: the window with the thresholds.
        caught_above: (B,) weight of the members above the window.
        accused_above: (B,) weight of the non-members above the window.
        tied: (B,) weight of the window's non-members, if all of them tie.
        budget: (B,) weight of the non-members that may be accused.
    """
    if not window.nonmembers.size:
        stays = (accused_above <= budget) & (budget < accused_above + tied)
        return caught_above if stays.all() else None
    accused = np.cumsum(weights.take(window.nonmembers, axis=0), axis=0)  # (T, B)
    accused += accused_above
    if not window.complete and ((accused_above > budget) | (accused[-1] <= budget)).any():
        return None
    # The first non-member over the budget; rounding in another order of summation must not move it past the last.
    barrier = np.minimum((accused <= budget).sum(axis=0), window.nonmembers.size - 1)  # (B,)
    caught = np.zeros((window.members.size + 1, budget.size))  # (S + 1, B): weight of the highest 0, 1, ... S
    np.cumsum(weights.take(window.members, axis=0), axis=0, out=caught[1:])
    return np.asarray(caught_above + caught[window.members_above[barrier], np.arange(budget.size)])
