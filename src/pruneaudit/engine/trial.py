"""Tries a user's network before any training: checks that a forward pass gives logits, and gradients have gradients."""

# B batch, C classes

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.inputs import Inputs, answered, described, num_in
from pruneaudit.models._outputs import check_answer, check_steady, logits_in
from pruneaudit.signals.recognised import recognised
from pruneaudit.signals.start_saliency import start_saliency
from pruneaudit.study.lora import Lora
from pruneaudit.training.lora import Adapted
from pruneaudit.training.samples import Samples

NUM_TRIED = 64
"""Number of samples for the trial."""
FAR = 1e4
"""Factor on the inputs that saturates a sigmoid."""
SATURATED = 1e-4
"""Distance from 0 or 1 of a saturated sigmoid."""


def check_network(network: nn.Module, audit_data: AuditData, name: str) -> None:
    """Queries a network with new weights on the first samples, in training and in evaluation mode.

    Args:
        network: the network on the CPU; modified, because training mode is also tried.
        audit_data: the audit data of the study.
        name: the name of the network, for messages.

    Raises:
        UserError: it fails on the samples, or returns a wrong number of classes, an unclear tuple, probabilities, or
            different answers each time; the message says how to fix it.
    """
    _check_ends(network, audit_data, name)
    few = np.arange(len(audit_data.y)) < NUM_TRIED
    x = Samples.of(audit_data, few).inputs(slice(None))  # (B, ...)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def ask(training: bool = False, inputs: Inputs = x) -> Tensor:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.seed()  # a random network must not give the same answer twice
            return _asked(network.train(training), inputs, name, audit_data.num_classes)

    for training in (False, True):
        check_answer(ask(training), num_in(x), audit_data.num_classes, name)
    check_steady(ask, name)
    far = FAR * x if isinstance(x, Tensor) else x
    _check_no_probabilities(ask().float().numpy(), ask(inputs=far).float().numpy(), name)


def _check_ends(network: nn.Module, audit_data: AuditData, name: str) -> None:
    """Refuses texts with padding ids inside, for a network that finds the end of a text by them.

    Classifiers of Transformers that read the last token (`score`: GPT-2, Llama, ...) take the last one that is no
    padding, whatever the mask says.
    """
    if audit_data.lengths is None or audit_data.vocabulary is None or not hasattr(network, "score"):
        return
    padding = audit_data.vocabulary.padding
    known = getattr(getattr(network, "config", None), "pad_token_id", padding)
    if known != padding:
        raise UserError(
            f"{name}: finds the end of a text by padding id {known}, but the data are padded with {padding}; set "
            f"config.pad_token_id to it"
        )
    real = np.arange(audit_data.x.shape[1]) < audit_data.lengths[:, None]  # (N, T)
    if inside := int(((audit_data.x == padding) & real).any(axis=1).sum()):
        raise UserError(
            f"{name}: reads the last token that is no padding, but {inside:,} of {len(real):,} texts have the padding"
            f" id {padding} inside; use a tokenizer with a padding token of its own, or another architecture, such"
            " as bert"
        )


def check_adapter(network: nn.Module, settings: Lora, audit_data: AuditData) -> None:
    """Adapts a network and takes one gradient of its loss.

    Args:
        network: a new network on the CPU; changed.
        settings: how to adapt it.
        audit_data: the audit data of the study.

    Raises:
        UserError: a target cannot be adapted, or its matrices do not affect the network's output.
    """
    adapter = Adapted(network, settings, audit_data.num_classes, torch.Generator().manual_seed(0))
    few = Samples.of(audit_data, np.arange(len(audit_data.y)) < NUM_TRIED)
    with torch.random.fork_rng(devices=[]):
        cross_entropy(
            _asked(network.train(), few.inputs(slice(None)), "lora", audit_data.num_classes), few.y
        ).backward()
    idle = [name for name, (_, b) in adapter.matrices.items() if b.grad is None]
    if idle:
        raise UserError(
            f"lora: target '{idle[0]}' does not affect the network's output, because its layer is not called with"
            " inputs; leave it out"
        )


def check_differentiable(network: nn.Module, audit_data: AuditData, name: str) -> None:
    """Takes the start saliency of the first samples.

    Args:
        network: a new network on the CPU.
        audit_data: the audit data of the study.
        name: the name of the network, for messages.

    Raises:
        UserError: a layer has no second derivative.
    """
    few = Samples.of(audit_data, np.arange(len(audit_data.y)) < NUM_TRIED)
    kept = {key: weight.detach() > 0 for key, weight in network.named_parameters() if weight.ndim > 1}
    try:
        start_saliency(network, few, kept)
    except RuntimeError as error:
        raise UserError(
            f"{name}: has no second derivative ({in_one_line(error)}), but attack 'mask_saliency' needs one; leave "
            f"that attack out"
        ) from error


def _asked(network: nn.Module, x: Inputs, name: str, num_classes: int) -> Tensor:
    try:
        answer: Tensor = logits_in(answered(network, x), num_classes)
    except Exception as error:  # a user's network can raise anything
        reason = in_one_line(error)
        mend = "expected a network that takes them"
        if "view size is not compatible" in reason:
            mend = "use reshape instead of view, because images are stored with channels last"
        raise UserError(f"{name}: fails on {described(x)} ({reason}); {mend}") from error
    return answer


def _check_no_probabilities(answers: np.ndarray, far: np.ndarray, name: str) -> None:
    """Refuses probabilities, because their cross-entropy would be computed as if they were logits.

    Args:
        answers: (B, C) answers to samples; those of a network with one output are [0, z].
        far: (B, C) answers to samples far from all others, where a sigmoid is close to 0 or 1.
        name: the name of the network, for messages.
    """
    if answers.shape[1] == 2 and (answers[:, 0] == 0).all():
        z = far[:, 1]
        found = bool(((z >= 0) & (z <= 1)).all() and (np.minimum(z, 1 - z) < SATURATED).any())
    else:
        found = recognised(answers).kind == "probabilities"
    if found:
        raise UserError(f"{name}: returns probabilities, expected logits: return the values before softmax or sigmoid")
