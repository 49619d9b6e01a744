"""Tensors that a layer computes from others before using them: `weight_norm`, `spectral_norm` and so on.

Such a tensor is not a parameter. The next forward pass overwrites zeros set in it, so a mask cannot keep them.
Networks with such layers can be trained, attacked and counted; pruning such a layer is refused with a message that
names it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm

from pruneaudit.compression.macs import evaluating
from pruneaudit.core.errors import UserError

_PARTS = ("_orig", "_mask", "_g", "_v", "_u")
"""Suffixes that torch's hooks add to a tensor's name for its source tensors."""


@dataclass(frozen=True)
class Computed:
    """How a layer computes one tensor."""

    key: str
    """Its name within the layer, such as `weight`."""
    by: str
    """The function that computes it, such as `weight_norm`."""
    mend: str
    """The call that makes it a parameter again, with `{layer}` for the layer."""
    value: Callable[[], Tensor]
    """Returns the current tensor, without changing the layer."""


def computed_tensors(module: nn.Module) -> tuple[Computed, ...]:
    """The tensors that `module` itself computes, by parametrizations and by the hooks of older torch code."""
    found = []
    if parametrize.is_parametrized(module):
        for key, steps in module.parametrizations.items():  # type: ignore[union-attr, operator]
            by = ", ".join(_spelled(type(step).__name__) for step in steps)
            mend = f"torch.nn.utils.parametrize.remove_parametrizations({{layer}}, '{key}')"
            found.append(Computed(key, by, mend, partial(_parametrized, module, key)))
    for hook in module._forward_pre_hooks.values():
        if isinstance(hook, WeightNorm):
            key, value = hook.name, partial(hook.compute_weight, module)
            found.append(Computed(key, "weight_norm", f"torch.nn.utils.remove_weight_norm({{layer}}, '{key}')", value))
        elif isinstance(hook, SpectralNorm):
            key, value = hook.name, partial(hook.compute_weight, module, False)
            mend = f"torch.nn.utils.remove_spectral_norm({{layer}}, '{key}')"
            found.append(Computed(key, "spectral_norm", mend, value))
        elif isinstance(hook, BasePruningMethod):
            key, value = hook._tensor_name, partial(hook.apply_mask, module)
            mend = f"torch.nn.utils.prune.remove({{layer}}, '{key}')"
            found.append(Computed(key, "torch.nn.utils.prune", mend, value))
    return tuple(found)


def _parametrized(module: nn.Module, key: str) -> Tensor:
    """Reads the tensor in evaluation mode: in training mode `spectral_norm` would change its buffers."""
    with evaluating(module):
        value: Tensor = getattr(module, key)
    return value


def _spelled(kind: str) -> str:
    """The public function name of torch's private class: `_WeightNorm` is `weight_norm`."""
    known = {"_WeightNorm": "weight_norm", "_SpectralNorm": "spectral_norm", "_Orthogonal": "orthogonal"}
    return known.get(kind, kind)


def source_keys(module: nn.Module) -> frozenset[str]:
    """The module's own parameters that only compute another tensor, by the hooks of older torch code."""
    keys = {computed.key for computed in computed_tensors(module)}
    return frozenset(key + part for key in keys for part in _PARTS)


def refuse(layer: str, computed: Computed) -> UserError:
    """The error for pruning a computed tensor, with the remedy."""
    call = computed.mend.format(layer=f"model.get_submodule('{layer}')" if layer else "model")
    name = f"{layer}.{computed.key}" if layer else computed.key
    return UserError(
        f"'{name}' is not a parameter: {computed.by} computes it, so it cannot be masked; exclude layer"
        f" '{layer}', or call {call} first"
    )


def check_own(model: nn.Module, layers: Iterable[str]) -> None:
    """Checks that layers own all their tensors.

    Raises:
        UserError: one of them computes a tensor.
    """
    for layer in layers:
        for computed in computed_tensors(model.get_submodule(layer)):
            raise refuse(layer, computed)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy. Tensors that the older `weight_norm` keeps beside the parameters are copied by value.

    `copy.deepcopy` would refuse them, because they are results of a computation. Each pass computes them again.
    """
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(model, memo)
