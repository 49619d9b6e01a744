"""Queries users' networks: recognises the form of their answers, and collects predictions."""

# N samples, C classes, B batch

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import answered, described, num_in
from pruneaudit.external.asked import Queries
from pruneaudit.external.makers import called
from pruneaudit.external.texts import check_takes_texts
from pruneaudit.models._outputs import check_answer, check_steady, logits_in, two_classes
from pruneaudit.signals.collect import collect, outputs
from pruneaudit.signals.derived import correct
from pruneaudit.signals.probabilities import logit
from pruneaudit.signals.recognised import is_one_probability, recognised
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.study.user_function import working_folder_searched
from pruneaudit.training.samples import Samples

TRIED = 4
"""Samples to try a network on before it predicts all."""
RECOGNISED_ON = 512
"""Samples to distinguish logits and probabilities by."""


class Plain(nn.Module):
    """Feeds a network images in plain memory order, because a user's code may call `view`, and takes its logits."""

    def __init__(self, network: nn.Module, num_classes: int | None = None) -> None:
        """Takes the network, and the number of classes, if it is known."""
        super().__init__()
        self.network, self.num_classes = network, num_classes

    def forward(self, *x: Tensor, **texts: Tensor) -> Tensor:
        """The network's answers for `x` (B, ...), or for texts by keyword."""
        output = self.network(*(each.contiguous() for each in x), **texts)
        answer: Tensor = logits_in(output, self.num_classes)
        return answer


class TwoClasses(nn.Module):
    """Turns the single output of a two-class network into one per class: [0, z], or [1 - p, p]."""

    def __init__(self, network: nn.Module, form: str) -> None:
        super().__init__()
        self.network, self.form = network, form

    def forward(self, *x: Tensor, **texts: Tensor) -> Tensor:
        """Answers (B, 2)."""
        one: Tensor = self.network(*x, **texts)
        if self.form == "logits":
            return two_classes(one)
        p = one.reshape(-1)
        return torch.stack([1 - p, p], dim=1)


class Logarithms(nn.Module):
    """The logarithms of a network's probabilities; their softmax gives back these probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *x: Tensor, **texts: Tensor) -> Tensor:
        """Ln p (B, C), finite."""
        p: Tensor = self.network(*x, **texts).float()
        return p.clamp_min(torch.finfo(torch.float32).tiny).log()


@working_folder_searched()
def ask(
    network: nn.Module,
    samples: Samples,
    name: str,
    num_classes: int,
    queries: Queries,
    may_be_more: bool = False,
) -> dict[str, np.ndarray]:
    """One network's predictions on all samples, by the keys of `Signals`, without the axis of models.

    Its outputs show whether they are logits or probabilities; a single output for two classes is that of class 1.

    Args:
        network: with its weights, on the samples' device.
        samples: N samples.
        name: the model's name, for messages and for its noise.
        num_classes: C.
        queries: the queries for every sample.
        may_be_more: whether the network may have more classes.

    Raises:
        UserError: the network fails on the samples, returns neither logits nor probabilities, or answers at random.
    """
    plain = Plain(network, num_classes).eval()
    _try(plain, samples, name, num_classes, may_be_more)
    form, asked = _form(plain, samples, name)
    if form == "logits":
        answers: dict[str, np.ndarray] = called(lambda: collect(asked, samples, queries.count, queries.seed), name)
        _check_finite(answers["logits"], name)
    else:
        answers = called(lambda: _probabilities(asked, samples, queries.count, queries.seed), name)
        _check_finite(answers["probabilities"], name)
    if queries.sensitivity:
        before_softmax = asked if form == "logits" else Logarithms(asked)
        answers["sensitivity"] = called(lambda: sensitivity(before_softmax, samples, queries.seed, name), name)
    return answers


@working_folder_searched()
def with_logits(network: nn.Module, samples: Samples, name: str, num_classes: int) -> nn.Module:
    """A network in evaluation mode that returns one logit per class; for probabilities, their logarithms.

    Args:
        network: with its weights, on the samples' device; its parameters are those of the result.
        samples: N samples, to recognise the form of its outputs by.
        name: its name, for messages.
        num_classes: C.

    Raises:
        UserError: the network fails on the samples, or returns neither logits nor probabilities.
    """
    plain = Plain(network, num_classes).eval()
    _try(plain, samples, name, num_classes, may_be_more=False)
    form, asked = _form(plain, samples, name)
    return asked if form == "logits" else Logarithms(asked)


def _form(network: Plain, samples: Samples, name: str) -> tuple[str, nn.Module]:
    """`logits` or `probabilities`, recognised on some samples, and the network with one output per class."""
    with torch.inference_mode():
        tried = answered(network, samples.inputs(slice(0, min(len(samples), RECOGNISED_ON)))).float().cpu().numpy()
    one = tried.reshape(-1) if tried.ndim == 1 or tried.shape[1] == 1 else None
    if one is not None:
        form = "probabilities" if is_one_probability(one) == "probabilities" else "logits"
        return form, TwoClasses(network, form)
    found = recognised(tried)
    if found.kind == "parts":
        raise UserError(
            f"{name}: outputs sum to {found.total:g} for {found.share:.1%} of the samples, expected logits or"
            f" probabilities; divide them by {found.total:g} in the network"
        )
    return "probabilities" if found.kind in ("probabilities", "hard labels") else "logits", network


def _probabilities(network: nn.Module, samples: Samples, num_queries: int, seed: int) -> dict[str, np.ndarray]:
    """The predictions of a network that returns probabilities, by the keys of `Signals`."""
    answers = outputs(network, samples, num_queries, seed)
    if num_queries == 1:
        return {"probabilities": answers[0]}
    labels, rows = samples.y.cpu().numpy(), np.arange(len(samples))
    kind = np.finfo(np.float32)
    last_bits = np.array([kind.smallest_normal, kind.epsneg])
    return {
        "probabilities": answers[0],
        "confidence": np.stack([logit(p[rows, labels], last_bits) for p in answers], axis=1).astype(np.float32),
        "correct": np.stack([correct(answer, labels) for answer in answers], axis=1),
    }


def _try(network: nn.Module, samples: Samples, name: str, num_classes: int, may_be_more: bool) -> None:
    """Predicts a few samples twice, to check the number of classes and that answers do not change."""
    check_takes_texts(network, samples, name)
    x = samples.inputs(slice(0, TRIED))  # (B, ...)

    def ask() -> Any:
        with torch.inference_mode():
            return called(lambda: answered(network, x), f"{name}: {described(x)}")

    check_answer(ask(), num_in(x), num_classes, name, may_be_more)
    check_steady(ask, name)


def _check_finite(answers: np.ndarray, name: str) -> None:
    """Checks the answers (N, C) of one network."""
    broken = int((~np.isfinite(answers).all(axis=1)).sum())
    if broken:
        raise UserError(
            f"{name}: NaN or infinity in the outputs for {broken:,} of {len(answers):,} samples; leave that model out"
        )
