"""Trains one network with a user's function instead of the loop.

The contract is `train(model, x, y, generator, device)`: it trains `model` in place. It returns nothing, the model
itself, or rows of history. It can be a generator function that yields rows. Hooks cannot run inside it, so methods
that prune or defend during training need the loop.
"""

# n samples, C channels, H height, W width, F features

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import contiguous
from pruneaudit.models._outputs import as_written
from pruneaudit.study.user_function import function_of, working_folder_searched
from pruneaudit.training.samples import Samples


class DivergedFunctionError(RuntimeError):
    """A user's training function left weights, or returned a loss, that are not finite."""

    def __init__(self, function_name: str, what: str) -> None:
        super().__init__(f"training diverged: {what} not finite after {function_name}; try a lower learning rate there")


def train_by_function(
    model: nn.Module, samples: Samples, function_name: str, generator: torch.Generator
) -> list[dict[str, float]]:
    """Trains `model` in place with a user's function.

    The function gets x (n, C, H, W) or (n, F) float32, normalised, and y (n,) int64, both on the device; a CPU
    generator for this model; and the device as a text. Torch's global generators are seeded from that generator
    for the call, and restored afterwards; those of numpy and `random` are not.

    Args:
        model: the network, on the samples' device; it is in training mode when the function is called.
        samples: the model's own training set.
        function_name: `package.module:train`.
        generator: CPU generator of this model and purpose.

    Returns:
        One row per epoch if the function said so, each with `epoch`, else none.

    Raises:
        DivergedFunctionError: a weight or a loss is NaN or infinite afterwards.
        UserError: there are no samples or no such function, it changed the model's structure, or it returned
            something other than a history. Other exceptions of the function are passed on.
    """
    if not len(samples):
        raise UserError("a model got no training sample at all; raise data.num_samples")
    function = function_of(function_name, "training.function")
    before, device = _form(model), samples.y.device
    x = contiguous(samples.inputs(slice(None)))  # (n, C, H, W), (n, F) or a dict of (n, T)
    model.train()
    with torch.random.fork_rng(), working_folder_searched():
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        with as_written(model):
            returned = function(model=model, x=x, y=samples.y, generator=generator, device=str(device))
            history = _history(returned, model, function_name)  # reading a generator function trains
    model.to(device)
    if _form(model) != before:
        raise UserError(
            f"training.function: {function_name} changed the network's parameters, buffers or their types, expected"
            " only their values to change; build the network as you need it in the model's function"
        )
    _check_finite(model, history, function_name)
    return history


def _form(model: nn.Module) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (value.shape, value.dtype) for name, value in model.state_dict().items()}


def _history(returned: Any, model: nn.Module, function_name: str) -> list[dict[str, float]]:
    """The rows that a function returned, checked to be numbers with the same columns."""
    if returned is None or returned is model:
        return []
    kind = type(returned).__name__
    if isinstance(returned, nn.Module):
        raise UserError(
            f"training.function: {function_name} returned another {kind}; it must train the model that it gets"
        )
    expected = "expected nothing, or rows such as {'epoch': 1, 'loss': 0.5}, all with the same columns"
    if isinstance(returned, str | Mapping) or not isinstance(returned, Iterable):
        raise UserError(f"training.function: {function_name} returned {kind}, {expected}")
    rows: list[dict[str, float]] = []
    for number, row in enumerate(returned, start=1):
        try:
            numbers = {"epoch": number} | {str(key): float(value) for key, value in dict(row).items()}
            numbers["epoch"] = int(numbers["epoch"])
        except (TypeError, ValueError, OverflowError, RuntimeError):
            raise UserError(f"training.function: {function_name} gave a row {str(row)[:60]!r}, {expected}") from None
        rows.append(numbers)
        if rows[-1].keys() != rows[0].keys():
            raise UserError(f"training.function: {function_name} gave rows of different columns, {expected}")
    return rows


def _check_finite(model: nn.Module, history: list[dict[str, float]], function_name: str) -> None:
    wrong = [row["epoch"] for row in history if not math.isfinite(row.get("loss", 0.0))]
    if wrong:
        raise DivergedFunctionError(function_name, f"the loss of epoch {wrong[0]} is")
    for name, value in model.state_dict().items():
        if not torch.isfinite(value).all():
            raise DivergedFunctionError(function_name, f"'{name}' is")
