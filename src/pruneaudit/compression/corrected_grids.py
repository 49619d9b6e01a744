"""Rounds one weight matrix to a grid with error correction: GPTQ's order of columns and choice of scales."""

# G groups of a convolution, R rows (output channels) of a group, d inputs of a row

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pruneaudit.compression.error_correction import BLOCK, Target, corrected, rows_of, upper_factor
from pruneaudit.compression.grid_rules import GridRule
from pruneaudit.compression.grids import Grid


@dataclass(frozen=True)
class ColumnOrder:
    """In which order columns are rounded, and when the scales of groups are chosen."""

    by_activity: bool = False
    """The inputs of largest second moment first, instead of from left to right."""
    static_groups: bool = False
    """Scales before the first column; needed if the order is by activity."""


@dataclass(frozen=True)
class Corrected:
    """A rounded weight matrix; all in the weight's shape."""

    rounded: Tensor
    """On the grid, in the weight's type."""
    unrounded: Tensor
    """Each weight just before it was rounded, float32: rounding these gives `rounded`."""
    grid: Grid


def rounded_with_correction(
    weight: Tensor, kept: Tensor | None, hessian: Tensor, dead: Tensor, rule: GridRule, order: ColumnOrder
) -> Corrected:
    """Rounds a weight matrix so that the layer's outputs change little.

    Args:
        weight: (outputs, ...).
        kept: which weights were not removed before, in its shape, bool; None: all.
        hessian: from `damped` (G, d, d).
        dead: the inputs that are always 0 (G, d); their weights become 0.
        rule: chooses the grid.
        order: of the columns.
    """
    groups = len(hessian)
    rows, grid = rows_of(weight, groups), rule.grid(weight)
    places = torch.arange(rows.shape[2], device=rows.device).expand(groups, -1)  # (G, d)
    if order.by_activity:
        places = hessian.diagonal(dim1=1, dim2=2).argsort(dim=1, descending=True, stable=True)
    along = places.unsqueeze(1).expand_as(rows)

    def in_order(numbers: Tensor) -> Tensor:
        return numbers.reshape(rows.shape).gather(2, along)

    def columns(per_block: Tensor) -> Tensor:
        return in_order(grid.spread(per_block, weight).expand(weight.shape))

    scale, zero = columns(grid.scale), columns(grid.zero)
    threshold = None if grid.threshold is None else columns(grid.threshold)
    stays = None if kept is None else in_order(kept.to(rows.device))
    hessian = hessian.gather(1, places.unsqueeze(2).expand_as(hessian))
    hessian = hessian.gather(2, places.unsqueeze(1).expand_as(hessian))
    rows = in_order(rows).masked_fill(dead.gather(1, places).unsqueeze(1), 0.0)
    if stays is not None:
        rows = rows * stays
    moves_scales = rule.granularity == "group" and not order.static_groups
    chosen: list[tuple[Tensor, Tensor, Tensor | None]] = []

    def begin(first: int, part: Tensor) -> Target:
        if moves_scales:
            chosen.append(rule.chosen(part.float().flatten(0, 1).unsqueeze(1)))  # each (G R, 1)

        def target(j: int, column: Tensor) -> Tensor:
            if moves_scales:
                step, shift, limit = chosen[-1]
            else:
                step, shift = scale[..., first + j], zero[..., first + j]
                limit = None if threshold is None else threshold[..., first + j]
            flat = None if limit is None else limit.reshape(-1)
            its = Grid(step.reshape(-1), shift.reshape(-1), *rule.limits, 0, 0, flat)
            values = its.rounded(column.float().reshape(-1, 1)).double().view(column.shape)
            return values if stays is None else values * stays[..., first + j]

        return target

    fixed = corrected(rows, upper_factor(hessian), begin, rule.group if moves_scales else BLOCK)
    if moves_scales:
        scales, zeros, thresholds = zip(*chosen, strict=True)
        joined = None if thresholds[0] is None else torch.cat(thresholds, 1)
        grid = Grid(torch.cat(scales, 1), torch.cat(zeros, 1), grid.low, grid.high, 0, grid.group, joined)
    if stays is not None:
        rows = rows * stays
    back = along.argsort(dim=2)
    values, before = (each.gather(2, back).reshape(weight.shape) for each in (fixed, rows))
    return Corrected(values.to(weight.dtype), before.float(), grid)
