"""Masks that move during training, from no removed weights to the requested sparsity.

Outside the optimizer's step the model's parameters are always the masked weights, so that anything that uses
the model (dev accuracy, the best epoch, a checkpoint, the release) gets the masked network.
"""

# One entry per prunable parameter, in order, in each list; masks are 0/1 tensors of the parameters' type and shape.

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.compressed import Compressed
from pruneaudit.compression.mask import Masks, set_zeros
from pruneaudit.compression.schedules import Ramp
from pruneaudit.compression.selection import Scope, magnitude, magnitude_of_kept, select_highest
from pruneaudit.training.hooks import Hook, Sampler, TrainingState


class MovingMask(Hook):
    """Moves a mask along a ramp and holds it between two moves; subclasses define the scores of weights.

    Adds `sparsity` (fraction of the ranked weights that are zero) to each epoch's row, updates
    `pruning.constraint` every epoch, and marks epochs below the requested sparsity as not selectable.
    """

    def __init__(self, pruning: Compressed, weights: Mapping[str, Tensor], ramp: Ramp, scope: Scope) -> None:
        """Sets up the mask.

        Args:
            pruning: its `constraint` is kept up to date.
            weights: the model's prunable parameters, by name.
            ramp: when the mask moves, and to which sparsity.
            scope: whether weights are ranked together or layer by layer.

        Raises:
            UserError: the ramp ends at a sparsity that leaves no weight.
        """
        select_highest(magnitude(weights), ramp.sparsity, scope)  # refused now, not in the middle of training
        self._pruning, self._ramp, self._scope = pruning, ramp, scope
        self._names, self._weights = list(weights), list(weights.values())
        self._masks = [torch.ones_like(weight) for weight in self._weights]
        self._sparsity = 0.0  # at the last move of the mask
        self._publish()

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Brings masks into the memory format that training has given the weights."""
        self._masks = [torch.ones_like(weight) for weight in self._weights]
        return model, optimizer, sampler

    def scores(self) -> dict[str, Tensor]:
        """The current score of each weight, by name; the lowest go."""
        raise NotImplementedError

    def selected(self, sparsity: float) -> dict[str, Tensor]:
        """The weights that stay at a sparsity, bool by name."""
        return select_highest(self.scores(), sparsity, self._scope)

    @property
    def held_masks(self) -> Masks | None:
        """The masks; only the weights that they keep learn."""
        return self._published

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Moves the mask if it is due, and sets removed weights to zero."""
        sparsity = self._ramp.after(state.step, state.steps_per_epoch, state.num_epochs)
        arrives = sparsity == self._ramp.sparsity != self._sparsity
        if arrives or (state.step % self._ramp.period_steps == 0 and not self._is_frozen(state)):
            self._move(sparsity)
        set_zeros(self._weights, self._masks)

    def epoch_end(self, state: TrainingState) -> None:
        """Records the sparsity; an epoch below the requested one must not be selected."""
        self._publish()
        state.history[-1]["sparsity"] = self._published.sparsity
        if self._sparsity != self._ramp.sparsity:
            state.selectable = False

    @torch.no_grad()
    def finalize(self, state: TrainingState) -> None:
        """Moves the mask to the requested sparsity, in case there were fewer steps than expected."""
        if self._sparsity != self._ramp.sparsity:
            self._move(self._ramp.sparsity)
        set_zeros(self._weights, self._masks)
        self._publish()

    def kept(self) -> dict[str, Tensor]:
        """The masks and their sparsity."""
        masks = {f"mask/{name}": mask != 0 for name, mask in zip(self._names, self._masks, strict=True)}
        return masks | {"sparsity": torch.tensor(self._sparsity, dtype=torch.float64)}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores the masks and their sparsity."""
        self._sparsity = float(tensors["sparsity"])
        for name, mask in zip(self._names, self._masks, strict=True):
            mask.copy_(tensors[f"mask/{name}"])
        self._publish()

    def _is_frozen(self, state: TrainingState) -> bool:
        return self._ramp.is_frozen(state.step, state.steps_per_epoch, state.num_epochs)

    def _move(self, sparsity: float) -> None:
        """Recomputes the mask at a sparsity."""
        kept = self.selected(sparsity)
        for name, mask in zip(self._names, self._masks, strict=True):
            mask.copy_(kept[name])
        self._sparsity = sparsity
        self._publish()

    def _publish(self) -> None:
        kept = {name: mask != 0 for name, mask in zip(self._names, self._masks, strict=True)}
        self._published = self._pruning.constraint = Masks(kept)


class GrowingMask(MovingMask):
    """A mask that keeps removing remaining weights; removed weights never come back."""

    def scores(self) -> dict[str, Tensor]:
        """|w| of the remaining weights."""
        named = zip(self._names, self._weights, strict=True)
        return magnitude_of_kept(dict(named), dict(zip(self._names, self._masks, strict=True)))


class DenseFeedback(MovingMask):
    """DPF: gradients at the masked weights update dense weights, and the mask is computed from these.

    The dense weights are in the parameters only from `after_backward` to `after_step`. Masking inside the
    graph instead would mask the gradient. Adds `reactivation_rate` to each epoch's row: of the weights
    removed before the epoch's moves of the mask, the fraction that the move brought back (0 without a move).
    """

    def __init__(self, pruning: Compressed, weights: Mapping[str, Tensor], ramp: Ramp, scope: Scope) -> None:
        """Sets up the mask; see `MovingMask`."""
        super().__init__(pruning, weights, ramp, scope)
        self._dense: list[Tensor] = []
        self._num_removed = self._num_back = 0  # summed over the moves of this epoch

    @torch.no_grad()
    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Takes the dense weights from the model."""
        self._dense = [weight.detach().clone() for weight in self._weights]
        return super().wrap(model, optimizer, sampler)

    @property
    def held_masks(self) -> Masks | None:
        """None: every dense weight learns."""
        return None

    def scores(self) -> dict[str, Tensor]:
        """|w| of the dense weights."""
        return magnitude(dict(zip(self._names, self._dense, strict=True)))

    @torch.no_grad()
    def after_backward(self, state: TrainingState) -> None:
        """Swaps in the dense weights for the optimizer's step."""
        torch._foreach_copy_(self._weights, self._dense)
        if self._is_frozen(state):
            for weight, mask in zip(self._weights, self._masks, strict=True):
                if weight.grad is not None:
                    weight.grad.mul_(mask)

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Takes back the updated dense weights, and leaves masked ones in the model."""
        torch._foreach_copy_(self._dense, self._weights)
        super().after_step(state)

    def epoch_end(self, state: TrainingState) -> None:
        """Records sparsity and reactivation rate."""
        super().epoch_end(state)
        state.history[-1]["reactivation_rate"] = self._num_back / max(self._num_removed, 1)
        self._num_removed = self._num_back = 0

    @torch.no_grad()
    def finalize(self, state: TrainingState) -> None:
        """Leaves the masked weights in the model, at the requested sparsity."""
        torch._foreach_copy_(self._weights, self._dense)  # a last move of the mask may bring weights back
        super().finalize(state)

    def kept(self) -> dict[str, Tensor]:
        """The mask's state and the dense weights."""
        dense = zip(self._names, self._dense, strict=True)
        return super().kept() | {f"dense/{name}": weight for name, weight in dense}

    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores masks and dense weights."""
        super().put_back(tensors)
        for name, weight in zip(self._names, self._dense, strict=True):
            weight.copy_(tensors[f"dense/{name}"])

    def _move(self, sparsity: float) -> None:
        """Recomputes the mask, and counts the weights that come back."""
        before = [mask.clone() for mask in self._masks]
        super()._move(sparsity)
        self._num_removed += sum(mask.numel() - int(mask.count_nonzero()) for mask in before)
        self._num_back += sum(int((now > then).sum()) for now, then in zip(self._masks, before, strict=True))
