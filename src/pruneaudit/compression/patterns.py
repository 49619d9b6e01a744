"""N:M patterns: which of every M consecutive weights stay, and the hook that moves them in training."""

# N weights of every M stay; I input channels of one output channel

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.channel_choice import KeptWhole, kept_notes
from pruneaudit.compression.compressed import Compressed
from pruneaudit.compression.matrices import input_axes
from pruneaudit.compression.moving_mask import DenseFeedback
from pruneaudit.compression.schedules import Ramp
from pruneaudit.core.errors import UserError
from pruneaudit.training.hooks import Sampler, TrainingState

Pattern = tuple[int, int]
"""N and M."""
_AT_ONCE = 1e-9
"""The part of a training after which SR-STE's mask has its full sparsity: any step is later."""


def keep_of_groups(scores: Tensor, axis: int, pattern: Pattern) -> Tensor:
    """Which weights stay: the N highest scores of every M along an axis. Among equal ones, the first go first.

    Args:
        scores: the score of each weight, in the weight's shape.
        axis: that of the input channels; M divides its length.
        pattern: N and M.

    Returns:
        Bool, in the weight's shape, on its device.
    """
    kept, group = pattern
    along = scores.movedim(axis, -1)  # (..., I)
    members = along.reshape(-1, group).T.contiguous()  # (M, groups)
    higher = torch.zeros_like(members, dtype=torch.int16)  # how many of the group stay before this one
    for first in range(group):  # faster than sorting many short groups
        for second in range(first + 1, group):
            wins = members[first] > members[second]
            higher[second] += wins
            higher[first] += ~wins
    return (higher < kept).T.reshape(along.shape).movedim(-1, axis).contiguous()


def weights_in_groups(
    model: nn.Module, weights: Mapping[str, Tensor], pattern: Pattern
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The weights that have the pattern, and notes on layers that stay dense.

    Args:
        model: the network.
        weights: the weights that a method may prune, from `selection.prunable_weights`.
        pattern: N and M.

    Returns:
        The axis of the input channels by parameter name; one sentence per reason to stay dense.

    Raises:
        UserError: no layer fits; the message names one, its shape, and the nearest M that fits it.
    """
    group, axes = pattern[1], input_axes(model)
    found: dict[str, int] = {}
    kept = []
    for name, weight in weights.items():
        layer, axis = name.removesuffix(".weight"), axes[name]
        if axis is None:
            kept.append(KeptWhole(layers=(layer,), reason="it is unknown which axis has their inputs"))
        elif weight.shape[axis] % group:
            reason = f"the number of inputs, {weight.shape[axis]}, is no multiple of {group}"
            kept.append(KeptWhole(layers=(layer,), reason=reason))
        else:
            found[name] = axis
    if not found:
        raise _none_fits(weights, axes, pattern)
    return found, kept_notes(kept)


def _none_fits(weights: Mapping[str, Tensor], axes: Mapping[str, int | None], pattern: Pattern) -> UserError:
    """The error for a pattern that fits no layer, with the nearest M that fits the widest one."""
    kept, group = pattern
    inputs = {name: weights[name].shape[axis] for name, axis in axes.items() if name in weights and axis is not None}
    if not any(number > 1 for number in inputs.values()):
        return UserError(f"pattern: got {kept}:{group}, but no layer has inputs in a known order; use l1unstructured")
    name = max(inputs, key=lambda each: inputs[each])
    divisors = [number for number in range(2, inputs[name] + 1) if inputs[name] % number == 0]
    nearest = min(divisors, key=lambda number: (abs(number - group), number))
    advised = min(max(1, round(kept * nearest / group)), nearest - 1)
    return UserError(
        f"pattern: got {kept}:{group}, but no layer's number of inputs is a multiple of {group}; the largest is"
        f" {inputs[name]}, of '{name.removesuffix('.weight')}' {tuple(weights[name].shape)}; the nearest that fits is"
        f" {advised}:{nearest}"
    )


class SparseRefined(DenseFeedback):
    """SR-STE: a new mask after every step, and a pull to zero on masked weights.

    The model's parameters are the masked weights, except during the optimizer's step.
    """

    def __init__(
        self,
        pruning: Compressed,
        dense: Mapping[str, Tensor],
        axes: Mapping[str, int],
        pattern: Pattern,
        decay: float,
    ) -> None:
        """Sets up the mask.

        Args:
            pruning: the network with its masked weights; its `constraint` is kept up to date.
            dense: the weights before they were masked, by name.
            axes: the axis of the input channels, by name.
            pattern: N and M.
            decay: the pull.
        """
        self._before, self._axes, self._pattern, self._decay = dense, axes, pattern, decay
        weights = {name: pruning.model.get_parameter(name) for name in dense}
        super().__init__(pruning, weights, Ramp(1 - pattern[0] / pattern[1], end=_AT_ONCE), "layerwise")

    @torch.no_grad()
    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Takes the dense weights, and masks them at once."""
        made = super().wrap(model, optimizer, sampler)
        for dense, name in zip(self._dense, self._names, strict=True):
            dense.copy_(self._before[name])
        self._move(self._ramp.sparsity)
        self._num_removed = self._num_back = 0
        return made

    def after_backward(self, state: TrainingState) -> None:
        """Swaps in the dense weights for the optimizer's step, and pulls masked ones to zero."""
        super().after_backward(state)
        for weight, mask in zip(self._weights, self._masks, strict=True):
            if weight.grad is not None:
                weight.grad.add_((1 - mask) * weight.detach(), alpha=self._decay)

    def _is_frozen(self, state: TrainingState) -> bool:
        return False  # the last step gives a new mask too

    def selected(self, sparsity: float) -> dict[str, Tensor]:
        """The N largest dense weights of every M."""
        scores = self.scores()
        return {name: keep_of_groups(scores[name], axis, self._pattern) for name, axis in self._axes.items()}
