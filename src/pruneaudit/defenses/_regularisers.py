"""CutMix, and dropout without a layer. Imports torch, so import this module only where it is used."""

# B batch, K channels, H height, W width, C classes

from __future__ import annotations

from typing import Any

import torch
from scipy.special import betaincinv
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import Inputs
from pruneaudit.training.hooks import Hook, TrainingState


class CutMix(Hook):
    """Puts a box of another image into each image of a batch, and mixes the losses by area."""

    def __init__(self, alpha: float, probability: float, generator: torch.Generator) -> None:
        """Describes the mixing.

        Args:
            alpha: shares of the own image are drawn from Beta(alpha, alpha), above 0.
            probability: that a batch is mixed, in [0, 1].
            generator: CPU generator of all draws.
        """
        self._alpha, self._probability, self._generator = alpha, probability, generator
        self._partners: Tensor | None = None  # (B,) labels of the images that the boxes come from
        self._own_share = 1.0

    def batch(self, state: TrainingState, x: Inputs, y: Tensor) -> tuple[Inputs, Tensor]:
        """The mixed images (B, K, H, W) in the memory format of `x`, and the own labels."""
        self._partners = None
        if len(y) < 2 or self._uniform() >= self._probability:
            return x, y
        assert isinstance(x, Tensor)
        height, width = x.shape[2:]
        share = float(betaincinv(self._alpha, self._alpha, self._uniform()))
        centre = (self._below(height), self._below(width))
        rows, columns = box_around(centre, (height, width), share)
        order = torch.randperm(len(y), generator=self._generator).to(y.device)
        mixed = x.clone()
        mixed[:, :, rows, columns] = x[order][:, :, rows, columns]
        self._partners = y[order]
        self._own_share = 1 - (rows.stop - rows.start) * (columns.stop - columns.start) / (height * width)
        return mixed, y

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        """Computes the other images' share of the cross-entropy with their labels instead of the own ones."""
        if self._partners is None:
            return loss
        change = cross_entropy(logits, self._partners) - cross_entropy(logits, y)
        return loss + (1 - self._own_share) * change

    def kept(self) -> dict[str, Tensor]:
        """The generator of the draws."""
        return {"generator": self._generator.get_state()}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the generator's state."""
        self._generator.set_state(tensors["generator"])

    def _uniform(self) -> float:
        return float(torch.rand((), generator=self._generator, dtype=torch.float64))

    def _below(self, limit: int) -> int:
        return int(torch.randint(limit, (), generator=self._generator))


def box_around(centre: tuple[int, int], size: tuple[int, int], own_share: float) -> tuple[slice, slice]:
    """The rows and columns of a box that leaves `own_share` of an image, clipped to the image.

    Args:
        centre: row and column, in 0..H-1 and 0..W-1.
        size: H and W, pixels.
        own_share: fraction in [0, 1] of the area that stays outside the box, before clipping.
    """
    rows, columns = (
        _within(middle, int(length * (1 - own_share) ** 0.5), length)
        for middle, length in zip(centre, size, strict=True)
    )
    return rows, columns


def _within(middle: int, extent: int, length: int) -> slice:
    start = middle - extent // 2
    return slice(max(start, 0), min(start + extent, length))


class InputDropout:
    """Drops inputs of the layer on which it is a forward pre-hook, while that layer is in training mode."""

    def __init__(self, probability: float) -> None:
        self.probability = probability

    def __call__(self, layer: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """The layer's inputs, with dropout applied to the first; None: leave them unchanged."""
        if not layer.training:
            return None
        return (dropout(inputs[0], self.probability), *inputs[1:])


def drop_inputs_of_classifier(model: nn.Module, probability: float) -> None:
    """Registers dropout before the last linear layer of `model`; its state dict does not change.

    Raises:
        UserError: there is no linear layer.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    if not layers:
        raise UserError(
            "defense 'strong_regularisation': this network has no linear layer to put dropout before; set dropout = 0"
        )
    layers[-1].register_forward_pre_hook(InputDropout(probability))
