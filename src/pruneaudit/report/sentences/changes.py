"""Says what one release changes."""

from __future__ import annotations

import math

import pandas as pd

from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import compressed_by, is_pruned_only, made_by, of_all_parameters, taught_by
from pruneaudit.report.conclusions.changes import Conclusion, Shown, concluded, direction
from pruneaudit.report.quantities import AUC, TEST_ACCURACY, Quantity, sparsity_text
from pruneaudit.report.selection import (
    baseline_of,
    counterpart_of,
    difference,
    finding,
    given_baseline,
    headline_rate,
    primary_attack,
    primary_references,
    release_row,
    target_file,
    was_fine_tuned,
    why_not_alone,
)
from pruneaudit.report.sentences.leakage import reason_of, with_interval
from pruneaudit.report.sentences.networks import networks_of
from pruneaudit.report.words import attack_name, counted, first_few, listed, verb
from pruneaudit.study import DENSE

ALL_THAT_WAS_DONE = "compression and whatever training came with it"
"""What a difference from the baseline is about, where only predictions are known."""


def change_words(results: Results, release: str, base: str) -> str:
    """What a release changes, compared with its baseline, in a few short sentences.

    Args:
        results: of a run.
        release: which one.
        base: the base release.
    """
    attack = primary_attack(results)
    row, how, name = finding(results, release, attack), what_was_done(results, release), attack_name(attack)
    if row is None or math.isnan(row["auc"]):
        return f"{how}. {name or 'The attack'} has no figure: {reason_of(row)}."
    baseline = baseline_of(results, release)
    paired, found = difference(results, release, baseline, attack, AUC.column), concluded(results, release, baseline)
    figure, than = f"AUC {with_interval(AUC, row)}", baseline_words(results, release, base, baseline)
    shown = _differing(results, found)
    others = f" But {shown}." if shown else ""
    if attack in failures(results.about):
        return f"{how}. {figure} under {name}, which failed this run's own sanity checks: do not use it.{others}"
    if paired is None or math.isnan(paired["difference"]):
        return f"{how}. {figure} under {name}. No paired difference was computed.{others}"
    if found.primary is None:
        change = AUC.difference(paired["difference"])
        figure = f"{figure} under {name}, {change} compared with {than}"
        return f"{how}. {figure}. It has no interval, so no direction is shown.{others}"
    return (
        f"{how}. {_all_attacks(results, found, row)} {figure}, {_paired_figure(AUC, paired)} compared with {than}."
        + _rate_change(results, release, baseline, attack, direction(paired["low"], paired["high"]))
        + _accuracy_change(results, release, baseline)
    )


def _all_attacks(results: Results, found: Conclusion, row: pd.Series) -> str:
    """What all attacks show of the change, as a sentence; the figures of the primary one follow."""
    assert found.primary is not None
    way, name = found.primary.direction, attack_name(found.primary.attack)
    networks = "The network leaks" if row["num_victims"] == 1 else "The networks leak"
    if found.reading == "disagree":
        own = {-1: "less leakage", 0: "no difference", 1: "more leakage"}[way]
        return f"Attacks disagree: {name} shows {own}, but {_differing(results, found)}."
    if way == 0:
        return f"No difference is shown under {name}{_or_others(results, found)}."
    agreed = len(found.of_others(way))
    besides = f" and under {agreed} of {_counted_others(results, found)}" if agreed else ""
    still = f" {name} still does better than guessing." if way < 0 and row["auc_low"] > 0.5 else ""
    return f"{networks} {'less' if way < 0 else 'more'} under {name}{besides}.{still}"


def _or_others(results: Results, found: Conclusion) -> str:
    if not found.others:
        return ""
    return f" or under {'any of ' if len(found.others) > 1 else ''}{_counted_others(results, found)}"


def _counted_others(results: Results, found: Conclusion) -> str:
    """How many other attacks there are; where several kinds of references were played, how many pairs."""
    if all(found.primary is None or shown.references == found.primary.references for shown in found.others):
        return counted(len(found.others), "other attack")
    return counted(len(found.others), "other pair", "other pairs") + " of attack and references"


def _differing(results: Results, found: Conclusion) -> str:
    """The attacks that show a direction that the primary one does not, with their differences; empty without any."""
    own = 0 if found.primary is None else found.primary.direction
    parts = [
        f"{first_few([_shown(results, one) for one in showing])} {verb(len(showing), 'shows', 'show')} {word} leakage"
        for way, word in ((-1, "less"), (1, "more"))
        if way != own and (showing := found.of_others(way))
    ]
    return listed(parts)


def _shown(results: Results, shown: Shown) -> str:
    references = "" if shown.references == primary_references(results) else f", references {shown.references}"
    interval = AUC.signed_interval(shown.low, shown.high)
    return f"{attack_name(shown.attack)}{references} ({AUC.difference(shown.difference)} {interval})"


def _rate_change(results: Results, release: str, baseline: str, attack: str, of_auc: int) -> str:
    """The change of the TPR; "But" where it shows something that the AUC does not."""
    rate = headline_rate(results)
    paired = None if rate is None else difference(results, release, baseline, attack, rate.column)
    if rate is None or rate.level is None or paired is None or math.isnan(paired["difference"]):
        return ""
    contradicts = direction(paired["low"], paired["high"]) not in (0, of_auc)
    members = "But members found" if contradicts else "Members found"
    return f" {members} at {100 * rate.level:g}% false positives: {_paired_figure(rate, paired)}."


def _accuracy_change(results: Results, release: str, baseline: str) -> str:
    paired = difference(results, release, baseline, "", TEST_ACCURACY.column)
    if paired is None or math.isnan(paired["difference"]):
        return ""
    return f" Test accuracy: {_paired_figure(TEST_ACCURACY, paired)}."


def baseline_words(results: Results, release: str, base: str, baseline: str) -> str:
    """Describes a release's baseline; `base` is the base release."""
    if baseline == counterpart_of(results, release):
        return "the same release without the defence"
    words, gap = _baseline(results, release, base, baseline), why_not_alone(results, release)
    if given_baseline(results):
        return f"{words} ({ALL_THAT_WAS_DONE}: {gap})"
    if not gap:
        return words
    row = release_row(results, release)
    what = "pruning" if row is not None and row["sparsity"] > 0 else "compression"
    trained = "any further training" if target_file(results, release) else "the extra epochs"
    return f"{words} ({gap}, so {what} and {trained} cannot be told apart)"


def _baseline(results: Results, release: str, base: str, baseline: str) -> str:
    """The words for a release that is no undefended counterpart."""
    if baseline == base:
        return networks_of(results, base) if base == DENSE else given_baseline(results) or "the first release"
    row = release_row(results, release)
    if row is None or (was_fine_tuned(row) and row["origin"] != "init"):
        return "the baseline" if why_not_alone(results, release) else "the baseline, fine-tuned the same way"
    if taught_by(results, release)[0]:
        return "the same network, trained from scratch on members"
    if row["origin"] == "init":
        return "the same network, trained the same way without compression"
    return "the release that it was made from"


def _of_file(results: Results, release: str, row: pd.Series) -> str:
    """What is known of a release that is a file of the target, and what its references went through; else empty."""
    file = target_file(results, release)
    if not file:
        return ""
    recipe = made_by(results, release)
    went = f"its references went through {recipe}" if recipe else "no reference was made like it, so all are dense"
    zeros = f" ({sparsity_text(row['sparsity'])} of its weights are zero)" if row["sparsity"] > 0 else ""
    return f"Your file {file}{zeros}; {went}"


def what_was_done(results: Results, release: str) -> str:
    """What was done to a release's networks, as the beginning of a sentence."""
    row = release_row(results, release)
    if given_baseline(results):
        return "What was done to it is not stated"
    if row is None:
        return "This release"
    if of_file := _of_file(results, release, row):
        return of_file
    defended = " with a defence" if row["defense"] else ""
    if row["compress"]:
        teacher, taught_on = taught_by(results, release)
        if teacher:
            bits = f" ({row['effective_bits']:.2f} bits per weight)" if row["effective_bits"] > 0 else ""
            return f"A student of {teacher}, taught on {taught_on}{bits}{defended}"
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
    return f"Fine-tuned without compression{defended}" if was_fine_tuned(row) else "This release"


def _paired_figure(quantity: Quantity, paired: pd.Series) -> str:
    interval = quantity.signed_interval(paired["low"], paired["high"])
    return f"{quantity.difference(paired['difference'])} {interval}".rstrip()
