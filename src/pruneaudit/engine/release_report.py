"""Measures the releases of a study: remaining weights, sizes, operations, files, latency, accuracies, layers.

Weights, multiply-accumulates, files and latency are measured on one network per release, the same model
in each. Accuracies and reactivation rates are means over victims, as in the findings. The measurements are not part of
the findings, and never stop a run: a value that cannot be measured is null, and `gaps` says why.
"""

# M models, B batch, C channels, H height, W width, F features

from __future__ import annotations

import csv
import json
import math
import statistics
import warnings
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.compression.chain import Step, counts_embeddings, inherited_steps, steps_of
from pruneaudit.compression.factored import possible_parameters
from pruneaudit.compression.layer_sizes import LayerSize, layer_table, left_whole, weight_counts
from pruneaudit.compression.macs import count_bit_operations, layer_macs, num_parameters
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.state import load_state, num_left
from pruneaudit.compression.storage_size import cost, packed_size
from pruneaudit.compression.structure import kept_whole
from pruneaudit.core.files import HISTORY_FILE, STRUCTURE_FILE, SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.core.threads import one_torch_thread
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.inputs import Inputs, first_of
from pruneaudit.engine.assemble import release_facts
from pruneaudit.engine.family_epsilon import of_release
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.release_timing import MAX_BATCH, Gaps, machine, time_in_turns
from pruneaudit.engine.start_report import adapter_facts, base_facts
from pruneaudit.engine.store import Store
from pruneaudit.engine.task_context import new_model, stored_model
from pruneaudit.study import DENSE
from pruneaudit.study.lineage import release_of
from pruneaudit.training.checkpoint import load_tensors
from pruneaudit.training.samples import Samples

MAX_BYTES_COUNTED = 1024**3
"""Zeros are counted in the files of as many models as fit into this total size."""
ABOUT_MACS = (
    "multiply-accumulates of one input in convolutions and linear layers; zeros are multiplied as well; bit operations "
    "are these times the bits of a weight times the bits of an input"
)
ABOUT_ZEROS = (
    "Zeros are multiplied like any other weight, so they make no network faster. If nothing was removed, a difference "
    "in latency is noise, not a speed-up."
)


@dataclass
class Subject:
    """A release, and the one network of it to measure."""

    name: str
    folders: list[Path]
    """Artifacts of its victims; the first one is measured."""
    spec: Mapping[str, Any]
    """How its networks are built; see `task_context.new_model`."""
    gaps: Gaps = field(default_factory=Gaps)
    network: nn.Module | None = None
    """On the CPU; None until it is loaded, or if it cannot be."""
    unlike_dense: nn.Module | None = None
    """A new network of its own architecture before compression, if that is not the dense networks'."""

    def load(self, audit_data: AuditData, dense: Mapping[str, Any]) -> None:
        """Loads its network from its folder.

        Args:
            audit_data: the audit data of the study.
            dense: how the dense networks are built.
        """
        load = partial(stored_model, self.spec, audit_data, self.folders[0])
        self.network = self.gaps.measured("network", load)
        if self.spec["model"] != dense["model"]:
            new = partial(new_model, self.spec, audit_data, torch.Generator().manual_seed(0))
            self.unlike_dense = self.gaps.measured("network", new)


def release_report(plan: Plan, store: Store, audit_data: AuditData, left_out: Collection[int] = ()) -> dict[str, Any]:
    """Measures every release of a study, on one CPU thread of this process.

    Args:
        plan: the tasks of the study, all done.
        store: the store with their results.
        audit_data: the audit data of the study.
        left_out: models with a missing part.

    Returns:
        JSON data: `model_id` (the measured model), `macs` and `latency` (how they were measured;
        latency is null if nothing could be timed), `releases` (one entry each; see `_entry`), and `base` if there is
        one.
    """
    membership = plan.study.membership
    used = [m for m in range(membership.num_models) if membership.is_victim(m) and m not in left_out]
    subjects = []
    for name in plan.releases:
        tasks = plan.models(name)
        folders = [store.path(task.artifact) for task in tasks if task.model_id in used]
        subjects.append(Subject(name, folders, tasks[0].spec))
    inputs = Samples.of(audit_data, np.arange(len(audit_data.y)) < MAX_BATCH).inputs(slice(None))
    with one_torch_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tasks that made these networks have shown the same warnings
        for subject in subjects:
            subject.load(audit_data, subjects[0].spec)
        limit = MAX_BYTES_COUNTED // len(subjects)
        entries = [_entry(subject, subjects[0], first_of(inputs, 1), limit) for subject in subjects]
        conditions = _latencies(subjects, entries, inputs)
    for subject, entry in zip(subjects, entries, strict=True):
        entry |= _facts(subject, plan, store, left_out)
        _state_size(entry, plan, subject.name)
        entry["gaps"] = dict(subject.gaps)
    return {
        "model_id": used[0],
        "macs": ABOUT_MACS,
        "latency": conditions,
        "releases": entries,
        **({"base": base} if (base := base_facts(plan, store)) else {}),
    }


def _entry(subject: Subject, dense: Subject, example: Inputs, limit: int) -> dict[str, Any]:
    """Returns the measurements of one release.

    Sparsities are fractions of the weights of the dense network, or of a smaller network before its own compression:
    removed weights count as zeros, and a student is not sparse because it is small.

    Args:
        subject: the release.
        dense: the dense release.
        example: one input (1, C, H, W) or (1, F), or a text.
        limit: maximum bytes of weight files in which to count zeros.
    """
    gaps = subject.gaps
    entry: dict[str, Any] = {"name": subject.name, "bytes": gaps.measured("bytes", lambda: _bytes(subject, dense))}
    network, whole = subject.network, dense.network
    parts: dict[str, Any] = dict.fromkeys(
        (
            "parameters",
            "nonzero",
            "sparsity_all",
            "sparsity_prunable",
            "size",
            "macs",
            "bit_operations",
            "layers",
            "layers_of_models",
            "left_whole",
        )
    )
    if network is None or whole is None:
        if network is not None:
            gaps["network"] = f"the dense network: {dense.gaps['network']}"
        return entry | parts
    parts["parameters"] = {"dense": num_parameters(whole), "released": num_parameters(network)}
    state = gaps.measured("network", partial(load_state, subject.folders[0]))
    if state is None:
        return entry | parts
    left = num_left(state)
    parts["nonzero"] = weight_counts(network, left=left)["nonzero_parameters"]
    before = subject.unlike_dense or whole
    parts["sparsity_all"] = 1 - parts["nonzero"] / num_parameters(before)
    parts["sparsity_prunable"] = gaps.measured(
        "sparsity_prunable", lambda: _sparsity(network, before, subject.spec, left)
    )
    parts["size"] = gaps.measured("size", partial(_size, network, whole, subject.spec, state))
    parts |= gaps.measured("macs", lambda: _operations(network, whole, state, example)) or {}
    folders = _affordable(subject.folders, limit)
    rows = gaps.measured("layers", lambda: layer_table(network)) or ()
    parts["layers"] = rows and gaps.measured("layers", lambda: _layers(rows, layer_table(before), folders))
    compresses_layers = any(step.kind not in ("student", "training") for step in _steps(subject.spec))
    parts["left_whole"] = _left_whole(rows, parts["layers"], left) if compresses_layers else []
    parts["layers_of_models"] = len(folders)
    return entry | parts


def _state_size(entry: dict[str, Any], plan: Plan, name: str) -> None:
    """Replaces what the zeros of a user's file show by the size that its owner states."""
    release = release_of(plan.study, name)
    if release is None or not release.compressed_bytes or not entry.get("size"):
        return
    size = entry["size"]
    ratio = size["ratio"] * size["bytes"] / release.compressed_bytes
    entry["size"] = {**dict.fromkeys(size), "bytes": release.compressed_bytes, "ratio": ratio}


def _steps(spec: Mapping[str, Any]) -> tuple[Step, ...]:
    """Returns all compressors applied to a release, its ancestors' first."""
    return (*inherited_steps(spec), *steps_of(spec))


def _sparsity(network: nn.Module, whole: nn.Module, spec: Mapping[str, Any], left: Mapping[str, int]) -> float:
    embeddings = counts_embeddings(_steps(spec))
    return float(weight_counts(network, weight_counts(whole, embeddings=embeddings), embeddings, left)["sparsity"])


def _size(
    network: nn.Module, whole: nn.Module, spec: Mapping[str, Any], state: Mapping[str, Tensor]
) -> dict[str, float]:
    """Returns the entropy bound (`compression.storage_size`), and the sizes of the same parts under gzip and xz."""
    embeddings = counts_embeddings(_steps(spec))
    weights = sum(weight.numel() for weight in counted_weights(whole, embeddings).values())
    found, dense, packed = cost(network, state, embeddings), cost(whole, {}, embeddings), packed_size(network, state)
    return {
        "effective_bits": found.effective_bits(weights),
        "bytes": found.bytes,
        "ratio": dense.bytes / found.bytes,
        "gzip_bytes": packed.gzip,
        "xz_bytes": packed.xz,
    }


def _operations(
    network: nn.Module, whole: nn.Module, state: Mapping[str, Tensor], example: Inputs
) -> dict[str, dict[str, int]]:
    """Returns multiply-accumulates and bit operations of one input, of the dense and of the released network."""
    released, dense = layer_macs(network, example), layer_macs(whole, example)
    return {
        "macs": {"dense": sum(dense.values()), "released": sum(released.values())},
        "bit_operations": {
            "dense": count_bit_operations(whole, dense, {}),
            "released": count_bit_operations(network, released, state),
        },
    }


def _bytes(subject: Subject, dense: Subject) -> dict[str, int | None]:
    """Returns sizes of weight files; `physically_smaller` is null if nothing was removed from the architecture."""
    file = subject.folders[0] / WEIGHTS_FILE
    size, removed = file.stat().st_size, (subject.folders[0] / STRUCTURE_FILE).exists()
    return {
        "dense": (dense.folders[0] / WEIGHTS_FILE).stat().st_size,
        "released": size,
        "physically_smaller": size if removed else None,
    }


def _affordable(folders: Sequence[Path], limit: int) -> list[Path]:
    """Returns the first artifacts whose weights have at most `limit` bytes in total; at least one.

    Skips artifacts with dropped weights; the first, measured one keeps its weights.
    """
    total = 0
    kept: list[Path] = []
    for folder in (folder for folder in folders if (folder / WEIGHTS_FILE).exists()):
        total += (folder / WEIGHTS_FILE).stat().st_size
        if kept and total > limit:
            break
        kept.append(folder)
    return kept


def _layers(rows: Sequence[LayerSize], dense: Sequence[LayerSize], folders: Sequence[Path]) -> list[dict[str, Any]]:
    """Returns the layers of the measured network, with the range of sparsities over the networks in `folders`."""
    whole = {row.name: row for row in rows} | {row.name: row for row in dense}  # a defence can add layers
    own: dict[str, int] = {}
    left: dict[str, list[int]] = defaultdict(list)  # by layer of the dense network
    for folder in folders:
        weights, coded = load_tensors(folder / WEIGHTS_FILE), num_left(load_state(folder))
        counts = {name: coded.get(name, int(tensor.count_nonzero())) for name, tensor in weights.items()}
        # A weight computed from other tensors is in no file, and never compressed.
        own = own or {row.name: counts[row.parameter] if row.parameter else row.nonzero for row in rows}
        for name in dict.fromkeys(row.dense_name for row in rows):
            left[name].append(_left(name, rows, counts))
    return [
        {
            "name": row.name,
            "type": row.type,
            "shared_with": list(row.shared_with),
            "shape": list(row.shape),
            "dense_shape": list(whole[row.dense_name].shape),
            "weights": row.weights,
            "dense_weights": whole[row.dense_name].weights,
            "nonzero": own[row.name],
            "sparsity": 1 - left[row.dense_name][0] / whole[row.dense_name].weights,
            "sparsity_low": 1 - max(left[row.dense_name]) / whole[row.dense_name].weights,
            "sparsity_high": 1 - min(left[row.dense_name]) / whole[row.dense_name].weights,
        }
        for row in rows
    ]


def _left(name: str, rows: Sequence[LayerSize], counts: Mapping[str, int]) -> int:
    """Returns how many weights of a network stand for a layer of the dense one.

    Args:
        name: the dense network's layer.
        rows: the layers of another model of the release.
        counts: the remaining weights of each tensor of this model.
    """
    of_layer = [row for row in rows if row.dense_name == name]
    if all(row.parameter in counts for row in of_layer):
        return sum(counts[row.parameter] for row in of_layer)
    # Either it is computed from other tensors, or only one of both models has two layers in its place.
    found = [counts[parameter] for parameter in possible_parameters(name) if parameter in counts]
    return sum(found) if found else sum(row.nonzero for row in of_layer)


def _left_whole(
    rows: Sequence[LayerSize], layers: Sequence[Mapping[str, Any]] | None, coded: Collection[str]
) -> list[dict[str, Any]]:
    """Returns the matrices that compression left unchanged in all measured networks, with the reason.

    Args:
        rows: the layers of the released network.
        layers: the layers of the entry.
        coded: the parameters whose weights are stored as codes.
    """
    if not layers:
        return []
    found = left_whole(rows, [layer["sparsity_high"] for layer in layers])
    changed = {row.name for row in rows if row.parameter in coded}
    return [layer for layer in found if layer["name"] not in changed]


def _latencies(subjects: Sequence[Subject], entries: Sequence[dict[str, Any]], inputs: Inputs) -> dict[str, Any] | None:
    """Times all networks in turns, writes each `latency` into its entry, and returns the conditions."""
    timing = time_in_turns({s.name: s.network for s in subjects if s.network is not None}, inputs)
    dense = timing.latencies.get(DENSE)
    for subject, entry in zip(subjects, entries, strict=True):
        found = timing.latencies.get(subject.name)
        entry["latency"] = found and {
            "median_milliseconds": 1000 * found.median_seconds,
            "min_milliseconds": 1000 * found.min_seconds,
            "max_milliseconds": 1000 * found.max_seconds,
            "ratio_to_dense": found.median_seconds / dense.median_seconds if dense else None,
        }
        if subject.name in timing.gaps:
            subject.gaps["latency"] = timing.gaps[subject.name]
    if not timing.latencies:
        return None
    return {
        "batch_size": timing.batch_size,
        "rounds": timing.rounds,
        "threads": 1,
        "device": "cpu",
        "machine": machine(),
        "note": ABOUT_ZEROS,
    }


def _facts(subject: Subject, plan: Plan, store: Store, left_out: Collection[int]) -> dict[str, Any]:
    """Returns method, defences, origin, accuracies and reactivation; `before` is the accuracy before compression."""
    facts = release_facts(plan, store, subject.name, left_out)
    accuracy = {step: facts.get(f"test_accuracy_{step}", math.nan) for step in ("after_pruning", "after_finetuning")}
    accuracy["before"] = facts.get("test_accuracy_before", math.nan)
    if subject.name == DENSE:
        summaries = [json.loads((folder / SUMMARY_FILE).read_text()) for folder in subject.folders]
        accuracy["before"] = float(np.mean([summary["test_accuracy"] for summary in summaries]))
    return {
        "method": facts["compress"],
        "defense": facts.get("defense", ""),
        "origin": facts["origin"],
        "accuracy": {step: None if math.isnan(value) else value for step, value in sorted(accuracy.items())},
        "reactivation": subject.gaps.measured("reactivation", lambda: _reactivation(subject.folders)),
        "defense_report": of_release(_defense_report(subject.folders), plan, store, subject.name, left_out),
        "kept_whole": _kept_whole(subject.folders),
        "adapter": adapter_facts(subject.folders[0]),
    }


def release_notes(report: Mapping[str, Any] | None) -> list[str]:
    """Returns notes for readers on how the releases were made; `report` is from `release_report`, or None."""
    entries = report["releases"] if report else ()
    return [f"release '{entry['name']}': {note}" for entry in entries for note in entry.get("kept_whole", ())]


def _kept_whole(folders: Sequence[Path]) -> list[str]:
    """Returns notes on layers of any model that were left whole, and why."""
    files = [folder / STRUCTURE_FILE for folder in folders]
    notes = [note for file in files if file.exists() for note in kept_whole(file.read_text(encoding="utf-8"))]
    summaries = (json.loads((folder / SUMMARY_FILE).read_text()) for folder in folders)
    notes += [note for summary in summaries for note in summary.get("kept_whole", ())]
    return list(dict.fromkeys(notes))


def _defense_report(folders: Sequence[Path]) -> dict[str, Any] | None:
    """Returns the defence's report on the first model, with the highest epsilon of all; None without a report."""
    reports = [json.loads((folder / SUMMARY_FILE).read_text()).get("defense") for folder in folders]
    told = [report for report in reports if report]
    if not told:
        return None
    spent = [report.get("epsilon") for report in told]
    highest = {"epsilon": max(spent)} if all(isinstance(epsilon, float) for epsilon in spent) else {}
    return told[0] | highest


def _reactivation(folders: Sequence[Path]) -> list[dict[str, float]] | None:
    """Returns mean sparsity and reactivation rate per epoch; None if pruned weights never come back."""
    rows: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for folder in folders:
        with (folder / HISTORY_FILE).open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get("reactivation_rate"):
                    rows[int(row["epoch"])].append((float(row["sparsity"]), float(row["reactivation_rate"])))
    return [
        {
            "epoch": epoch,
            "sparsity": statistics.fmean(sparsity for sparsity, _ in values),
            "reactivation_rate": statistics.fmean(rate for _, rate in values),
        }
        for epoch, values in sorted(rows.items())
    ] or None
