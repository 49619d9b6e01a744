"""Accuracy at a threshold fixed in advance, and the positive predictive value of an accusation."""

# V victims, N samples

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Bools, Floats, PerVictim, checked

MIN_FALSE_POSITIVES = 10
"""Fewest expected false positives at a false-positive rate for which a TPR is reported."""


class Rates(NamedTuple):
    """The rates of fixed decisions, per victim."""

    balanced_accuracy: PerVictim
    """(TPR + 1 - FPR) / 2, in [0, 1]; 0.5 is guessing."""
    advantage: PerVictim
    """TPR - FPR, in [-1, 1]; 0 is guessing."""
    tpr: PerVictim
    """Fraction of members accused."""
    fpr: PerVictim
    """Fraction of non-members accused."""


def best_threshold(scores: ArrayLike, member: ArrayLike) -> float:
    """The threshold t at which `score >= t` has the highest balanced accuracy, by one sort.

    Learn it on reference models and use it on victims: on the scores that determined it, its accuracy is too high.
    It is the midpoint between two neighbouring scores. Among equally good thresholds the highest wins
    (fewest accusations). Accusing everybody is possible, so scores without information give the lowest score.

    Args:
        scores: (N,), higher = more likely a member; NaN is ignored.
        member: (N,) bool.

    Raises:
        UserError: the shapes do not fit, or no member or no non-member is scored.
    """
    rows, truth = checked(np.atleast_2d(scores), np.atleast_2d(member))
    scored = ~np.isnan(rows)
    members, others = np.sort(rows[scored & truth]), np.sort(rows[scored & ~truth])  # ascending
    if not (members.size and others.size):
        raise UserError(
            f"cannot learn a threshold from {members.size} members and {others.size} non-members, "
            "expected at least one of each: give the references samples of both kinds"
        )
    # The best cut is at a member's score: one further down, among non-members only, accuses more of those.
    true_positives = members.size - np.arange(members.size)  # ties: the first one counts them all
    false_positives = others.size - np.searchsorted(others, members, side="left")
    # TPR - FPR times its common denominator: integers, so that equally good thresholds compare as equal.
    gain = true_positives * others.size - false_positives * members.size
    gain[1:][members[1:] == members[:-1]] = np.iinfo(np.int64).min  # ties are accused together
    cut = members[members.size - 1 - int(np.argmax(gain[::-1]))]
    below = [float(side[place - 1]) for side in (members, others) if (place := np.searchsorted(side, cut)) > 0]
    return _between(max(below, default=-np.inf), float(cut))


def _between(lower: float, upper: float) -> float:
    """The midpoint of two scores, or `upper` if there is none (an infinite score, neighbouring floats)."""
    middle = lower / 2 + upper / 2
    return middle if np.isfinite(middle) and lower < middle <= upper else upper


def rate_influence(decisions: ArrayLike, valid: ArrayLike, member: ArrayLike) -> Rates:
    """True- and false-positive rate, advantage and balanced accuracy of decisions, with influence values.

    The decisions' thresholds must not depend on these victims' membership: otherwise the resulting intervals are too
    narrow (see `binomial_interval`).

    Args:
        decisions: (V, N) bool, True = accused of being a member.
        valid: (V, N) bool, False = not decided or not eligible; ignored.
        member: (V, N) bool.

    Raises:
        UserError: the shapes do not fit.
    """
    accused, scored = np.asarray(decisions, dtype=np.bool_), np.asarray(valid, dtype=np.bool_)
    _, truth = checked(np.broadcast_to(0.0, accused.shape), member)
    tpr, fpr = _rate(accused, scored & truth), _rate(accused, scored & ~truth)
    difference, influence = tpr.values - fpr.values, tpr.influence - fpr.influence
    return Rates(PerVictim((1 + difference) / 2, influence / 2), PerVictim(difference, influence), tpr, fpr)


def _rate(accused: Bools, among: Bools) -> PerVictim:
    """Fraction accused of the samples in `among` (V, N); NaN for a victim without any."""
    counts, hits = np.count_nonzero(among, axis=1), np.count_nonzero(accused & among, axis=1)  # (V,)
    values = np.divide(hits, counts, out=np.full(len(counts), np.nan), where=counts > 0)
    scale = np.sqrt(np.where(counts > 1, counts * (counts - 1.0), np.nan))  # NaN for a single one
    above, below = ((1 - values) / scale)[:, None], (-values / scale)[:, None]  # of accused samples, of others
    return PerVictim(values, np.where(among, np.where(accused, above, below), 0.0))


def ppv(tpr: ArrayLike, fpr: ArrayLike, prior: ArrayLike) -> Floats:
    """Positive predictive value: the fraction of accused samples that are members.

    Args:
        tpr: true-positive rates, any shape.
        fpr: false-positive rates, of a shape that broadcasts with `tpr`.
        prior: fraction of members among those whom the attacker asks about, in [0, 1].

    Returns:
        pi TPR / (pi TPR + (1 - pi) FPR) in [0, 1], pi being the prior; NaN if no sample is accused.
    """
    hits = np.asarray(prior, dtype=np.float64) * np.asarray(tpr, dtype=np.float64)
    accused = hits + (1 - np.asarray(prior, dtype=np.float64)) * np.asarray(fpr, dtype=np.float64)
    return np.divide(hits, accused, out=np.full(accused.shape, np.nan), where=accused > 0)


def refusal(num_nonmembers: int, level: float) -> str | None:
    """Why a true-positive rate at this false-positive rate is not reported; None if it is.

    With fewer than ten expected false positives, the threshold would depend on a handful of samples.

    Args:
        num_nonmembers: the smallest number of scored non-members of any victim.
        level: false-positive rate in (0, 1).
    """
    if num_nonmembers * level >= MIN_FALSE_POSITIVES * (1 - 1e-12):  # 10_000 * 0.001 can be too small by rounding
        return None
    needed = int(np.ceil(MIN_FALSE_POSITIVES / level * (1 - 1e-12)))
    return (
        f"{num_nonmembers:,} non-members allow {num_nonmembers * level:.3g} false positives at FPR {level:g}, "
        f"fewer than {MIN_FALSE_POSITIVES}: {needed:,} non-members are needed"
    )
