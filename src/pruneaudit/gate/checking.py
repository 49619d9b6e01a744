"""The gate: checks whether the leakage of a run is within budgets that were set beforehand.

A pure function of `Results`. A budget applies to every attack of the run, under every kind of references, because an
attacker uses the strongest one. The gate compares the upper end of the 95% interval with the budget, so a small study
does not pass just because its intervals are wide. An upper end equal to the budget is within. An upper end above the
budget does not mean that the run leaks more than the budget, only that the run was not shown to be within it. The
figures are means over victims.

Figures of an attack that failed the run's own sanity checks (`pruneaudit.evaluation.recorded_checks`) cannot be
trusted. A missing or suppressed figure overrides all others: the gate then reports that the question was not answered
(exit code 2), even if another figure is over its budget. Accepting a known leak (exit code 1) must not silently accept
an unmeasured one.

If the user names an attack or references, only these decide. Figures of others above the budget are still listed.
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
"""As an attack, or as references: all that the run has."""


def check(
    results: Results,
    budgets: Sequence[Budget],
    attack: str | None = None,
    releases: Sequence[str] = (),
    references: str = ANY,
) -> Gate:
    """Compares the figures of a run with budgets.

    Args:
        results: the results of the run.
        budgets: the limits of the figures; see `budgets_of`.
        attack: the attack that decides; default, and `any`: every attack of the run.
        releases: the releases to check; default: dense, and every compressed or defended one. A release of the study
            that the run failed to make counts as missing, and is not skipped.
        references: the kind of references that decides; `any`: every kind.

    Raises:
        UserError: attack, release or references are unknown, there is no budget, or the findings lack the primary
            attack and no other was named.
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
    """Refuses names that the run does not have, and findings without the primary attack."""
    attacks = attack_order(results)
    if not attacks:
        raise UserError("this run has no findings of any attack; expected the folder of a finished run")
    if attack is None and (declared := chosen_later(results)):
        raise UserError(
            f"these findings are of attacks that were chosen after the run, but the study declared {declared}; name "
            f"an attack with --attack, or run the declared one: pruneaudit attack RUN --attacks {declared}"
        )
    if attack is not None:
        _known("--attack", attack, (*attacks, ANY))
    for release in releases:
        _known("--release", release, known)
    _known("--references", references, (*_kinds_of_references(results), ANY))


def _known(option: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        listed = ", ".join(dict.fromkeys(choices)) or "none (the run has no findings)"
        raise UserError(f"{option}: got '{given}'{nearest(given, choices)}, expected one of: {listed}")


def _asked_releases(results: Results) -> tuple[str, ...]:
    """Returns the names of the study's releases, also if another version of the program wrote the study."""
    study = study_of(results)
    if study is not None:
        return tuple(release.name for release in study.releases)
    recorded = results.about.get("study")
    listed = recorded.get("releases") if isinstance(recorded, Mapping) else None
    return tuple(str(item["name"]) for item in listed or () if isinstance(item, Mapping) and "name" in item)


def _kinds_of_references(results: Results) -> tuple[str, ...]:
    """Returns the kinds of references of the run, and those that the study asks for."""
    study = study_of(results)
    return tuple(dict.fromkeys([*results.findings["references"], *(study.audit.references if study else ())]))


def _neither_pruned_nor_defended(results: Results, known: Sequence[str]) -> tuple[str, ...]:
    """Returns the releases that are only for comparison, without the base; empty if the study is unknown.

    Includes baselines that were added automatically, even defended ones.
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
    """Returns the verdicts on one release, before the sanity checks of its attacks are considered.

    A named attack must have findings for the release, but not for every kind of references: attacks on pairs of
    releases have none for dense references.
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
            why = f"no findings of {'any attack' if name == ANY else name} with references '{kind}'"
            lost = "" if len(found) else "; the run has no findings of this release (its tasks failed?)"
            verdicts += [Verdict(release, kind, name, budget, reason=why + lost) for budget in budgets]
    return verdicts


def _kinds(results: Results, release: str, references: str, labels: Sequence[str]) -> dict[str, str]:
    """Returns the kinds of references to check for a release: name by label in the findings.

    A release without findings counts as missing once.
    """
    kinds = (_kinds_of_references(results) if labels else (MATCHED,)) if references == ANY else (references,)
    found: dict[str, str] = {}
    for kind in kinds:
        found.setdefault(_played_as(results, release, kind, labels), kind)
    return found


def _played_as(results: Results, release: str, references: str, labels: Sequence[str]) -> str:
    """Returns the label of these references in the findings: dense references of dense networks are `matched`."""
    study = study_of(results)
    undefended = counterparts(study) if study else {}

    def references_of(label: str) -> str:
        return {MATCHED: release, UNDEFENDED: undefended.get(release, release)}.get(label, label)

    alike = [label for label in labels if references_of(label) == references_of(references)]
    return references if references in labels or not alike else alike[0]


def _row(rows: pd.DataFrame) -> pd.Series | None:
    """Returns the mean over victims; without one, the only victim."""
    means, single = rows[rows["victim"] == MEAN], rows[~rows["victim"].isin([MEAN, POOLED])]
    chosen = single if means.empty and len(single) == 1 else means
    return None if chosen.empty else chosen.iloc[0]


def _sanity_checked(verdict: Verdict, broken: Mapping[str, str], unplayed: Mapping[str, str]) -> Verdict:
    """Marks a verdict if its attack has no sanity checks; suppresses it if the attack failed them."""
    if not verdict.reason and verdict.attack in broken:
        verdict = replace(verdict, reason=f"the attack failed the run's own sanity checks ({broken[verdict.attack]})")
    return replace(verdict, is_unchecked=verdict.attack in unplayed)


def _reversed(verdicts: Sequence[Verdict]) -> list[str]:
    """Returns notes on attacks that rank members below non-members: within any budget, but suspicious."""
    found = [
        f"{verdict.attack} ranks members below non-members on {verdict.release}: check how membership was joined"
        for verdict in verdicts
        if verdict.budget.quantity == AUC and verdict.high < GUESSING_AUC
    ]
    return list(dict.fromkeys(found))


def _left_out(results: Results) -> list[str]:
    """Returns a note on declared attacks without findings."""
    absent = [name for name in declared_attacks(results) if name not in set(results.findings["attack"])]
    return [f"declared in the study, but without findings: {', '.join(absent)}"] if absent else []


def _broken_beside(attacks: Sequence[str], broken: Mapping[str, str]) -> list[str]:
    """Returns a note on each non-deciding attack that failed its sanity checks; its figures are not listed."""
    return [
        f"{name} does not decide, and failed the run's own sanity checks ({broken[name]})"
        for name in attacks
        if name in broken
    ]
