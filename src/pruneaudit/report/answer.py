"""The answer in words: how leaky the networks are, and what each release changes about it.

Pure functions of the results; the page and the terminal show the same sentences. A sentence claims
a direction only where an interval excludes the other one, and names of releases never stand inside
a sentence, so that whoever lays it out can mark them as names.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import pandas as pd

from pruneaudit.attacks.groups import is_lower_bound
from pruneaudit.evaluation.recorded_checks import failures
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.agreement import change_said, differing
from pruneaudit.report.compressed import compressed_by, is_pruned_only, most_compressed
from pruneaudit.report.conclusions import concluded, direction
from pruneaudit.report.headline import headline, reason_of, with_interval
from pruneaudit.report.quantities import AUC, TEST_ACCURACY, Quantity, headline_tpr, sparsity_text
from pruneaudit.report.selection import (
    attack_order,
    base_release,
    baseline_of,
    counterpart_of,
    difference,
    finding,
    primary_attack,
    reference_free_of,
    release_names,
    release_row,
    was_fine_tuned,
    why_not_alone,
)
from pruneaudit.report.tables import of_all_parameters
from pruneaudit.report.words import attack_name, counted
from pruneaudit.study import DENSE


@dataclass(frozen=True)
class Change:
    """What one release changes."""

    release: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The answer of a report."""

    headline: str
    """How leaky the dense networks are."""
    changes: tuple[Change, ...]
    """One for each other release, in the order of the study."""
    caveats: tuple[str, ...]
    """What the figures do not say."""


def answer(results: Results) -> Answer:
    """The answer that these results give."""
    base = base_release(results)
    others = [release for release in release_names(results) if release != base]
    changes = tuple(Change(release, _change(results, release, base)) for release in others)
    return Answer(headline(results, base), changes, _caveats(results, base))


def shown_change(results: Results, changes: tuple[Change, ...]) -> Change | None:
    """The change of the most compressed release: the one that a short summary shows."""
    chosen = most_compressed(results, [change.release for change in changes])
    return next((change for change in changes if change.release == chosen), None)


def _change(results: Results, release: str, base: str) -> str:
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


def _caveats(results: Results, base: str) -> tuple[str, ...]:
    found = []
    if results.about.get("demonstration"):
        found.append("A demonstration on a small subset: these numbers describe these networks, not yours.")
    row = finding(results, base, primary_attack(results))
    networks = 0 if row is None or math.isnan(row["num_victims"]) else int(row["num_victims"])
    if networks == 1:
        found.append("One network was attacked: the intervals cover the choice of samples, not another training run.")
    elif 1 < networks < FEW_MODELS:
        found.append(f"Only {networks} networks were attacked: the intervals are conditional on this bank.")
    alone = reference_free_of(results)
    found += alone.sentences if alone else ()
    failed = len(results.about.get("failures") or [])
    if failed:
        found.append(f"{counted(failed, 'task')} failed: what depends on them is missing here.")
    found += [
        f"{name} is a lower bound of what several releases give away together: one of them alone may give away more."
        for name in filter(is_lower_bound, attack_order(results))
    ]
    found.append("The figures hold for the attacks that were played; a stronger attack may find more.")
    return tuple(found)


def _paired_figure(quantity: Quantity, paired: pd.Series) -> str:
    interval = quantity.signed_interval(paired["low"], paired["high"])
    return f"{quantity.difference(paired['difference'])} {interval}".rstrip()
