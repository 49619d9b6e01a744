"""Puts a search and its outcome into words, for the terminal."""

from __future__ import annotations

from pruneaudit.choosing.rungs import front, is_within
from pruneaudit.evaluation.certificate import Candidate, Certificate, Judged
from pruneaudit.evaluation.limits import ACCURACY, AUC, Limits
from pruneaudit.evaluation.search_path import Rung, SearchPath
from pruneaudit.report.conclusions.certificate import naive_choice
from pruneaudit.report.sentences.certificate import (
    earlier_words,
    naive_words,
    outcome_words,
    quantity_of,
    rung_words,
    title_words,
)

_LONGEST_FRONT = 6


def rung_lines(rung: Rung, limits: Limits) -> list[str]:
    """Returns what a rung did, and its front: the candidates that no other one beats in both cost and safety.

    Args:
        rung: the rung.
        limits: the limits.
    """
    stopped = {one.name for one in rung.passed_over if one.why != "halved"}
    tried = [each for each in rung.candidates if each.name not in stopped]
    return [rung_words(rung), *(f"  {_on_front(each, limits)}" for each in front(tried, limits)[:_LONGEST_FRONT])]


def _on_front(candidate: Candidate, limits: Limits) -> str:
    """Returns a candidate with its cost, its accuracy, and the worst of each limited figure."""
    parts = [] if candidate.bytes is None else [f"{candidate.bytes:,.0f} bytes"]
    if limits.minimize == "macs" and candidate.macs is not None:
        parts = [f"{candidate.macs:,.0f} multiply-accumulates"]
    known = [test for test in candidate.tests if test.value is not None]
    lacking = any(test.value is None for test in candidate.tests)  # the AUC takes its place
    shown = {*limits.leakage, limits.ranked_by, *((AUC,) if lacking else ())}
    for figure in dict.fromkeys(test.figure for test in known):
        tests = [test for test in known if test.figure == figure]
        if figure == ACCURACY:
            parts.append(f"accuracy {100 * (tests[0].value or 0):.1f}%")
        elif figure in shown:
            quantity = quantity_of(figure)
            parts.append(f"{quantity.title} {quantity.value(max(test.value or 0.0 for test in tests))}")
    mark = "" if is_within(candidate) else " (outside a limit)"
    return f"{candidate.name}: {', '.join(parts)}{mark}"


def choice_lines(certificate: Certificate, path: SearchPath) -> list[str]:
    """Returns the outcome of a choice for the terminal: the list, the chosen network, and the choice without a test."""
    limits = certificate.limits
    lines = [f"{one.outcome:>10}  {_on_front(one.candidate, limits)}{_p(one)}" for one in certificate.judged]
    lines += ["", title_words(certificate), *outcome_words(certificate), *earlier_words(certificate)]
    lines.append(naive_words(naive_choice(certificate, path), limits))
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _p(one: Judged) -> str:
    return "" if one.p_value is None else f"; p = {one.p_value:.2g}"
