"""The gate: is what a run leaks within the budgets that somebody set beforehand?

A pure function of `Results`. A budget holds for every attack that was played, under every kind of references: an
attacker plays the strongest one. What counts is the upper end of the 95% interval: a run is within a budget where the
data leave no more than that, and a small study with wide intervals does not pass for being small. An upper end that
equals its budget is within. One above it does not say that the run leaks more than the budget, only that the run was
not shown to be within it. The figures are means over victims.

An attack that failed the run's own sanity checks (`pruneaudit.evaluation.recorded_checks`) has no figure that can be
trusted. A figure that is missing or suppressed decides over all others: the gate then says that it was not answered
(exit code 2), even where another figure is over its budget. Whoever accepts a leak that is known (exit code 1) must not
accept with it what nobody measured.

Whoever names an attack or references lets these alone decide. What others find above the budget is listed all the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest
from pruneaudit.evaluation.columns import MEAN, POOLED
from pruneaudit.evaluation.recorded_checks import failures, unchecked
from pruneaudit.evaluation.results import Results
from pruneaudit.gate.budgets import NO_BUDGET, Budget
from pruneaudit.gate.verdicts import Gate, Verdict, verdict_of
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import (
    attack_order,
    base_release,
    chosen_later,
    declared_attacks,
    release_names,
    release_row,
    study_of,
)
from pruneaudit.report.sentences.certainty import caveats
from pruneaudit.study.audit import MATCHED, UNDEFENDED
from pruneaudit.study.lineage import counterparts

GUESSING_AUC = 0.5
ANY = "any"
"""In the place of an attack or of references: every one of the run."""


def check(
    results: Results,
    budgets: Sequence[Budget],
    attack: str | None = None,
    releases: Sequence[str] = (),
    references: str = ANY,
) -> Gate:
    """Compares the figures of a run with budgets.

    Args:
        results: the run's.
        budgets: how high which figure may be; see `budgets_of`.
        attack: the attack that decides; default, and `any`: every attack that was played.
        releases: which to check; default: the dense networks and all that is compressed or defended. One that the study
            asks for and the run could not make is refused, not passed over.
        references: what the references of the attacks that decide went through; `any`: every kind.

    Raises:
        UserError: attack, release or references are unknown, there is no budget, or the primary attack is not among
            these findings and no other was named.
    """
    if not budgets:
        raise UserError(NO_BUDGET)
    references = MATCHED if references == "adaptive" else references
    known = tuple(dict.fromkeys([*release_names(results), *_asked_releases(results)]))
    _check_choice(results, attack, releases, references, known)
    spared = () if releases else _neither_pruned_nor_defended(results, known)
    checked = tuple(dict.fromkeys(releases)) or tuple(name for name in known if name not in spared)
    attack = None if attack == ANY else attack
    broken, unplayed = failures(results.about), unchecked(results.about, attack_order(results))
    deciding: list[Verdict] = []
    others: list[Verdict] = []
    for release in checked:
        every = _of_release(results, release, ANY, None, budgets)
        chosen = (
            every
            if attack is None and references == ANY
            else _of_release(results, release, references, attack, budgets)
        )
        decided = {(verdict.references, verdict.attack) for verdict in chosen}
        deciding += [_sanity_checked(verdict, broken, unplayed) for verdict in chosen]
        rest = [verdict for verdict in every if (verdict.references, verdict.attack) not in decided]
        others += [_sanity_checked(verdict, broken, unplayed) for verdict in rest]
    named = dict.fromkeys(verdict.attack for verdict in deciding)
    beside = [name for name in dict.fromkeys(verdict.attack for verdict in others) if name not in named]
    return Gate(
        verdicts=tuple(deciding),
        not_checked=spared,
        notes=(*_reversed(deciding), *_broken_beside(beside, broken), *_left_out(results), *caveats(results)),
        others_over=tuple(verdict for verdict in others if verdict.outcome == "over"),
        unchecked={name: unplayed[name] for name in named if name in unplayed},
    )


def _check_choice(
    results: Results, attack: str | None, releases: Sequence[str], references: str, known: Sequence[str]
) -> None:
    """Refuses names that the run does not have, and findings that lack the primary attack."""
    attacks = attack_order(results)
    if not attacks:
        raise UserError("no attack was played in this run, so that nothing can be checked; expected findings")
    if attack is None and (declared := chosen_later(results)):
        raise UserError(
            f"these findings are of attacks that were chosen after the run, and {declared}, which the study declared,"
            f" is not among them; name one with --attack, or play it: pruneaudit attack RUN --attacks {declared}"
        )
    if attack is not None:
        _known("--attack", attack, (*attacks, ANY))
    for release in releases:
        _known("--release", release, known)
    _known("--references", references, (*_kinds_of_references(results), ANY))


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


def _kinds_of_references(results: Results) -> tuple[str, ...]:
    """The kinds of references that the run has, and those that the study asks for."""
    study = study_of(results)
    return tuple(dict.fromkeys([*results.findings["references"], *(study.audit.references if study else ())]))


def _neither_pruned_nor_defended(results: Results, known: Sequence[str]) -> tuple[str, ...]:
    """The releases that are there for comparison, other than the base; without a study nothing says which are.

    Among them baselines that nobody asked for, even if they are defended.
    """
    study = study_of(results)
    if study is None:
        return ()
    asked = {item.name: item for item in study.releases}

    def is_untouched(name: str) -> bool:
        row = release_row(results, name)
        if name in (results.about.get("added_baselines") or ()):
            return True
        if row is not None and (row["compress"] or row["defense"]):
            return False
        return name != base_release(results) and name in asked and not (asked[name].compress or asked[name].defense)

    return tuple(name for name in known if is_untouched(name))


def _of_release(
    results: Results, release: str, references: str, attack: str | None, budgets: Sequence[Budget]
) -> list[Verdict]:
    """The verdicts on one release, its figures not yet checked by the sanity checks of their attacks.

    An attack that is named must have been played on the release, if not under every kind of references: one on pairs
    of releases is not where the references are dense.
    """
    found = results.findings[results.findings["release"] == release]
    named = found if attack is None else found[found["attack"] == attack]
    verdicts = []
    for label, kind in _kinds(results, release, references, tuple(dict.fromkeys(found["references"]))).items():
        rows = named[named["references"] == label]
        if rows.empty and not named.empty and attack is not None and references == ANY:
            continue
        for name in dict.fromkeys(rows["attack"]) if len(rows) else [attack or ANY]:
            row = _row(rows[rows["attack"] == name])
            if row is not None:
                verdicts += [verdict_of(row, budget) for budget in budgets]
                continue
            why = f"{'no attack' if name == ANY else name} was played on it with references '{kind}'"
            lost = "" if len(found) else "; the run has no findings of this release (its tasks failed?)"
            verdicts += [Verdict(release, kind, name, budget, reason=why + lost) for budget in budgets]
    return verdicts


def _kinds(results: Results, release: str, references: str, labels: Sequence[str]) -> dict[str, str]:
    """The kinds of references that the release is to be checked under: by the label they were played as, the name.

    A release without any finding is missed once.
    """
    kinds = (_kinds_of_references(results) if labels else (MATCHED,)) if references == ANY else (references,)
    found: dict[str, str] = {}
    for kind in kinds:
        found.setdefault(_played_as(results, release, kind, labels), kind)
    return found


def _played_as(results: Results, release: str, references: str, labels: Sequence[str]) -> str:
    """The label of the setting that comes to these references: dense references of dense networks are `matched`."""
    study = study_of(results)
    undefended = counterparts(study) if study else {}

    def references_of(label: str) -> str:
        return {MATCHED: release, UNDEFENDED: undefended.get(release, release)}.get(label, label)

    alike = [label for label in labels if references_of(label) == references_of(references)]
    return references if references in labels or not alike else alike[0]


def _row(rows: pd.DataFrame) -> pd.Series | None:
    """The mean over victims; where it was not written up, the one victim that there is."""
    means, single = rows[rows["victim"] == MEAN], rows[~rows["victim"].isin([MEAN, POOLED])]
    chosen = single if means.empty and len(single) == 1 else means
    return None if chosen.empty else chosen.iloc[0]


def _sanity_checked(verdict: Verdict, broken: Mapping[str, str], unplayed: Mapping[str, str]) -> Verdict:
    """The verdict, marked where nobody checked the attack; none where the attack failed its sanity checks."""
    if not verdict.reason and verdict.attack in broken:
        verdict = replace(verdict, reason=f"the attack failed the run's own sanity checks ({broken[verdict.attack]})")
    return replace(verdict, is_unchecked=verdict.attack in unplayed)


def _reversed(verdicts: Sequence[Verdict]) -> list[str]:
    """A note on attacks that rank members below non-members: within any budget, and no good sign."""
    found = [
        f"{verdict.attack} ranks members below non-members on {verdict.release}: check how membership was joined"
        for verdict in verdicts
        if verdict.budget.quantity == AUC and verdict.high < GUESSING_AUC
    ]
    return list(dict.fromkeys(found))


def _left_out(results: Results) -> list[str]:
    """A note on attacks that the study declares and that were not played."""
    absent = [name for name in declared_attacks(results) if name not in set(results.findings["attack"])]
    return [f"declared in the study, but not played: {', '.join(absent)}"] if absent else []


def _broken_beside(attacks: Sequence[str], broken: Mapping[str, str]) -> list[str]:
    """A note on each attack that does not decide and failed its sanity checks: its figures are not among the others."""
    return [
        f"{name} does not decide, and failed the run's own sanity checks ({broken[name]})"
        for name in attacks
        if name in broken
    ]
