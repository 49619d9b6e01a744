"""What the gate says, as Markdown for people and as JSON data for programs."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from pruneaudit.gate.checking import Gate, Outcome, Verdict
from pruneaudit.report.quantities import Quantity

_TITLES: dict[Outcome, str] = {"within": "within budget", "over": "over budget", "refused": "not answered"}
_MAX_PLACES = 12
_COLUMNS = ("release", "attack", "references", "figure", "value", "95% interval", "budget", "verdict")


def as_markdown(gate: Gate, run: str) -> str:
    """The summary: the answer in a sentence, a row per figure, reasons, and what was not checked.

    Args:
        gate: what the gate says.
        run: how the run is called.
    """
    lines = [f"## pruneaudit check: {_TITLES[gate.outcome]}", "", _sentence(gate), "", f"Run: {_code(run)}", ""]
    lines += [_line(_COLUMNS), _line("---" for _ in _COLUMNS)]
    lines += [_line(_cells(verdict)) for verdict in gate.verdicts]
    left_out = [f"not checked, as nothing is pruned or defended in it: {_code(name)}" for name in gate.not_checked]
    notes = [*_reasons(gate), *left_out, *(_plain(note) for note in gate.notes)]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]).rstrip() + "\n"


def as_record(gate: Gate, run: str) -> dict[str, Any]:
    """The same as JSON data: rates in 0..1, what is missing as null."""
    rows = [
        {
            "release": verdict.release,
            "knowledge": verdict.knowledge,
            "attack": verdict.attack,
            "metric": verdict.budget.quantity.column,
            "value": _or_none(verdict.value),
            "low": _or_none(verdict.low),
            "high": _or_none(verdict.high),
            "budget": verdict.budget.limit,
            "outcome": verdict.outcome,
            "reason": verdict.reason,
            "num_victims": verdict.num_victims,
        }
        for verdict in gate.verdicts
    ]
    told = {"run": run, "outcome": gate.outcome, "exit_code": gate.exit_code, "verdicts": rows}
    return told | {"not_checked": list(gate.not_checked), "notes": list(gate.notes)}


def _sentence(gate: Gate) -> str:
    outcomes = [verdict.outcome for verdict in gate.verdicts]
    total, over, refused = len(outcomes), outcomes.count("over"), outcomes.count("refused")
    rule = "What counts is the upper end of the 95% interval of the mean over victims; equal to the budget is within."
    if refused:
        others = f" {over} of the others {'is' if over == 1 else 'are'} over budget." if over else ""
        return (
            f"{_of(refused, total)} could not be had, so the question is not answered, whatever the others say."
            f"{others} {rule}"
        )
    return f"{_of(over, total)} {'is' if over == 1 else 'are'} over budget. {rule}"


def _reasons(gate: Gate) -> list[str]:
    """Each reason for which a figure is missing, once, with where it is."""
    places: dict[tuple[str, str], list[str]] = {}
    for verdict in gate.verdicts:
        if verdict.reason:
            where = f"{_code(verdict.release)} / {_code(verdict.attack)}"
            places.setdefault((verdict.budget.quantity.title, verdict.reason), []).append(where)
    return [f"{title}: {_plain(reason)} ({', '.join(where)})" for (title, reason), where in places.items()]


def _of(count: int, total: int) -> str:
    return f"{count if count else 'None'} of {total} {'figure' if total == 1 else 'figures'}"


def _cells(verdict: Verdict) -> tuple[str, ...]:
    quantity, limit = _told_apart(verdict.budget.quantity, verdict.high, verdict.budget.limit), verdict.budget.limit
    value = "-" if math.isnan(verdict.value) else quantity.value(verdict.value)
    interval = quantity.interval(verdict.low, verdict.high) or "-"
    names = (_code(verdict.release), _code(verdict.attack), _code(verdict.knowledge), quantity.title)
    told = {"within": "within", "over": "**over**", "refused": "**refused**"}[verdict.outcome]
    return (*names, value, interval, f"at most {quantity.value(limit)}", told)


def _told_apart(quantity: Quantity, high: float, limit: float) -> Quantity:
    """The quantity with so many decimals that a limit is shown whole, and an upper end beside it is not shown as it."""

    def is_shown_alike() -> bool:
        shown = float(quantity.value(limit).rstrip("%")) / (100 if quantity.is_percent else 1)
        cut = not math.isclose(shown, limit, rel_tol=1e-9, abs_tol=1e-12)
        return cut or (high != limit and quantity.value(high) == quantity.value(limit))

    while quantity.places < _MAX_PLACES and is_shown_alike():
        quantity = dataclasses.replace(quantity, places=quantity.places + 1)
    return quantity


def _line(cells: Any) -> str:
    return f"| {' | '.join(cells)} |"


def _code(name: str) -> str:
    """A name as a code span that no name can leave, inside a table or not."""
    return f"`{_printable(name).replace('`', chr(39)).replace('|', chr(92) + '|')}`"


def _plain(text: str) -> str:
    """A sentence whose characters mean nothing to Markdown or HTML."""
    return "".join(f"\\{letter}" if letter in "\\`*[]<>|" else letter for letter in _printable(text))


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number
