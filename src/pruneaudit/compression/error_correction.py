"""Error correction: after one weight of a row is fixed, the others of the row move so that outputs change least.

The core of GPTQ (arXiv 2210.17323), SparseGPT (2301.00774) and OBC (2208.11580). With inputs X (d inputs, n columns)
and H = X X' + damping, the change of the outputs caused by a change e of a row w is e H e'. If weight j is set to a
target, the best other weights are w - (w_j - target) / [H^-1]_jj [H^-1]_j:. `corrected` fixes the weights of all rows
from left to right, so that one factor serves all: with U the upper Cholesky factor of H^-1, row j of U / U_jj is row j
of the inverse over the inputs j, j + 1, ... that are left. `least_loss_removed` removes the cheapest weight of a row,
then the next, as OBC does; every row then needs an inverse of its own.

All sums are in float64. Deviations from the published code: damping is a fraction of the mean over inputs that occur
(not also over those that never do), and a common factor of H, such as 2 / n, is left out, because it cancels.
"""

# G groups of a convolution, R rows (output channels) of a group, d inputs of a row

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from pruneaudit.compression.selection import num_removed
from pruneaudit.core.errors import UserError

BLOCK = 128
"""Columns whose updates of later ones are applied together; SparseGPT also chooses its mask by block."""
MOST_WORK = 1e12
"""Largest rows x inputs^3 for `least_loss_removed`: minutes on one core."""
_MOST_NUMBERS = 2**24
"""Most numbers of rows' inverses in memory at once, unless one row has more."""
_COMPACTED_AFTER = 32
Target = Callable[[int, Tensor], Tensor]
"""From a column's number in its block, and the column (G, R) as it is then, to the values it is set to (G, R)."""


def rows_of(weight: Tensor, groups: int) -> Tensor:
    """The rows of a weight matrix (G, R, d) float64."""
    return weight.detach().double().flatten(1).unflatten(0, (groups, -1))


def damped(moment: Tensor, damping: float, name: str) -> tuple[Tensor, Tensor]:
    """H with damping (G, d, d), and the inputs that are always 0 (G, d) bool; they get a diagonal of their own.

    Args:
        moment: X X' (G, d, d) float64.
        damping: fraction of the mean of its diagonal, above 0.
        name: the parameter's name, for messages.

    Raises:
        UserError: inputs are not finite.
    """
    if not bool(moment.isfinite().all()):
        raise UserError(
            f"'{name}': its inputs for the calibration samples are not all finite; use weights from a training that did"
            " not diverge"
        )
    diagonal = moment.diagonal(dim1=1, dim2=2)
    dead = diagonal == 0
    mean = diagonal.sum(1, keepdim=True) / (~dead).sum(1, keepdim=True).clamp(min=1)  # (G, 1)
    mean = torch.where(mean > 0, mean, torch.ones_like(mean))
    return moment + torch.diag_embed(torch.where(dead, mean, 0.0) + damping * mean), dead


def upper_factor(hessian: Tensor) -> Tensor:
    """U (G, d, d), the upper Cholesky factor of the inverse of H: U' U = H^-1."""
    return torch.linalg.cholesky(inverse(hessian), upper=True)


def inverse(hessian: Tensor) -> Tensor:
    """The inverse of positive definite H (G, d, d)."""
    return torch.cholesky_inverse(torch.linalg.cholesky(hessian))


def corrected(rows: Tensor, upper: Tensor, begin: Callable[[int, Tensor], Target], block: int = BLOCK) -> Tensor:
    """Fixes the weights of all rows from left to right, and moves later ones to make up for it.

    Args:
        rows: (G, R, d) float64; afterwards each weight is the value it had when its turn came.
        upper: from `upper_factor`.
        begin: called with the first column of each block, and the block (G, R, at most `block`) as it is then; returns
            the target of its columns.
        block: columns in a block.

    Returns:
        The fixed weights (G, R, d) float64.
    """
    fixed, width = torch.empty_like(rows), rows.shape[2]
    for first in range(0, width, block):
        last = min(first + block, width)
        part, errors = rows[..., first:last], torch.empty_like(rows[..., first:last])
        target = begin(first, part)
        within = upper[:, first:last, first:last]
        for j in range(last - first):
            fixed[..., first + j] = target(j, part[..., j])
            error = (part[..., j] - fixed[..., first + j]) / within[:, j, j].unsqueeze(1)
            part[..., j + 1 :] -= error.unsqueeze(2) * within[:, None, j, j + 1 :]
            errors[..., j] = error
        rows[..., last:] -= errors @ upper[:, first:last, last:]
    return fixed


@dataclass(frozen=True)
class Removal:
    """How many weights of a layer to remove, and which first."""

    name: str
    """The parameter's name, for messages."""
    sparsity: float
    """Fraction of the weights to remove."""
    dead: Tensor
    """Inputs that are always 0 (G, d) bool: removing their weights costs nothing."""
    before: Tensor | None = None
    """Weights that were removed before (G, R, d) bool: they stay removed, and count."""

    def scores(self, found: Tensor, columns: slice = slice(None)) -> Tensor:
        """Losses (G, R, columns) with those of dead inputs and earlier removals set to 0 and -1."""
        found = found.masked_fill(self.dead[:, None, columns], 0.0)
        return found if self.before is None else found.masked_fill(self.before[..., columns], -1.0)


def removed_by_block(rows: Tensor, upper: Tensor, asked: Removal) -> tuple[Tensor, Tensor]:
    """SparseGPT: in each block of columns, removes the weights of least w_j^2 / U_jj^2, and corrects the others.

    Args:
        rows: (G, R, d) float64; changed.
        upper: from `upper_factor`.
        asked: how many to remove; each block loses the same fraction, to a weight.

    Returns:
        The remaining weights, zero where removed, and which are kept (both G, R, d).

    Raises:
        UserError: no weight would be left.
    """
    width, total = rows.shape[2], num_removed(rows.numel(), asked.sparsity, asked.name)
    kept = torch.ones_like(rows, dtype=torch.bool)

    def begin(first: int, part: Tensor) -> Target:
        last = first + part.shape[2]
        costs = (part / upper.diagonal(dim1=1, dim2=2)[:, None, first:last]) ** 2
        scores = asked.scores(costs, slice(first, last))
        gone = 0 if asked.before is None else int(asked.before[..., first:last].sum())
        so_far = rows.numel() // width * first - int(kept[..., :first].sum())
        count = min(max(round(total * last / width) - so_far, gone), part.numel())
        lowest = scores.flatten().argsort(stable=True)[:count]
        its = torch.ones(part.numel(), dtype=torch.bool, device=part.device)
        its[lowest] = False
        kept[..., first:last] = its.view(part.shape)
        return lambda j, column: column * kept[..., first + j]

    return corrected(rows, upper, begin), kept


def least_loss_removed(rows: Tensor, hessian: Tensor, asked: Removal) -> tuple[Tensor, Tensor]:
    """OBC: removes the weight of least loss in a row, corrects the row, and so on; rows compete for removals.

    Args:
        rows: (G, R, d) float64.
        hessian: from `damped`.
        asked: how many to remove.

    Returns:
        The remaining weights, zero where removed, and which are kept (both G, R, d).

    Raises:
        UserError: no weight would be left, or the layer is too large.
    """
    groups, count, width = rows.shape
    if groups * count * width**3 > MOST_WORK:
        raise UserError(
            f"'{asked.name}' with {groups * count:,} rows of {width:,} weights is too large for obc; use sparsegpt, or"
            f" exclude layer '{asked.name.rpartition('.')[0]}'"
        )
    inverses, scores = inverse(hessian), asked.scores(torch.ones_like(rows))
    total = max(num_removed(rows.numel(), asked.sparsity, asked.name), int((scores < 0).sum()))
    steps = min(width, math.ceil(1.25 * total / (groups * count)) + 8)
    while True:
        traces = [_traces(rows[g], inverses[g], scores[g], steps) for g in range(groups)]
        orders, losses = (torch.cat(each).cpu() for each in zip(*traces, strict=True))  # (G R, steps)
        taken = _cheapest(losses.tolist(), total)
        if steps == width or max(taken) < steps:
            break
        steps = min(2 * steps, width)
    kept, fixed = torch.ones_like(rows, dtype=torch.bool), rows.clone()
    for index, number in enumerate(taken):
        if number:
            g, r = divmod(index, count)
            gone = orders[index, :number].sort().values.to(rows.device)
            across = inverses[g][:, gone]
            fixed[g, r] -= across @ torch.linalg.solve(across[gone], rows[g, r, gone])
            fixed[g, r, gone], kept[g, r, gone] = 0.0, False
    return fixed, kept


def _traces(rows: Tensor, whole: Tensor, scores: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """For each row (R, d), the inputs in order of their removal, and the loss of each removal (both R, steps).

    `scores` (R, d) are at most 0 where they replace a loss.
    """
    orders, losses = [], []
    several = max(1, _MOST_NUMBERS // whole.numel())
    for part, first in zip(rows.split(several), scores.split(several), strict=True):
        weights = part.clone()
        inverses, left = whole.repeat(len(part), 1, 1), torch.arange(whole.shape[0], device=part.device)
        left = left.repeat(len(part), 1)  # the inputs that the columns stand for
        alive, each = torch.ones_like(left, dtype=torch.bool), torch.arange(len(part), device=part.device)
        order, loss = [], []
        for step in range(steps):
            if step and step % _COMPACTED_AFTER == 0:
                places = alive.nonzero()[:, 1].view(len(part), -1)  # every row has lost as many
                weights, left = weights.gather(1, places), left.gather(1, places)
                first, alive = first.gather(1, places), alive.gather(1, places)
                inverses = inverses.gather(1, places.unsqueeze(2).expand(-1, -1, inverses.shape[2]))
                inverses = inverses.gather(2, places.unsqueeze(1).expand(-1, places.shape[1], -1))
            diagonal = inverses.diagonal(dim1=1, dim2=2)
            costs = torch.where(first <= 0, first, weights**2 / diagonal).masked_fill(~alive, math.inf)
            least = costs.argmin(1)
            order.append(left[each, least])
            loss.append(costs[each, least])
            pivot, row = diagonal[each, least].unsqueeze(1), inverses[each, least]  # (R, 1), (R, left)
            weights = weights - weights[each, least].unsqueeze(1) / pivot * row
            inverses.baddbmm_((row / pivot).unsqueeze(2), row.unsqueeze(1), alpha=-1)
            alive[each, least] = False
            inverses.diagonal(dim1=1, dim2=2)[each, least] = 1.0  # no division by the 0 that is left
        orders.append(torch.stack(order, 1))
        losses.append(torch.stack(loss, 1))
    return torch.cat(orders), torch.cat(losses)


def _cheapest(losses: Sequence[Sequence[float]], total: int) -> list[int]:
    """How many removals each row makes if the cheapest next one of all rows is made `total` times."""
    taken = [0] * len(losses)
    waiting = [(its[0], row) for row, its in enumerate(losses)]
    heapq.heapify(waiting)
    for _ in range(total):
        if not waiting:
            break
        _, row = heapq.heappop(waiting)
        taken[row] += 1
        if taken[row] < len(losses[row]):
            heapq.heappush(waiting, (losses[row][taken[row]], row))
    return taken
