"""Accuracy at a threshold fixed in advance, and the positive predictive value of an accusation."""

# V victims, N samples

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Bools, Floats, PerVictim, checked, for_each

MIN_FALSE_POSITIVES = 10
"""Fewest expected false positives at a false-positive rate for which a TPR is reported."""


MEMBERS_AT_ONCE = 64


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
    return best_cut(members, others)


def best_cut(members: Floats, others: Floats) -> float:
    """`best_threshold` of members and non-members, at least one of each, both in ascending order.

    The best cut is at a member's score: one further down, among non-members only, accuses more of those. Cuts between
    two of every `MEMBERS_AT_ONCE` members cannot be better than those of the first, with the false positives of the
    second. So most members are never looked up among the non-members.
    """
    steps = np.arange(0, members.size, MEMBERS_AT_ONCE)
    gains, false_positives = _gains(members, others, steps)
    fewest = np.append(false_positives[1:], 0)
    bounds = gains + (false_positives - fewest) * members.size
    hopeful = steps[bounds >= gains.max()]
    places = (hopeful[:, None] + np.arange(MEMBERS_AT_ONCE)).ravel()
    places = places[places < members.size]
    first = (places == 0) | (members[places] != members[places - 1])  # ties: the first one counts them all
    places = places[first]
    gains, _ = _gains(members, others, places)
    cut = members[places[places.size - 1 - int(np.argmax(gains[::-1]))]]
    below = [float(side[place - 1]) for side in (members, others) if (place := np.searchsorted(side, cut)) > 0]
    return _between(max(below, default=-np.inf), float(cut))


def _gains(members: Floats, others: Floats, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """TPR - FPR at the scores of some members, times its common denominator, and the false positives there.

    These are integers, so that equally good thresholds compare as equal.
    """
    false_positives = others.size - np.searchsorted(others, members[places], side="left")
    return (members.size - places) * others.size - false_positives * members.size, false_positives


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
    truth = checked(np.broadcast_to(0.0, accused.shape), member)[1]
    values = np.empty((4, len(accused)))
    influence = [np.empty(accused.shape) for _ in values]

    def measure(victim: int) -> None:
        of_accuracy, of_difference, found, false = (parts[victim] for parts in influence)
        mine, inside = scored[victim], truth[victim]
        values[2, victim] = _rate(accused[victim], mine & inside, found)
        values[3, victim] = _rate(accused[victim], mine & ~inside, false)
        np.subtract(found, false, out=of_difference)
        np.divide(of_difference, 2, out=of_accuracy)

    for_each(measure, len(accused), accused.size)
    values[1] = values[2] - values[3]
    values[0] = (1 + values[1]) / 2
    return Rates(*(PerVictim(one, parts) for one, parts in zip(values, influence, strict=True)))


def accuracy_influence(scores: ArrayLike, thresholds: ArrayLike, member: ArrayLike) -> PerVictim:
    """The balanced accuracy of `rate_influence` at thresholds (V, N); scores at or above accuse.

    Samples without a score or without a threshold are not decided.
    """
    rows, truth = checked(scores, member)
    limits = np.asarray(thresholds, dtype=np.float64)
    values, influence = np.empty(len(rows)), np.empty(rows.shape)

    def measure(victim: int) -> None:
        row, limit, inside = rows[victim], limits[victim], truth[victim]
        mine, accused = ~(np.isnan(row) | np.isnan(limit)), row >= limit
        false, found = np.empty(row.size), influence[victim]
        rates = _rate(accused, mine & inside, found), _rate(accused, mine & ~inside, false)
        found -= false
        found /= 2
        values[victim] = (1 + (rates[0] - rates[1])) / 2

    for_each(measure, len(rows), rows.size)
    return PerVictim(values, influence)


def _rate(accused: Bools, among: Bools, influence: Floats) -> float:
    """Fraction accused of the samples in `among` (N,); NaN without any. Fills in the influence values (N,)."""
    count, hits = np.count_nonzero(among), np.count_nonzero(accused & among)
    value = hits / count if count else np.nan
    scale = np.sqrt(count * (count - 1.0)) if count > 1 else np.nan  # NaN for a single one
    influence[:] = np.where(among, np.where(accused, (1 - value) / scale, -value / scale), 0.0)
    return value


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
