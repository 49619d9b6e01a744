"""Trains one network: the training loop, from top to bottom."""

# n samples, B batch, C classes

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, autocast, nn
from torch.nn.functional import cross_entropy

from pruneaudit.core.errors import UserError
from pruneaudit.data.augment import augmentation
from pruneaudit.data.inputs import Inputs, answered, shortened
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, Sampler, TrainingState
from pruneaudit.training.optimizers import make_optimizer, make_schedule
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples, Shuffled
from pruneaudit.training.strided_convolutions import sound_strides


class DivergedTrainingError(RuntimeError):
    """The training loss is not finite."""

    def __init__(self, epoch: int) -> None:
        super().__init__(f"training diverged: the loss of epoch {epoch} is not finite; try a lower learning rate")
        self.epoch = epoch


def train(
    model: nn.Module,
    samples: Samples,
    settings: Training,
    generator: torch.Generator,
    hooks: Sequence[Hook] = (),
    checkpoints: Checkpoints | None = None,
) -> TrainingState:
    """Trains `model` in place on `samples`.

    Args:
        model: the network, on the samples' device.
        samples: the model's own training set.
        settings: epochs, optimizer, learning rate, augmentation.
        generator: CPU generator for every random draw (order, augmentation, dropout).
        hooks: modifications of the training, in calling order.
        checkpoints: saves the training between epochs; training continues from an existing checkpoint.

    Returns:
        The state after the last epoch; its history has one row per epoch.

    Raises:
        DivergedTrainingError: an epoch's mean loss is NaN or infinite.
        UserError: there are no samples.
    """
    if not len(samples):
        raise UserError("a model got no training sample at all; raise data.num_samples")
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = make_optimizer(model, settings)
    sampler: Sampler = Shuffled(len(samples), settings.batch_size)
    for hook in hooks:
        model, optimizer, sampler = hook.wrap(model, optimizer, sampler)
    schedule = make_schedule(optimizer, settings, sampler.num_batches)
    augment = augmentation(settings.augment, samples.vocabulary)
    state = TrainingState(model, optimizer, generator, settings.epochs, sampler.num_batches)

    with torch.random.fork_rng(), sound_strides(model):  # dropout draws from the global generators
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        if checkpoints:
            checkpoints.restore(state, schedule, hooks)
        first_epoch = state.epoch
        for state.epoch in range(first_epoch, settings.epochs):
            model.train()
            learning_rate = schedule.get_last_lr()[0]
            losses = []
            for positions in sampler.batches(generator):
                x, y = samples.batch(positions)  # (B, ...), (B,)
                x = augment(x, generator)
                for hook in hooks:
                    x, y = hook.batch(state, x, y)
                for hook in hooks:
                    hook.before_forward(state)
                logits = _logits(model, shortened(x, model), settings.precision)  # (B, C)
                loss = cross_entropy(logits, y)
                for hook in hooks:
                    loss = hook.loss(state, logits, y, loss)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                for hook in hooks:
                    hook.after_backward(state)
                optimizer.step()
                schedule.step()
                state.step += 1
                for hook in hooks:
                    hook.after_step(state)
                if len(y):  # the mean over an empty batch, which Poisson sampling can draw, is NaN
                    losses.append(loss.detach())
            mean_loss = float(torch.stack(losses).mean()) if losses else 0.0
            if not math.isfinite(mean_loss):
                raise DivergedTrainingError(state.epoch + 1)
            state.history.append({"epoch": state.epoch + 1, "loss": mean_loss, "learning_rate": learning_rate})
            for hook in hooks:
                hook.epoch_end(state)
            if state.stop:  # without a checkpoint, as after a last epoch: a resumed training stops here again
                break
            if checkpoints:
                checkpoints.save_if_due(state, schedule, hooks)
    for hook in hooks:
        hook.finalize(state)
    return state


def _logits(model: nn.Module, x: Inputs, precision: str) -> Tensor:
    """The network's outputs (B, C), in the type of its weights."""
    if precision == "float32":
        logits: Tensor = answered(model, x)
        return logits
    with autocast(next(model.parameters()).device.type, torch.bfloat16):
        logits = answered(model, x)
    return logits.float()
