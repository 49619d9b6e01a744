"""Repeats attacks on reduced outputs of victims and references: rounded probabilities, top classes, labels.

Every attack is repeated on reduced signals (`signals/reduced_outputs.py`). Only AUC and TPR at FPR are measured, each
with its paired difference from the figure on all stored outputs, on the same victims and samples. Attacks that train
networks are not repeated.
"""

# V victims, N samples, L levels

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.findings import Row
from pruneaudit.evaluation.measure import Measured, play, scored_for
from pruneaudit.metrics import METRICS, Estimate, Measurement, Metric, Quantity, difference_of, mean_of
from pruneaudit.metrics.roc import allowed_false_positives
from pruneaudit.signals.reduced_outputs import lacking, reduced, stored_form
from pruneaudit.signals.signals import Signals
from pruneaudit.study.outputs import Outputs

METRICS_REPEATED = ("auc", "tpr_at_fpr")
DECIMALS_OF_TIES = 11
"""Scores of coarse outputs are rounded to this many decimals. References in another order change the last digits of a
score, and would break ties between samples with the same outputs."""
_NOTHING = Estimate(np.nan, np.nan, np.nan, np.nan, "none")

Key = tuple[str, str, str]
"""Attack, release and references."""


@dataclass(frozen=True, eq=False)
class Ranking:
    """The figures of one attack's ranking in one attack setting."""

    by_column: Mapping[str, Measurement]
    fewest: tuple[int, int]
    """The smallest numbers of scored members and non-members of any victim."""
    tied: np.ndarray
    """(V, 2) the number of non-members that share the victim's highest score, and of all non-members."""

    @classmethod
    def of(cls, measured: Measured, levels: Sequence[float]) -> Ranking:
        """The ranking figures of an attack that was measured on all stored outputs."""
        columns = {quantity.column for _, quantity in _figures(levels)}
        by_column = {column: found for column, found in measured.by_column.items() if column in columns}
        return cls(by_column, *_counts(measured.counted_scores, measured.member))

    @classmethod
    def measured(cls, scores: np.ndarray, attack_input: AttackInput, levels: Sequence[float], seed: int) -> Ranking:
        """Measures scores (V, N)."""
        rows = attack_input.victims
        counted = np.where(attack_input.attacked.ordinary[rows], scores, np.nan)
        member = attack_input.attacked.member[rows]
        scored = scored_for(counted, member, levels, seed)
        by_column = {
            quantity.column: found
            for metric in map(METRICS.get, METRICS_REPEATED)
            for quantity, found in zip(metric.quantities(levels), metric.measure(scored), strict=True)
        }
        return cls(by_column, *_counts(counted, member))

    def suppressed(self, metric: Metric, quantity: Quantity) -> str:
        """Why a figure is not reported; empty if it is.

        Beside the reasons of findings: if the highest score of every victim is shared by more non-members than the
        level allows, no threshold reaches the level, because tied samples are accused together.
        """
        reason = metric.suppressed(quantity, *self.fewest)
        if reason is not None:
            return f"{quantity.title}: {reason}"
        if np.isnan(self.by_column[quantity.column].values).all():
            return metric.missing or f"{quantity.title}: no sample could be scored"
        if quantity.level is None:
            return ""
        tied, others = self.tied.T
        allowed = [
            allowed_false_positives(int(count), np.array([quantity.level]))[0] if count else 0 for count in others
        ]
        if not (tied > allowed).all():
            return ""
        return (
            f"{quantity.title}: more than {100 * quantity.level:g}% of the non-members share the highest score, so "
            f"every threshold accuses more of them (column tied of outputs.csv)"
        )

    @property
    def share_tied(self) -> float:
        """Share of the non-members that tie at the highest score, mean over victims."""
        tied, others = self.tied.T
        return float((tied / np.maximum(others, 1)).mean())


def _figures(levels: Sequence[float]) -> Iterator[tuple[Metric, Quantity]]:
    """The repeated figures, each with its metric."""
    for metric in map(METRICS.get, METRICS_REPEATED):
        for quantity in metric.quantities(levels):
            yield metric, quantity


def _counts(counted: np.ndarray, member: np.ndarray) -> tuple[tuple[int, int], np.ndarray]:
    """`fewest` and `tied` of a `Ranking`, from scores (V, N) that are NaN where they do not count."""
    scored = ~np.isnan(counted)
    num_members, num_others = ((scored & side).sum(axis=1) for side in (member, ~member))
    highest = np.where(scored, counted, -np.inf).max(axis=1, keepdims=True)
    at_top = (scored & ~member & (counted == highest)).sum(axis=1)
    return (int(num_members.min()), int(num_others.min())), np.stack([at_top, num_others], axis=1)


def parsed_outputs(names: Sequence[str] | str) -> list[Outputs]:
    """The outputs with these names, each once.

    Raises:
        UserError: there is no such output.
    """
    try:
        return list(dict.fromkeys(map(Outputs.parse, names.split(",") if isinstance(names, str) else names)))
    except ValueError as error:
        raise UserError(f"outputs: {error}") from None


def check_outputs(outputs: Sequence[Outputs], attack_input: AttackInput) -> None:
    """Refuses outputs that some signals do not determine.

    Raises:
        UserError: the message names the outputs and what is stored.
    """
    for one in outputs:
        for part in (*attack_input.releases, *attack_input.references):
            if lack := lacking(part, one):
                raise UserError(f"outputs: {lack}")


def output_rows(
    settings: Sequence[AttackSetting],
    attacks: Mapping[str, Attack],
    stored: Mapping[Key, Ranking],
    outputs: Sequence[Outputs],
    levels: Sequence[float],
    seed: int,
) -> tuple[list[Row], list[str]]:
    """The rows of the table `outputs`, and notes about what is not in it.

    Args:
        settings: the attacked releases and their references.
        attacks: the played attacks by label.
        stored: their figures on all stored outputs.
        outputs: what to reduce the outputs to; the stored form itself is always the first of its rows.
        levels: false-positive rates.
        seed: the study's seed.
    """
    repeated = {label: attack for label, attack in attacks.items() if not attack.trains}
    rows: dict[Key, list[Row]] = defaultdict(list)
    notes = [f"outputs: attack '{label}' is not repeated: it trains networks" for label in attacks.keys() - repeated]
    notes.sort()
    for setting in settings:
        for label in repeated:
            key = label, setting.release, setting.references
            if key in stored:
                rows[key] += _rows(key, stored_form(setting.attack_input.attacked), stored[key], None, levels)
    for one in outputs:
        changed: dict[int, Signals] = {}  # releases serve in several settings
        for setting in settings:
            note = _why_not(one, setting)
            if note is None:
                less = replace(setting, attack_input=_reduced_input(setting.attack_input, one, changed))
                for label, attack in repeated.items():
                    key = label, setting.release, setting.references
                    if key in stored and not attack.lacks(less.attack_input):
                        found = Ranking.measured(
                            scores_of(attack, label, less, one, seed), less.attack_input, levels, seed
                        )
                        rows[key] += _rows(key, one.name, found, stored[key], levels)
            elif note not in ("", *notes):
                notes.append(note)
    return [row for label in repeated for key, of_key in rows.items() if key[0] == label for row in of_key], notes


def _why_not(outputs: Outputs, setting: AttackSetting) -> str | None:
    """Why an attack setting gets no rows of these outputs; empty: they are what is stored; None: it gets them."""
    parts = (*setting.attack_input.releases, *setting.attack_input.references)
    if lack := next((lack for part in parts if (lack := lacking(part, outputs))), ""):
        return f"outputs of release {setting.release}: {lack}"
    form = stored_form(setting.attack_input.attacked)
    if outputs.kind == "logits" and form == "probabilities":
        return f"outputs of release {setting.release}: logits are not stored; the first row is that of probabilities"
    return "" if outputs.name == form else None


def _reduced_input(attack_input: AttackInput, outputs: Outputs, changed: dict[int, Signals]) -> AttackInput:
    """The attack input of an attacker who sees only these outputs, of victims and references alike.

    Args:
        attack_input: with all stored outputs.
        outputs: what the attacker sees.
        changed: the signals that were reduced to these outputs before, by identity; this adds to it.
    """

    def reduce(part: Signals) -> Signals:
        if id(part) not in changed:
            changed[id(part)] = reduced(part, outputs)
        return changed[id(part)]

    less = attack_input.changed(reduce)
    shown = [part.resolution for part in (*less.releases, *less.references) if part.resolution is not None]
    finest = np.min(shown, axis=0)
    if all((resolution == finest).all() for resolution in shown):
        return less
    return less.changed(lambda part: part.with_resolution(finest))  # a 0 must mean the same in all parts


def scores_of(attack: Attack, label: str, setting: AttackSetting, outputs: Outputs, seed: int) -> np.ndarray:
    """Scores (V, N) in which equal outputs tie."""
    scores = play(attack, label, setting, seed).victims
    return np.round(scores, DECIMALS_OF_TIES) if outputs.kind in ("round", "label", "label:queries") else scores


def _rows(key: Key, name: str, found: Ranking, full: Ranking | None, levels: Sequence[float]) -> Iterator[Row]:
    """One row for each figure; without `full` there is no difference."""
    label, release, references = key
    for metric, quantity in _figures(levels):
        why = found.suppressed(metric, quantity)
        value = change = _NOTHING
        if not why:
            mine = found.by_column[quantity.column]
            value = mean_of(mine, metric.bounds, metric.num_trials(*found.fewest))
            if full is not None and not full.suppressed(metric, quantity):
                change = difference_of(mine, full.by_column[quantity.column], metric.bounds)
        yield {
            **{"release": release, "references": references, "attack": label, "outputs": name},
            **{"metric": quantity.column, "value": value.value, "low": value.low, "high": value.high},
            **{"difference": change.value, "difference_low": change.low, "difference_high": change.high},
            **{"num_victims": len(found.tied), "tied": found.share_tied, "suppressed": why},
        }
