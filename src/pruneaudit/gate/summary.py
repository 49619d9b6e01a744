"""Writes the gate's verdicts as Markdown for people and as JSON data for programs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from pruneaudit.gate.verdicts import Gate, Outcome, Verdict
from pruneaudit.report.escaping import markdown_code, markdown_text
from pruneaudit.report.quantities import Quantity

_TITLES: dict[Outcome, str] = {
    "within": "within budget",
    "over": "not shown to be within budget",
    "suppressed": "not answered",
}
_SAID: dict[Outcome, str] = {"within": "within", "over": "not shown to be within", "suppressed": "suppressed"}
"""The verdict on one figure in words. An upper end above the budget does not show that the leak itself is above it."""
_MAX_PLACES = 12
_COLUMNS = ("release", "attack", "references", "figure", "value", "95% interval", "budget", "verdict")


def as_markdown(gate: Gate, run: str) -> str:
    """Returns the summary: one sentence with the answer, one row per figure, reasons, and what was not checked.

    Args:
        gate: the verdicts.
        run: the name of the run.
    """
    lines = [f"## pruneaudit check: {_TITLES[gate.outcome]}", "", _sentence(gate), "", f"Run: {markdown_code(run)}", ""]
    lines += _table(gate.verdicts)
    if gate.others_over:
        lines += ["", _others_sentence(gate), "", *_table(gate.others_over)]
    left_out = [f"not checked, because it is only for comparison: {markdown_code(name)}" for name in gate.not_checked]
    notes = [*_reasons(gate), *_unchecked(gate), *left_out, *(markdown_text(note) for note in gate.notes)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]).rstrip() + "\n"


def as_record(gate: Gate, run: str) -> dict[str, Any]:
    """Returns the same as JSON data: rates in 0..1, missing values as null."""
    told = {"run": run, "outcome": gate.outcome, "title": _TITLES[gate.outcome], "exit_code": gate.exit_code}
    told |= {"verdicts": [_record(verdict) for verdict in gate.verdicts]}
    told |= {"others_over": [_record(verdict) for verdict in gate.others_over], "unchecked": dict(gate.unchecked)}
    return told | {"not_checked": list(gate.not_checked), "notes": list(gate.notes)}


def _record(verdict: Verdict) -> dict[str, Any]:
    return {
        "release": verdict.release,
        "references": verdict.references,
        "attack": verdict.attack,
        "metric": verdict.budget.quantity.column,
        "value": _or_none(verdict.value),
        "low": _or_none(verdict.low),
        "high": _or_none(verdict.high),
        "budget": verdict.budget.limit,
        "outcome": verdict.outcome,
        "said": _SAID[verdict.outcome],
        "reason": verdict.reason,
        "unchecked": verdict.is_unchecked,
        "num_victims": verdict.num_victims,
    }


def _sentence(gate: Gate) -> str:
    outcomes = [verdict.outcome for verdict in gate.verdicts]
    total, over, suppressed = len(outcomes), outcomes.count("over"), outcomes.count("suppressed")
    rule = (
        "Every figure must be within its budget: the upper end of the 95% interval of its mean over victims is at most"
        " the budget. A figure above it was not shown to be within."
    )
    if suppressed:
        missing = "1 figure is" if suppressed == 1 else f"{suppressed} figures are"
        others = f" {over} of the others {_was(over)} not shown to be within budget." if over else ""
        said = f"{missing} missing or refused, of {total}, so the question stays open."
        return f"{said}{others} {rule}"
    if over:
        figures = "figure" if total == 1 else "figures"
        return f"{over} of {total} {figures} {_was(over)} not shown to be within budget. {rule}"
    return f"{'The one figure is' if total == 1 else f'All {total} figures are'} within budget. {rule}"


def _others_sentence(gate: Gate) -> str:
    count = len(gate.others_over)
    figures = "1 more figure of this run was" if count == 1 else f"{count} more figures of this run were"
    return f"{figures} not shown to be within budget. {'It does' if count == 1 else 'They do'} not decide here:"


def _was(count: int) -> str:
    return "was" if count == 1 else "were"


def _table(verdicts: Sequence[Verdict]) -> list[str]:
    return [_line(_COLUMNS), _line("---" for _ in _COLUMNS), *(_line(_cells(verdict)) for verdict in verdicts)]


def _unchecked(gate: Gate) -> list[str]:
    """Returns each reason why attacks have no sanity checks, with the attacks."""
    attacks: dict[str, list[str]] = {}
    for attack, reason in gate.unchecked.items():
        attacks.setdefault(reason, []).append(markdown_code(attack))
    return [
        f"unchecked, because the run has no sanity checks of it: {', '.join(names)} ({markdown_text(reason)})"
        for reason, names in attacks.items()
    ]


def _reasons(gate: Gate) -> list[str]:
    """Returns each reason for missing figures, with the places."""
    places: dict[tuple[str, str], list[str]] = {}
    for verdict in gate.verdicts:
        if verdict.reason:
            where = f"{markdown_code(verdict.release)} / {markdown_code(verdict.attack)}"
            places.setdefault((verdict.budget.quantity.title, verdict.reason), []).append(where)
    return [f"{title}: {markdown_text(reason)} ({', '.join(where)})" for (title, reason), where in places.items()]


def _cells(verdict: Verdict) -> tuple[str, ...]:
    quantity, limit = _told_apart(verdict.budget.quantity, verdict.high, verdict.budget.limit), verdict.budget.limit
    value = "-" if math.isnan(verdict.value) else quantity.value(verdict.value)
    interval = quantity.interval(verdict.low, verdict.high) or "-"
    names = (
        markdown_code(verdict.release),
        markdown_code(verdict.attack),
        markdown_code(verdict.references),
        quantity.title,
    )
    told = _SAID[verdict.outcome] if verdict.outcome == "within" else f"**{_SAID[verdict.outcome]}**"
    mark = " (unchecked)" if verdict.is_unchecked else ""
    return (*names, value, interval, f"at most {quantity.value(limit)}", told + mark)


def _told_apart(quantity: Quantity, high: float, limit: float) -> Quantity:
    """Returns the quantity with enough decimals to show a limit exactly, and to tell the upper end from it."""

    def is_shown_alike() -> bool:
        shown = float(quantity.value(limit).rstrip("%")) / (100 if quantity.is_percent else 1)
        cut = not math.isclose(shown, limit, rel_tol=1e-9, abs_tol=1e-12)
        return cut or (high != limit and quantity.value(high) == quantity.value(limit))

    while quantity.places < _MAX_PLACES and is_shown_alike():
        quantity = dataclasses.replace(quantity, places=quantity.places + 1)
    return quantity


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number
