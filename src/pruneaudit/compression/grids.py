"""Weights on a grid: codes of few bits with a scale per channel, and the hook that keeps them there in training.

A code q means the value s (q - z), always computed in float32 by this expression. z is a whole number, so that 0 is
on the grid and removed weights stay zero. Rounding is half to even.

| symmetry | codes of b bits | scale s | z |
|---|---|---|---|
| narrow | -(2^(b-1) - 1) .. 2^(b-1) - 1 | max abs w / (2^(b-1) - 1) | 0 |
| full | -2^(b-1) .. 2^(b-1) - 1 | max abs w / ((2^b - 1) / 2), as in torch's observers | 0 |
| asymmetric | 0 .. 2^b - 1 | (hi - lo) / (2^b - 1), lo = min(w, 0), hi = max(w, 0) | round(-lo / s) |

Narrow and asymmetric scales are adjusted, if needed by units in the last place, so that weights on the grid give the
same grid again. Weights on a full grid may not give it again, because its lowest code is outside the range that
determines its scale.
"""

# C channels

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pruneaudit.compression.compressed import Constraint
from pruneaudit.compression.mask_options import Symmetry
from pruneaudit.training.hooks import Hook, Sampler, TrainingState

SMALLEST_SCALE = 1e-12
"""Scale of a channel of zeros."""
_MOST_MOVES = 16


@dataclass(frozen=True)
class Grid:
    """The values that the weights of one tensor may have."""

    scale: Tensor
    """(C,) float32, above 0."""
    zero: Tensor
    """(C,) int64: the code of 0."""
    low: int
    """The lowest code."""
    high: int
    """The highest code."""
    axis: int
    """The tensor's channel axis."""

    @property
    def is_symmetric(self) -> bool:
        """Whether the code of 0 is 0 in every channel; then it is not stored."""
        return self.low < 0

    def on(self, device: torch.device) -> Grid:
        """The same grid on a device."""
        return replace(self, scale=self.scale.to(device), zero=self.zero.to(device))

    def unclamped(self, weight: Tensor) -> Tensor:
        """The code nearest to each weight, in its shape, float32; it can be outside the grid."""
        scale, zero = self._along(self.scale, weight), self._along(self.zero, weight)
        return torch.round(weight.detach().float() / scale) + zero

    def codes(self, weight: Tensor) -> Tensor:
        """The codes of the nearest values on the grid, in the weight's shape, float32."""
        return self.unclamped(weight).clamp_(self.low, self.high)

    def values(self, codes: Tensor) -> Tensor:
        """The values of codes, in their shape, float32."""
        scale, zero = self._along(self.scale, codes), self._along(self.zero, codes)
        return scale * (codes.float() - zero)

    def rounded(self, weight: Tensor) -> Tensor:
        """The nearest values on the grid, in the weight's shape and type."""
        return self.values(self.codes(weight)).to(weight.dtype)

    def _along(self, per_channel: Tensor, tensor: Tensor) -> Tensor:
        shape = [1] * tensor.ndim
        shape[self.axis] = -1
        return per_channel.to(tensor.device).float().view(shape)


def grid_for(weight: Tensor, bits: int, symmetry: Symmetry, axis: int) -> Grid:
    """The grid of a tensor, with a scale per channel; see the module.

    Args:
        weight: finite numbers, two dimensions or more.
        bits: in 2..8.
        symmetry: which codes exist.
        axis: axis of the output channels.
    """
    channels = weight.detach().float().movedim(axis, 0).flatten(1)  # (C, weights)
    low, high = channels.amin(1).clamp(max=0), channels.amax(1).clamp(min=0)  # (C,)
    steps = 2**bits - 1
    if symmetry == "asymmetric":
        scale = _at_least((high.double() - low.double()) / steps)
        zero = torch.round(-low / scale).long()

        def again(scale: Tensor) -> Tensor:
            ends = [(scale * codes).double() for codes in ((steps - zero).float(), zero.float())]
            return (ends[0] + ends[1]) / steps

        return Grid(_settled(scale, again), zero, 0, steps, axis)
    largest, top = torch.maximum(high, -low).double(), 2 ** (bits - 1) - 1
    zero = torch.zeros_like(largest, dtype=torch.int64)
    if symmetry == "full":
        return Grid(_at_least(largest / (steps / 2)), zero, -top - 1, top, axis)
    scale = _settled(_at_least(largest / top), lambda scale: (scale * top).double() / top)
    return Grid(scale, zero, -top, top, axis)


def _at_least(scale: Tensor) -> Tensor:
    return scale.float().clamp(min=SMALLEST_SCALE)


def _settled(scale: Tensor, again: Callable[[Tensor], Tensor]) -> Tensor:
    """The scale at which `again`, the scale of the weights rounded with it, returns the same scale."""
    for _ in range(_MOST_MOVES):
        found = _at_least(again(scale))
        if torch.equal(found, scale):
            break
        scale = found
    return scale


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
            scale, (low, high, axis) = state[f"scale/{name}"], state[f"grid/{name}"].tolist()
            zero = state.get(f"zero/{name}", torch.zeros(len(scale), dtype=torch.uint8))
            grids[name] = Grid(scale, zero.long(), low, high, axis)
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
            found[f"grid/{name}"] = torch.tensor([grid.low, grid.high, grid.axis], dtype=torch.int16)
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
                codes = grid.unclamped(unrounded)
                weight.grad.mul_((codes >= grid.low) & (codes <= grid.high))

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
