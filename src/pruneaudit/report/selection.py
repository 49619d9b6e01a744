"""Selects the rows that a report shows. Every choice here is made without looking at a result."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import pandas as pd
from pydantic import ValidationError

from pruneaudit.attacks.groups import expand
from pruneaudit.attacks.primary import Primary, attack_by_rule
from pruneaudit.attacks.reference_free import ReferenceFree, reference_free
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import primary_kind, shown_kinds
from pruneaudit.evaluation.candidates import ROUNDING
from pruneaudit.evaluation.columns import MEAN, POOLED
from pruneaudit.evaluation.given import BASELINE
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.rates import MIN_FALSE_POSITIVES
from pruneaudit.report.quantities import Quantity, headline_tpr, tpr_quantities
from pruneaudit.study import DENSE, Plugin, Study
from pruneaudit.study.audit import MATCHED
from pruneaudit.study.baselines import Baseline, baselines
from pruneaudit.study.lineage import counterparts

NEAR = 0.02
"""Test accuracies that differ by less are similar. Further apart, lost accuracy alone may explain lower leakage."""


NOT_ALIKE = {False: "it was trained differently", True: "no baseline was fine-tuned the same way"}
"""Why a difference is not the effect of compression alone; True: for a difference from the dense networks."""
NOT_STATED = "predictions do not say what else was done to a release"
"""The same for releases that are known by their predictions only."""

T = TypeVar("T")
P = ParamSpec("P")


def once(function: Callable[Concatenate[Results, P], T]) -> Callable[Concatenate[Results, P], T]:
    """Computes an answer once for the same results and further arguments, and keeps it as long as the results live.

    Sentences ask the same questions many times, such as the baseline of a release.
    """
    kept: WeakKeyDictionary[Results, dict[tuple[Any, ...], T]] = WeakKeyDictionary()

    @wraps(function)
    def asked(results: Results, *args: P.args, **kwargs: P.kwargs) -> T:
        answers = kept.setdefault(results, {})
        key = (*args, *kwargs.items())
        if key not in answers:
            answers[key] = function(results, *args, **kwargs)
        return answers[key]

    return asked


@once
def declared_attacks(results: Results) -> tuple[str, ...]:
    """The labels of the attacks that the study lists, with groups expanded, even without a figure.

    Without a study (an audit of given predictions), the labels in the findings, in their order.
    """
    study = results.about.get("study") or {}
    listed = study.get("audit", {}).get("attacks", [])
    try:
        labels = [plugin.label for plugin in expand(Plugin.model_validate(attack) for attack in listed)]
    except (ValidationError, UserError):  # another version of the program, or a plug-in that is not here
        labels = []
    return tuple(dict.fromkeys(labels or results.findings["attack"]))


@once
def attack_order(results: Results) -> tuple[str, ...]:
    """The attacks that have findings: as the study declares them, then any others as they appear."""
    found = list(dict.fromkeys(results.findings["attack"]))
    return tuple(dict.fromkeys([label for label in declared_attacks(results) if label in found] + found))


@once
def primary_attack(results: Results) -> str:
    """The attack whose figures the answer gives: the one that the run recorded, else the one that the rule chooses."""
    recorded, listed = Primary.recorded(results.about), declared_attacks(results)
    if recorded is not None and recorded.attack in (*listed, *results.findings["attack"]):
        return recorded.attack
    return attack_by_rule(listed, num_references(results) or 0)


@once
def num_references(results: Results) -> int | None:
    """References of the victim with the fewest: as recorded, else as the study says; None if neither does."""
    recorded, study = Primary.recorded(results.about), study_of(results)
    if recorded is not None:
        return recorded.num_references
    return None if study is None else study.membership.group_size - 1


def reference_free_of(results: Results) -> ReferenceFree | None:
    """The warning if no attack used references; None if one did."""
    means = results.findings[results.findings["victim"] == MEAN]
    victims = means["num_victims"].max()
    return reference_free(set(means["attack"]), 0 if math.isnan(victims) else int(victims), results.about)


def references_named(results: Results, references: str) -> str:
    """A kind of references as tables call it: `none` where the attacker had none."""
    recorded = Primary.recorded(results.about)
    return "none" if recorded is not None and recorded.num_references == 0 else references


def references_shown(results: Results) -> str:
    """The primary references, as captions call them."""
    return references_named(results, primary_references(results))


def chosen_later(results: Results) -> str:
    """The attack that the rule chooses from the study's list, if these later findings lack it; else empty."""
    declared = str(results.about.get("declared") or "")
    return declared if declared and declared not in declared_attacks(results) else ""


@once
def primary_references(results: Results) -> str:
    """The references that summaries show: matched if they were used, else the first kind."""
    return primary_kind(results.findings["references"]) or MATCHED


@once
def _shown_kinds(results: Results) -> dict[str, str]:
    table = results.findings
    return shown_kinds(zip(table["release"].astype(str), table["references"].astype(str), strict=True))


def shown_references(results: Results, release: str) -> str:
    """The references that summaries show of a release: the primary ones, or its own where it was never attacked so.

    No reference went through a release of which only the target's file exists: its references are dense.
    """
    return _shown_kinds(results).get(release, primary_references(results))


@once
def finding(results: Results, release: str, attack: str, victim: str = MEAN) -> pd.Series | None:
    """The row of an attack on a release under the references that summaries show.

    For the dense release the references are dense whatever the references are called, so a row under
    other references is taken where the primary one was not computed again.
    """
    table = results.findings
    rows = table[(table["release"] == release) & (table["attack"] == attack) & (table["victim"] == victim)]
    primary = rows[rows["references"] == shown_references(results, release)]
    chosen = rows if primary.empty and release == DENSE else primary
    return None if chosen.empty else chosen.iloc[0]


def findings_elsewhere(results: Results, release: str, attack: str) -> list[pd.Series]:
    """The rows of an attack on a release under all other references than those shown, mean over victims."""
    table = results.findings
    rows = table[(table["release"] == release) & (table["attack"] == attack) & (table["victim"] == MEAN)]
    return [row for _, row in rows[rows["references"] != shown_references(results, release)].iterrows()]


@once
def headline_rate(results: Results) -> Quantity | None:
    """The TPR that sentences and the first screen show: at 1% FPR where the study has it, else at its lowest level.

    Where too few non-members allow no figure there, the next higher level at which the primary attack has one on the
    base release. How many non-members there are decides, and no result.
    """
    first = headline_tpr(results.findings.columns)
    row = finding(results, base_release(results), primary_attack(results))
    if first is None or row is None:
        return first
    rates = sorted(tpr_quantities(results.findings.columns), key=lambda rate: rate.level or 0.0)
    higher = [rate for rate in rates if (rate.level or 0.0) >= (first.level or 0.0)]
    return next((rate for rate in higher if not math.isnan(row[rate.column])), first)


@once
def difference(results: Results, release: str, baseline: str, attack: str, column: str) -> pd.Series | None:
    """The paired difference release minus baseline in one metric, under the references that summaries show.

    For "test_accuracy" the attack is "" and the references do not matter.
    """
    table = results.comparisons
    rows = table[
        (table["release"] == release)
        & (table["baseline"] == baseline)
        & (table["attack"] == attack)
        & (table["metric"] == column)
    ]
    if attack:
        rows = rows[rows["references"] == shown_references(results, release)]
    return None if rows.empty else rows.iloc[0]


@once
def release_names(results: Results) -> tuple[str, ...]:
    """All releases, in the order of the releases table, then any that only the findings name."""
    return tuple(dict.fromkeys([*results.releases["release"], *results.findings["release"]]))


def target_of(results: Results) -> Mapping[str, Any]:
    """What the run recorded of its target, the user's own model; empty without a target."""
    found: Mapping[str, Any] = results.about.get("target") or {}
    return found


@once
def is_one_network(results: Results) -> bool:
    """Whether one network was attacked in each release, so that no figure is a mean over networks."""
    counts = results.findings.loc[results.findings["victim"] == MEAN, "num_victims"]
    return bool(counts.max() == 1)


def target_file(results: Results, release: str, with_dense: bool = False) -> str:
    """The name of the user's own file of a release; empty if the run made its network.

    Args:
        results: of a run.
        release: which one.
        with_dense: also for the dense release, which is the target itself.
    """
    if release == DENSE and not with_dense:
        return ""
    return str((target_of(results).get("files") or {}).get(release, {}).get("name") or "")


@once
def given_baseline(results: Results) -> str:
    """The baseline that a user named for predictions of several releases; empty in all other results."""
    return str(results.about.get(BASELINE) or "")


@once
def base_release(results: Results) -> str:
    """What releases are compared with: the baseline that a user named, the dense networks, or the first release."""
    releases = release_names(results)
    return given_baseline(results) or (DENSE if DENSE in releases or not releases else releases[0])


@once
def baseline_of(results: Results, release: str) -> str:
    """What sentences compare the release with.

    A defended release is compared with its undefended counterpart, a compressed one with its baseline in
    `study.baselines`, and any other with the dense networks. Without a study, a release that was compressed and
    fine-tuned is compared with the first other release in its comparisons.
    """
    base, row = base_release(results), release_row(results, release)
    compared = list(results.comparisons.loc[results.comparisons["release"] == release, "baseline"])
    for known in (counterpart_of(results, release), own_baseline(results, release).name):
        if known in compared:
            return known
    if row is not None and not (row["compress"] and was_fine_tuned(row) and row["origin"] != "init"):
        return base
    return next((str(name) for name in compared if name != base), base)


@once
def own_baseline(results: Results, release: str) -> Baseline:
    """The baseline of a compressed release, as the study says; without a name where no study says it."""
    return _own_baselines(results).get(release, Baseline(""))


@once
def _own_baselines(results: Results) -> dict[str, Baseline]:
    study = study_of(results)
    try:
        return baselines(study) if study else {}
    except UserError:  # a plug-in that is not here
        return {}


@once
def counterpart_of(results: Results, release: str) -> str:
    """The undefended counterpart of a defended release; empty for others, and without a study."""
    study = study_of(results)
    return counterparts(study).get(release, "") if study else ""


@once
def study_of(results: Results) -> Study | None:
    """The study that the results come from; None if none was recorded, or in an unknown form."""
    try:
        return Study.model_validate(results.about.get("study"))
    except ValidationError:
        return None


def was_fine_tuned(row: pd.Series) -> bool:
    """Whether a row of the releases table is of a release with fine-tuning."""
    return not math.isnan(row["test_accuracy_after_finetuning"])


def why_not_alone(results: Results, release: str) -> str:
    """Why the difference from its baseline is not the effect of compression alone; empty if it is.

    Without a study, the release that it is compared with counts as its baseline.
    """
    if given_baseline(results):
        return NOT_STATED
    known, against, row = own_baseline(results, release), baseline_of(results, release), release_row(results, release)
    if known.gap:
        return known.gap
    is_base = against == base_release(results)
    if known.name:
        return "" if known.name == against else NOT_ALIKE[is_base]
    was_changed = row is not None and row["compress"] and was_fine_tuned(row) and row["origin"] != "init"
    return NOT_ALIKE[is_base] if is_base and was_changed else ""


@once
def release_row(results: Results, release: str) -> pd.Series | None:
    """The release's row of the releases table."""
    rows = results.releases[results.releases["release"] == release]
    return None if rows.empty else rows.iloc[0]


def holds_zero(row: pd.Series | Mapping[Any, Any]) -> bool:
    """Whether the interval of a difference contains 0; a missing interval excludes nothing."""
    return not (row["low"] > 0 or row["high"] < 0)


def resolution(results: Results) -> float:
    """The lowest false-positive rate with `MIN_FALSE_POSITIVES` non-members at or below it, in every victim.

    1 or more (or NaN without counts) means that no rate can be measured.
    """
    table = results.findings
    fewest = table.loc[table["victim"] != POOLED, "num_nonmembers"].min()
    return MIN_FALSE_POSITIVES / fewest if fewest > 0 else math.nan


@once
def undefended_counterparts(results: Results) -> dict[str, tuple[str, ...]]:
    """The undefended counterparts, each with the defended releases that it belongs to; by name.

    A study with "undefended" references trains the counterparts even if it does not list them.
    """
    study = study_of(results)
    found: dict[str, list[str]] = {}
    for defended, plain in counterparts(study).items() if study else ():
        if plain != base_release(results):
            found.setdefault(plain, []).append(defended)
    shown = set(release_names(results))
    return {plain: tuple(others) for plain, others in found.items() if plain in shown}


@once
def far_from_baselines(results: Results) -> tuple[str, ...]:
    """The releases compared at equal accuracy without an undefended network within `NEAR` above their accuracy."""
    rows = results.frontier.drop_duplicates("release")
    baselines = rows.loc[rows["is_baseline"] == 1, "test_accuracy"]
    others = rows[(rows["is_baseline"] != 1) & rows["difference"].notna()]
    far = [not (baselines - own).between(-ROUNDING, NEAR).any() for own in others["test_accuracy"]]
    return tuple(others.loc[far, "release"].astype(str))
