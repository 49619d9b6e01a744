"""Accuracy at a threshold fixed beforehand, and what an accusation is then worth."""

# V victims, N samples

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.errors import UserError
from pruneaudit.metrics.arrays import Floats, PerVictim, checked, spread

MIN_FALSE_POSITIVES = 10


class Rates(NamedTuple):
    """What fixed decisions amount to, per victim."""

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

    To be learned on reference models and used on victims: on the scores it was chosen on, its accuracy is too good.
    Between two neighbouring scores it lies in their middle; among equally good thresholds the highest is taken
    (fewest accusations), and accusing everybody is a choice, so that guessing gives the lowest score.

    Args:
        scores: (N,), higher = more likely a member; NaN is ignored.
        member: (N,) bool.

    Raises:
        UserError: the shapes do not fit, or no member or no non-member is scored.
    """
    rows, truth = checked(np.atleast_2d(scores), np.atleast_2d(member))
    scored = ~np.isnan(rows)
    values, inside = rows[scored], truth[scored]
    num_members = np.count_nonzero(inside)
    num_nonmembers = inside.size - num_members
    if not (num_members and num_nonmembers):
        raise UserError(
            f"a threshold was to be learned from {num_members} members and {num_nonmembers} non-members, "
            "expected at least one of each: give the references samples of both kinds"
        )
    order = np.argsort(-values)
    values, inside = values[order], inside[order]
    last = np.append(values[1:] != values[:-1], True)  # ties are accused together: cut only after the last of a block
    true_positives = np.cumsum(inside)
    false_positives = np.arange(1, inside.size + 1) - true_positives
    # TPR - FPR over its common denominator: integers, so equally good thresholds compare as equal.
    gain = np.where(last, true_positives * num_nonmembers - false_positives * num_members, np.iinfo(np.int64).min)
    cut = int(np.argmax(gain))
    lower = values[cut + 1] if cut + 1 < values.size else -np.inf
    return _between(float(lower), float(values[cut]))


def _between(lower: float, upper: float) -> float:
    """The middle of two scores, or `upper` where there is none (an infinite score, neighbouring floats)."""
    middle = lower / 2 + upper / 2
    return middle if np.isfinite(middle) and lower < middle <= upper else upper


def rate_influence(decisions: ArrayLike, valid: ArrayLike, member: ArrayLike) -> Rates:
    """True- and false-positive rate, advantage and balanced accuracy of decisions, with influence values.

    The thresholds behind the decisions must have been fixed without these victims' membership: otherwise the
    intervals built on this are too narrow (see `binomial_interval`).

    Args:
        decisions: (V, N) bool, True = accused of being a member.
        valid: (V, N) bool, False = not decided or not eligible; ignored.
        member: (V, N) bool.

    Raises:
        UserError: the shapes do not fit.
    """
    accused, truth = checked(np.where(np.asarray(valid), np.asarray(decisions, dtype=np.float64), np.nan), member)
    scored = ~np.isnan(accused)
    tpr, fpr = _rate(accused, scored & truth), _rate(accused, scored & ~truth)
    difference, influence = tpr.values - fpr.values, tpr.influence - fpr.influence
    return Rates(PerVictim((1 + difference) / 2, influence / 2), PerVictim(difference, influence), tpr, fpr)


def _rate(accused: Floats, among: np.ndarray) -> PerVictim:
    """Fraction accused of the samples in `among` (V, N); NaN for a victim without any."""
    values, influence = np.full(len(accused), np.nan), np.zeros(accused.shape)
    for victim, (row, chosen) in enumerate(zip(accused, among, strict=True)):
        if chosen.any():
            values[victim] = row[chosen].mean()
            influence[victim, chosen] = spread(row[chosen] - values[victim])
    return PerVictim(values, influence)


def ppv(tpr: ArrayLike, fpr: ArrayLike, prior: ArrayLike) -> Floats:
    """Positive predictive value: the fraction of accused samples that are members.

    Args:
        tpr: true-positive rates, any shape.
        fpr: false-positive rates, of a shape that broadcasts with `tpr`.
        prior: fraction of members among those whom the attacker asks about, in [0, 1].

    Returns:
        pi TPR / (pi TPR + (1 - pi) FPR) in [0, 1]; NaN where nobody is accused.
    """
    hits = np.asarray(prior, dtype=np.float64) * np.asarray(tpr, dtype=np.float64)
    accused = hits + (1 - np.asarray(prior, dtype=np.float64)) * np.asarray(fpr, dtype=np.float64)
    return np.divide(hits, accused, out=np.full(accused.shape, np.nan), where=accused > 0)


def refusal(num_nonmembers: int, level: float) -> str | None:
    """Why a true-positive rate at this false-positive rate is not reported, or None where it may be.

    Fewer than ten expected false positives leave the threshold to a handful of samples.

    Args:
        num_nonmembers: scored non-members of the victim that has fewest.
        level: false-positive rate in (0, 1).
    """
    if num_nonmembers * level >= MIN_FALSE_POSITIVES * (1 - 1e-12):  # 10_000 * 0.001 may fall short by rounding
        return None
    needed = int(np.ceil(MIN_FALSE_POSITIVES / level * (1 - 1e-12)))
    return (
        f"{num_nonmembers:,} non-members allow {num_nonmembers * level:.3g} false positives at FPR {level:g}, "
        f"fewer than {MIN_FALSE_POSITIVES}: {needed:,} non-members are needed"
    )
