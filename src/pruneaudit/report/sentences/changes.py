"""What one release changes, in words."""

from __future__ import annotations

import math

import pandas as pd

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import compressed_by, is_pruned_only
from pruneaudit.report.conclusions.changes import Conclusion, Shown, concluded, direction
from pruneaudit.report.conclusions.leakage import reason_of, with_interval
from pruneaudit.report.quantities import AUC, TEST_ACCURACY, Quantity, headline_tpr, sparsity_text
from pruneaudit.report.selection import (
    baseline_of,
    counterpart_of,
    difference,
    finding,
    primary_attack,
    primary_references,
    release_row,
    was_fine_tuned,
    why_not_alone,
)
from pruneaudit.report.sentences.leakage import first_few
from pruneaudit.report.tables.cells import of_all_parameters
from pruneaudit.report.words import attack_name, counted, listed, verb
from pruneaudit.study import DENSE


def change_said(results: Results, found: Conclusion, row: pd.Series) -> str:
    """What all attacks let one say of the change; the figures of the primary one follow."""
    assert found.primary is not None
    way, name = found.primary.direction, attack_name(found.primary.attack)
    networks = "network leaks" if row["num_victims"] == 1 else "networks leak"
    own = {
        -1: f"the {networks} less under {name}",
        0: f"no difference could be shown under {name}",
        1: f"the {networks} more under {name}",
    }[way]
    if found.reading == "disagree":
        return f"attacks disagree: {own}{differing(results, found)}"
    if found.others:
        alike, others = len(found.of_others(way)), _counted_others(results, found)
        any_of = "any of " if len(found.others) > 1 else ""
        own += (
            f", as under {alike} of {others}" if way and alike else f", nor under {any_of}{others}" if not way else ""
        )
    return own + (", but still above guessing" if way < 0 and row["auc_low"] > 0.5 else "")


def _counted_others(results: Results, found: Conclusion) -> str:
    """How many other attacks there are; where several kinds of references were played, how many pairs."""
    if all(shown.references == primary_references(results) for shown in found.others):
        return counted(len(found.others), "other attack")
    return counted(len(found.others), "other pair", "other pairs") + " of attack and references"


def differing(results: Results, found: Conclusion) -> str:
    """The attacks that show what the primary one does not, with their differences; empty without any."""
    own = 0 if found.primary is None else found.primary.direction
    parts = [
        f"{first_few([_shown(results, one) for one in showing])} {verb(len(showing), 'shows', 'show')} {word} leakage"
        for way, word in ((-1, "less"), (1, "more"))
        if way != own and (showing := found.of_others(way))
    ]
    return f"; but {listed(parts)}" if parts else ""


def _shown(results: Results, shown: Shown) -> str:
    references = "" if shown.references == primary_references(results) else f", references {shown.references}"
    interval = AUC.signed_interval(shown.low, shown.high)
    return f"{attack_name(shown.attack)}{references} ({AUC.difference(shown.difference)} {interval})"


def change_words(results: Results, release: str, base: str) -> str:
    """What a release changes, compared with its baseline, in one sentence."""
    attack = primary_attack(results)
    row, how, name = finding(results, release, attack), what_was_done(results, release), attack_name(attack)
    if row is None or math.isnan(row["auc"]):
        return f"{how}: {name or 'the attack'} gave no figure: {reason_of(row)}."
    baseline = baseline_of(results, release)
    paired, found = difference(results, release, baseline, attack, AUC.column), concluded(results, release, baseline)
    figure, than = f"AUC {with_interval(AUC, row)}", baseline_words(results, release, base, baseline)
    others = differing(results, found)
    if attack in failures(results.about):
        return (
            f"{how}: {figure} under {name}, which failed this run's own sanity checks; nothing is concluded from it"
            f"{others}."
        )
    if paired is None or math.isnan(paired["difference"]):
        return f"{how}: {figure} under {name}; no paired difference was computed{others}."
    if found.primary is None:
        figure = f"{figure} under {name}, {AUC.difference(paired['difference'])}"
        return f"{how}: {figure} compared with {than}; without an interval nothing is concluded from it{others}."
    return (
        f"{how}, {change_said(results, found, row)}: {figure}, {_paired_figure(AUC, paired)} compared with {than}"
        + _rate_change(results, release, baseline, attack, direction(paired["low"], paired["high"]))
        + _accuracy_change(results, release, baseline)
        + "."
    )


def _rate_change(results: Results, release: str, baseline: str, attack: str, of_auc: int) -> str:
    """The change of the TPR; "but" where it shows something that the AUC does not."""
    rate = headline_tpr(results.findings.columns)
    paired = None if rate is None else difference(results, release, baseline, attack, rate.column)
    if rate is None or rate.level is None or paired is None or math.isnan(paired["difference"]):
        return ""
    but = "but " if direction(paired["low"], paired["high"]) not in (0, of_auc) else ""
    return f"; {but}members found at {100 * rate.level:g}% false positives: {_paired_figure(rate, paired)}"


def _accuracy_change(results: Results, release: str, baseline: str) -> str:
    paired = difference(results, release, baseline, "", TEST_ACCURACY.column)
    if paired is None or math.isnan(paired["difference"]):
        return ""
    return f"; test accuracy: {_paired_figure(TEST_ACCURACY, paired)}"


def baseline_words(results: Results, release: str, base: str, baseline: str) -> str:
    """What a release's baseline is to it; `base` is what all releases are compared with."""
    if baseline == counterpart_of(results, release):
        return "the same release without the defence"
    words, gap = _held_against(results, release, base, baseline), why_not_alone(results, release)
    if not gap:
        return words
    row = release_row(results, release)
    what = "pruning" if row is not None and row["sparsity"] > 0 else "compression"
    return f"{words} ({gap}, so {what} and the extra epochs cannot be told apart)"


def _held_against(results: Results, release: str, base: str, baseline: str) -> str:
    """The words for a release that is no undefended counterpart."""
    if baseline == base:
        return "the dense networks" if base == DENSE else "the first release"
    row = release_row(results, release)
    if row is None or (was_fine_tuned(row) and row["origin"] != "init"):
        return "the baseline" if why_not_alone(results, release) else "the baseline fine-tuned alike"
    if row["origin"] == "init":
        return "the same network trained alike without compression"
    return "the release that it was made from"


def what_was_done(results: Results, release: str) -> str:
    """What was done to a release's networks, as the beginning of a sentence."""
    row = release_row(results, release)
    if row is None:
        return "In this release"
    defended = " with a defence" if row["defense"] else ""
    if row["compress"]:
        trained = ", trained from new weights" if row["origin"] == "init" and row["release"] != DENSE else ""
        if not is_pruned_only(results, release):
            bits = f" ({row['effective_bits']:.2f} bits per weight)" if row["effective_bits"] > 0 else ""
            return f"Compressed by {compressed_by(results, release)}{bits}{trained}{defended}"
        of_all = of_all_parameters(row)
        return (
            f"Pruned to {sparsity_text(row['sparsity'])} sparsity{f' ({of_all})' if of_all else ''}{trained}{defended}"
        )
    if row["origin"] == "init" and row["release"] != DENSE:
        return f"Trained from new weights without compression{defended}"
    return f"Fine-tuned without compression{defended}" if was_fine_tuned(row) else "In this release"


def _paired_figure(quantity: Quantity, paired: pd.Series) -> str:
    interval = quantity.signed_interval(paired["low"], paired["high"])
    return f"{quantity.difference(paired['difference'])} {interval}".rstrip()
