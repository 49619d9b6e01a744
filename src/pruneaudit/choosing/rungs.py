"""Successive halving with early stops: decides which candidates of a rung the next rung tries.

All candidates of a rung have the same models, so their figures are compared in pairs, and common errors cancel. Other
rungs have other victims and more references, and leakage depends on these. So rungs are never compared with each other.

A candidate stops

- if its size exceeds a limit (this needs one network and no attack);
- if its accuracy is below the limit by its one-sided bound: it is then not attacked at all;
- if its leakage exceeds a limit by its one-sided bound (more references would only raise it);
- if another candidate is not larger, and clearly better in every limited figure, by one-sided bounds of paired
  differences;
- or if it is not among the better part of the rung.

A rung of few models scores fewer samples, and a TPR at a low false-positive rate can then be suppressed. Such a rung
compares the figures that it has, and AUCs in place of those that it lacks.

Bounds are at alpha / (m R), for m candidates and R rungs. No stop needs to be right: the certificate comes from other
models. A wrong stop costs size.

Racing: Maron and Moore 1994. Halving: Jamieson and Talwalkar 2016 (arXiv 1502.07943).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import scipy

from pruneaudit.choosing.bench import Trial
from pruneaudit.evaluation.certificate import Candidate, PassedOver
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.limits import ACCURACY, AUC, Limits
from pruneaudit.evaluation.shortlist import HOPELESS
from pruneaudit.metrics import Estimate, difference_of, difference_two_way

FEWEST_KEPT = 2
"""A rung keeps at least this many candidates, if it has them."""


@dataclass(frozen=True)
class Race:
    """The rules of one search."""

    limits: Limits
    num_candidates: int
    """m: how many the first rung tries."""
    num_rungs: int
    keep: float
    """Fraction of a rung that the next one tries."""

    @property
    def alpha(self) -> float:
        """Error probability of one bound."""
        return self.limits.alpha / (self.num_candidates * self.num_rungs)

    def is_attacked(self, candidate: Candidate) -> bool:
        """Whether a candidate with accuracy and sizes is worth attacking."""
        return self.stopped_alone(candidate) is None

    def stopped_alone(self, candidate: Candidate) -> PassedOver | None:
        """Why a candidate stops whatever the others are; None if it does not."""
        exceeded = candidate.exceeded(self.limits)
        if exceeded:
            size = getattr(candidate, exceeded)
            return _passed(candidate, "too large", figure=exceeded, value=size, limit=self.limits.sizes[exceeded])
        for test in candidate.tests:
            if test.limit is not None and self._breaks(test):
                why = "accuracy" if test.figure == ACCURACY else "leakage"
                facts = {"figure": test.figure, "attack": test.attack, "value": test.value, "limit": test.limit}
                return _passed(candidate, why, **facts)
        return None

    def _breaks(self, test: LimitTest) -> bool:
        """Whether a figure breaks its limit by its one-sided bound."""
        margin, freedom = test.margin, test.freedom or math.inf
        if margin is None:  # without a spread, the value decides
            return test.value is not None and test.error == 0 and (test.p_value or 0.0) == 1.0
        return margin < -_quantile(self.alpha, freedom)

    def decide(self, trials: Mapping[str, Trial], is_last: bool) -> dict[str, PassedOver]:
        """Returns why candidates of a rung stop, by name; the next rung tries the others.

        Args:
            trials: the candidates of the rung, in the order of the search.
            is_last: whether no rung follows: then nothing is halved.
        """
        stopped = {name: reason for name, trial in trials.items() if (reason := self.stopped_alone(trial.candidate))}
        left = {name: trial for name, trial in trials.items() if name not in stopped}
        stopped |= self._raced_out(left)
        left = {name: trial for name, trial in left.items() if name not in stopped}
        if not is_last:
            most = max(math.ceil(self.keep * len(trials)), FEWEST_KEPT)
            kept = better_part([trial.candidate for trial in left.values()], self.limits, most)
            stopped |= {n: _passed(t.candidate, "halved") for n, t in left.items() if n not in kept}
        return stopped

    def _raced_out(self, trials: Mapping[str, Trial]) -> dict[str, PassedOver]:
        """Returns the candidates that are clearly worse than another one that is no larger."""
        found: dict[str, PassedOver] = {}
        for name, trial in trials.items():
            for other, rival in trials.items():
                beaten = None if other == name or other in found else self._beaten(trial, rival)
                if beaten is not None:
                    found[name] = beaten
                    break
        return found

    def _beaten(self, trial: Trial, rival: Trial) -> PassedOver | None:
        """Why a candidate is beaten; None if it is not.

        The rival then is no larger, keeps all limits by its estimates, and is clearly better in every limited figure.
        """
        own, other = trial.candidate, rival.candidate
        if other.cost(self.limits) > own.cost(self.limits) or not is_within(other) or trial.models != rival.models:
            return None
        if not self.limits.leakage or not trial.measured or trial.measured.keys() != rival.measured.keys():
            return None
        first: Estimate | None = None
        for difference in self._differences(trial, rival):
            if self._lower_bound(difference) <= 0:
                return None
            first = first or difference
        assert first is not None  # a figure of leakage is limited
        shown = {"figure": next(iter(self.limits.leakage)), "difference": first.value}
        attack = next(iter(trial.measured))[0]
        return _passed(own, "raced out", against=other.name, attack=attack, bound=self._lower_bound(first), **shown)

    def _differences(self, trial: Trial, rival: Trial) -> Iterator[Estimate]:
        """How much worse a candidate is than a rival in each limited figure."""
        for column in self.limits.leakage:
            for played, measured in trial.measured.items():
                yield difference_of(measured.by_column[column], rival.measured[played].by_column[column])
        if self.limits.min_accuracy is not None:
            yield difference_two_way(rival.accuracies.test, trial.accuracies.test)

    def _lower_bound(self, difference: Estimate) -> float:
        """The one-sided lower bound of a difference; minus infinity if unknown."""
        if not math.isfinite(difference.std_error):
            return -math.inf
        return difference.value - _quantile(self.alpha, difference.freedom) * difference.std_error


def better_part(candidates: Sequence[Candidate], limits: Limits, most: int) -> list[str]:
    """Returns the names of the better candidates, at most `most`, in the order given.

    First those whose estimates keep all limits, in layers: no other one beats those of a layer in cost and risk. A
    layer that does not fit is thinned evenly from its safest to its cheapest. Then the others, the least risky first.

    Args:
        candidates: with figures of one rung.
        limits: the limits.
        most: how many to keep.
    """
    within = [candidate for candidate in candidates if is_within(candidate)]
    kept: list[Candidate] = []
    while within and len(kept) < most:
        layer = front(within, limits)
        kept += evenly(layer, most - len(kept))
        within = [each for each in within if each not in layer]
    others = sorted((each for each in candidates if not is_within(each)), key=risk)
    names = {each.name for each in (*kept, *others[: most - len(kept)])}
    return [candidate.name for candidate in candidates if candidate.name in names]


def risk(candidate: Candidate) -> tuple[float, float]:
    """Returns the largest p-value of the limited figures that were measured, and the AUC in place of the others.

    The p-value is 1 if nothing was measured; the AUC is 0 if nothing is lacking.
    """
    limited = [test for test in candidate.tests if test.p_value is not None]
    p_value = max((test.p_value or 0.0 for test in limited if test.value is not None), default=1.0)
    if all(test.value is not None for test in limited):
        return p_value, 0.0
    return p_value, max((test.value or 0.0 for test in candidate.tests if test.figure == AUC), default=1.0)


def is_within(candidate: Candidate) -> bool:
    """Whether the estimates of all limited figures that were measured keep their limits."""
    return risk(candidate)[0] <= HOPELESS


def front(candidates: Sequence[Candidate], limits: Limits) -> list[Candidate]:
    """Returns the candidates that no other one beats in cost and risk, the safest first."""
    layer = [each for each in candidates if not any(_beats(other, each, limits) for other in candidates)]
    return sorted(layer, key=lambda each: (risk(each), each.cost(limits)))


def _beats(first: Candidate, second: Candidate, limits: Limits) -> bool:
    """Whether a candidate is no worse than another one in cost and in both parts of risk, and better in one of them."""
    mine, other = (first.cost(limits), *risk(first)), (second.cost(limits), *risk(second))
    return mine != other and all(one <= two for one, two in zip(mine, other, strict=True))


def evenly(items: list[Candidate], most: int) -> list[Candidate]:
    """Returns at most `most` items, evenly spaced, with the first and the last."""
    if len(items) <= most:
        return items
    if most < 2:
        return items[:most]
    places = {round(place * (len(items) - 1) / (most - 1)) for place in range(most)}
    return [items[place] for place in sorted(places)]


def _quantile(alpha: float, freedom: float) -> float:
    if math.isinf(freedom):
        return -float(scipy.special.ndtri(alpha))
    return -float(scipy.special.stdtrit(freedom, alpha))  # much faster than scipy.stats


def _passed(candidate: Candidate, why: str, **facts: object) -> PassedOver:
    given = {"name": candidate.name, "description": candidate.description, "why": why, **facts}
    return PassedOver.model_validate(given)
