"""The context of a task's model: its samples, files and random draws."""

# N samples

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from pruneaudit.compression.chain import Step
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.parametrized import copied
from pruneaudit.compression.storage_size import size_facts
from pruneaudit.compression.structure import replay
from pruneaudit.core import seeds
from pruneaudit.core.files import EARLY_FILE, STRUCTURE_FILE, SUMMARY_FILE, WEIGHTS_FILE, file_sha256
from pruneaudit.core.identity import sha256_of
from pruneaudit.core.randomness import numpy_generator, torch_generator
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import from_text
from pruneaudit.data.splits import Split, coin_split
from pruneaudit.defenses import DEFENSES
from pruneaudit.engine.store import SEAL
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.models import MODELS, build_model
from pruneaudit.models._head import head_of
from pruneaudit.study import Training
from pruneaudit.study.base import BASE
from pruneaudit.study.lineage import SCORING
from pruneaudit.training.checkpoint import load_weights, save_weights
from pruneaudit.training.history import write_history, write_summary
from pruneaudit.training.hooks import Hook
from pruneaudit.training.lora import Adapted
from pruneaudit.training.predict import accuracy
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import dev_hooks

SCORES_FILE = "scores.npy"
"""Scores of the bank's samples from the scoring bank: (B,) float64, NaN for samples in no training set."""


def audit_data_of(task_spec: TaskSpec) -> AuditData:
    """Returns the study's audit data, which each worker loads once."""
    folder = Path(task_spec.inputs["audit_data"])
    # Damaged audit data are made again under the same name, with another seal file.
    return _loaded_audit_data(folder, (folder / SEAL).stat().st_ino, (folder / SEAL).stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _loaded_audit_data(folder: Path, seal_number: int, sealed_ns: int) -> AuditData:
    return AuditData.load(folder, mmap=True)


class TaskContext:
    """The context of a task's model: its training set, evaluation samples, dev set, and new networks."""

    def __init__(self, task_spec: TaskSpec) -> None:
        self.task_spec = task_spec
        self.seed, self.model_id = task_spec.spec["seed"], task_spec.spec["model_id"]
        self.audit_data = audit_data_of(task_spec)
        self._bank: tuple[str, ...] = ()
        self.adapter_facts: dict[str, Any] = {}
        """Facts about the adapter of its training, under the key `adapter`; empty without one."""
        if task_spec.spec["kind"] == SCORING:
            self._bank = (seeds.SCORING,)
            self.split = scoring_split(self.seed, self.model_id, self.audit_data)
        elif task_spec.spec["kind"] == BASE:
            self._bank = (seeds.BASE,)
            self.split = public_split(self.audit_data)
        else:
            self.split = from_text(task_spec.membership).of(0)

    def members(self) -> Samples:
        """Returns its training samples, including canaries."""
        return Samples.of(self.audit_data, self.split.member, self.task_spec.device)

    def accuracies(self, model: nn.Module) -> dict[str, float]:
        """Returns training and test accuracy, on eligible samples with a correct label."""
        return {"train_accuracy": self._accuracy(model, self.split.member), "test_accuracy": self.test_accuracy(model)}

    def test_accuracy(self, model: nn.Module) -> float:
        """Returns the accuracy on eligible non-members with a correct label."""
        return self._accuracy(model, ~self.split.member)

    def _accuracy(self, model: nn.Module, chosen: np.ndarray) -> float:
        ordinary = self.split.eligible & ~self.audit_data.canary
        return accuracy(model, Samples.of(self.audit_data, ordinary & chosen, self.task_spec.device))

    def public(self, num_samples: int | None = None) -> Samples:
        """Returns the non-member samples that can influence the network; possibly none.

        Args:
            num_samples: how many, from the first; None: all.
        """
        return Samples.of(self.audit_data, self.audit_data.shaping(num_samples), self.task_spec.device)

    def calibration(self, step: Step) -> Samples | None:
        """Returns the samples that a compressor gets beside the members that its release trains on; None: none."""
        data, num_samples = step.compressor.data(step.options), step.compressor.num_samples(step.options)
        if data == "none":
            return None
        if data == "mixed":
            chosen = self.split.member | self.audit_data.shaping(num_samples)
            return Samples.of(self.audit_data, chosen, self.task_spec.device)
        if step.reads_public:
            return self.public(num_samples)
        rng = numpy_generator(self.seed, seeds.CALIBRATION)
        chosen = self.audit_data.members_for(self.split.member, num_samples, rng)
        return Samples.of(self.audit_data, chosen, self.task_spec.device)

    def sample_scores(self) -> np.ndarray | None:
        """Returns its members' scores from the scoring bank, (n,) float64, in the order of `members`; None if none."""
        if "sample_scores" not in self.task_spec.inputs:
            return None
        scores: np.ndarray = np.load(Path(self.task_spec.inputs["sample_scores"]) / SCORES_FILE, allow_pickle=False)
        return scores[self.split.member[: len(scores)]]

    def hooks(self, settings: Training) -> tuple[Hook, ...]:
        """Returns the hooks that the training settings need."""
        return dev_hooks(settings, self.public())

    def generator(self, *purpose: str) -> torch.Generator:
        """Returns the CPU generator for one purpose of this model; the scoring bank has separate ones."""
        first, *rest = (*self._bank, *purpose)
        return torch_generator(self.seed, first, *rest, self.model_id)

    def initial_model(self) -> nn.Module:
        """Returns a network with the initial weights of this model: its own, those of all models, or a file's."""
        spec = self.task_spec.spec
        if spec.get("head") == "new":
            weights = Path(self.task_spec.inputs["start"]) / WEIGHTS_FILE
            model = new_model(spec, self.audit_data, self.generator(seeds.INITIALISE), weights, keep_head=False)
        elif "init" in spec:
            model = shared_start(self.task_spec, self.audit_data)
        else:
            model = new_model(spec, self.audit_data, self.generator(seeds.INITIALISE))
        return model.to(self.task_spec.device)

    @contextmanager
    def adapted(self, model: nn.Module, settings: Training, *purpose: str) -> Iterator[None]:
        """Within it, only thin matrices and the head are trained, if the settings say so; then `model` is plain again.

        Writes the adapter to the staging folder; `adapter_facts` describes it.

        Args:
            model: the network, changed in place.
            settings: of the training.
            purpose: of the training, from which the matrices are drawn.
        """
        if settings.lora is None:
            yield
            return
        draws = self.generator(seeds.ADAPTER, *purpose)
        adapter = Adapted(model, settings.lora, self.audit_data.num_classes, draws)
        yield
        adapter.merge()
        self.adapter_facts = {"adapter": adapter.save(Path(self.task_spec.staging), self._start_facts())}

    def _start_facts(self) -> dict[str, str]:
        """Returns name and checksum of the weights that a training starts from; empty if the task draws them."""
        role = next((role for role in ("parent", "start") if role in self.task_spec.inputs), None)
        if role is None:
            return {"name": "", "sha256": ""}
        file = Path(self.task_spec.inputs[role]) / WEIGHTS_FILE
        return {"name": "/".join(file.parts[-3:]), "sha256": file_sha256(file)}

    def early_model(self) -> nn.Module:
        """Returns a network with the weights that the parent had early in its training; only if it keeps them."""
        return load_weights(self.initial_model(), Path(self.task_spec.inputs["parent"]) / EARLY_FILE)

    @property
    def has_early(self) -> bool:
        """Whether the parent keeps the weights that it had early in its training."""
        parent = self.task_spec.inputs.get("parent")
        return parent is not None and (Path(parent) / EARLY_FILE).exists()

    def parents_summary(self) -> dict[str, Any]:
        """Returns the summary of the network that this one starts or learns from; empty without one."""
        role = next((role for role in ("parent", "teacher") if role in self.task_spec.inputs), None)
        if role is None:
            return {}
        found: dict[str, Any] = json.loads((Path(self.task_spec.inputs[role]) / SUMMARY_FILE).read_text())
        return found

    def dense_weights(self, own: int) -> int:
        """Returns how many weights the network has that all compression began with: for students, their teacher's.

        Args:
            own: the weights of this network before its compression.
        """
        usual = own
        if "teacher" in self.task_spec.inputs:
            teacher = new_model(self.task_spec.spec["teacher"], self.audit_data, torch.Generator())
            usual = sum(weight.numel() for weight in counted_weights(teacher).values())
        return int(self.parents_summary().get("dense_weights", usual))

    def checkpoints(self, phase: str = "") -> Checkpoints | None:
        """Returns the checkpoints of a training of this task; every phase has a separate folder."""
        if not self.task_spec.checkpoints:
            return None
        folder = Path(self.task_spec.checkpoints) / phase if phase else Path(self.task_spec.checkpoints)
        return Checkpoints(folder, self.task_spec.checkpoint_seconds)


def scoring_split(study_seed: int, model_id: int, audit_data: AuditData) -> Split:
    """Draws the split of one model of the scoring bank: independently per sample, under every protocol."""
    return coin_split(numpy_generator(study_seed, seeds.SCORING_MEMBERSHIP, model_id), audit_data, is_victim=False)


def public_split(audit_data: AuditData) -> Split:
    """Returns the split of the base: the public samples, and for its test accuracy all others but canaries."""
    return Split(audit_data.public, ~audit_data.canary & ~audit_data.is_copy, is_victim=False, group=0)


def shared_start(task_spec: TaskSpec, audit_data: AuditData) -> nn.Module:
    """Returns a network on the CPU with the initial weights that all models share: one draw, or those of a file.

    Args:
        task_spec: a task on a model of a study whose `training.init` is not "own".
        audit_data: the audit data of the study.
    """
    draws, held = torch_generator(task_spec.spec["seed"], seeds.INITIALISE), task_spec.inputs.get("start")
    return new_model(task_spec.spec, audit_data, draws, Path(held) / WEIGHTS_FILE if held else None)


def new_model(
    spec: Mapping[str, Any],
    audit_data: AuditData,
    generator: torch.Generator,
    start: Path | None = None,
    keep_head: bool = True,
) -> nn.Module:
    """Makes a new network on the CPU, prepared for the release's defences.

    Args:
        spec: the spec of an artifact: `model`, and the defences in `prepared`, if any.
        audit_data: determines the shape of inputs and the number of classes.
        generator: draws its weights.
        start: the file of the weights to start from instead.
        keep_head: whether the last layer starts from the file too.
    """
    shape, described = audit_data.input_shape, spec["model"]
    model = build_model(described["name"], described["options"], shape, audit_data.num_classes, generator)
    if start is not None:
        load_weights(model, start, None if keep_head else head_of(model, audit_data.num_classes))
    for plugin in spec.get("prepared", ()):
        defense = DEFENSES.get(plugin["name"])
        model = defense.prepare(model, defense.Options.model_validate(plugin["options"]))
    return model


class NewNetworks:
    """Networks with new weights, for trials and timings: each kind of the package's own is drawn once, then copied."""

    def __init__(self, audit_data: AuditData) -> None:
        self._audit_data = audit_data
        self._drawn: dict[str, nn.Module] = {}

    def of(self, spec: Mapping[str, Any]) -> nn.Module:
        """Returns a network on the CPU with weights of its own; the same numbers each time.

        Args:
            spec: as for `new_model`.
        """
        described = spec["model"]
        if spec.get("prepared") or MODELS.get(described["name"]).draws_own_weights:  # may not survive copying
            return new_model(spec, self._audit_data, torch.Generator().manual_seed(0))
        kind = sha256_of(described)
        if kind not in self._drawn:
            self._drawn[kind] = new_model(spec, self._audit_data, torch.Generator().manual_seed(0))
        return copied(self._drawn[kind])


def stored_model(spec: Mapping[str, Any], audit_data: AuditData, folder: Path) -> nn.Module:
    """Loads the network of an artifact on the CPU, with the structure and weights in its folder.

    Args:
        spec: as for `new_model`.
        audit_data: the audit data of the study.
        folder: the folder of the artifact.
    """
    model = new_model(spec, audit_data, torch.Generator())
    structure = folder / STRUCTURE_FILE
    if structure.exists():
        model = replay(model, structure.read_text(encoding="utf-8"))
    return load_weights(model, folder / WEIGHTS_FILE)


def write_trained(context: TaskContext, model: nn.Module, history: Sequence[Mapping[str, Any]]) -> None:
    """Writes a trained model of the bank to its staging folder: weights, history, summary."""
    staging = Path(context.task_spec.staging)
    save_weights(model, staging / WEIGHTS_FILE)
    write_history(history, staging)
    weights = sum(weight.numel() for weight in counted_weights(model).values())
    summary = {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **context.accuracies(model),
        "matrix_weights": weights,
        **context.adapter_facts,
        **size_facts(model, {}, weights, context.members().inputs(slice(0, 1))),
        "num_members": int(context.split.member.sum()),
    }
    write_summary(summary, staging)
