"""Hooks of quantisation-aware training: grids that follow the weights, and BatchNorm statistics that stop moving."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from pruneaudit.compression.compressed import Compressed, Constraint
from pruneaudit.compression.grid_rules import GridRule
from pruneaudit.compression.grids import Grid, Grids, HoldGrids
from pruneaudit.training.hooks import Hook, TrainingState

_MOVING = ("scale", "zero", "threshold")
"""The parts of a grid that change."""


class MovedGrids(Grids):
    """The grids at the end of an epoch; it remembers those of earlier epochs."""

    def __init__(self, grids: Mapping[str, Grid], earlier: Sequence[Mapping[str, Grid]] = ()) -> None:
        super().__init__(grids)
        self._earlier = tuple(earlier)

    def found_in(self, model: nn.Module) -> Constraint:
        """The grids of the epoch that the model's weights are of."""
        return next((Grids(each) for each in (self.grids, *reversed(self._earlier)) if _fit(each, model)), self)


def _fit(grids: Mapping[str, Grid], model: nn.Module) -> bool:
    weights = {name: model.get_parameter(name).detach() for name in grids}
    return all(torch.equal(grid.rounded(weights[name]), weights[name]) for name, grid in grids.items())


class MovingGrids(HoldGrids):
    """Trains unrounded weights with the gradient at the rounded ones, and chooses the grids anew after each step."""

    def __init__(
        self, made: Compressed, rules: Mapping[str, GridRule], grids: Grids, unrounded: Mapping[str, Tensor]
    ) -> None:
        """Takes over the weights.

        Args:
            made: the network, whose weights are on the grids; its `constraint` is kept up to date.
            rules: how to choose the grid of each weight, by parameter name.
            grids: the grids at the beginning.
            unrounded: the weights before rounding, by parameter name.
        """
        super().__init__(made.model, grids, unrounded)
        self._made = made
        self._rules = [rules[name] for name in self._names]
        self._epochs: list[dict[str, Grid]] = []
        made.constraint = MovedGrids(grids.grids)

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Takes back the updated weights, and leaves rounded ones on their new grids in the model."""
        torch._foreach_copy_(self._unrounded, list[Tensor](self._weights))
        self._choose()
        for weight, unrounded, grid in zip(self._weights, self._unrounded, self._grids, strict=True):
            weight.copy_(grid.rounded(unrounded))

    def epoch_end(self, state: TrainingState) -> None:
        """Remembers the grids: this epoch's weights may be selected."""
        self._epochs.append(dict(zip(self._names, self._grids, strict=True)))
        self._made.constraint = MovedGrids(self._epochs[-1], self._epochs[:-1])

    def kept(self) -> dict[str, Tensor]:
        """The unrounded weights, and the grids of all epochs."""
        found = super().kept()
        for name in self._names if self._epochs else ():
            for part in _MOVING:
                values = [getattr(grids[name], part) for grids in self._epochs]
                if values[0] is not None:
                    found[f"{part}/{name}"] = torch.stack(values)
        return found

    @torch.no_grad()
    def put_back(self, tensors: dict[str, Tensor]) -> None:
        """Restores them."""
        super().put_back(tensors)
        self._choose()
        self._epochs = []
        num_epochs = len(tensors.get(f"scale/{self._names[0]}", ()))
        for epoch in range(num_epochs):
            grids = {}
            for name, grid in zip(self._names, self._grids, strict=True):
                scale, zero = (tensors[f"{part}/{name}"][epoch] for part in _MOVING[:2])
                limit = tensors[f"threshold/{name}"][epoch] if grid.threshold is not None else None
                grids[name] = replace(grid, scale=scale, zero=zero, threshold=limit).on(grid.scale.device)
            self._epochs.append(grids)
        if self._epochs:
            self._made.constraint = MovedGrids(self._epochs[-1], self._epochs[:-1])

    def _choose(self) -> None:
        pairs = zip(self._rules, self._unrounded, self._grids, strict=True)
        self._grids = [rule.grid(unrounded, grid.axis) for rule, unrounded, grid in pairs]


class FreezeBatchNorm(Hook):
    """From a fraction of the training on, BatchNorm normalises by its running statistics and no longer changes them."""

    def __init__(self, at: float) -> None:
        self._at = at

    def before_forward(self, state: TrainingState) -> None:
        """Freezes the statistics if it is time; the loop thaws them at the beginning of each epoch."""
        if state.step < self._at * state.num_epochs * state.steps_per_epoch:
            return
        for module in state.model.modules():
            if isinstance(module, _NormBase) and module.track_running_stats:
                module.eval()
