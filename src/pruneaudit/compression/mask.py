"""Masks: which weights are kept, as bool tensors by parameter name.

A mask is separate from the model. Nothing is registered on the model, and its state dict keeps its names. A step hook
sets the zeros again after every optimizer step: otherwise momentum and weight decay would move pruned weights even when
their gradients are masked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.compressed import Compressed, Constraint
from pruneaudit.training.hooks import Hook, TrainingState


class Masks(Mapping[str, Tensor], Constraint):
    """Bool tensors by parameter name; True = the weight is kept."""

    def __init__(self, masks: Mapping[str, Tensor]) -> None:
        wrong = [name for name, mask in masks.items() if mask.dtype != torch.bool]
        if wrong:
            raise ValueError(f"mask of {wrong[0]}: got {masks[wrong[0]].dtype}, expected torch.bool")
        self._masks = {name: masks[name].detach().cpu() for name in sorted(masks)}

    @classmethod
    def of_zeros(cls, model: nn.Module, names: Iterable[str]) -> Masks:
        """Reads masks off the zeros of a model's parameters `names`.

        For weights whose mask moved after they were recorded, such as those of the best epoch on the dev
        set. A kept weight that happens to be exactly zero counts as removed: no file distinguishes the two.

        Raises:
            ValueError: the model has no parameter of some name.
        """
        parameters, names = dict(model.named_parameters()), list(names)
        unknown = [name for name in names if name not in parameters]
        if unknown:
            raise ValueError(f"mask of {unknown[0]}: this model has no such parameter")
        return cls({name: parameters[name].detach() != 0 for name in names})

    def __getitem__(self, name: str) -> Tensor:
        return self._masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def without(self, *others: Masks) -> Masks:
        """Masks that keep only weights that these and all others keep."""
        kept = dict(self)
        for other in others:
            kept |= {name: mask & kept[name] if name in kept else mask for name, mask in other.items()}
        return Masks(kept)

    @property
    def masks(self) -> Masks:
        """Itself."""
        return self

    def hooks(self, model: nn.Module) -> tuple[Hook, ...]:
        """The hook that keeps removed weights at zero."""
        return (HoldMask(model, self),)

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """The masks, and the weights that they keep."""
        kept = {name: model.get_parameter(name).detach().cpu()[mask] for name, mask in self._masks.items()}
        masks = {f"mask/{name}": mask for name, mask in self._masks.items()}
        return masks | {f"kept/{name}": weights for name, weights in kept.items()}

    def found_in(self, model: nn.Module) -> Masks:
        """The masks that the model's own zeros show."""
        return Masks.of_zeros(model, self)

    @property
    def num_weights(self) -> int:
        """Number of prunable weights: all weights that the masks cover."""
        return sum(mask.numel() for mask in self._masks.values())

    @property
    def num_kept(self) -> int:
        """Number of kept weights."""
        return sum(int(mask.sum()) for mask in self._masks.values())

    @property
    def sparsity(self) -> float:
        """Fraction of prunable weights that are zero, in [0, 1]."""
        return 1 - self.num_kept / self.num_weights

    def pairs(self, model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
        """The model's masked parameters, and their masks as 0/1 tensors of the same type and device.

        Raises:
            ValueError: a mask does not name a parameter of the model, or has another shape.
        """
        parameters = dict(model.named_parameters())
        for name, mask in self._masks.items():
            if name not in parameters or parameters[name].shape != mask.shape:
                raise ValueError(f"mask of {name} {tuple(mask.shape)} fits no parameter of this model")
        weights: list[Tensor] = [parameters[name] for name in self._masks]
        return weights, [mask.to(weight) for weight, mask in zip(weights, self._masks.values(), strict=True)]

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Sets the removed weights of `model` to zero, in place."""
        set_zeros(*self.pairs(model))


def set_zeros(weights: list[Tensor], masks: list[Tensor]) -> None:
    """Multiplies weights by their 0/1 masks, in place; call it under `no_grad`."""
    torch._foreach_mul_(weights, masks)
    torch._foreach_add_(weights, 0.0)  # -0.0 becomes 0.0, so that the sign of a removed weight is not released


class HoldMask(Hook):
    """Keeps removed weights at zero throughout training."""

    def __init__(self, model: nn.Module, masks: Masks) -> None:
        self.held_masks = masks
        self._weights, self._masks = masks.pairs(model)

    @torch.no_grad()
    def after_step(self, state: TrainingState) -> None:
        """Sets the removed weights to zero again."""
        set_zeros(self._weights, self._masks)


def masks_of(hooks: Iterable[Hook]) -> Masks | None:
    """The current masks, if only kept weights learn; None if every weight learns (as in DPF)."""
    found = (getattr(hook, "held_masks", None) for hook in hooks)
    return next((masks for masks in found if masks is not None), None)


def held(model: nn.Module, kept: Mapping[str, Tensor]) -> Compressed:
    """Sets weights to zero where `kept` (bool by parameter name) is False; with the hook that keeps them at zero."""
    masks = kept if isinstance(kept, Masks) else Masks(kept)
    masks.apply(model)
    return Compressed(model, masks, masks.hooks(model))
