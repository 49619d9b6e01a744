"""Trains a user's network with the loop that studies use."""

# N samples, B batch, C classes, K channels, H height, W width

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.compression.macs import evaluating
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.randomness import torch_generator
from pruneaudit.data.inputs import Inputs, answered, contiguous, described, num_in
from pruneaudit.external.given import tensor_of, texts_of
from pruneaudit.external.method import Tuning, tuning_of
from pruneaudit.external.networks import Plain
from pruneaudit.external.texts import check_takes_texts
from pruneaudit.models._arguments import take_what_it_names
from pruneaudit.models._outputs import answering, check_answer, check_steady, logits_in
from pruneaudit.training.hooks import Hook, Sampler, TrainingState
from pruneaudit.training.loop import DivergedTrainingError, train
from pruneaudit.training.predict import accuracy
from pruneaudit.training.samples import Samples

Train = Callable[[nn.Module, Sequence[Hook], str, int | None], Any]
"""`train(model, hooks, phase, epochs)`: trains a network in place and calls the hooks as `training/hooks.py` describes.
`phase` names the training ("finetune" is the one after pruning); `epochs` None leaves their number to it."""
TRIED = 4
"""Samples to try a network on before it is trained."""
NO_LABEL = -1
"""Label of samples without labels. It is not a class, so a method that uses it fails."""


class FineTuning:
    """The training around a compression: the package's loop on the user's data, or the user's function.

    Example:
        >>> tuning = pruneaudit.FineTuning((x, y), epochs=1, learning_rate=0.02)
        >>> pruned = pruneaudit.compress(model, "dpf", 0.9, finetuning=tuning)
    """

    def __init__(
        self,
        data: tuple[Any, Any] | Samples | None = None,
        *,
        train: Train | None = None,
        initial: nn.Module | Callable[[], nn.Module] | None = None,
        **settings: Any,
    ) -> None:
        """Sets who trains, and how.

        Args:
            data: x and y to fine-tune on with our loop: x as input of the network, floats (N, K, H, W) or (N, ...), or
                for texts a dict of `input_ids` and `attention_mask` (N, T); y integer labels (N,).
            train: the user's training: `train(model, hooks, phase, epochs)`; see `Train`.
            initial: the network with its initial weights, or a function that builds it. Methods that rewind need it
                (iterative:rewind=init). Methods that train from scratch (dpf, rigl, static:start=init) start from it,
                or without it from the network to prune.
            settings: settings for `data`: `epochs` (10), `learning_rate` (0.01), `batch_size`, `optimizer`,
                `weight_decay`, `augment` and other fields of `study.Training`.

        Raises:
            UserError: both data and a function, or a setting that is unknown, wrong or without effect.
        """
        if train is not None and data is not None:
            raise UserError("train, data: got both, expected one: a function that trains, or data for our own loop")
        self.data, self.train, self.initial = data, train, initial
        self.settings = tuning_of(settings, data is not None)

    @property
    def trains(self) -> bool:
        """Whether anything is trained."""
        return self.train is not None or self.data is not None


class PlainOrder(Hook):
    """Keeps weights and inputs in plain memory order, because a user's code may call `view`.

    The loop puts both into channels-last order, which is faster for networks that can handle it.
    """

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        """Restores the weights' memory order, in place."""
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return model, optimizer, sampler

    def batch(self, state: TrainingState, x: Inputs, y: Tensor) -> tuple[Inputs, Tensor]:
        """Restores the inputs' memory order."""
        return contiguous(x), y


def samples_of(data: Any, model: nn.Module, what: str = "data", may_lack_labels: bool = False) -> Samples:
    """The user's samples on the model's device, checked.

    Args:
        data: x and y, arrays or tensors: x as input of the network, floats (N, K, H, W) or (N, ...), or for texts a
            dict of `input_ids` and `attention_mask`, integers (N, T); y integers (N,).
        model: the network; for texts it is made to take these by name.
        what: name of the data in messages.
        may_lack_labels: whether it can be x alone; y is then `NO_LABEL`.

    Raises:
        UserError: they are not such a pair, or the network does not return logits (N, C) for them.
    """
    if not isinstance(data, Samples):
        if may_lack_labels and not isinstance(data, tuple | list):
            given, y = data, None
        elif not isinstance(data, tuple | list) or len(data) != 2:
            alone = " or x alone" if may_lack_labels else ""
            raise UserError(f"{what}: got {type(data).__name__}, expected a pair (x, y) of arrays or tensors{alone}")
        else:
            given, y = data[0], tensor_of(data[1], f"{what}: y")
            _check_labels(y, what)
        if isinstance(given, Mapping):
            data = texts_of(given, y, next(model.parameters()).device, f"{what}: x")
            data = data if y is not None else replace(data, y=torch.full_like(data.y, NO_LABEL))
        else:
            x = tensor_of(given, f"{what}: x")
            data = _stored(x, torch.full(x.shape[:1], NO_LABEL) if y is None else y, model, what)
    if data.kind == "tokens":
        take_what_it_names(model)
    _try(model, data, what)
    return data


def _check_labels(y: Tensor, what: str) -> None:
    if len(y) and (y.is_floating_point() or y.dtype == torch.bool or int(y.min()) < 0):
        raise UserError(f"{what}: got y of {y.dtype} from {y.min().item()}, expected integer labels from 0 up")


def _stored(x: Tensor, y: Tensor, model: nn.Module, what: str) -> Samples:
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y) or not len(x):
        raise UserError(
            f"{what}: got x of shape {tuple(x.shape)} and y {tuple(y.shape)}, expected (N, ...) and (N,), N above 0"
        )
    if x.dtype in (torch.uint8, torch.bool):
        raise UserError(f"{what}: got x of {x.dtype}, expected the network's input: floats, normalised as in training")
    weight = next(model.parameters())
    if x.is_floating_point():
        x = x.to(weight.dtype)
        if not x.isfinite().all():
            raise UserError(f"{what}: NaN or infinity in x, expected finite numbers: drop or fill them")
    stored = x.permute(0, 2, 3, 1) if x.ndim == 4 else x
    return Samples(stored.to(weight.device).contiguous(), y.to(weight.device, torch.int64))


def _try(model: nn.Module, samples: Samples, what: str) -> None:
    """Predicts a few samples twice, to check that answers are logits, one per class, and do not change."""
    check_takes_texts(model, samples, what)
    x = contiguous(samples.inputs(slice(0, TRIED)))  # (B, ...)

    def ask() -> Any:
        return logits_in(tried(model, x, f"{what}: {described(x)}"), classes_in(samples))

    check_answer(ask(), num_in(x), max(2, int(samples.y.max()) + 1), what, may_be_more=True)
    check_steady(ask, what)


def classes_in(samples: Samples | None) -> int | None:
    """The number of classes that labels show; None if they do not."""
    highest = -1 if samples is None else int(samples.y.max())
    return highest + 1 if highest > 0 else None


def tried(model: nn.Module, x: Inputs, what: str) -> Any:
    """The network's answers for `x` in evaluation mode; any error of its code becomes one line.

    Raises:
        UserError: the network fails.
    """
    with evaluating(model), torch.no_grad():
        try:
            return answered(model, x)
        except Exception as error:
            reason = in_one_line(error)
            raise UserError(
                f"{what}: the network fails on them ({reason}); give inputs of the shape it takes"
            ) from None


def fine_tune(
    model: nn.Module,
    samples: Samples,
    settings: Tuning,
    hooks: Sequence[Hook],
    seed: int,
    phase: str,
    epochs: int | None = None,
) -> list[Mapping[str, Any]]:
    """Trains `model` in place, in the memory order of its weights.

    Args:
        model: the network, on the samples' device.
        samples: the training samples.
        settings: learning rate, batch size and so on.
        hooks: the hooks that keep the pruning.
        seed: together with `phase`, the seed of order, augmentation and dropout.
        phase: the name of this training.
        epochs: if given, replaces that of the settings.

    Returns:
        One row per epoch.

    Raises:
        UserError: the training diverged, or no weight of the network is trainable.
    """
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UserError("data: no parameter of the network has requires_grad, so nothing can be trained")
    plain = all(parameter.is_contiguous() for parameter in model.parameters())
    settings = settings.model_copy(update={"epochs": epochs}) if epochs else settings
    generator = torch_generator(seed, seeds.PRUNE_OUTSIDE, phase)
    try:
        with answering(model):
            return list(train(model, samples, settings, generator, (PlainOrder(), *hooks) if plain else hooks).history)
    except DivergedTrainingError as error:
        raise UserError(f"{phase}: {error}") from None


def accuracy_of(model: nn.Module, samples: Samples) -> float:
    """Fraction of correctly classified samples, in [0, 1]."""
    with answering(model):
        return accuracy(Plain(model), samples)
