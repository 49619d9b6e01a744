"""Finds the samples that a bank exposes in each of two releases, and tests whether one release exposes more of them.

A victim *finds* a member if its score exceeds the victim's threshold, at which its false-positive rate is a fixed
level, determined on its own non-members as in `tpr_at_fpr`. The *detection rate* of a sample is the share of the
victims trained on it that find it. A sample is *exposed* if that share is at least `LINE`. Between two releases of the
same victims some samples become exposed and others stop being exposed; the test statistic D is the difference of the
two numbers.

The test must account for three dependencies: samples share victims (a victim with a low threshold finds many), victims
share samples (a non-member with a high score raises many thresholds), and both releases have the same victims and
samples. So D is not tested sample by sample as in McNemar's test. If nothing has changed, a victim's two releases are
exchangeable: p is how often D is at least as far from 0 when those of random victims are swapped. (Scores stay the
same; this ignores that a victim is also a reference of the other half of the bank.) This treats the samples as fixed.
For the draw of samples, a normal variable is added to every such D, with the variance

    max(0, moved - B) + max(0, S - T - moved)

- moved: the number of samples that moved, which is McNemar's variance of D; B: the mean number that move under random
  swaps of victims (the mean square of D if samples moved independently). They differ if a release favours some samples
  in all victims.
- S: the bootstrap variance of D with one weight per sample, common to all victims and both releases, and re-estimated
  thresholds; T: the variance from thresholds re-estimated with separate weights for each victim, which swaps already
  include. The remainder is the part that victims share through their non-members.

With V victims, swaps cannot give a p-value below 2 / 2^V: with five or fewer none is below 5%. Simulated in
`tests/metrics/test_detection.py`.
"""

# V victims, N samples, G groups of samples, R releases (2: before, after), B replicates, F flips, U columns looked at

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy
from numpy.typing import ArrayLike

from pruneaudit.metrics.arrays import Bools, Floats, checked
from pruneaudit.metrics.roc import allowed_false_positives

LINE = 0.5
"""A sample counts as exposed if at least this share of its victims finds it; fixed before any score is seen."""
NUM_REPLICATES = 200
NUM_FLIPS = 2000
"""Number of random swaps, and so the resolution of p-values."""
_FLIPS_AT_ONCE = 100
_BLOCK_BYTES = 40_000_000  # of weights


@dataclass(frozen=True, eq=False)
class DetectionChange:
    """Every sample's detection rate before and after."""

    before: Floats
    """(N,) in [0, 1]; NaN where no victim has the sample as a scored member."""
    after: Floats
    """(N,) likewise."""
    num_victims: np.ndarray
    """(N,) the number of victims that have the sample as a member scored in both releases."""

    @property
    def moves(self) -> np.ndarray:
        """(N,) int: 1 newly exposed, -1 no longer exposed, 0 neither."""
        return (self.after >= LINE).astype(np.int64) - (self.before >= LINE)


class NetChange(NamedTuple):
    """The numbers of samples that moved, by group of samples."""

    newly_detected: np.ndarray
    """(G,) int."""
    no_longer_detected: np.ndarray
    """(G,) int."""
    num_detected_before: np.ndarray
    """(G,) int."""
    num_samples: np.ndarray
    """(G,) int: samples that are a scored member of some victim."""
    p_value: Floats
    """(G,) two-sided, for "equal numbers become exposed and stop being exposed"; 1 if nothing moved."""


class _Both(NamedTuple):
    """The two releases, restricted to samples scored in both."""

    scores: Floats
    """(R, V, N)."""
    members: Bools
    """(V, N) scored members."""
    others: Bools
    """(V, N) scored non-members."""


def barriers(scores: ArrayLike, member: ArrayLike, level: float) -> Floats:
    """The score that a sample must exceed to be found, (V,); the false-positive rate is then at most the level.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored.
        member: (V, N) bool.
        level: false-positive rate in [0, 1).

    Raises:
        UserError: the two shapes do not fit.
    """
    rows, truth = checked(scores, member)
    found = np.full(len(rows), np.nan)
    for victim, (row, inside) in enumerate(zip(rows, truth, strict=True)):
        others = np.sort(row[~inside & ~np.isnan(row)])
        if others.size:
            found[victim] = others[others.size - 1 - int(allowed_false_positives(others.size, np.array([level]))[0])]
    return found


def sample_detection(before: ArrayLike, after: ArrayLike, member: ArrayLike, level: float) -> DetectionChange:
    """Every sample's detection rate in two releases of the same victims.

    Args:
        before: (V, N) scores, higher = more likely a member; NaN = not scored, and then not counted in either release.
        after: (V, N) likewise.
        member: (V, N) bool.
        level: false-positive rate in [0, 1) of each victim's threshold.

    Raises:
        UserError: the shapes do not fit.
    """
    both = _both(before, after, member)
    num_victims = np.count_nonzero(both.members, axis=0)  # (N,)
    shares = np.full((2, len(num_victims)), np.nan)
    np.divide(_found(both, level).sum(axis=1), num_victims, out=shares, where=num_victims > 0)
    return DetectionChange(shares[0], shares[1], num_victims)


def net_change(
    before: ArrayLike, after: ArrayLike, member: ArrayLike, level: float, groups: Bools, rng: np.random.Generator
) -> NetChange:
    """How many samples of each group become exposed and how many stop being exposed, with a paired test.

    Args:
        before: as for `sample_detection`.
        after: as for `sample_detection`.
        member: as for `sample_detection`.
        level: as for `sample_detection`.
        groups: (N, G) bool, which samples are counted together.
        rng: source of weights and swaps.

    Raises:
        UserError: the shapes do not fit.
    """
    both, moved = _both(before, after, member), sample_detection(before, after, member, level)
    counted = groups.T.astype(np.float64)  # (G, N)

    def count(which: Bools) -> np.ndarray:
        return np.rint(counted @ which).astype(np.int64)

    newly, no_longer = count(moved.moves > 0), count(moved.moves < 0)
    p_values = np.ones(len(counted))
    if moved.moves.any():
        num_moved = (newly + no_longer).astype(np.float64)
        by_common, by_own = _over_samples(both, level, counted, rng)
        traded, by_sample = _over_victims(both, level, counted, rng)
        variance = np.maximum(0, num_moved - by_sample) + np.maximum(0, by_common - by_own - num_moved)
        some = num_moved > 0
        p_values[some] = _p_values((newly - no_longer)[some], traded[some], np.sqrt(variance[some]))
    return NetChange(newly, no_longer, count(moved.before >= LINE), count(moved.num_victims > 0), p_values)


def _both(before: ArrayLike, after: ArrayLike, member: ArrayLike) -> _Both:
    (first, truth), (second, _) = checked(before, member), checked(after, member)
    scored = ~np.isnan(first) & ~np.isnan(second)
    return _Both(np.where(scored, np.stack([first, second]), np.nan), scored & truth, scored & ~truth)


def _found(both: _Both, level: float) -> Bools:
    """(R, V, N) whether the victim finds the sample, one of its members."""
    limits = np.stack([barriers(scores, both.members, level) for scores in both.scores])  # (R, V)
    return (both.scores > limits[:, :, None]) & both.members


def _detected(found: np.ndarray, num_victims: np.ndarray) -> np.ndarray:
    """Whether a sample is exposed, as int, from the number of its victims that find it; 0 without victims."""
    return ((found >= LINE * num_victims) & (num_victims > 0)).astype(np.int8)


def _p_values(net: np.ndarray, traded: Floats, errors: Floats) -> Floats:
    """p-values (G,): how often D is as far from 0 as `net` (G,), from D after flips (G, F) with normal errors (G,)."""
    # D is a whole number, so the limit is half a sample closer; small rounding errors then change no count.
    limit, scale = np.abs(net)[:, None] - 0.5, np.maximum(errors, 1e-9)[:, None]
    beyond = scipy.stats.norm.sf((limit - traded) / scale) + scipy.stats.norm.sf((limit + traded) / scale)  # (G, F)
    return np.asarray(np.minimum(1, (1 + beyond.sum(axis=1)) / (1 + traded.shape[1])))


def _over_victims(both: _Both, level: float, counted: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """D when the releases of random victims are swapped, (G, F), and B, (G,)."""
    found = _found(both, level)
    change = found[1].astype(np.float32) - found[0]  # (V, N) -1, 0, 1
    moving = np.flatnonzero(change.any(axis=0))
    change, total = change[:, moving], found[:, :, moving].sum(axis=(0, 1)).astype(np.float32)
    num_victims, counted = np.count_nonzero(both.members[:, moving], axis=0), counted[:, moving]
    traded, squares = np.empty((len(counted), NUM_FLIPS)), np.zeros(len(counted))
    for start in range(0, NUM_FLIPS, _FLIPS_AT_ONCE):
        part = slice(start, min(start + _FLIPS_AT_ONCE, NUM_FLIPS))
        signs = 2 * rng.integers(0, 2, (part.stop - start, len(change))).astype(np.float32) - 1  # (F, V)
        after_less_before = signs @ change  # (F, N'): whole numbers, so exact in any order
        after = _detected((total + after_less_before) / 2, num_victims)
        moves = after - _detected((total - after_less_before) / 2, num_victims)
        traded[:, part] = counted @ moves.T
        squares += counted @ np.count_nonzero(moves, axis=0)
    return traded, squares / NUM_FLIPS


def _over_samples(both: _Both, level: float, counted: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """S and T, (G,) each: the variance of D with common weights, and with separate weights for each victim."""
    num_samples = both.members.shape[1]
    outside = both.others.T.astype(np.float64)  # (N, V)
    windows = [_window(both, victim, level) for victim in range(len(both.members))]
    unweighted = np.stack([barriers(scores, both.members, level) for scores in both.scores])  # (R, V)
    limits = np.empty((2, NUM_REPLICATES, 2, len(windows)))  # common or own weights, B, R, V
    weights = np.empty((NUM_REPLICATES, num_samples), dtype=np.float32)
    block = max(1, _BLOCK_BYTES // (8 * num_samples))
    for start in range(0, NUM_REPLICATES, block):
        part = slice(start, min(start + block, NUM_REPLICATES))
        drawn = rng.standard_exponential((part.stop - start, num_samples))  # (B, N)
        weights[part], totals = drawn, drawn @ outside  # (B, V)
        for victim, window in enumerate(windows):
            limits[0, part, :, victim] = window.weighted(drawn[:, window.columns], totals[:, victim], level)
    for victim, window in enumerate(windows):
        own = rng.standard_exponential((NUM_REPLICATES, len(window.columns)))  # (B, U)
        rest = rng.standard_gamma(window.num_others - len(window.columns), NUM_REPLICATES)  # the sum of the others
        limits[1, :, :, victim] = window.weighted(own, own.sum(axis=1) + rest, level)
    lowest, highest = (
        edge(unweighted, edged) for edge, edged in ((np.minimum, limits.min((0, 1))), (np.maximum, limits.max((0, 1))))
    )
    open_ = _undecided(both, lowest, highest)  # (N',)
    scores = np.where(both.members[:, open_], both.scores[:, :, open_], -np.inf)  # (R, V, N')
    num_victims = np.count_nonzero(both.members[:, open_], axis=0)
    found = np.empty((2, NUM_REPLICATES, len(counted)))
    for b in range(NUM_REPLICATES):
        for kind, weighed in enumerate((weights[b, open_], 1.0)):
            before, after = (
                _detected(np.count_nonzero(scores[r] > limits[kind, b, r][:, None], axis=0), num_victims)
                for r in range(2)
            )
            found[kind, b] = counted[:, open_] @ ((after - before) * weighed)
    by_common, by_own = found.var(axis=1, ddof=1)
    return by_common, by_own


@dataclass(frozen=True, eq=False)
class _Window:
    """The non-members of one victim that can determine its thresholds, under any weights."""

    columns: np.ndarray
    """(U,) the non-members near the top in one of the releases."""
    ranked: tuple[np.ndarray, np.ndarray]
    """Places in `columns`, highest score first, by release."""
    scores: tuple[Floats, Floats]
    """Their scores, in that order."""
    num_others: int

    def weighted(self, weights: Floats, totals: Floats, level: float) -> Floats:
        """The barrier in each release, (B, R), from weights (B, U) of these columns and total weights (B,)."""
        found = np.empty((len(weights), 2))
        for release, (ranked, scores) in enumerate(zip(self.ranked, self.scores, strict=True)):
            spent = np.cumsum(weights[:, ranked], axis=1)
            place = np.count_nonzero(spent <= level * totals[:, None], axis=1)
            found[:, release] = scores[np.minimum(place, len(scores) - 1)]
        return found


def _window(both: _Both, victim: int, level: float) -> _Window:
    others = np.flatnonzero(both.others[victim])
    allowed = int(allowed_false_positives(others.size, np.array([level]))[0])
    # The probability that the sum of so many weights is below the level is less than 10**-9.
    looked_at = min(others.size, 2 * allowed + 60)
    tops = []
    for scores in both.scores:
        order = np.argsort(-scores[victim, others], kind="stable")
        tops.append(others[order[:looked_at]])
    columns = np.union1d(*tops)
    ranked = [np.searchsorted(columns, top) for top in tops]
    values = [scores[victim, top] for scores, top in zip(both.scores, tops, strict=True)]
    return _Window(columns, (ranked[0], ranked[1]), (values[0], values[1]), others.size)


def _undecided(both: _Both, lowest: Floats, highest: Floats) -> np.ndarray:
    """The samples that can move under thresholds between two limits (R, V) each; others never do."""
    num_victims = np.count_nonzero(both.members, axis=0)
    most, least = (
        _detected(np.count_nonzero((both.scores > limits[:, :, None]) & both.members, axis=1), num_victims).astype(bool)
        for limits in (lowest, highest)
    )  # (R, N) each
    return np.flatnonzero(most.any(axis=0) & ~least.all(axis=0))
