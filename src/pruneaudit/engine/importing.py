"""Reads a user's own files of weights into a run, and checks them before anything is trained."""

# M models, N samples, C classes

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.compression.layer_sizes import weight_counts
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.state import save_state, state_of
from pruneaudit.compression.storage_size import size_facts
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import STRUCTURE_FILE, WEIGHTS_FILE
from pruneaudit.core.threads import one_torch_thread
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.target_files import UsersWeights, one_file, source_on_disk
from pruneaudit.engine.task_context import TaskContext, new_model, stored_model, write_trained
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.external.filling import filled
from pruneaudit.external.plausible import tell_implausible
from pruneaudit.external.transformers_folders import check_labels, check_tokenizer, folder_of
from pruneaudit.external.weight_files import structure_of
from pruneaudit.models import MODELS
from pruneaudit.signals.collect import collect
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Plugin
from pruneaudit.training.checkpoint import own_tensors, save_tensors, save_weights
from pruneaudit.training.history import write_history, write_summary
from pruneaudit.training.samples import Samples

CHECKED_PER_SIDE = 2_000
"""Members, and non-members, on which a network is checked before the run."""


def check_weights(weights: UsersWeights, audit_data: AuditData, note: Callable[[str], None]) -> None:
    """Checks that a file fits its network and that the network answers as one that was trained on the members.

    Args:
        weights: the file.
        audit_data: the audit data of the study.
        note: called with what looks wrong but may be right, such as members that are not classified better.

    Raises:
        UserError: the file does not fit, or the answers are not finite; or it is in a folder of Transformers with
            another tokenizer than that of the data, or other classes.
    """
    if (folder := folder_of(one_file(weights.file))) is not None:
        check_tokenizer(audit_data, folder)
        check_labels(audit_data.classes, folder)

    def named(text: str) -> None:
        note(f"{weights.file}: {text}")

    asked = _asked(audit_data)
    answers = _finite_answers(weights, audit_data, asked, named)  # (N, C)
    assert audit_data.target_member is not None
    signals = Signals(
        logits=answers[None],
        labels=audit_data.y[asked],
        member=audit_data.target_member[None, asked],
        model_ids=np.array([Path(weights.file).name]),
    )
    tell_implausible(signals, named)


def check_start(weights: UsersWeights, audit_data: AuditData, note: Callable[[str], None]) -> None:
    """Checks that a file fits the network that is to start from it, and that the network answers with numbers.

    Args:
        weights: the file.
        audit_data: the audit data of the study.
        note: called with what was left out or chosen.

    Raises:
        UserError: the file does not fit, its architecture was changed, or the answers are not finite.
    """
    if weights.network is None and (structure := structure_of(one_file(weights.file))):
        raise UserError(
            f"training.init: {weights.file} is of a network with a changed architecture (its folder has "
            f"{structure.name}), expected the architecture of `model`; give the weights from before the compression"
        )
    asked = np.arange(len(audit_data.y)) < CHECKED_PER_SIDE
    _finite_answers(weights, audit_data, asked, lambda text: note(f"{weights.file}: {text}"))


def _finite_answers(
    weights: UsersWeights, audit_data: AuditData, asked: np.ndarray, note: Callable[[str], None]
) -> np.ndarray:
    """Returns the logits (n, C) of a file's network at the samples `asked`, (N,) bool.

    Raises:
        UserError: the file does not fit, or the answers are not finite.
    """
    with one_torch_thread():
        network = _read(weights, audit_data, note)
        answers: np.ndarray = collect(network, Samples.of(audit_data, asked), 1, 0)["logits"]  # (n, C)
    broken = int((~np.isfinite(answers).all(axis=1)).sum())
    if broken:
        raise UserError(
            f"{weights.file}: NaN or infinity in the outputs for {broken:,} of {len(answers):,} samples; give the file"
            " of a network whose training did not diverge"
        )
    return answers


def write_weights(weights: UsersWeights, audit_data: AuditData, staging: Path) -> None:
    """Writes the weights of a user's file by the names of the network, with the list of removed channels.

    Raises:
        UserError: the file has changed since the study was planned.
    """
    if source_on_disk(*weights.source) != weights.sha256:
        raise UserError(f"{weights.file}: changed while this study began; run it again")
    if weights.network is not None:
        network, new = _from_folder(weights.network, audit_data)
        save_tensors(
            {name: value for name, value in own_tensors(network).items() if name not in new}, staging / WEIGHTS_FILE
        )
        return
    network = _read(weights, audit_data, lambda _: None)
    save_weights(network, staging / WEIGHTS_FILE)
    if (structure := structure_of(one_file(weights.file))) is not None:
        shutil.copyfile(structure, staging / STRUCTURE_FILE)


def import_model(task_spec: TaskSpec) -> None:
    """Makes the target's model in one release from the weights that the run holds."""
    context, spec, staging = TaskContext(task_spec), task_spec.spec, Path(task_spec.staging)
    held = Path(task_spec.inputs["weights"])
    model = stored_model(spec, context.audit_data, held).to(task_spec.device)
    if (held / STRUCTURE_FILE).exists():
        shutil.copyfile(held / STRUCTURE_FILE, staging / STRUCTURE_FILE)
    if spec["kind"] == DENSE:
        write_trained(context, model, [])
        return
    save_weights(model, staging / WEIGHTS_FILE)
    write_history([], staging)
    state = _state_of(model)
    save_state(state, staging)
    write_summary(_facts(model, state, context), staging)


def _state_of(model: nn.Module) -> dict[str, Tensor]:
    """Returns the compressed state as far as weights show it: zeros count as removed; other codes are not known."""
    with_zeros = [name for name, weight in counted_weights(model).items() if not bool(weight.all())]
    return state_of(model, [Masks.of_zeros(model, with_zeros)]) if with_zeros else {}


def _facts(model: nn.Module, state: Mapping[str, Tensor], context: TaskContext) -> dict[str, Any]:
    """Returns the summary of a release that is a file: sizes as fractions of the dense network, and accuracies."""
    dense = weight_counts(context.initial_model())
    accuracies = context.accuracies(model)
    example = context.members().inputs(slice(0, 1))
    starts, dense_weights = "parent" in context.task_spec.inputs, context.dense_weights(dense["prunable_weights"])
    before = {"test_accuracy_before": context.parents_summary()["test_accuracy"]} if starts else {}
    return {
        **before,
        "test_accuracy_after_pruning": accuracies["test_accuracy"],
        "dense_weights": dense_weights,
        **weight_counts(model, dense),
        **accuracies,
        **size_facts(model, state, dense_weights, example),
        "num_members": int(context.split.member.sum()),
    }


def _read(weights: UsersWeights, audit_data: AuditData, note: Callable[[str], None]) -> nn.Module:
    """Builds the network and loads the file into it.

    Raises:
        UserError: the network cannot be built, or the file does not fit it.
    """
    if weights.network is not None:
        return _from_folder(weights.network, audit_data)[0]
    try:
        with torch.random.fork_rng(devices=[]):  # a user's network can draw from the global generator
            network = new_model(weights.spec, audit_data, torch.Generator().manual_seed(0))
    except UserError:
        raise
    except Exception as error:  # a user's function can raise anything
        raise UserError(f"model of {weights.file}: failed ({in_one_line(error)}); expected a network") from error
    return filled(network, one_file(weights.file), weights.key, note, weights.key_option)


def _from_folder(model: Plugin, audit_data: AuditData) -> tuple[nn.Module, frozenset[str]]:
    """Builds the network of a folder with its weights; also returns the names of tensors that the folder lacks.

    Raises:
        UserError: the folder does not fit the data.
    """
    found = MODELS.get(model.name)
    with torch.random.fork_rng(devices=[]):  # tensors that the folder lacks are drawn, but used by no model
        torch.default_generator.manual_seed(0)
        options, shape = found.Options.model_validate(model.options), audit_data.input_shape
        return found.from_folder(options, shape, audit_data.num_classes)


def _asked(audit_data: AuditData) -> np.ndarray:
    """(N,) bool: the first members and the first non-members of those that are audited or kept, no canaries."""
    assert audit_data.target_member is not None
    there = ~audit_data.unseen & ~audit_data.is_copy & ~audit_data.canary
    sides = (there & audit_data.target_member, there & ~audit_data.target_member)
    chosen: np.ndarray = np.logical_or.reduce([side & (np.cumsum(side) <= CHECKED_PER_SIDE) for side in sides])
    return chosen
