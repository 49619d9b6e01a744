"""Rules that choose the grid of a weight tensor: how many codes, which blocks share a scale, and how large it is.

| symmetry | codes of b bits | scale s | z |
|---|---|---|---|
| narrow | -(2^(b-1) - 1) .. 2^(b-1) - 1 | max abs w / (2^(b-1) - 1) | 0 |
| full | -2^(b-1) .. 2^(b-1) - 1 | max abs w / ((2^b - 1) / 2), as in torch's observers | 0 |
| asymmetric | 0 .. 2^b - 1 | (hi - lo) / (2^b - 1), lo = min(w, 0), hi = max(w, 0) | round(-lo / s) |
| ternary, twn | -1 .. 1 | mean of the abs w above the threshold 0.7 mean abs w | 0 |
| ternary, absmean | -1 .. 1 | mean abs w, with the threshold s / 2 | 0 |

Sources: Nagel et al. 2021 (arXiv 2106.08295, section 2); ternary weight networks (arXiv 1605.04711); absmean is that of
BitNet b1.58 (arXiv 2402.17764), made for training from scratch. Clipping is GPTQ's (arXiv 2210.17323): the range times
p = 1, 0.99, ..., 0.21, whichever gives the least sum of abs(error)^2.4 in the block; the first of equals. Means of
ternary rules leave out zeros, so that weights that were removed before do not change the others.

Narrow and asymmetric scales are adjusted, if needed by units in the last place, so that weights on an unclipped grid
give the same grid again. Weights on a full grid may not give it again, because its lowest code is outside the range
that determines its scale.
"""

# C channels, G blocks in a channel, W weights in a block (the last block is padded with zeros)

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from pruneaudit.compression.grid_options import TERNARY, GridOptions, default_symmetry
from pruneaudit.compression.grids import Grid
from pruneaudit.compression.mask_options import Symmetry
from pruneaudit.compression.matrices import channel_axes, counted_weights
from pruneaudit.core.errors import UserError

SMALLEST_SCALE = 1e-12
"""Scale of a block of zeros."""
CLIPPED = tuple(1 - step / 100 for step in range(80))
"""Fractions of the range that clipping tries."""
ERROR_NORM = 2.4
TWN_THRESHOLD = 0.7
_MOST_MOVES = 16


@dataclass(frozen=True)
class GridRule:
    """How to choose the grid of a tensor.

    Example:
        >>> rule = GridRule(bits=4, group=32)
        >>> rule.grid(torch.randn(8, 100)).scale.shape
        torch.Size([8, 4])
    """

    bits: int
    """Bits of a code; 0: ternary."""
    symmetry: Symmetry = "narrow"
    """Which codes exist; not for ternary."""
    granularity: Literal["tensor", "channel", "group"] = "channel"
    """Which weights share a scale."""
    group: int = 32
    """Weights of a group."""
    clips: bool = False
    """Whether the range can be smaller than that of the weights."""
    ternary: Literal["twn", "absmean"] = "twn"

    def grid(self, weight: Tensor, axis: int = 0) -> Grid:
        """The grid of a tensor.

        Args:
            weight: finite numbers, two dimensions or more.
            axis: axis of the output channels.
        """
        blocks = self._blocks(weight.detach().float().movedim(axis, 0).flatten(1))  # (C, G, W)
        scale, zero, threshold = self.chosen(blocks)
        group = self.group if self.granularity == "group" else 0
        shape = scale.shape if group else (-1,)
        kept = None if threshold is None else threshold.view(shape)
        return Grid(scale.view(shape), zero.view(shape), *self.limits, axis, group, kept)

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest code."""
        if not self.bits:
            return -1, 1
        if self.symmetry == "asymmetric":
            return 0, 2**self.bits - 1
        top = 2 ** (self.bits - 1) - 1
        return -top - (self.symmetry == "full"), top

    def _blocks(self, channels: Tensor) -> Tensor:
        if self.granularity == "tensor":
            return channels.reshape(1, 1, -1)
        if self.granularity == "channel":
            return channels.unsqueeze(1)
        padded = nn.functional.pad(channels, (0, -channels.shape[1] % self.group))
        return padded.unflatten(1, (-1, self.group))

    def chosen(self, blocks: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scale, code of 0 and threshold (None: not ternary) of blocks (C, G, W) float32, each (C, G)."""
        if not self.bits:
            scale, threshold = _ternary(blocks.abs(), self.ternary)
            return scale, torch.zeros_like(scale, dtype=torch.int64), threshold
        low, high = blocks.amin(2).clamp(max=0).double(), blocks.amax(2).clamp(min=0).double()
        scale, zero = self._scale(low, high)
        if not self.clips:
            return scale, zero, None
        least = self._error(blocks, scale, zero)
        for fraction in CLIPPED[1:]:
            tried, its_zero = self._scale(fraction * low, fraction * high)
            error = self._error(blocks, tried, its_zero)
            better = error < least
            scale, zero = torch.where(better, tried, scale), torch.where(better, its_zero, zero)
            least = torch.where(better, error, least)
        return scale, zero, None

    def _scale(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and code of 0 for ranges from `low` to `high`."""
        steps = 2**self.bits - 1
        if self.symmetry == "asymmetric":
            scale = _at_least((high - low) / steps)
            zero = torch.round(-low.float() / scale).long()

            def again(scale: Tensor) -> Tensor:
                ends = [(scale * codes).double() for codes in ((steps - zero).float(), zero.float())]
                return (ends[0] + ends[1]) / steps

            return _settled(scale, again), zero
        largest, top = torch.maximum(high, -low), 2 ** (self.bits - 1) - 1
        zero = torch.zeros_like(largest, dtype=torch.int64)
        if self.symmetry == "full":
            return _at_least(largest / (steps / 2)), zero
        return _settled(_at_least(largest / top), lambda scale: (scale * top).double() / top), zero

    def _error(self, blocks: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        step, shift = scale.unsqueeze(2), zero.unsqueeze(2)
        codes = (torch.round(blocks / step) + shift).clamp_(*self.limits)
        return (step * (codes - shift) - blocks).abs_().pow_(ERROR_NORM).sum(2, dtype=torch.float64)


def grid_for(weight: Tensor, bits: int, symmetry: Symmetry, axis: int) -> Grid:
    """The grid of a tensor with a scale per channel; see `GridRule`."""
    return GridRule(bits, symmetry).grid(weight, axis)


def rules_for(model: nn.Module, weights: Mapping[str, Tensor], options: GridOptions) -> dict[str, GridRule]:
    """The rule of each weight matrix.

    Args:
        model: the network.
        weights: the matrices to round, by name.
        options: the settings.

    Raises:
        UserError: a group is larger than the channels of every layer.
    """
    check_groups(model, weights, options)
    matrices = list(counted_weights(model))
    ends = (matrices[0], matrices[-1]) if options.first_last_bits and matrices else ()
    found = {}
    for name in weights:
        bits = options.first_last_bits if name in ends else options.bits
        number = 0 if bits is None or bits == TERNARY else int(bits)
        found[name] = GridRule(
            number,
            options.symmetry or default_symmetry(number),
            options.granularity,
            options.group_size,
            options.clip == "mse" and number > 0,
            options.ternary,
        )
    return found


def grids_for(model: nn.Module, weights: Mapping[str, Tensor], options: GridOptions) -> dict[str, Grid]:
    """The grid of each weight matrix; see `rules_for`."""
    axes = channel_axes(model)
    return {name: rule.grid(weights[name], axes[name]) for name, rule in rules_for(model, weights, options).items()}


def check_groups(model: nn.Module, weights: Mapping[str, Tensor], options: GridOptions) -> None:
    """Refuses groups that are larger than the channels of every layer.

    Raises:
        UserError: they are; the message names the layer with the largest channels.
    """
    axes = channel_axes(model)
    sizes = {name: weight.numel() // weight.shape[axes[name]] for name, weight in weights.items()}
    widest = max(sizes, key=lambda name: sizes[name])
    if options.granularity == "group" and options.group_size > sizes[widest]:
        raise UserError(
            f"group_size: got {options.group_size}, but no output channel has more than {sizes[widest]:,} weights"
            f" ('{widest}' of shape {tuple(weights[widest].shape)}); use group_size={sizes[widest]}, or"
            " granularity=channel"
        )


def _ternary(sizes: Tensor, rule: Literal["twn", "absmean"]) -> tuple[Tensor, Tensor]:
    """Scale and threshold of blocks of abs w (C, G, W), each (C, G)."""
    mean = _mean_of(sizes, sizes > 0)
    if rule == "absmean":
        scale = _at_least(mean)
        return scale, scale / 2
    threshold = (TWN_THRESHOLD * mean).float()
    return _at_least(_mean_of(sizes, sizes > threshold.unsqueeze(2))), threshold


def _mean_of(sizes: Tensor, chosen: Tensor) -> Tensor:
    return (sizes * chosen).sum(2, dtype=torch.float64) / chosen.sum(2).clamp(min=1)


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
