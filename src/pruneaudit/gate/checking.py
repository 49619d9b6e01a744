"""The gate: is what a run leaks within the budgets that somebody set beforehand?

A pure function of `Results`. What counts is the upper end of the 95% interval: a run is within a budget where the data
leave no more than that, and a small study with wide intervals does not pass for being small. An upper end that equals
its budget is within. The figures are means over victims.

An attack that failed the run's own controls (`pruneaudit.controls`) has no figure that could be held against anything.
A figure that is missing or was refused decides over all others: the gate then says that it was not answered (exit code
2), even where another figure is over its budget. Whoever accepts a leak that is known (exit code 1) must not accept
with it what nobody measured.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import pandas as pd

from pruneaudit.auditing.game import MATCHED, NO_DEFENSE
from pruneaudit.controls import failures
from pruneaudit.errors import UserError
from pruneaudit.gate.budgets import GUESSING_AUC, NO_BUDGET, Budget
from pruneaudit.pipeline.lineage import twins
from pruneaudit.registry import nearest
from pruneaudit.report.answer import answer
from pruneaudit.report.quantities import ADVANTAGE, AUC, BALANCED_ACCURACY, Quantity
from pruneaudit.report.selection import (
    MEAN,
    POOLED,
    attack_order,
    base_release,
    chosen_later,
    primary_attack,
    release_names,
    release_row,
    study_of,
)
from pruneaudit.results import Results

ANY = "any"
"""In the place of an attack: every attack of the run must be within the budget."""
Outcome = Literal["within", "over", "refused"]
EXIT_CODES: Mapping[Outcome, int] = {"within": 0, "over": 1, "refused": 2}


@dataclass(frozen=True)
class Verdict:
    """One figure held against its budget."""

    release: str
    knowledge: str
    attack: str
    budget: Budget
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    num_victims: int = 0
    reason: str = ""
    """Why there is no figure, or no interval; empty where there is."""

    @property
    def outcome(self) -> Outcome:
        """`refused` without a figure; else whether the upper end of its interval is over the budget."""
        if self.reason:
            return "refused"
        return "over" if self.high > self.budget.limit else "within"


@dataclass(frozen=True)
class Gate:
    """What the gate says."""

    verdicts: tuple[Verdict, ...]
    """In the order of the study: by release, attack and budget."""
    not_checked: tuple[str, ...]
    """Releases that were left out because they are controls: nothing was pruned and nothing defended."""
    notes: tuple[str, ...]
    """What the figures do not say."""

    @property
    def outcome(self) -> Outcome:
        """`refused` if any figure is; else `over` if any is; else `within`."""
        found = {verdict.outcome for verdict in self.verdicts}
        return "refused" if "refused" in found else "over" if "over" in found else "within"

    @property
    def exit_code(self) -> int:
        """0 within all budgets, 1 over one, 2 not answered."""
        return EXIT_CODES[self.outcome]


def check(
    results: Results,
    budgets: Sequence[Budget],
    attack: str | None = None,
    releases: Sequence[str] = (),
    knowledge: str = MATCHED,
) -> Gate:
    """Holds the figures of a run against budgets.

    Args:
        results: the run's.
        budgets: how high which figure may be; see `budgets_of`.
        attack: an attack of the run, or `any` for every one; default: the one that the study declares.
        releases: which to check; default: the dense networks and all that is pruned or defended. One that the study
            asks for and the run could not make is refused, not passed over.
        knowledge: what the attacker's references went through.

    Raises:
        UserError: attack, release or knowledge is unknown, or there is no budget.
    """
    if not budgets:
        raise UserError(NO_BUDGET)
    knowledge = "matched" if knowledge == "adaptive" else knowledge
    known = tuple(dict.fromkeys([*release_names(results), *_asked_releases(results)]))
    attacks = attack_order(results)
    if not attacks:
        raise UserError("no attack was played in this run, so that nothing can be checked; expected findings")
    if attack is None and (declared := chosen_later(results)):
        raise UserError(
            f"these findings are of attacks that were chosen after the run, and {declared}, which the study declared,"
            f" is not among them; name one with --attack, or play it: pruneaudit attack RUN --attacks {declared}"
        )
    chosen = attack or primary_attack(results)
    if attack is not None:
        _known("--attack", attack, (*attacks, ANY))
    for release in releases:
        _known("--release", release, known)
    _known("--knowledge", knowledge, (*dict.fromkeys(results.findings["knowledge"]), *_asked_knowledge(results)))
    controls = () if releases else _controls(results, known)
    checked = tuple(dict.fromkeys(releases)) or tuple(name for name in known if name not in controls)
    broken = failures(results.about)
    verdicts = [
        _unless_broken(verdict, broken)
        for release in checked
        for verdict in _of_release(results, release, knowledge, attacks if chosen == ANY else (chosen,), budgets)
    ]
    return Gate(tuple(verdicts), controls, (*_reversed(verdicts), *answer(results).caveats))


def _known(option: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        listed = ", ".join(dict.fromkeys(choices)) or "none, as the run has no findings"
        raise UserError(f"{option}: got '{given}'{nearest(given, choices)}, expected one of: {listed}")


def _asked_releases(results: Results) -> tuple[str, ...]:
    """The releases that the study asks for; by their bare names where another version of the program wrote it."""
    study = study_of(results)
    if study is not None:
        return tuple(release.name for release in study.releases)
    recorded = results.about.get("study")
    listed = recorded.get("releases") if isinstance(recorded, Mapping) else None
    return tuple(str(item["name"]) for item in listed or () if isinstance(item, Mapping) and "name" in item)


def _asked_knowledge(results: Results) -> tuple[str, ...]:
    study = study_of(results)
    return study.audit.knowledge if study else ()


def _controls(results: Results, known: Sequence[str]) -> tuple[str, ...]:
    """The releases that only others are held against; without a study nothing says that one is."""
    study = study_of(results)
    if study is None:
        return ()
    asked = {item.name: item for item in study.releases}

    def is_control(name: str) -> bool:
        row = release_row(results, name)
        if row is not None and (row["pruner"] or row["defense"]):
            return False
        return name != base_release(results) and name in asked and not (asked[name].pruner or asked[name].defense)

    return tuple(name for name in known if is_control(name))


def _of_release(
    results: Results, release: str, knowledge: str, attacks: Sequence[str], budgets: Sequence[Budget]
) -> list[Verdict]:
    of_release = results.findings[results.findings["release"] == release]
    label = _played_as(results, release, knowledge, tuple(dict.fromkeys(of_release["knowledge"])))
    rows = of_release[of_release["knowledge"] == label]
    if len(attacks) > 1:  # an attack on pairs of releases is not played on the dense networks alone
        attacks = [attack for attack in attacks if attack in set(rows["attack"])] or [ANY]
    found = []
    for attack in attacks:
        row = _row(rows[rows["attack"] == attack])
        if row is None:
            why = f"{'no attack' if attack == ANY else attack} was played on it with references '{knowledge}'"
            lost = "" if len(of_release) else "; the run has no findings of this release (its tasks failed?)"
            found += [Verdict(release, knowledge, attack, budget, reason=why + lost) for budget in budgets]
        else:
            found += [_verdict(row, budget) for budget in budgets]
    return found


def _unless_broken(verdict: Verdict, broken: Mapping[str, str]) -> Verdict:
    """The verdict, or that there is none where the attack failed its controls."""
    if verdict.reason or verdict.attack not in broken:
        return verdict
    return replace(verdict, reason=f"the attack failed the run's own controls ({broken[verdict.attack]})")


def _played_as(results: Results, release: str, knowledge: str, labels: Sequence[str]) -> str:
    """The label of the game that comes to this knowledge: dense references of the dense networks are `matched`."""
    study = study_of(results)
    undefended = twins(study) if study else {}

    def references_of(label: str) -> str:
        return {MATCHED: release, NO_DEFENSE: undefended.get(release, release)}.get(label, label)

    alike = [label for label in labels if references_of(label) == references_of(knowledge)]
    return knowledge if knowledge in labels or not alike else alike[0]


def _row(rows: pd.DataFrame) -> pd.Series | None:
    """The mean over victims; where it was not written up, the one victim that there is."""
    means, single = rows[rows["victim"] == MEAN], rows[~rows["victim"].isin([MEAN, POOLED])]
    chosen = single if means.empty and len(single) == 1 else means
    return None if chosen.empty else chosen.iloc[0]


def _verdict(row: pd.Series, budget: Budget) -> Verdict:
    quantity = budget.quantity
    measured = BALANCED_ACCURACY if quantity == ADVANTAGE else quantity
    value, low, high = (float(row[f"{measured.column}{end}"]) for end in ("", "_low", "_high"))
    if quantity == ADVANTAGE:  # TPR - FPR is made of (TPR + 1 - FPR) / 2, and so are its limits
        value, low, high = (2 * number - 1 for number in (value, low, high))
    reason = ""
    if math.isnan(value):
        reason = _reasons(row, measured) or str(row["refused"]) or "no figure was computed"
    elif math.isnan(high):
        reason = _reasons(row, measured) or "it has no interval"
    victims = 0 if math.isnan(row["num_victims"]) else int(row["num_victims"])
    which = (str(row["release"]), str(row["knowledge"]), str(row["attack"]))
    return Verdict(*which, budget, value, low, high, victims, reason)


def _reasons(row: pd.Series, quantity: Quantity) -> str:
    """Why the row refuses this very figure; empty where it does not say."""
    parts = [part.partition(": ") for part in str(row["refused"]).split("; ")]
    return "; ".join(why for name, _, why in parts if name.casefold() == quantity.title.casefold())


def _reversed(verdicts: Sequence[Verdict]) -> list[str]:
    """A note on attacks that rank members below non-members: within any budget, and no good sign."""
    found = [
        f"{verdict.attack} ranks members below non-members on {verdict.release}: check how membership was joined"
        for verdict in verdicts
        if verdict.budget.quantity == AUC and verdict.high < GUESSING_AUC
    ]
    return list(dict.fromkeys(found))
