"""Exports finished runs as the folders and tables that Pruning_MIA's users and their scripts know.

    OUT/runs/dense/cifar10/                  config.json, best_model.pth, experiment_summary.json, history.csv
    OUT/runs/static/sparsity_0.8/cifar10/    the same; model-001/ ...: summaries of the bank's other models
    OUT/runs/dpf/sparsity_0.8/cifar10/seed43/   a seed other than 42 has a separate folder
    OUT/results/advanced/, wemem/, mia/      a table per attack of each family; mia/ also has the table of all attacks
    OUT/training_results.csv, comprehensive_mia_results.csv
    OUT/exported_files.txt                   all of these, one per line: a later export can replace them

The folders of any other pruner are named after it; a release that would share a folder with an earlier one is named
after itself. `experiment_summary.json` contains:

| key | |
|---|---|
| experiment_name, method, sparsity, dataset, seed, model_id | the network; `sparsity` as requested |
| sparsity_reached | zeros among the weights that the method can remove (without a mask: among all prunable ones) |
| parameters, nonzero_parameters, epochs | |
| accuracy, train_accuracy, loss | on non-members, on members (0..1); mean cross-entropy of non-members |
| final_metrics, best_metrics | the same figures as in Pruning_MIA: `acc1` and `best_acc1` in percent, and `loss` |
| total_duration | seconds of its training; null if not in the run's log |
| bank | all attacked models: `num_models`, and mean, low and high (95%) of accuracy and loss |

The released weights are the attacked ones: no epoch is chosen with audited samples, so `best_acc1` is the accuracy of
these weights. `history.csv` is the history of the training, with validation only on a dev set. `best_model.pth` is a
state dict of tensors only, for `torch.load(FILE, weights_only=True)`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from pruneaudit.attacks.groups import GROUPS
from pruneaudit.compression.chain import described_steps
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import HISTORY_FILE, MASK_FILE, SUMMARY_FILE, check_new_folder, writing_error
from pruneaudit.engine.assemble import release_signals
from pruneaudit.engine.plan import Task
from pruneaudit.engine.store import Store
from pruneaudit.published.finished import Finished, load_runs, nonmember_loss
from pruneaudit.published.pruning_mia import SEED, asked_sparsity, dataset_name, experiment_name, method_of
from pruneaudit.published.pruning_mia_parsing import FAMILIES
from pruneaudit.published.pruning_mia_tables import ATTACKS_FILE, attack_column, csv_text, write_tables
from pruneaudit.published.replacing import check_replaceable, put_in_place
from pruneaudit.runs.export import stored_state
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import load_tensors

WEIGHTS, CONFIG, SUMMARY = "best_model.pth", "config.json", "experiment_summary.json"
RUNS, RESULTS = "runs", "results"


@dataclass(frozen=True)
class Tree:
    """The exported folders."""

    folder: Path
    experiments: tuple[Path, ...]
    """The folders of the releases, in the order of the runs and of their studies."""


def export_tree(runs: Sequence[str | Path], out: str | Path, model_id: int = 0, force: bool = False) -> Tree:
    """Writes finished runs as Pruning_MIA's tree, completely or not at all.

    Args:
        runs: run folders; several of one study are its seeds.
        out: the folder to write.
        model_id: the model of each release whose weights to write.
        force: replace an earlier export; other files are never replaced.

    Raises:
        UserError: a run is unfinished or damaged, or has no such model; two runs have the same seed, or the same data
            set but different studies; or the folder contains other files. Nothing is then written.
        StorageError: the disk is full.
    """
    out = check_new_folder(Path(out), force)
    check_replaceable(out)
    finished = load_runs(runs)
    staging = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        staging.mkdir(parents=True)
        places = [place for run in finished for place in _write_run(run, staging, model_id)]
        write_tables(finished, staging)
        _write_results(finished, staging / RESULTS)
        put_in_place(staging, out)
    except OSError as error:
        raise writing_error(out, error) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return Tree(out, tuple(out / place for place in places))


def _write_run(run: Finished, staging: Path, model_id: int) -> Iterator[Path]:
    """Writes the folders of a run's releases; yields each, relative to the tree."""
    for release in run.releases:
        place = _place(run, release, staging)
        (staging / place).mkdir(parents=True, exist_ok=True)  # it exists if another seed was exported before
        losses = _loss_of_each(run, release)
        for task in _whole_tasks(run, release, model_id):
            is_chosen = task.model_id == model_id
            folder = staging / place / ("" if is_chosen else f"model-{task.model_id:03d}")
            folder.mkdir(exist_ok=True)
            summary = _summary(run, task, losses[task.model_id])
            if is_chosen:
                summary["bank"] = _bank(run, release)
                _write_network(run, task, folder)
            _write_json(summary, folder / SUMMARY)
            shutil.copyfile(run.folder / task.artifact.folder / HISTORY_FILE, folder / HISTORY_FILE)
        yield place


def _whole_tasks(run: Finished, release: str, model_id: int) -> list[Task]:
    """Returns the tasks of a release's attacked models, which must include `model_id`.

    Raises:
        UserError: a model is missing or damaged, or `model_id` was not attacked.
    """
    tasks = run.tasks(release)
    for number in (model_id, *(task.model_id for task in tasks)):
        RunFolder(run.folder).model(run.plan, release, number)
    if model_id not in {task.model_id for task in tasks}:
        raise UserError(
            f"{run.folder}: model {model_id} was not attacked (it is a shadow, or left out), expected one that was,"
            f" such as {tasks[0].model_id}"
        )
    return tasks


def _place(run: Finished, release: str, staging: Path) -> Path:
    """Returns the folder of a release in the tree."""
    described, source = run.release(release), run.study.data.source
    method = method_of(described) if described is None or described.compress else release
    levels = [f"sparsity_{asked}"] if (asked := asked_sparsity(described)) else []
    seed = [] if run.study.seed == SEED else [f"seed{run.study.seed}"]
    rest = [*levels, dataset_name(source), *seed]
    place = Path(RUNS, method, *rest)
    if (staging / place / SUMMARY).exists():
        place = Path(RUNS, release, *rest)
    if (staging / place / SUMMARY).exists():
        raise UserError(f"{run.folder}: got two runs of seed {run.study.seed} on {source.label}; give only one")
    return place


def _summary(run: Finished, task: Task, loss: float | None) -> dict[str, Any]:
    """Returns the summary of one network; see the module."""
    folder = run.folder / task.artifact.folder
    told = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
    release = run.release(task.release)
    accuracy = told["test_accuracy"]
    return {
        "experiment_name": experiment_name(task.release, run.study.data.source),
        "method": method_of(release),
        "sparsity": asked_sparsity(release),
        "sparsity_reached": _sparsity_reached(folder, told),
        "dataset": dataset_name(run.study.data.source),
        "seed": run.study.seed,
        "model_id": task.model_id,
        "parameters": told["parameters"],
        "nonzero_parameters": told.get("nonzero_parameters", told["parameters"]),
        "epochs": len(pd.read_csv(folder / HISTORY_FILE)),
        "accuracy": accuracy,
        "train_accuracy": told["train_accuracy"],
        "loss": loss,
        "final_metrics": {"acc1": 100 * accuracy, "loss": loss},
        "best_metrics": {"best_acc1": 100 * accuracy, "best_loss": loss},
        "total_duration": run.seconds.get(task.name),
    }


def _sparsity_reached(folder: Path, told: Mapping[str, Any]) -> float:
    if not (folder / MASK_FILE).exists():
        return float(told.get("sparsity", 0.0))
    masks = load_tensors(folder / MASK_FILE).values()
    kept, whole = sum(int(mask.count_nonzero()) for mask in masks), sum(mask.numel() for mask in masks)
    return 1 - kept / whole


def _loss_of_each(run: Finished, release: str) -> dict[int, float | None]:
    """Returns the mean cross-entropy of each attacked model on its non-members, by model."""
    signals = release_signals(run.plan, Store(run.folder), run.audit_data, release, run.left_out)
    values = nonmember_loss(signals).values
    return {t.model_id: _number(value) for t, value in zip(run.tasks(release), values, strict=True)}


def _bank(run: Finished, release: str) -> dict[str, Any]:
    """Returns means over all attacked models, with intervals."""
    row, loss = run.row(release), run.losses[release]
    ends = {end: _number(row[f"test_accuracy_{end}"]) for end in ("low", "high")}
    return {
        "num_models": len(run.tasks(release)),
        "accuracy": {"mean": _number(row["test_accuracy"]), **ends},
        "loss": {"mean": _number(loss.value), "low": _number(loss.low), "high": _number(loss.high)},
    }


def _write_network(run: Finished, task: Task, folder: Path) -> None:
    """Writes weights and configuration of one network."""
    state = stored_state(task.spec, run.audit_data, run.folder / task.artifact.folder)
    torch.save(state, folder / WEIGHTS)
    _write_json(_config(run, task), folder / CONFIG)


def _config(run: Finished, task: Task) -> dict[str, Any]:
    """Returns its sections with our values; the section `pruneaudit` has all other settings."""
    study, release, spec = run.study, run.release(task.release), task.spec
    training = Training.model_validate(spec.get("training") or spec.get("finetune") or study.training)
    network, steps = spec["model"], described_steps(spec)
    settings = {
        "epochs": training.epochs,
        "lr": training.learning_rate,
        "momentum": training.momentum,
        "weight_decay": training.weight_decay,
        "scheduler": "multistep" if training.schedule == "step" else training.schedule,
        "milestones": list(training.milestones),
        "gamma": training.decay,
    }
    by_loop = training.function is None  # the settings of a user's function are unknown
    return {
        "name": experiment_name(task.release, study.data.source),
        "description": study.description,
        "data": {"dataset": dataset_name(study.data.source), "batch_size": training.batch_size if by_loop else None},
        "model": {"arch": network["name"], "layers": network["options"].get("depth"), "options": network["options"]},
        "training": settings if by_loop else dict.fromkeys(settings),
        "pruning": {
            "enabled": bool(steps),
            "method": method_of(release),
            "sparsity": asked_sparsity(release),
            "options": {key: value for step in steps for key, value in step["options"].items() if key != "sparsity"},
        },
        "system": {"seed": study.seed},
        "pruneaudit": {
            "release": task.release,
            "model_id": task.model_id,
            "artifact": task.artifact.identity,
            "study": study.model_dump(mode="json"),
        },
    }


def _write_results(runs: Sequence[Finished], folder: Path) -> None:
    """Writes a table per attack to the folder of its family, and the table of all attacks to `mia`."""
    for family in (*FAMILIES, "mia"):
        (folder / family).mkdir(parents=True)
    shutil.copyfile(folder.parent / ATTACKS_FILE, folder / "mia" / ATTACKS_FILE)
    found = pd.concat([_with_experiment(run) for run in runs], ignore_index=True)
    for attack, rows in found.groupby("attack", sort=False):
        family = next((name for name in FAMILIES if str(attack) in GROUPS[name]), "mia")
        file = folder / family / f"{attack_column(str(attack))}.csv"
        file.write_text(csv_text(rows), encoding="utf-8")


def _with_experiment(run: Finished) -> pd.DataFrame:
    """Returns all findings of a run, with experiment and seed as first columns."""
    found = run.results.findings
    names = [experiment_name(str(release), run.study.data.source) for release in found["release"]]
    return pd.concat([pd.DataFrame({"experiment": names, "seed": run.study.seed}), found], axis=1)


def _write_json(values: Mapping[str, Any], file: Path) -> None:
    file.write_text(json.dumps(values, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _number(value: float) -> float | None:
    """Converts NaN to None, for JSON."""
    return None if np.isnan(value) else float(value)
