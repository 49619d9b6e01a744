"""Plays every attack in every attack setting, and puts measurements and comparisons into tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pandas as pd

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import Scores
from pruneaudit.attacks.primary import MANY_FLOORED, Primary
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.attack_setting import AttackSetting, setting_of, shown_kinds
from pruneaudit.evaluation.canaries import DEFAULT_BOUNDS, Bounds, CanaryScores, canary_findings
from pruneaudit.evaluation.columns import LATER_RELEASE_COLUMNS, RELEASE_COLUMNS, TABLES
from pruneaudit.evaluation.comparison_plan import (
    ComparisonPlan,
    fewest_references,
    rivals_first,
    rivals_of,
    why_left_out,
)
from pruneaudit.evaluation.comparisons import compare_accuracy, compare_attacks, compare_releases
from pruneaudit.evaluation.detection_changes import detection_changes
from pruneaudit.evaluation.doubts import record_doubts
from pruneaudit.evaluation.findings import Row, Writer, pair_weights
from pruneaudit.evaluation.frontier import frontier_rows
from pruneaudit.evaluation.learned import record_not_learned
from pruneaudit.evaluation.measure import Accuracies, accuracies, measure, sample_weights
from pruneaudit.evaluation.outcome import Audit, SettingScores
from pruneaudit.evaluation.outputs import Key, Ranking, output_rows
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics import two_way
from pruneaudit.study.audit import DEFAULT_LEVELS
from pruneaudit.study.outputs import Outputs

SettingKey = tuple[str, str]
NO_COMPARISONS = ComparisonPlan()
Recall = Callable[[str, AttackSetting], Scores | None]
"""Returns earlier scores of an attack, by its label, in an attack setting; None if there are none, so that it is
played."""
Begin = Callable[[str, int, int], None]
"""Called before an attack is played, with its label, its number from 1, and the number of attacks."""


@dataclass(frozen=True)
class Measuring:
    """How findings are measured."""

    seed: int
    """The study's."""
    fpr_levels: Sequence[float] = DEFAULT_LEVELS
    """False-positive rates at which the true-positive rate is reported."""
    bounds: Bounds = DEFAULT_BOUNDS
    """Settings of lower bounds on epsilon, if there are canaries."""
    outputs: Sequence[Outputs] = ()
    """The reduced outputs of the table `outputs`, in addition to all stored outputs."""


@dataclass(frozen=True)
class Known:
    """Facts about the releases that do not come from attacks."""

    comparison_plan: ComparisonPlan = NO_COMPARISONS
    """Which of them are compared."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Other facts about each (sparsity, parameters, ...), by release."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How the results were made."""


NOTHING_KNOWN = Known()


def with_ratios(facts: Mapping[str, Mapping[str, Any]], dense: str) -> dict[str, dict[str, Any]]:
    """Facts with the compression ratio of each release: the bytes of the dense one in its own.

    Args:
        facts: of releases, with `compressed_bytes` where they are known.
        dense: the name of the dense release.
    """
    unknown = float("nan")
    whole = facts.get(dense, {}).get("compressed_bytes", unknown)
    return {
        name: {**each, "compression_ratio": whole / each.get("compressed_bytes", unknown)}
        for name, each in facts.items()
    }


def evaluate(
    settings: Sequence[AttackSetting],
    attacks: Mapping[str, Attack],
    measuring: Measuring,
    known: Known = NOTHING_KNOWN,
    skip: bool = False,
    recall: Recall = lambda label, setting: None,
    begin: Begin = lambda label, number, count: None,
) -> Audit:
    """Plays every attack in every attack setting.

    Args:
        settings: the attacked releases and their references.
        attacks: the attacks by label.
        measuring: how findings are measured.
        known: facts about the releases.
        skip: leave out attacks that lack an input, with a note in `about["warnings"]`, instead of refusing.
        recall: returns earlier scores of attacks that train.
        begin: called before every attack.

    Raises:
        UserError: an attack lacks an input.
    """
    seed, levels, comparison_plan, facts = measuring.seed, measuring.fpr_levels, known.comparison_plan, known.facts
    found = {setting.release: accuracies(setting.attack_input.attacked) for setting in settings}
    sparsity = {name: facts.get(name, {}).get("sparsity", float("nan")) for name in found}
    sizes = {name: facts.get(name, {}).get("compressed_bytes", float("nan")) for name in found}
    pairs = comparison_plan.pairs(found)
    kinds = shown_kinds((setting.release, setting.references) for setting in settings)
    scores = tuple(SettingScores(setting) for setting in settings)
    skipped = {
        label: lack for label, attack in attacks.items() if (lack := why_left_out(label, attack, settings, skip))
    }
    rows: dict[str, defaultdict[str, list[Row]]] = {}
    written: dict[str, dict[SettingKey, Writer]] = {}
    playable = [label for label in attacks if label not in skipped]
    many_floored = any(setting.attack_input.share_floored > MANY_FLOORED for setting in settings)
    primary = Primary.of(playable, fewest_references(settings), many_floored)
    rivals = rivals_of({label: attacks[label] for label in playable}, primary.attack)
    held_against = {other for others in rivals.values() for other in others}
    samples: dict[str, pd.DataFrame] = {}
    rankings: dict[Key, Ranking] = {}
    weights, pairs_weighed = sample_weights(seed), pair_weights(seed)

    def played(label: str, setting: AttackSetting) -> Writer:
        """Measures an attack in an attack setting, and adds its rows."""
        writer = Writer(
            setting,
            label,
            measure(attacks[label], label, setting, levels, seed, recall(label, setting), weights),
            found[setting.release],
            sparsity[setting.release],
            levels,
            seed,
            pairs_weighed,
        )
        key = setting.release, setting.references
        # The ranking of every victim first: it takes much memory, and only these rows need it.
        rows[label]["curves"] += writer.curve()
        rows[label]["classes"] += writer.by_class()
        writer = replace(writer, measured=writer.measured.set_aside())
        _add_rows(rows[label], writer, [written[other][key] for other in rivals[label] if key in written[other]])
        if measuring.outputs:
            rankings[(label, *key)] = Ranking.of(writer.measured, levels)
        writer.measured.let_go()
        return writer

    def added_releases(label: str) -> None:
        """Adds the rows that compare releases under the primary attack."""
        alike = {release: writer for (release, what), writer in written[label].items() if what == kinds[release]}
        rows[label]["frontier"] += frontier_rows(alike, comparison_plan, sizes, seed)
        rows[label]["detection_changes"], samples["sample_detection"] = detection_changes(
            attacks[label], alike, pairs, comparison_plan.repeats, seed
        )

    # One thread: the same sums in the same order, whatever the number of cores.
    with one_blas_thread():
        # Attacks with which others are compared come first; only their measurements are kept.
        for turn, label in enumerate(rivals_first(rivals), start=1):
            begin(label, turn, len(rivals))
            written[label], rows[label] = {}, defaultdict(list)
            for setting, kept in zip(settings, scores, strict=True):
                if attacks[label].lacks(setting.attack_input):
                    continue  # an attack on pairs of releases, or on structure, in an attack setting without
                key = setting.release, setting.references
                written[label][key] = played(label, setting)
                kept.by_attack[label] = written[label][key].measured.scores
            rows[label]["comparisons"] += _compared(written[label], settings, pairs)
            rows[label]["canaries"] += _on_canaries(written[label], attacks[label], measuring)
            if label == primary.attack:
                added_releases(label)
            for writer in written[label].values():
                writer.measured.let_go()
            if label not in held_against:
                written[label].clear()
        rows[""] = defaultdict(list, comparisons=_accuracies_compared(found, pairs))
        shown = {label: attacks[label] for label in playable} if measuring.outputs else {}
        reduced, notes = output_rows(settings, shown, rankings, measuring.outputs, levels, seed)
    tables = _tables([rows[label] for label in (*attacks, "") if label in rows])
    if reduced:
        tables["outputs"] = pd.DataFrame(reduced)
    tables["releases"] = pd.DataFrame([_release_row(name, found[name], facts.get(name, {})) for name in found])
    about = dict(known.about)
    about["warnings"] = [*about.get("warnings", []), *skipped.values(), *notes]
    about |= primary.record()
    about |= record_not_learned({setting.release: setting.attack_input.attacked for setting in settings}, found)
    about |= record_doubts(settings)
    for kept in scores:
        kept.by_attack.update({label: kept.by_attack.pop(label) for label in attacks if label in kept.by_attack})
    return Audit(Results(**tables, **samples, about=about), scores)


def _add_rows(rows: dict[str, list[Row]], writer: Writer, rivals: Sequence[Writer]) -> None:
    """Adds the rows of one attack in one attack setting, by table; it is compared with the attacks in `rivals`."""
    rows["findings"] += writer.findings()
    rows["ppv"] += writer.ppv()
    for other in rivals:
        rows["attack_comparisons"] += compare_attacks(writer, other)
        other.measured.let_go()


def _on_canaries(written: Mapping[SettingKey, Writer], attack: Attack, measuring: Measuring) -> Iterator[Row]:
    """The rows of one attack on canaries, in every attack setting."""
    for writer in written.values():
        planted = CanaryScores.of(writer.setting, writer.attack, writer.measured.scores, measuring.seed)
        yield from canary_findings(planted, attack, measuring.bounds)


def _tables(parts: Sequence[Mapping[str, list[Row]]]) -> dict[str, Any]:
    """The tables, combined from the rows of all attacks, in their order."""
    joined = {name: [row for part in parts for row in part.get(name, [])] for name in TABLES if name != "releases"}
    return {name: pd.DataFrame(rows, columns=None if rows else list(TABLES[name])) for name, rows in joined.items()}


def _compared(
    written: Mapping[SettingKey, Writer], settings: Sequence[AttackSetting], pairs: Sequence[tuple[str, str]]
) -> list[Row]:
    """Every attack setting of a release against its baseline under the same references."""
    rows: list[Row] = []
    for release, baseline in pairs:
        for (played, references), writer in written.items():
            other = setting_of(settings, baseline, references) if played == release else None
            if other is not None and (other.release, other.references) in written:
                rows += compare_releases(writer, written[other.release, other.references])
    return rows


def _accuracies_compared(known: Mapping[str, Accuracies], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """Every release's test accuracy against its baseline's."""
    return [compare_accuracy(release, known[release], baseline, known[baseline]) for release, baseline in pairs]


def _release_row(name: str, found: Accuracies, facts: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        column: facts.get(column, float("nan")) for column in (*RELEASE_COLUMNS, *LATER_RELEASE_COLUMNS)
    }
    for column in ("compress", "defense", "origin"):
        row[column] = facts.get(column, "")
    for which, accuracy in (("train", found.train), ("test", found.test)):
        estimate = two_way(*accuracy)
        row[f"{which}_accuracy"] = estimate.value
        row[f"{which}_accuracy_low"], row[f"{which}_accuracy_high"] = estimate.low, estimate.high
    return {**row, "release": name}
