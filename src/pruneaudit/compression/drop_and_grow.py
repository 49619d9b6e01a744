"""The hook of sparse training with a constant number of weights: each layer drops some and grows as many elsewhere."""

# One entry per prunable parameter, in order, in each list; masks are 0/1 tensors of the parameters' type and shape.

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.compressed import Compressed
from pruneaudit.compression.mask import Masks, set_zeros
from pruneaudit.compression.schedules import Replacing
from pruneaudit.compression.selection import magnitude_of_kept, select_counts
from pruneaudit.core.errors import UserError
from pruneaudit.training.hooks import Hook, Sampler, TrainingState


class DropAndGrow(Hook):
    """Moves a mask by magnitudes and gradients; every layer keeps its number of weights.

    Masks are applied to the weights, not inside the graph, so that `.grad` is the gradient of all weights at the
    masked network. Adds `replaced` to each epoch's row: the number of grown weights that were not there before, as a
    fraction of the kept ones, over all moves of the epoch.
    """

    held_masks: Masks | None = None
    """None: gradients are not masked, because those of removed weights are used too."""

    def __init__(self, pruning: Compressed, weights: Mapping[str, Tensor], schedule: Replacing) -> None:
        """Sets up the hook.

        Args:
            pruning: its masks are where the training starts; its `constraint` is kept up to date.
            weights: the model's prunable parameters, by name.
            schedule: when the mask moves, and how many weights it replaces.
        """
        assert pruning.masks is not None
        self._pruning, self._schedule = pruning, schedule
        self._names, self._weights = list(weights), list(weights.values())
        self._masks = [pruning.masks[name].to(weight) for name, weight in weights.items()]
        self._num_replaced = 0  # in this epoch

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Brings masks into the memory format that training has given the weights."""
        pairs = zip(self._weights, self._masks, strict=True)
        self._masks = [torch.empty_like(weight).copy_(mask) for weight, mask in pairs]
        return model, optimizer, sampler

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Sets removed weights to zero, and moves the mask if it is due.

        Raises:
            UserError: the training is too short for the mask to ever move.
        """
        num_steps = state.num_epochs * state.steps_per_epoch
        if state.step == 1:
            self._check_ever_moves(num_steps)
        set_zeros(self._weights, self._masks)
        fraction = self._schedule.fraction(state.step, num_steps)
        if fraction > 0:
            self._move(fraction, state.optimizer)

    def epoch_end(self, state: TrainingState) -> None:
        """Records the replaced weights; marks an epoch in which some kept weights are still zero."""
        self._publish()
        num_kept = [int(mask.count_nonzero()) for mask in self._masks]
        state.history[-1]["replaced"] = self._num_replaced / sum(num_kept)
        self._num_replaced = 0
        if num_kept != [int(weight.count_nonzero()) for weight in self._weights]:
            state.selectable = False

    def finalize(self, state: TrainingState) -> None:
        """Publishes the last mask."""
        self._publish()

    def kept(self) -> dict[str, Tensor]:
        """The masks."""
        return {f"mask/{name}": mask != 0 for name, mask in zip(self._names, self._masks, strict=True)}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the masks."""
        for name, mask in zip(self._names, self._masks, strict=True):
            mask.copy_(tensors[f"mask/{name}"])
        self._publish()

    def _check_ever_moves(self, num_steps: int) -> None:
        last = math.ceil(self._schedule.until * num_steps) - 1
        if last < self._schedule.period_steps:
            raise UserError(
                f"period_steps: got {self._schedule.period_steps}, but the mask may move only in the first {last} of"
                f" this training's {num_steps} steps, so it never would; use a lower one, such as {max(last // 10, 1)},"
                " or train longer"
            )

    def _move(self, fraction: float, optimizer: torch.optim.Optimizer) -> None:
        """Replaces a fraction of each layer's weights, rounded down."""
        for weight, mask in zip(self._weights, self._masks, strict=True):
            if weight.grad is None:
                continue
            kept = moved(weight, weight.grad, mask, fraction)
            grown = kept & (mask == 0)
            mask.copy_(kept)
            weight.mul_(mask)
            for value in optimizer.state.get(weight, {}).values():
                if isinstance(value, Tensor) and value.shape == weight.shape:  # momentum, and Adam's two moments
                    value.masked_fill_(grown, 0.0)
            self._num_replaced += int(grown.count_nonzero())

    def _publish(self) -> None:
        self._pruning.constraint = Masks({name: mask != 0 for name, mask in zip(self._names, self._masks, strict=True)})


def moved(weight: Tensor, gradient: Tensor, mask: Tensor, fraction: float) -> Tensor:
    """The next mask of one layer: drops the weights nearest to zero, and grows as many with the largest gradients.

    Dropped weights may grow again. Among equal ones, the last in parameter order are kept and grow first.

    Args:
        weight: the layer's weights; those that the mask removes are zero.
        gradient: the gradient of all weights.
        mask: nonzero = kept.
        fraction: fraction of the kept weights to drop, in [0, 1); rounded down.

    Returns:
        Bool, in the weight's shape, with as many True as `mask` has nonzero.
    """
    size, num_kept = mask.numel(), int(mask.count_nonzero())
    num_dropped = math.floor(fraction * num_kept)
    named = {"": mask}
    stay = select_counts(magnitude_of_kept({"": weight}, named), {"": size - num_kept + num_dropped})[""]
    grow = gradient.abs().masked_fill(stay, math.inf)
    return select_counts({"": grow}, {"": size - num_kept})[""]
