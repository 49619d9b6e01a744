"""The table of sanity checks: attacks of the run, played where the right answer is known."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pruneaudit.evaluation.placebo import PLACEBO
from pruneaudit.evaluation.recorded_checks import NULL, failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import AUC

_MADE_UP_DONE = {NULL: "made-up bank, nothing to find", "planted": "made-up bank, members planted"}


@dataclass(frozen=True)
class SanityCheckLine:
    """One attack, played where the answer is known."""

    attack: str
    done: str
    """What was done, in words."""
    expected: str
    auc: str
    """Empty where there is none."""
    interval: str
    passed: bool


@dataclass(frozen=True)
class SanityChecks:
    """Everything that a run recorded of its sanity checks."""

    lines: tuple[SanityCheckLine, ...]
    """Failures first, then attack by attack."""
    missing: tuple[tuple[str, tuple[str, ...]], ...]
    """Why attacks were not played, and which; each reason once."""
    failed: tuple[str, ...]
    """The attacks that failed."""


def sanity_checks(results: Results) -> SanityChecks | None:
    """Returns the sanity checks of a run; None if it recorded none (older versions)."""
    about = results.about
    if "sanity_checks" not in about:
        return None
    order = list(dict.fromkeys(str(row["attack"]) for row in about["sanity_checks"]))
    lines = tuple(
        SanityCheckLine(
            attack=str(row["attack"]),
            done=_done(row["bank"], row["kind"]),
            expected=str(row["expected"]),
            auc="" if row["auc"] is None else AUC.value(row["auc"]),
            interval=AUC.interval(_number(row["low"]), _number(row["high"])),
            passed=bool(row["passed"]),
        )
        for row in sorted(
            about["sanity_checks"], key=lambda row: (bool(row["passed"]), order.index(str(row["attack"])))
        )
    )
    missing: dict[str, list[str]] = {}
    for item in about.get("not_sanity_checked") or []:
        missing.setdefault(f"{item['bank']}: {item['reason']}", []).append(str(item["attack"]))
    named = tuple((reason, tuple(attacks)) for reason, attacks in missing.items())
    return SanityChecks(lines, named, tuple(failures(about)))


def _done(bank: str, kind: str) -> str:
    if kind == PLACEBO:
        return f"{bank}: sent as members or as others"
    made_up = bank.startswith("made-up")
    return _MADE_UP_DONE[kind] if made_up else f"{bank}, membership redrawn"


def _number(value: float | None) -> float:
    return math.nan if value is None else value
