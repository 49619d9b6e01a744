"""The list that is confirmed, and its order: both come from the search half alone.

Fixed-sequence testing stops at the first failure, so the list begins with the safest candidate: the one whose p-value
on the search half, the largest over its limits, is the smallest. A candidate that is no better than a safer one is left
out, because it would only add a risk of stopping early. Each candidate of the list is therefore better (smaller, by
`Limits.minimize`) and riskier than the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from pruneaudit.evaluation.certificate import Candidate, PassedOver
from pruneaudit.evaluation.limits import ACCURACY, Limits

NOTHING = 3.0
"""If nothing is certified, the cost counts as this many times that of the most expensive candidate of the list."""
HOPELESS = 0.5
"""A p-value on the search half above this: the estimate itself breaks a limit."""


class Shortlist(NamedTuple):
    """The candidates to confirm, safest first, and why the others are not among them."""

    candidates: tuple[Candidate, ...]
    passed_over: tuple[PassedOver, ...]


def shortlist(candidates: Sequence[Candidate], limits: Limits, most: int | None = None) -> Shortlist:
    """Fixes the list and its order.

    Args:
        candidates: with figures from the search half.
        limits: the limits.
        most: the largest number to confirm; the middle of the list is thinned out. None: all.
    """
    kept: list[Candidate] = []
    passed: list[PassedOver] = []
    ranked = sorted(enumerate(candidates), key=lambda pair: (pair[1].p_value, pair[1].cost(limits), pair[0]))
    for _, candidate in ranked:
        reason = _reason(candidate, limits) or _better(candidate, kept, limits)
        if reason is None:
            kept.append(candidate)
        else:
            passed.append(reason)
    chosen = _thinned(kept, most, limits)
    passed += [_passed(candidate, why="many") for candidate in kept if candidate not in chosen]
    return Shortlist(tuple(chosen), tuple(passed))


def _reason(candidate: Candidate, limits: Limits) -> PassedOver | None:
    """Why a candidate is not worth confirming whatever the others are; None if it is."""
    exceeded = candidate.exceeded(limits)
    if exceeded:
        size = getattr(candidate, exceeded)
        return _passed(candidate, why="too large", figure=exceeded, value=size, limit=limits.sizes[exceeded])
    test = candidate.decisive
    if test is None or candidate.p_value > HOPELESS:
        why = "accuracy" if test is not None and test.figure == ACCURACY else "leakage"
        facts = {} if test is None else {"figure": test.figure, "attack": test.attack}
        values = {} if test is None else {"value": test.value, "limit": test.limit}
        return _passed(candidate, why=why, **facts, **values)
    return None


def _better(candidate: Candidate, kept: Sequence[Candidate], limits: Limits) -> PassedOver | None:
    """Why a candidate adds nothing to safer ones; None if it is better than all of them."""
    best = min(kept, key=lambda other: other.cost(limits), default=None)
    if best is None or candidate.cost(limits) < best.cost(limits):
        return None
    return _passed(candidate, why="better one", against=best.name)


def _passed(candidate: Candidate, **facts: object) -> PassedOver:
    return PassedOver(name=candidate.name, description=candidate.description, **facts)


def _thinned(kept: list[Candidate], most: int | None, limits: Limits) -> list[Candidate]:
    """The list if at most `most` are confirmed: its last, and those with which the expected saving is largest.

    A candidate is certified with about the chance that other models, with errors of the same size, confirm its p-value;
    all before it, which are safer, then are too. What counts is the logarithm of what is to be small.
    """
    if most is None or len(kept) <= most:
        return kept
    costs = np.array([candidate.cost(limits) for candidate in kept])
    dearest = costs[np.isfinite(costs)].max(initial=1.0)
    saving = -np.log(np.where(np.isfinite(costs), np.maximum(costs, 1e-12), NOTHING * dearest))
    evidence = -scipy.special.ndtri(np.clip([candidate.p_value for candidate in kept], 1e-300, HOPELESS))
    chance = scipy.special.ndtr((evidence + scipy.special.ndtri(limits.alpha)) / np.sqrt(2))
    # best[n][j]: the largest expected saving of n candidates of which j is the last, and who is before it.
    best = [{j: (chance[j] * (saving[j] + np.log(NOTHING * dearest)), -1) for j in range(len(kept))}]
    for number in range(1, most):
        best.append(
            {
                j: max((best[-1][i][0] + chance[j] * (saving[j] - saving[i]), i) for i in best[-1] if i < j)
                for j in range(number, len(kept))
            }
        )
    chosen = [len(kept) - 1]
    for number in range(most - 1, 0, -1):
        chosen.append(best[number][chosen[-1]][1])
    return [kept[place] for place in reversed(chosen)]
