"""Training several small networks in lockstep: one call per layer for all of them.

A small network spends most of a step on starting operations, not on arithmetic. Here each model keeps its own
samples, random draws, number of steps, learning rate and history, exactly those of `train`; only the arithmetic
is shared out in other blocks, so that weights differ from those of `train` by rounding.

An epoch has two kinds of steps. Full batches are taken together by all models that have one left. The last,
shorter batches are taken together afterwards, padded to one length. A model without a batch waits and is not
touched. The shapes of all tensors thus depend on the batch size and the number of places alone: a model in a
given place among a given number ends with the same bits whoever stands beside it, or nobody.
"""

# G models side by side, B rows, n samples of one model, K classes

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.data.augment import AUGMENTATIONS
from pruneaudit.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import DivergedTrainingError
from pruneaudit.training.optimizers import learning_rate_factor, make_optimizer
from pruneaudit.training.samples import Samples, Shuffled
from pruneaudit.training.stackable import obstacle
from pruneaudit.training.stacked_layers import Turn
from pruneaudit.training.stacked_network import COUNTER, LayeredNetwork, MappedNetwork, Network, Stack
from pruneaudit.training.stacked_updates import StackedMasks, Updates


def train_stacked(
    models: Sequence[nn.Module],
    samples: Sequence[Samples],
    settings: Training,
    generators: Sequence[torch.Generator],
    masks: Sequence[Mapping[str, Tensor]] | None = None,
    hooks: Sequence[Sequence[Hook]] | None = None,
    places: Sequence[int] | None = None,
    num_places: int | None = None,
    by: Literal["layers", "vmap"] = "layers",
) -> list[TrainingState]:
    """Trains models of one architecture in place, each on its own samples, as `train` would train each alone.

    A model whose loss is no longer finite is left as it is and takes no more steps; the others go on. Its history
    ends with that loss: `raise_if_diverged` tells.

    Args:
        models: the networks, on the samples' device.
        samples: each model's own training set; their sizes may differ.
        settings: epochs, optimizer, learning rate, augmentation; the same for all.
        generators: each model's CPU generator of every random draw.
        masks: per model, bool tensors by parameter name, True = kept; the rest stays zero once a step was taken.
        hooks: per model, hooks that act at the end of epochs only.
        places: where each model stands among the G, all different. Default: 0, 1, ...
        num_places: G, above all places; those without a model stay empty. Default: as many as needed. On the CPU,
            weights depend (by rounding) on the place and on G, since kernels do, and on nothing else of the others.
        by: stacked layers, or torch's vmap for networks that are made of others.

    Returns:
        The models' states after their last epoch, in order; their optimizers hold no momentum.

    Raises:
        UserError: these models cannot be trained together; `obstacle` says so beforehand.
        ValueError: two models have one place, or a model none, or one outside the G.
    """
    hooks = hooks or [()] * len(models)
    reason = obstacle(models, samples, hooks, masks, by)
    if reason:
        raise UserError(f"engine 'stacked' cannot train these models: {reason}; use engine = 'plain'")
    places = range(len(models)) if places is None else places
    num_places = max(places) + 1 if num_places is None else num_places
    if len({*places}) != len(models) or len(places) != len(models) or not all(0 <= g < num_places for g in places):
        raise ValueError(f"got places {list(places)} of {num_places} for {len(models)} models, expected one for each")
    for model in models:
        model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    own = [_Place(*each, settings) for each in zip(models, samples, generators, hooks, strict=True)]
    standing = dict(zip(places, own, strict=True))
    held = dict(zip(standing, masks or (), strict=False))
    together = _Together(standing, settings, held, num_places, by)
    for epoch in range(settings.epochs):
        running = [g for g, place in standing.items() if not place.state.stop]
        if running:
            together.epoch(epoch, running)
    together.put_back()
    for place in own:
        if not diverged(place.state):
            for hook in place.hooks:
                hook.finalize(place.state)
    return [place.state for place in own]


def diverged(state: TrainingState) -> bool:
    """Whether the loss of a training's last epoch is not a finite number."""
    return bool(state.history) and not math.isfinite(state.history[-1]["loss"])


def raise_if_diverged(state: TrainingState) -> None:
    """Raises for one of the models what `train` would have raised.

    Raises:
        DivergedTrainingError: its last epoch's mean loss is NaN or infinite.
    """
    if diverged(state):
        raise DivergedTrainingError(state.history[-1]["epoch"])


class _Place:
    """One model among several: its samples, its draws, and where its training stands."""

    def __init__(
        self,
        model: nn.Module,
        samples: Samples,
        generator: torch.Generator,
        hooks: Sequence[Hook],
        settings: Training,
    ) -> None:
        self.samples, self.generator, self.hooks, self._settings = samples, generator, hooks, settings
        self.sampler = Shuffled(len(samples), settings.batch_size)
        rest = len(samples) - (self.sampler.num_batches - 1) * settings.batch_size
        self.num_full = self.sampler.num_batches - (rest != settings.batch_size)
        self.has_rest = rest != settings.batch_size
        optimizer = make_optimizer(model, settings)
        self.state = TrainingState(model, optimizer, generator, settings.epochs, self.sampler.num_batches)
        # In the order of `train`: the seed of dropout is drawn before the first order of samples.
        seed = int(torch.randint(2**62, (), generator=generator))
        self.dropout = torch.Generator().manual_seed(seed)
        self.num_steps_counted = 0
        self._batches: Iterator[Tensor] = iter(())

    @property
    def learning_rate(self) -> float:
        """That of the next step."""
        factor = learning_rate_factor(self._settings, self.state.step, self.sampler.num_batches)
        return self._settings.learning_rate * factor

    def begin_epoch(self, epoch: int) -> None:
        """Makes the epoch's order ready."""
        self.state.epoch = epoch
        self._batches = self.sampler.batches(self.generator)

    def batch(self) -> tuple[Tensor, Tensor]:
        """The next inputs (b, ...) and labels (b,) of the epoch."""
        x, y = self.samples.batch(next(self._batches))
        return AUGMENTATIONS[self._settings.augment](x, self.generator), y


class _Together:
    """The models' weights, stacked, and their common steps."""

    def __init__(
        self,
        places: Mapping[int, _Place],
        settings: Training,
        masks: Mapping[int, Mapping[str, Tensor]],
        num_places: int,
        by: str,
    ) -> None:
        self._places, self._settings = places, settings
        template = next(iter(places.values())).state.model
        self._stack = Stack([places[g].state.model if g in places else template for g in range(num_places)])
        make = LayeredNetwork if by == "layers" else MappedNetwork
        self._network: Network = make(template, self._stack)
        self._updates = Updates(list(self._stack.parameters.values()), settings)
        self._masks = StackedMasks(self._stack.parameters, masks) if masks else None
        self._dropout = {g: place.dropout for g, place in places.items()}
        self._device = next(iter(places.values())).samples.y.device

    def epoch(self, epoch: int, running: Sequence[int]) -> None:
        """One epoch of the models that are still in training."""
        places = self._places
        rates = {g: places[g].learning_rate for g in running}
        losses: dict[int, list[Tensor]] = {g: [] for g in running}
        for g in running:
            places[g].begin_epoch(epoch)
        for turn in range(max(places[g].num_full for g in running)):
            taking = [g for g in running if turn < places[g].num_full]
            self._step(taking, self._settings.batch_size, losses)
        taking = [g for g in running if places[g].has_rest]
        if taking:  # one row more than a batch: a last batch of one sample joins the one before it
            self._step(taking, self._settings.batch_size + 1, losses)
        for g in running:
            loss = float(torch.stack(losses[g]).mean())
            places[g].state.history.append({"epoch": epoch + 1, "loss": loss, "learning_rate": rates[g]})
        self._end_epoch([places[g] for g in running])

    def _end_epoch(self, running: Sequence[_Place]) -> None:
        if any(place.hooks for place in running):
            self.put_back()
        for place in running:
            if diverged(place.state):
                place.state.stop = True
                continue
            for hook in place.hooks:
                hook.epoch_end(place.state)

    def _step(self, taking: Sequence[int], num_rows: int, losses: Mapping[int, list[Tensor]]) -> None:
        """One optimizer step of the models in `taking`; adds the loss of each to `losses`."""
        batches = {g: self._places[g].batch() for g in taking}
        rows = {g: len(y) for g, (_, y) in batches.items()}
        turn = Turn(rows, num_rows, self._dropout, self._stack.num_models, self._device)
        x = self._network.pack({g: x for g, (x, _) in batches.items()}, num_rows)
        untouched = self._buffers_of_others(taking)
        loss = self._losses(self._network.logits(x, turn), {g: y for g, (_, y) in batches.items()}, turn)  # (G,)
        for parameter in self._stack.parameters.values():
            parameter.grad = None
        torch.autograd.backward(loss, torch.ones_like(loss))
        for buffer, others, values in untouched:
            buffer[others] = values
        self._updates.step({g: self._places[g].learning_rate for g in taking})
        if self._masks:
            self._masks.hold(taking)
        for g, own in zip(taking, loss.detach()[list(taking)].unbind(), strict=True):
            self._places[g].state.step += 1
            losses[g].append(own)

    def _losses(self, logits: Tensor, labels: Mapping[int, Tensor], turn: Turn) -> Tensor:
        """(G,): the mean cross-entropy of each model's own rows; of no meaning for those that take no part."""
        y = torch.zeros(logits.shape[:2], dtype=torch.int64, device=logits.device)  # (G, B)
        for g, own in labels.items():
            y[g, : len(own)] = own
        each = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view_as(y)  # (G, B)
        if turn.is_full:
            return each.mean(1)
        return (each * turn.real().T).sum(1) / turn.counts().clamp_(min=1)

    def _buffers_of_others(self, taking: Sequence[int]) -> list[tuple[Tensor, list[int], Tensor]]:
        """The running statistics of models that take no part in a step, to be put back after it."""
        others = [g for g in self._places if g not in taking]
        return [(buffer, others, buffer[others]) for buffer in self._stack.buffers.values()] if others else []

    @torch.no_grad()
    def put_back(self) -> None:
        """Writes weights, running statistics and BatchNorm's counts of steps into the models."""
        self._stack.put_back({g: place.state.model for g, place in self._places.items()})
        for place in self._places.values():
            for name, buffer in place.state.model.named_buffers():
                if name.endswith(COUNTER):
                    buffer += place.state.step - place.num_steps_counted
            place.num_steps_counted = place.state.step
