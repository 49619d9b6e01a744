"""Weights on a grid: codes of few bits with a scale per block, and the hook that keeps them there in training.

A code q means the value s (q - z), always computed in float32 by this expression. z is a whole number, so that 0 is
on the grid and removed weights stay zero. Rounding is half to even. A block is a whole tensor, an output channel, or
some consecutive weights of an output channel, in the order of `weight.flatten(1)`; the last block of a channel can be
shorter. `grid_rules` chooses the scales.

Ternary grids have the codes -1, 0, 1 and a threshold: a weight beyond it in absolute value is rounded to -s or s, any
other one to 0.
"""

# C channels, G blocks in a channel

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pruneaudit.compression.compressed import Constraint
from pruneaudit.training.hooks import Hook, Sampler, TrainingState


@dataclass(frozen=True)
class Grid:
    """The values that the weights of one tensor may have."""

    scale: Tensor
    """(1,) for the whole tensor, (C,) by channel or (C, G) by block; float32, above 0."""
    zero: Tensor
    """The code of 0, in the shape of `scale`, int64."""
    low: int
    """The lowest code."""
    high: int
    """The highest code."""
    axis: int
    """The tensor's channel axis."""
    group: int = 0
    """Weights in one of several blocks of a channel; 0: a channel is one block, or a part of it."""
    threshold: Tensor | None = None
    """The threshold of a ternary grid, in the shape of `scale`, float32; None: weights go to the nearest value."""

    @property
    def is_symmetric(self) -> bool:
        """Whether the code of 0 is 0 in every block; then it is not stored."""
        return self.low < 0

    def on(self, device: torch.device) -> Grid:
        """The same grid on a device."""
        threshold = None if self.threshold is None else self.threshold.to(device)
        return replace(self, scale=self.scale.to(device), zero=self.zero.to(device), threshold=threshold)

    def unclamped(self, weight: Tensor) -> Tensor:
        """The code nearest to each weight, in its shape, float32; it can be outside the grid."""
        scale, zero = self.spread(self.scale, weight), self.spread(self.zero, weight)
        return torch.round(weight.detach().float() / scale) + zero

    def codes(self, weight: Tensor) -> Tensor:
        """The codes of the nearest values on the grid, in the weight's shape, float32."""
        if self.threshold is None:
            return self.unclamped(weight).clamp_(self.low, self.high)
        numbers = weight.detach().float()
        return (numbers.sign() * (numbers.abs() > self.spread(self.threshold, numbers))).add_(0.0)  # no -0.0

    def passes(self, weight: Tensor) -> Tensor:
        """Where a straight-through gradient passes, bool in the weight's shape; ternary grids: everywhere."""
        if self.threshold is not None:
            return torch.ones_like(weight, dtype=torch.bool)
        codes = self.unclamped(weight)
        return (codes >= self.low) & (codes <= self.high)

    def values(self, codes: Tensor) -> Tensor:
        """The values of codes, in their shape, float32."""
        scale, zero = self.spread(self.scale, codes), self.spread(self.zero, codes)
        return scale * (codes.float() - zero)

    def rounded(self, weight: Tensor) -> Tensor:
        """The nearest values on the grid, in the weight's shape and type."""
        return self.values(self.codes(weight)).to(weight.dtype)

    def spread(self, per_block: Tensor, tensor: Tensor) -> Tensor:
        """Numbers of blocks, float32, in a shape that broadcasts with a tensor of the grid's shape."""
        there = per_block.to(tensor.device).float()
        if self.group:
            channels = tensor.movedim(self.axis, 0)
            spread = there.repeat_interleave(self.group, 1)[:, : channels[0].numel()]
            return spread.reshape(channels.shape).movedim(0, self.axis)
        shape = [1] * tensor.ndim
        shape[self.axis] = -1
        return there.view(shape)


class Grids(Constraint):
    """Grids by parameter name."""

    def __init__(self, grids: Mapping[str, Grid]) -> None:
        self.grids = dict(grids)

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Grids:
        """The grids in a stored state; see `compression.state`."""
        names = [key.removeprefix("codes/") for key in state if key.startswith("codes/")]
        grids = {}
        for name in names:
            scale, (low, high, axis, *group) = state[f"scale/{name}"], state[f"grid/{name}"].tolist()
            zero = state.get(f"zero/{name}", torch.zeros_like(scale))
            threshold = state.get(f"threshold/{name}")
            grids[name] = Grid(scale, zero.long(), low, high, axis, group[0] if group else 0, threshold)
        return cls(grids)

    def hooks(self, model: nn.Module) -> tuple[Hook, ...]:
        """The hook that trains unrounded weights and keeps the model's weights on their grids."""
        return (HoldGrids(model, self),)

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Rounds the weights, in place."""
        for name, grid in self.grids.items():
            weight = model.get_parameter(name)
            weight.copy_(grid.rounded(weight))

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """Codes, scales and zero points of the model's weights, which are on the grids."""
        found: dict[str, Tensor] = {}
        for name, grid in self.grids.items():
            codes = grid.codes(model.get_parameter(name)).cpu()
            found[f"codes/{name}"] = codes.to(torch.int8 if grid.is_symmetric else torch.uint8)
            found[f"scale/{name}"] = grid.scale.cpu()
            shape = [grid.low, grid.high, grid.axis, *([grid.group] if grid.group else [])]
            found[f"grid/{name}"] = torch.tensor(shape, dtype=torch.int16 if grid.group < 2**15 else torch.int32)
            if grid.threshold is not None:
                found[f"threshold/{name}"] = grid.threshold.cpu()
            if not grid.is_symmetric:
                found[f"zero/{name}"] = grid.zero.to(torch.uint8).cpu()
        return found


class HoldGrids(Hook):
    """Trains unrounded weights with the gradient at the rounded ones.

    Outside the optimizer's step the parameters are always on their grids. Where a code would be outside the grid,
    the gradient is 0, as in `torch.fake_quantize_per_channel_affine`. Grids do not change.
    """

    def __init__(self, model: nn.Module, grids: Grids, unrounded: Mapping[str, Tensor] | None = None) -> None:
        """Takes over the weights.

        Args:
            model: the network, whose weights are on the grids.
            grids: the grids.
            unrounded: the weights before rounding, by parameter name; default: the model's weights.
        """
        self._names = list(grids.grids)
        self._weights = [model.get_parameter(name) for name in self._names]
        self._grids = [grid.on(w.device) for grid, w in zip(grids.grids.values(), self._weights, strict=True)]
        given = unrounded or {}
        self._unrounded = [
            given.get(name, weight).detach().clone() for name, weight in zip(self._names, self._weights, strict=True)
        ]

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Brings the unrounded weights into the memory format that training has given the rounded ones."""
        pairs = zip(self._weights, self._unrounded, strict=True)
        self._unrounded = [torch.empty_like(weight).detach().copy_(unrounded) for weight, unrounded in pairs]
        return model, optimizer, sampler

    @torch.no_grad()
    def after_backward(self, state: TrainingState) -> None:
        """Swaps in the unrounded weights for the optimizer's step."""
        for weight, unrounded, grid in zip(self._weights, self._unrounded, self._grids, strict=True):
            weight.copy_(unrounded)
            if weight.grad is not None:
                weight.grad.mul_(grid.passes(unrounded))

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Takes back the updated weights, and leaves rounded ones in the model."""
        torch._foreach_copy_(self._unrounded, list[Tensor](self._weights))
        for weight, grid in zip(self._weights, self._grids, strict=True):
            weight.copy_(grid.rounded(weight))

    def kept(self) -> dict[str, Tensor]:
        """The unrounded weights."""
        return dict(zip(self._names, self._unrounded, strict=True))

    @torch.no_grad()
    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the unrounded weights."""
        for name, unrounded in zip(self._names, self._unrounded, strict=True):
            unrounded.copy_(tensors[name])
