"""Decides what a certificate shows, and why each other candidate was not chosen: facts, without a sentence."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import scipy

from pruneaudit.evaluation.certificate import Candidate, Certificate, Judged, PassedOver
from pruneaudit.evaluation.how_many import models_for
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.search_path import SearchPath


@dataclass(frozen=True)
class NotChosen:
    """A candidate that is not the chosen one."""

    name: str
    description: str
    why: Literal["certified", "failed", "not tested", "too large", "passed over"]
    """certified: it keeps all limits too, but the chosen one is better; passed over: by the search."""
    test: LimitTest | None = None
    """Of a failed one: the test with the largest p-value."""
    against: str = ""
    """The chosen candidate, or the candidate that failed and so ended the sequence."""
    passed: PassedOver | None = None
    """What the search said of it."""


@dataclass(frozen=True)
class Naive:
    """What a search without confirmation would have released."""

    searched: Candidate
    """With the figures that the search chose it by."""
    confirmed: Candidate | None
    """With figures of other models; None if it was not confirmed."""
    is_certified: bool
    is_chosen: bool


def not_chosen(certificate: Certificate) -> tuple[NotChosen, ...]:
    """All candidates but the chosen one: those of the list in its order, then those that the search passed over."""
    chosen, failed = certificate.chosen, failure(certificate)
    found = [
        NotChosen(
            one.candidate.name,
            one.candidate.description,
            one.outcome,
            test=one.candidate.decisive if one.outcome == "failed" else None,
            against=_against(one, chosen, failed),
        )
        for one in certificate.judged
        if one.outcome != "chosen"
    ]
    passed = (NotChosen(one.name, one.description, "passed over", passed=one) for one in certificate.passed_over)
    return (*found, *passed)


def _against(one: Judged, chosen: Candidate | None, failed: Judged | None) -> str:
    if one.outcome == "certified" and chosen is not None:
        return chosen.name
    return failed.candidate.name if one.outcome == "not tested" and failed is not None else ""


def failure(certificate: Certificate) -> Judged | None:
    """The first candidate of the list that was not shown to keep all limits; it ends a fixed sequence."""
    return next((one for one in certificate.judged if one.outcome == "failed"), None)


def needed_models(certificate: Certificate) -> int | None:
    """At least how many models the bank needs to certify the first failure, if its figures stayed as they are.

    None without a failure, with a target, or if a figure itself breaks its limit.
    """
    scope = certificate.scope
    if scope.is_target:
        return None
    alpha = certificate.limits.alpha
    needed = [models_for(test, scope.num_confirm_models, alpha) for test in open_tests(certificate)]
    known = [number for number in needed if number is not None]
    return 2 * max(known) if known and len(known) == len(needed) else None


def needed_samples(certificate: Certificate) -> int | None:
    """About how many audited samples would certify the first failure of a target, if its figures stayed as they are.

    None without a failure, without a target, or if a figure itself breaks its limit.
    """
    margins = [test.margin or 0.0 for test in open_tests(certificate)]
    if not certificate.scope.is_target or not margins or min(margins) <= 0:
        return None
    reach = float(scipy.special.ndtri(1 - certificate.limits.alpha))
    factor = max((reach / min(margins)) ** 2, 1.0)
    return math.ceil(factor * certificate.scope.num_samples)


def open_tests(certificate: Certificate) -> tuple[LimitTest, ...]:
    """The tests of the first failure that do not show that their limit is kept."""
    failed = failure(certificate)
    tests = () if failed is None else failed.candidate.tests
    return tuple(test for test in tests if test.p_value is not None and test.p_value > certificate.limits.alpha)


def naive_choice(certificate: Certificate, path: SearchPath) -> Naive | None:
    """What the search alone would have released, and what the confirmation says of it; None if nothing."""
    searched = path.searched.get(path.naive)
    if searched is None:
        return None
    judged = next((one for one in certificate.judged if one.candidate.name == path.naive), None)
    is_tested = judged is not None and bool(judged.candidate.tests)
    return Naive(
        searched=searched,
        confirmed=judged.candidate if judged is not None and is_tested else None,
        is_certified=judged is not None and judged.outcome in ("chosen", "certified"),
        is_chosen=judged is not None and judged.outcome == "chosen",
    )


def limited(candidate: Candidate) -> tuple[LimitTest, ...]:
    """The tests of a candidate that have a limit, in their order: accuracy first."""
    return tuple(test for test in candidate.tests if test.limit is not None)


def worst(candidate: Candidate, figure: str) -> LimitTest | None:
    """Of all attacks, the test of a figure with the bound that is the least favourable; None without a value."""
    tests = [test for test in candidate.tests if test.figure == figure and test.value is not None]
    return max(tests, key=lambda test: (test.bound or 0.0) * (1 if test.is_upper else -1), default=None)
