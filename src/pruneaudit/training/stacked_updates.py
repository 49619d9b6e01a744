"""The optimizer's step and the held masks of several models at once.

The kernels are those of the plain loop, torch's fused SGD and Adam, called once for the weights of all models that
take part. Every weight of every model is a tensor of its own to them: over stacked weights as a whole, some elements
would fall to the kernel's scalar rest instead of its vectors, which round differently, and a model's bits would
depend on its neighbours. A model that takes no part is not touched: no weight decay, no momentum, no count.
"""

# G models side by side, P parameters of each

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from pruneaudit.study import Training


class Updates:
    """SGD or Adam over stacked parameters, with a learning rate for each model."""

    def __init__(self, parameters: Sequence[Tensor], settings: Training) -> None:
        """Starts with no momentum.

        Args:
            parameters: P stacked ones, (G, ...) each, which are changed in place.
            settings: which optimizer.
        """
        self._parameters, self._settings = parameters, settings
        self._weights = views(parameters)
        self._first = views([torch.zeros_like(parameter) for parameter in parameters])
        if settings.optimizer == "adam":
            self._second = views([torch.zeros_like(parameter) for parameter in parameters])
            device = parameters[0].device
            self._counts = [[torch.zeros((), device=device) for _ in parameters] for _ in self._weights]

    @torch.no_grad()
    def step(self, rates: Mapping[int, float]) -> None:
        """One step of the models that take part, with the gradients that the parameters hold.

        Args:
            rates: the learning rate of each of them, by its place.
        """
        gradients = views([parameter.grad for parameter in self._parameters if parameter.grad is not None])
        alike: dict[float, list[int]] = defaultdict(list)
        for g, rate in rates.items():
            alike[rate].append(g)
        for rate, models in alike.items():
            if self._settings.optimizer == "adam":
                self._adam(models, rate, gradients)
            else:
                self._sgd(models, rate, gradients)

    def _sgd(self, models: Sequence[int], rate: float, gradients: Sequence[list[Tensor]]) -> None:
        momentum = self._settings.momentum
        weights, first = chosen(self._weights, models), chosen(self._first, models)
        sgd(
            weights,
            chosen(gradients, models),
            [*first] if momentum else [None] * len(weights),
            fused=True,
            weight_decay=self._settings.weight_decay,
            momentum=momentum,
            lr=rate,
            dampening=0,
            nesterov=False,
            maximize=False,
        )

    def _adam(self, models: Sequence[int], rate: float, gradients: Sequence[list[Tensor]]) -> None:
        adam(
            chosen(self._weights, models),
            chosen(gradients, models),
            chosen(self._first, models),
            chosen(self._second, models),
            [],
            chosen(self._counts, models),
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=rate,
            weight_decay=self._settings.weight_decay,
            eps=1e-8,
            maximize=False,
        )


class StackedMasks:
    """Holds the removed weights of each model at zero."""

    def __init__(self, parameters: Mapping[str, Tensor], masks: Mapping[int, Mapping[str, Tensor]]) -> None:
        """Takes masks in.

        Args:
            parameters: (G, ...) by name.
            masks: by the model's place, bool by parameter name, True = kept.
        """
        self._weights = {g: [parameters[name].detach()[g] for name in own] for g, own in masks.items()}
        self._masks = {g: [own[name].to(parameters[name]) for name in own] for g, own in masks.items()}

    @torch.no_grad()
    def hold(self, models: Sequence[int]) -> None:
        """Sets the removed weights of these models to zero."""
        weights = chosen(self._weights, models)
        torch._foreach_mul_(weights, chosen(self._masks, models))
        torch._foreach_add_(weights, 0.0)  # -0.0 becomes 0.0, as in the plain loop's mask hook


def views(stacked: Sequence[Tensor]) -> list[list[Tensor]]:
    """G lists of P views, of P stacked tensors (G, ...)."""
    return [list(own) for own in zip(*(tensor.detach().unbind() for tensor in stacked), strict=True)]


def chosen(by_model: Sequence[list[Tensor]] | Mapping[int, list[Tensor]], models: Iterable[int]) -> list[Tensor]:
    """The tensors of some models in one list."""
    return [tensor for g in models for tensor in by_model[g]]
