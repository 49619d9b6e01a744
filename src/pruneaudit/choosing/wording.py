"""A search and its outcome in words, for the terminal."""

from __future__ import annotations

from collections import Counter

from pruneaudit.choosing.rungs import front, is_within
from pruneaudit.evaluation.certificate import Candidate, Certificate, Judged
from pruneaudit.evaluation.limits import ACCURACY, AUC, Limits
from pruneaudit.evaluation.search_path import Rung, SearchPath
from pruneaudit.metrics import metric_of
from pruneaudit.report.words import counted

_LONGEST_FRONT = 6
_LEFT = {
    "accuracy": "below the accuracy",
    "leakage": "above a limit of leakage",
    "too large": "too large",
    "raced out": "clearly worse than another",
    "halved": "not in the better part",
    "failed": "failed",
}


def rung_lines(rung: Rung, num_rungs: int, limits: Limits) -> list[str]:
    """Returns what a rung did, and its front: the candidates that no other one beats in both cost and safety.

    Args:
        rung: the rung.
        num_rungs: the number of rungs.
        limits: the limits.
    """
    counts = Counter(one.why for one in rung.passed_over)
    left = ", ".join(f"{count} {_LEFT[why]}" for why, count in counts.items())
    where = f"rung {rung.number + 1} of {num_rungs}: {counted(len(rung.candidates), 'candidate')} on"
    going = counted(len(rung.candidates) + counts["failed"] - len(rung.passed_over), "candidate")
    lines = [f"{where} {counted(len(rung.model_ids), 'model')}; {going} left" + (f" ({left})" if left else "")]
    stopped = {one.name for one in rung.passed_over if one.why != "halved"}
    tried = [each for each in rung.candidates if each.name not in stopped]
    return lines + [f"  {_on_front(each, limits)}" for each in front(tried, limits)[:_LONGEST_FRONT]]


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
            quantity = metric_of(figure).among([figure])[0]
            parts.append(f"{quantity.title} {quantity.value(max(test.value or 0.0 for test in tests))}")
    mark = "" if is_within(candidate) else " (outside a limit)"
    return f"{candidate.name}: {', '.join(parts)}{mark}"


def choice_lines(certificate: Certificate, path: SearchPath) -> list[str]:
    """Returns the outcome of a choice for the terminal: the list, the chosen network, and the choice without a test."""
    limits = certificate.limits
    lines = [f"{one.outcome:>10}  {_on_front(one.candidate, limits)}{_p(one)}" for one in certificate.judged]
    if path.earlier:
        models = "these models" if len(path.earlier) == 1 else f"these models {len(path.earlier)} times"
        lines.append(
            f"note: an earlier choice was confirmed on {models}; the certificate holds for the first choice only. For a"
            " new one, change the study's seed"
        )
    chosen = certificate.chosen
    if chosen is None:
        lines.append("chosen: none; no candidate was shown to keep all limits")
    else:
        lines.append(f"chosen: {chosen.name} ({chosen.description})")
    return lines + _naive_lines(certificate, path)


def _p(one: Judged) -> str:
    return "" if one.p_value is None else f"; p = {one.p_value:.2g}"


def _naive_lines(certificate: Certificate, path: SearchPath) -> list[str]:
    """Returns what a search without confirmation would have chosen, and what the confirmation says of it."""
    if not path.naive:
        return ["without confirmation: none; every candidate breaks a limit by the search's own estimates"]
    name, limits = path.naive, certificate.limits
    lines = [f"without confirmation: {_on_front(path.searched[name], limits)}, by the search's own estimates"]
    confirmed = next((one.candidate for one in certificate.judged if one.candidate.name == name), None)
    if confirmed is not None:
        kept = "shown to keep all limits" if confirmed.p_value <= limits.alpha else "not shown to keep all limits"
        lines.append(f"  on the other models: {_on_front(confirmed, limits)}; {kept} (p = {confirmed.p_value:.2g})")
    return lines
