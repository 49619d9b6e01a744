"""Networks of the user's own: made, filled with weights, and asked."""

# N samples, C classes, B batch

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pruneaudit.collecting.weights import read_weights
from pruneaudit.errors import UserError
from pruneaudit.models.factory import call_of, user_function
from pruneaudit.signals.collect import collect
from pruneaudit.signals.sensitivity import sensitivity
from pruneaudit.training.checkpoint import with_further_names
from pruneaudit.training.samples import Samples

TRIED = 4
"""Samples that a network is tried on before it is asked about all."""

Maker = Callable[[], nn.Module]


class Plain(nn.Module):
    """Feeds a network images in plain memory order, which `view` in a user's code may rely on."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """What the network says of `x` (B, ...)."""
        answer: Tensor = self.network(x.contiguous())
        return answer


def maker_of(
    factory: str | Callable[..., Any],
    options: Mapping[str, Any],
    input_shape: tuple[int, ...] | None,
    num_classes: int | None,
) -> Maker:
    """What makes a fresh network of the user's.

    The function is given the options, and of `input_shape` and `num_classes` what is known and what it takes.

    Raises:
        UserError: the function cannot be imported, or does not take what it would be given.
    """
    name = factory if isinstance(factory, str) else getattr(factory, "__name__", type(factory).__name__)
    function = _imported(factory) if isinstance(factory, str) else factory
    known = {"input_shape": input_shape and tuple(input_shape), "num_classes": num_classes}
    offered = {key: value for key, value in known.items() if value is not None}
    call = call_of(function, offered, options, f"factory {name}", "with --factory-option {}=VALUE")

    def make() -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # the weights that it draws are replaced
            network = _called(call, f"factory {name}")
        if not isinstance(network, nn.Module):
            raise UserError(f"factory {name}: returned {type(network).__name__}, expected a torch.nn.Module")
        return network

    return make


def filled(network: nn.Module, path: Path) -> nn.Module:
    """The network with the weights of a file, which must have exactly its names and shapes.

    Raises:
        UserError: the file is not usable, or belongs to another network.
    """
    tensors = read_weights(path)
    try:
        network.load_state_dict(with_further_names(network, tensors))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except RuntimeError as error:
        reason = " ".join(str(error).partition(":")[2].split())[:300]  # after "Error(s) in loading ..."
        raise UserError(f"{path}: does not fit the factory's network ({reason})") from None
    return network


def ask(
    network: nn.Module, samples: Samples, name: str, num_classes: int, num_queries: int, seed: int, noisy: bool
) -> dict[str, np.ndarray]:
    """What one network says of all samples, by the keys of `Signals`, without the axis of models.

    Args:
        network: with its weights, on the samples' device.
        samples: N samples.
        name: of the model, for messages and for its noise.
        num_classes: C.
        num_queries: Q.
        seed: of augmented queries and noise.
        noisy: collect `sensitivity` too.

    Raises:
        UserError: the network fails on the samples, or what it returns are no logits.
    """
    plain = Plain(network).eval()
    _try(plain, samples, name, num_classes)
    answers: dict[str, np.ndarray] = _called(lambda: collect(plain, samples, num_queries, seed), name)
    _check_logits(answers["logits"], name)
    if noisy:
        answers["sensitivity"] = _called(lambda: sensitivity(plain, samples, seed, name), name)
    return answers


def _imported(target: str) -> Callable[..., Any]:
    found: Callable[..., Any] = _called(lambda: user_function(target), f"factory {target}")
    return found


def _called(action: Callable[[], Any], what: str) -> Any:
    """What the action returns; whatever the user's code raises becomes one line."""
    try:
        return action()
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(f"{what}: failed ({reason}); expected code that works in this environment") from error


def _try(network: nn.Module, samples: Samples, name: str, num_classes: int) -> None:
    """Asks about a few samples: is the answer logits?"""
    x = samples.inputs(slice(0, TRIED))  # (B, ...)
    with torch.inference_mode():
        answer = _called(lambda: network(x), f"{name}: inputs of shape {tuple(x.shape)}")
    if not isinstance(answer, Tensor):
        raise UserError(
            f"{name}: returned {type(answer).__name__}, expected a tensor of logits ({len(x)}, {num_classes})"
        )
    if tuple(answer.shape) != (len(x), num_classes):
        raise UserError(
            f"{name}: got outputs of shape {tuple(answer.shape)} for {len(x)} samples, expected"
            f" ({len(x)}, {num_classes}): one logit per class, and the data have {num_classes} classes"
        )


def _check_logits(logits: np.ndarray, name: str) -> None:
    """Checks the answers (N, C) of one network."""
    broken = int((~np.isfinite(logits).all(axis=1)).sum())
    if broken:
        raise UserError(
            f"{name}: NaN or infinity in the outputs for {broken:,} of {len(logits):,} samples; leave that model out"
        )
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1, dtype=np.float64), 1, atol=1e-3):
        raise UserError(
            f"{name}: got probabilities (rows sum to 1), expected logits; return what stands before the softmax"
        )
