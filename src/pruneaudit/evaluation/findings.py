"""Turns measurements into rows of findings, comparisons and ROC curves."""

# V victims, N samples, L levels, B replicates

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.columns import MEAN, POOLED
from pruneaudit.evaluation.measure import Accuracies, Measured
from pruneaudit.metrics import (
    Estimate,
    Metric,
    Quantity,
    Scored,
    all_metrics,
    class_areas,
    each_of,
    mean_of,
    ppv,
    refusal,
    two_way,
)
from pruneaudit.metrics.arrays import for_each
from pruneaudit.metrics.roc import curves_of, mean_curve
from pruneaudit.metrics.sample_weights import PairWeights
from pruneaudit.metrics.standard import tpr_column

CURVE_POINTS = 61
PRIORS = (0.01, 0.1, 0.5)
"""Assumed fractions of members among the samples asked about, for positive predictive values."""
NUM_POOLED_RESAMPLES = 100

Row = dict[str, Any]


def pair_weights(seed: int) -> PairWeights:
    """The weights of all pairs pooled, the same in every attack setting and for every attack."""
    return PairWeights(lambda: numpy_generator(seed, seeds.BOOTSTRAP_POOLED), NUM_POOLED_RESAMPLES)


@dataclass(frozen=True, eq=False)
class Writer:
    """Writes the rows of one attack in one attack setting."""

    setting: AttackSetting
    attack: str
    measured: Measured
    accuracies: Accuracies
    sparsity: float
    levels: Sequence[float]
    seed: int
    pair_weights: PairWeights | None = None
    """From `pair_weights` of the same seed; None: drawn where they are needed."""

    @cached_property
    def figures(self) -> tuple[tuple[Metric, Quantity], ...]:
        """Every figure with its metric, in the order of their columns."""
        return tuple((metric, quantity) for metric in all_metrics() for quantity in metric.quantities(self.levels))

    @cached_property
    def fewest(self) -> tuple[int, int]:
        """The smallest numbers of scored members and non-members of any victim: they decide what the mean suppresses.

        The row of all pairs uses them too. It has more non-members, but these share their samples: a sample with a high
        score in one victim has one in most. So many false positives can come from few samples, and the threshold still
        depends on those.
        """
        return int(self.measured.num_members.min()), int(self.measured.num_nonmembers.min())

    def findings(self) -> Iterator[Row]:
        """The mean over victims, all pairs pooled, and each victim."""
        yield self._mean
        self.measured.let_go()  # pairs need other memory
        yield self._pooled_row()
        yield from self._victim_rows()

    def _row(self, victim: str, num_members: float, num_nonmembers: float, num_unscored: int) -> Row:
        measured = self.measured
        return {
            **self._which(),
            "variant": measured.variant,
            "victim": victim,
            "sparsity": self.sparsity,
            "num_victims": len(measured.scores) if victim in (MEAN, POOLED) else 1,
            "num_members": num_members,
            "num_nonmembers": num_nonmembers,
            "num_unscored": num_unscored,
            "num_trainings": measured.num_trainings,
        }

    @cached_property
    def _mean(self) -> Row:
        measured = self.measured
        members, nonmembers = measured.num_members, measured.num_nonmembers
        row = self._row(MEAN, members.mean(), nonmembers.mean(), int(measured.num_unscored.sum()))
        for metric, quantity in self.figures:
            if metric.restates:
                row[quantity.column] = metric.restated(row[metric.restates.column])
            elif metric.suppressed(quantity, *self.fewest) is None:
                found = measured.by_column[quantity.column]
                row |= _columns(quantity.column, mean_of(found, metric.bounds, metric.num_trials(*self.fewest)))
        row |= {
            "train_accuracy": float(np.mean(self.accuracies.train.values)),
            "test_accuracy": float(np.mean(self.accuracies.test.values)),
        }
        return self._closed(row, self.fewest)

    def _pooled_row(self) -> Row:
        """One ROC over all (victim, sample) pairs: requires scores that are comparable across samples and models."""
        measured = self.measured
        members, nonmembers = int(measured.num_members.sum()), int(measured.num_nonmembers.sum())
        row = self._row(POOLED, members, nonmembers, int(measured.num_unscored.sum()))
        scored = Scored(
            measured.counted_scores,
            measured.member,
            self.levels,
            lambda: numpy_generator(self.seed, seeds.BOOTSTRAP_POOLED),
            NUM_POOLED_RESAMPLES,
            pair_weights=self.pair_weights,
        )
        metrics = [metric for metric in all_metrics() if not metric.needs_threshold]
        told = [
            [each for each in metric.quantities(self.levels) if metric.suppressed(each, *self.fewest) is None]
            for metric in metrics
        ]
        found: list[tuple[Estimate, ...]] = [()] * len(metrics)
        assert scored.pooled  # all metrics start from it

        def measure(index: int) -> None:
            found[index] = metrics[index].pooled(scored, told[index])

        for_each(measure, len(metrics), scored.scores.size)
        for quantities, estimates in zip(told, found, strict=True):
            for quantity, estimate in zip(quantities if estimates else (), estimates, strict=True):
                row |= _columns(quantity.column, estimate)
        return self._closed(row, self.fewest)

    def _victim_rows(self) -> Iterator[Row]:
        measured = self.measured
        names = self.setting.attack_input.attacked.model_names[self.setting.attack_input.victims]
        estimates = {
            quantity.column: each_of(measured.by_column[quantity.column], metric.bounds)
            for metric, quantity in self.figures
            if not metric.restates
        }
        for v, name in enumerate(names):
            counts = int(measured.num_members[v]), int(measured.num_nonmembers[v])
            row = self._row(str(name), *counts, int(measured.num_unscored[v]))
            for metric, quantity in self.figures:
                if metric.restates:
                    row[quantity.column] = metric.restated(row[metric.restates.column])
                elif metric.suppressed(quantity, *counts) is None:
                    row |= _columns(quantity.column, estimates[quantity.column][v])
            row["train_accuracy"] = float(self.accuracies.train.values[v])
            row["test_accuracy"] = float(self.accuracies.test.values[v])
            yield self._closed(row, counts)

    def _closed(self, row: Row, counts: tuple[int, int]) -> Row:
        """The row with its reasons, and NaN for every missing figure.

        Args:
            row: the figures that exist.
            counts: the scored members and non-members that decide what is suppressed.
        """
        for metric, quantity in self.figures:
            for end in ("",) if metric.restates else ("", "_low", "_high"):
                row.setdefault(f"{quantity.column}{end}", float("nan"))
        for column in ("train_accuracy", "test_accuracy"):
            row.setdefault(column, float("nan"))
        return {**row, "suppressed": "; ".join(self._refused(row, counts))}

    def _refused(self, row: Row, counts: tuple[int, int]) -> list[str]:
        """Why the row lacks figures: no scores, too few samples, no threshold."""
        no_scores, too_few, no_threshold = [], [], []
        for metric, quantity in self.figures:
            reason = metric.suppressed(quantity, *counts)
            if reason is not None:
                too_few.append(f"{quantity.title}: {reason}")
            elif metric.missing and np.isnan(row[quantity.column]):
                if not metric.needs_threshold:
                    no_scores.append(metric.missing)
                elif row["victim"] != POOLED:
                    no_threshold.append(metric.missing)
        return [*no_scores, *too_few, *no_threshold]

    def curve(self) -> Iterator[Row]:
        """The ROC, averaged over victims, on a logarithmic grid of false-positive rates."""
        grid = np.logspace(np.log10(min(self.levels)), 0, CURVE_POINTS)
        grid[-1] = 1.0
        for fpr, tpr in zip(grid, mean_curve(curves_of(self.measured.ranking(), grid)), strict=True):
            yield {**self._which(), "fpr": float(fpr), "tpr": float(tpr)}

    def by_class(self) -> Iterator[Row]:
        """AUC within each class, mean over the victims that have members and non-members of it."""
        measured, labels = self.measured, self.setting.attack_input.attacked.labels
        classes, codes = np.unique(labels, return_inverse=True)
        areas = class_areas(measured.ranking(), codes, classes.size)
        for label, (class_id, known) in enumerate(zip(classes, areas.known.T, strict=True)):
            if known.any():
                yield {
                    **self._which(),
                    "class_id": int(class_id),
                    **_columns("auc", two_way(areas.values[known, label], areas.influence(label)[known])),
                    "num_victims": int(known.sum()),
                    "num_members": float(areas.num_members[known, label].mean()),
                    "num_nonmembers": float(areas.num_nonmembers[known, label].mean()),
                }

    def ppv(self) -> Iterator[Row]:
        """Positive predictive value at each reported false-positive rate, at two thresholds.

        At the victims' own thresholds, from the mean TPR and the nominal rate; and at the threshold that references
        teach, per victim, from the rates that were realised.
        """
        row = self._mean
        for index, level in enumerate(self.levels):
            column = tpr_column(level)
            if np.isnan(row[column]):
                continue
            for prior in PRIORS:
                # It grows with the TPR, so the ends of the TPR's interval give the ends of its interval.
                value, low, high = (float(ppv(row[f"{column}{end}"], level, prior)) for end in ("", "_low", "_high"))
                own = {"fpr": level, "prior": prior, "ppv": value, "low": low, "high": high}
                yield {**self._which(), **own, **self._learned_ppv(index, prior)}

    def _learned_ppv(self, index: int, prior: float) -> Row:
        """The columns of a `ppv` row at the threshold that references teach for a level."""
        tpr, fpr = self.measured.learned_tpr[:, index], self.measured.learned_fpr[:, index]
        values = ppv(tpr, fpr, prior)  # (V,), NaN for a victim without accusations
        accused, taught = values[~np.isnan(values)], ~np.isnan(fpr)
        row: Row = {"num_accused": len(accused), "suppressed": self._why_not_learned(index, taught)}
        row |= _spread("learned_ppv", accused) | _spread("learned_fpr", fpr[taught])
        row["learned_tpr"] = float(tpr[taught].mean()) if taught.any() else np.nan
        row.pop("learned_fpr_sd")
        return row

    def _why_not_learned(self, index: int, taught: np.ndarray) -> str:
        """Why references taught some victims (V,) no threshold for a level; empty if they taught all."""
        if taught.all():
            return ""
        most = int(self.measured.num_teaching[~taught].max())
        if not most:
            return "no references on which a threshold could be learned"
        return f"of the references together, {refusal(most, self.levels[index])}"

    def _which(self) -> Row:
        return {"release": self.setting.release, "references": self.setting.references, "attack": self.attack}


def _spread(name: str, values: np.ndarray) -> Row:
    """Mean, standard deviation (n - 1), lowest and highest of values (n,); NaN with too few values."""
    known = len(values) > 0
    figures = {"": values.mean() if known else np.nan, "_sd": values.std(ddof=1) if len(values) > 1 else np.nan}
    figures |= {"_min": values.min() if known else np.nan, "_max": values.max() if known else np.nan}
    return {f"{name}{end}": float(value) for end, value in figures.items()}


def _columns(name: str, estimate: Estimate) -> Row:
    return {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
