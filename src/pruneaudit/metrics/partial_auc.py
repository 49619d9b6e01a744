"""Partial AUC below 1% false positives: how well scores rank if an attacker can afford almost no wrong accusation.

The area A under the ROC curve from a false-positive rate of 0 to a = 0.01, standardised (McClish 1989, "Analyzing a
portion of the ROC curve", Medical Decision Making 9(3), 190-195, doi:10.1177/0272989X8900900307):

    S = (1 + (A - a^2 / 2) / (a - a^2 / 2)) / 2

Guessing has A = a^2 / 2 and S = 0.5; the best ranking has A = a and S = 1; the worst, A = 0, has S = (1 - a) / (2 - a),
0.497. A TPR at 1% FPR uses one threshold; this uses all thresholds up to there, including stricter ones.

Ties count as in the AUC of `roc.py`: a member that ties with a non-member counts as half outscoring it, which connects
the points of the curve by straight lines. If `a` is within such a line or within the step of one non-member, the part
up to `a` counts. `sklearn.metrics.roc_auc_score(max_fpr=0.01)` is the same number.

Intervals use influence values, as for the AUC. The component of a member is the fraction of the
false-positive rates up to `a` at which it is accused. That of a non-member among the highest is the fraction of members
that outscore it, minus the fraction at the threshold of one more false positive: without this non-member, the next one
would count in its place. This is the jackknife's component; the derivative's, at the threshold itself, is too small
if ten non-members count. As only `a n` of them count, the variance is corrected by `a n / (a n - 1)`.
"""

# V victims, N samples, m members, n non-members, T non-members and C members down to the threshold

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from pruneaudit.metrics.arrays import Floats, PerVictim, checked, for_each, spread
from pruneaudit.metrics.intervals import Estimate
from pruneaudit.metrics.measurement import Measurement
from pruneaudit.metrics.metric import BudgetOption, Metric, Scored
from pruneaudit.metrics.pooled import clustered
from pruneaudit.metrics.quantity import Quantity
from pruneaudit.metrics.ranking import Sides, sides
from pruneaudit.metrics.rates import refusal

MAX_FPR = 0.01


def lowest(max_fpr: float = MAX_FPR) -> float:
    """The standardised partial AUC of the worst ranking: no member outscores any of the highest non-members."""
    return (1 - max_fpr) / (2 - max_fpr)


def partial_auc_influence(
    scores: ArrayLike, member: ArrayLike, max_fpr: float = MAX_FPR, ranked: Sequence[Sides] | None = None
) -> PerVictim:
    """Standardised partial AUC of every victim, with the influence of each sample, from one ranking.

    Args:
        scores: (V, N), higher = more likely a member; NaN is ignored and gets influence 0.
        member: (V, N) bool.
        max_fpr: the false-positive rate up to which the area counts, in (0, 1]; 1 gives the AUC itself.
        ranked: the ranking of every victim, if it is known.

    Returns:
        Values (V,) in [`lowest(max_fpr)`, 1], 0.5 = guessing, higher = leaks more; NaN where a victim has no scored
        member or no scored non-member.

    Raises:
        UserError: the two shapes do not fit.
    """
    rows, truth = checked(scores, member)
    values, influence = np.full(len(rows), np.nan), np.zeros(rows.shape)  # (V,), (V, N)

    def measure(victim: int) -> None:
        own = sides(rows[victim], truth[victim]) if ranked is None else ranked[victim]
        values[victim] = place_area(own, influence[victim], max_fpr)

    for_each(measure, len(rows), rows.size)
    return PerVictim(values, influence)


def place_area(ranked: Sides, influence: Floats, max_fpr: float) -> float:
    """`partial_auc_influence` of one victim: its value; influence values are written into zeros (N,)."""
    if not (ranked.members.size and ranked.others.size):
        return np.nan
    members, others = np.sort(ranked.members), np.sort(ranked.others)  # columns
    top, counting = _top(ranked, max_fpr), max_fpr * others.size
    accused_at, found_at = np.zeros(members.size), np.zeros(others.size)  # components (m,), (n,)
    accused_at[np.searchsorted(members, top.members)] = _accused_up_to(top) / others.size
    found_at[np.searchsorted(others, top.others)] = (_found_at(top) - top.weights * top.num_found) / members.size
    area, guessing = float(accused_at.mean()), max_fpr**2 / 2
    scale = 0.5 / (max_fpr - guessing)
    influence[members] = scale * spread(accused_at - area)
    # Like `spread`, but for `counting` non-members; the spread of one or fewer is unknown.
    spread_of_few = np.sqrt(counting / (counting - 1)) / others.size if counting > 1 else np.nan
    influence[others] = scale * (found_at - found_at.mean()) * spread_of_few
    return 0.5 + scale * (area - guessing)


class _Top(NamedTuple):
    """The top of one victim's ranking, from the lowest score up, to one false positive beyond the area."""

    members: np.ndarray
    """(C,) their columns."""
    others: np.ndarray
    """(T,) their columns."""
    member_scores: Floats
    """(C,) ascending."""
    other_scores: Floats
    """(T,) ascending."""
    weights: Floats
    """(T,) the part of each non-member's step of the curve that the area counts, in [0, 1]; equal for ties."""
    num_found: float
    """Members found with one more false positive; a fraction of those that tie with the threshold there."""


def _top(ranked: Sides, max_fpr: float) -> _Top:
    """The top of the ranking of members and non-members."""
    low, high = ranked.member_scores, ranked.other_scores
    budget = max_fpr * high.size  # false positives; its fractional part counts
    lowest_score = high[high.size - min(int(np.ceil(budget + 1)), high.size)]
    first_member, first_other = (int(np.searchsorted(side, lowest_score, side="left")) for side in (low, high))
    members, others = ranked.members[first_member:], ranked.others[first_other:]
    member_scores, other_scores = low[first_member:], high[first_other:]
    higher = others.size - np.searchsorted(other_scores, other_scores, side="right")  # (T,) non-members that score so
    tied = others.size - higher - np.searchsorted(other_scores, other_scores, side="left")  # (T,) with themselves
    members_tied = int(np.searchsorted(member_scores, lowest_score, side="right"))
    part = min((budget + 1 - higher[0]) / tied[0], 1.0)
    num_found = members.size - members_tied + part * members_tied
    weights = np.clip((budget - higher) / tied, 0.0, 1.0)
    return _Top(members, others, member_scores, other_scores, weights, num_found)


def _accused_up_to(top: _Top) -> Floats:
    """The number of counted false positives at which each member (C,) is accused; ties count half."""
    below = np.searchsorted(top.other_scores, top.member_scores, side="left")
    up_to = np.searchsorted(top.other_scores, top.member_scores, side="right")
    summed = np.concatenate([[0.0], np.cumsum(top.weights)])  # (T + 1,)
    of_tied = top.weights[np.minimum(below, top.weights.size - 1)]  # (C,) the weight of those that it ties with
    return np.asarray(summed[below] + (summed[up_to] - summed[below]) * of_tied / 2)


def _found_at(top: _Top) -> Floats:
    """How many members outscore each non-member (T,), over the counted part of its step; ties count half."""
    below = np.searchsorted(top.member_scores, top.other_scores, side="left")
    up_to = np.searchsorted(top.member_scores, top.other_scores, side="right")
    return np.asarray(top.weights * (top.member_scores.size - up_to + top.weights * (up_to - below) / 2))


class PartialAuc(Metric):
    """Area under the ROC curve below 1% false positives, standardised: 0.5 is guessing, 1 the best."""

    quantity = Quantity("partial_auc_at_1%_fpr", "Partial AUC (1% FPR)", guessing=0.5)
    bounds = (lowest(), 1.0)
    meaning = (
        "Partial AUC: area under the ROC curve below 1% false positives, scaled so that guessing gives 0.5 and the "
        "best attack 1."
    )
    budget = BudgetOption("partial_auc", "Highest standardised partial AUC below 1% FPR, such as 0.55.", "AUC")

    def measure(self, scored: Scored) -> tuple[Measurement, ...]:
        """With influence values."""
        return (partial_auc_influence(scored.scores, scored.member, ranked=scored.ranked),)

    def pooled(self, scored: Scored, quantities: Sequence[Quantity]) -> tuple[Estimate, ...]:
        """Clustered by sample and by model."""
        if not quantities:
            return ()
        pairs = np.zeros(scored.scores.shape)
        value = place_area(scored.pooled, pairs.reshape(-1), MAX_FPR)
        return (clustered(value, pairs, bounds=self.bounds),)

    def suppressed(self, quantity: Quantity, num_members: int, num_nonmembers: int) -> str | None:
        """By the rule of a TPR at 1% FPR, which depends on the same non-members."""
        return refusal(num_nonmembers, MAX_FPR)

    def num_trials(self, num_members: int, num_nonmembers: int) -> int:
        """The number of disjoint pairs of members and counted non-members."""
        return min(num_members, int(MAX_FPR * num_nonmembers))


METRIC = PartialAuc()
