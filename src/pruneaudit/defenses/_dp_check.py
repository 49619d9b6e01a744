"""Checks that DP-SGD has the gradient of every single sample, for every parameter.

Opacus computes them with hooks on layers, and reports no error if it cannot. A layer whose input lacks the batch, such
as an embedding of positions (1, T), then has one gradient for the whole batch. A parameter that the network also reads
without a call of its layer has gradients that lack that part. Clipping would limit neither.
"""

# B batch

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from pruneaudit.core.errors import UserError

FAR = 0.05
"""Largest difference of the mean of single gradients from the batch's gradient, relative to its largest entry."""
ROUNDING = 1e-4
"""The same, relative to the largest entry of all gradients: some gradients are zero up to rounding."""


class GradientCheck:
    """Checks the number of gradients in every batch, and their mean in the first batch with samples."""

    def __init__(self, parameters: Mapping[str, Tensor]) -> None:
        """Takes the trained parameters by name."""
        self._parameters = parameters
        self._has_compared = False
        self._gradients: dict[str, Tensor] = {}
        """Of this batch, before other hooks change them."""
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def before_backward(self, num_samples: int) -> None:
        """Keeps the gradients of the first batch with samples."""
        if self._has_compared or not num_samples:
            return
        for name, parameter in self._parameters.items():

            def keep(weight: Tensor, name: str = name) -> None:
                assert weight.grad is not None
                self._gradients[name] = weight.grad.detach().clone()

            self._handles.append(parameter.register_post_accumulate_grad_hook(keep))

    def after_backward(self, num_samples: int) -> None:
        """Checks the gradients of a batch of B samples.

        Raises:
            UserError: a parameter has none, or of another number of samples, or in the first batch with another mean;
                the message names it, and says how to change the network.
        """
        for handle in self._handles:
            handle.remove()
        for name, parameter in self._parameters.items():
            _check_number(name, parameter, num_samples)
        if self._gradients:
            largest = max(float(gradient.abs().max()) for gradient in self._gradients.values())
            for name, gradient in self._gradients.items():
                single: Tensor = self._parameters[name].grad_sample  # type: ignore[attr-defined]
                _check_mean(name, single.detach().mean(dim=0), gradient, largest)
            self._has_compared = True
        self._handles, self._gradients = [], {}


def _check_number(name: str, parameter: Tensor, num_samples: int) -> None:
    found = parameter.grad_sample  # type: ignore[attr-defined]
    if found is None and parameter.grad is None:
        raise UserError(
            f"defense 'dp': parameter '{name}' does not affect the network's output, expected every trained "
            "parameter to do so; remove it, or set its requires_grad to False"
        )
    if found is None:
        raise UserError(
            f"defense 'dp': parameter '{name}' has no gradients of single samples, because the network reads it without"
            " calling its layer; call the layer in forward, or set requires_grad of the parameter to False"
        )
    if len(found) != num_samples:
        raise UserError(
            f"defense 'dp': parameter '{name}' has {len(found)} gradients for {num_samples} samples, expected one for"
            " each: the input of its layer lacks the batch, such as positions (1, T); call it with one input for each"
            " sample, positions.expand(B, T) (models of transformers take them as position_ids)"
        )


def _check_mean(name: str, found: Tensor, expected: Tensor, largest: float) -> None:
    difference = float((found - expected).abs().max()) if found.numel() else 0.0
    if difference > FAR * float(expected.abs().max()) + ROUNDING * largest:
        raise UserError(
            f"defense 'dp': the gradients of single samples of parameter '{name}' do not add up to the gradient of "
            f"the batch, because the network also reads it without calling its layer, or its layer draws random "
            f"numbers; call a layer for"
            " each use, or set requires_grad of the parameter to False"
        )
