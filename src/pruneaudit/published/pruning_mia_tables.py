"""Writes the tables of Pruning_MIA from finished runs of any study.

| file | one row per | columns |
|---|---|---|
| training_results.csv | experiment and seed | experiment, method, sparsity, seed; accuracies, loss, training time |
| comprehensive_mia_results.csv | experiment and seed | experiment, method, sparsity, {attack}_{metric} ..., seed |
| results_over_seeds.csv | figure of an experiment | its mean over seeds with an interval; needs two seeds or more |

An experiment is a release: `dense_cifar10`, `static_sparsity_0.8_cifar10`. Its figures are from the run's own tables:
means over models with 95% intervals, for references made like the victims (references `matched`). Suppressed figures
are empty here. Accuracies and rates are in 0..1, as everywhere.

Differences from Pruning_MIA's columns of the same names:
- `accuracy` in an attack's columns is the balanced accuracy at thresholds learned from other models;
- the loss is the mean cross-entropy of non-members, from the stored logits; the tables of a run do not have it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically, writing_error
from pruneaudit.evaluation.columns import MEAN
from pruneaudit.metrics.standard import tpr_levels
from pruneaudit.published.finished import Finished
from pruneaudit.published.pruning_mia import asked_sparsity, experiment_name, method_of
from pruneaudit.study.audit import MATCHED

TRAINING_FILE = "training_results.csv"
ATTACKS_FILE = "comprehensive_mia_results.csv"
SEEDS_FILE = "results_over_seeds.csv"
ITS_NAMES = {"nn": "neural_network", "nn_top3": "top3_nn", "nn_cls": "class_label_nn"}
"""Its names of attacks that have another name here."""
TRAINING_COLUMNS = (
    *("experiment", "method", "sparsity", "seed"),
    *("accuracy", "accuracy_low", "accuracy_high", "train_accuracy", "loss", "loss_low", "loss_high"),
    *("training_seconds", "training_seconds_in_all", "num_models", "num_timed"),
)
"""`training_seconds` is the mean over the `num_timed` models whose time is in the run's log."""
OVER_SEEDS_COLUMNS = ("experiment", "method", "sparsity", "attack", "metric", "num_seeds", "mean", "low", "high")
"""`attack` is empty for metrics of the network: accuracy and loss."""
BOUNDS = {"loss": (0, np.inf), "advantage": (-1, 1)}
"""Smallest and largest values of metrics that are not rates in 0..1."""


def attack_column(label: str) -> str:
    """Returns the prefix of an attack's columns: `neural_network` for nn, `lira_mode_offline` for lira:mode=offline."""
    name, colon, options = label.partition(":")
    return ITS_NAMES.get(name, name) + re.sub(r"[^A-Za-z0-9.]+", "_", colon + options)


def training_results(runs: Sequence[Finished]) -> pd.DataFrame:
    """Returns accuracy, loss and training time of every experiment; see `TRAINING_COLUMNS`."""
    return pd.DataFrame([_training_row(run, name) for run in runs for name in run.releases], columns=TRAINING_COLUMNS)


def attack_results(runs: Sequence[Finished]) -> pd.DataFrame:
    """Returns a row per experiment, with a column per figure of each attack; NaN for suppressed figures."""
    rows = [_attack_row(run, name) for run in runs for name in run.releases]
    table = pd.DataFrame(rows)
    return table[[*(column for column in table.columns if column != "seed"), "seed"]]


def results_over_seeds(runs: Sequence[Finished]) -> pd.DataFrame:
    """Returns the mean of every figure over seeds, with Student's t interval; see `OVER_SEEDS_COLUMNS`.

    The interval is over trainings on one data set, including all random draws of a seed: samples, members, weights.
    Seeds with a suppressed figure are not counted; with one seed there is no interval.
    """
    figures: dict[tuple[Any, ...], list[float]] = {}
    for run in runs:
        for name in run.releases:
            which = tuple(_which(run, name).values())
            for (attack, metric), value in _figures(run, name).items():
                figures.setdefault((*which, attack, metric), []).append(value)
    rows = [(*key, *_student(np.array(values), *BOUNDS.get(key[-1], (0, 1)))) for key, values in figures.items()]
    return pd.DataFrame(rows, columns=OVER_SEEDS_COLUMNS)


def write_tables(runs: Sequence[Finished], folder: Path) -> tuple[Path, ...]:
    """Writes the tables to a folder, which is created if necessary; replaces existing tables.

    Args:
        runs: runs of one study, one per seed.
        folder: the target folder.

    Returns:
        The files; the last one only with two seeds or more.

    Raises:
        UserError: the folder is not writable.
        StorageError: the disk is full.
    """
    tables = {TRAINING_FILE: training_results(runs), ATTACKS_FILE: attack_results(runs)}
    if len(runs) > 1:
        tables[SEEDS_FILE] = results_over_seeds(runs)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SEEDS_FILE).unlink(missing_ok=True)  # outdated if there is now only one seed
        return tuple(write_atomically(folder / name, csv_text(table)) for name, table in tables.items())
    except FileExistsError:
        raise UserError(f"{folder}: is a file, expected the name of a folder; choose another --results-dir") from None
    except OSError as error:
        raise writing_error(folder, error) from None


def csv_text(table: pd.DataFrame) -> str:
    """Returns CSV with Unix line ends, shortest-repr floats, and empty cells for missing numbers."""
    return table.to_csv(index=False, lineterminator="\n")


def findings_of(run: Finished, release: str) -> pd.DataFrame:
    """Returns the findings of a release for the tables: the mean over victims of every attack, references `matched`."""
    found = run.results.findings
    return found[(found["release"] == release) & (found["references"] == MATCHED) & (found["victim"] == MEAN)]


def seconds_of(run: Finished, release: str) -> list[float]:
    """Returns the seconds of the trainings of a release's models, as far as they are in the run's log."""
    return [run.seconds[task.name] for task in run.tasks(release) if task.name in run.seconds]


def _which(run: Finished, name: str) -> dict[str, Any]:
    release = run.release(name)
    return {
        "experiment": experiment_name(name, run.study.data.source),
        "method": method_of(release),
        "sparsity": asked_sparsity(release),
    }


def _training_row(run: Finished, name: str) -> dict[str, Any]:
    row, loss, seconds = run.row(name), run.losses[name], seconds_of(run, name)
    return {
        **_which(run, name),
        "seed": run.study.seed,
        **{f"accuracy{end}": row[f"test_accuracy{end}"] for end in ("", "_low", "_high")},
        "train_accuracy": row["train_accuracy"],
        "loss": loss.value,
        "loss_low": loss.low,
        "loss_high": loss.high,
        "training_seconds": float(np.mean(seconds)) if seconds else np.nan,
        "training_seconds_in_all": sum(seconds) if seconds else np.nan,
        "num_models": len(run.tasks(name)),
        "num_timed": len(seconds),
    }


def _attack_row(run: Finished, name: str) -> dict[str, Any]:
    figures: dict[str, float] = {}
    for _, row in findings_of(run, name).iterrows():
        stem = attack_column(row["attack"])
        for column in _metrics(row.index):
            ends = ("",) if column == "advantage" else ("", "_low", "_high")
            figures |= {f"{stem}_{_its_metric(column)}{end}": row[f"{column}{end}"] for end in ends}
    return _which(run, name) | figures | {"seed": run.study.seed}


def _figures(run: Finished, name: str) -> dict[tuple[str, str], float]:
    """Returns the figures to average over seeds, by attack and metric."""
    figures = {("", "accuracy"): float(run.row(name)["test_accuracy"]), ("", "loss"): run.losses[name].value}
    for _, row in findings_of(run, name).iterrows():
        for column in _metrics(row.index):
            figures[attack_column(row["attack"]), _its_metric(column)] = float(row[column])
    return figures


def _metrics(columns: Sequence[str] | pd.Index) -> list[str]:
    """Returns the columns of the findings with figures of an attack, without interval ends."""
    return ["auc", "balanced_accuracy", *tpr_levels(columns), "advantage"]


def _its_metric(column: str) -> str:
    return "accuracy" if column == "balanced_accuracy" else column


def _student(values: np.ndarray, lowest: float, highest: float) -> tuple[int, float, float, float]:
    """Returns the number of values, their mean, and its 95% interval, clipped to the possible range."""
    known = values[~np.isnan(values)]
    if not known.size:
        return 0, np.nan, np.nan, np.nan
    mean = float(known.mean())
    if known.size < 2:
        return 1, mean, np.nan, np.nan
    reach = float(stats.t.ppf(0.975, known.size - 1) * known.std(ddof=1) / np.sqrt(known.size))
    low, high = np.clip((mean - reach, mean + reach), lowest, highest)
    return known.size, mean, float(low), float(high)
