"""Masks over whole channels, as the mia_prune system sets them (Yuan & Zhang 2022, arXiv 2202.03335).

Nothing is removed, so the network stays as large and as slow as before. Both kinds of mask leave part
of a channel active: a masked filter's BatchNorm still gives a constant, a masked BatchNorm's filter keeps its
weights. Deviation: among equal scores, the first ones go, exactly as many as needed; the original's
threshold would take all of them.
"""

# O output channels of a layer, G gammas of all layers

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from pruneaudit.compression.channel_choice import check_sparsity
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.parametrized import check_own
from pruneaudit.compression.selection import keep_highest
from pruneaudit.core.errors import UserError


@torch.no_grad()
def filter_masks(model: nn.Module, sparsity: float, p: int) -> Masks:
    """Masks the int(O x sparsity) filters of lowest norm in each Conv2d, with their biases.

    Args:
        model: the network; BatchNorm and linear layers stay unmasked.
        sparsity: fraction of each layer's filters, in (0, 1).
        p: 1 or 2, which norm.

    Raises:
        UserError: sparsity is out of range, or there is no Conv2d.
    """
    check_sparsity(sparsity)
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d)}
    if not layers:
        raise UserError("preset mia_prune: got a network without Conv2d, whose filters it masks; leave the preset out")
    check_own(model, layers)
    norms = {name: weight.flatten(1).norm(p=p, dim=1) for name, weight in _distinct(layers).items()}  # (O,) each
    return _spread(model, keep_highest(norms, sparsity, "layerwise", "down"))


@torch.no_grad()
def gamma_masks(model: nn.Module, sparsity: float) -> Masks:
    """Masks the int(G x sparsity) smallest |gamma| of all BatchNorm2d layers together, with their betas.

    Args:
        model: the network; convolutions and linear layers stay unmasked.
        sparsity: fraction of all gammas, in (0, 1).

    Raises:
        UserError: sparsity is out of range, or there is no BatchNorm2d.
    """
    check_sparsity(sparsity)
    layers = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and m.affine]
    if not layers:
        raise no_batch_norm("BatchNorm2d")
    factors = {name: weight.abs() for name, weight in _distinct(dict(layers)).items()}
    return _spread(model, keep_highest(factors, sparsity, "global", "down"))


def no_batch_norm(kind: str = "BatchNorm") -> UserError:
    """The error for a network that slim cannot rank."""
    return UserError(
        f"slim: got a network without {kind}, whose factors it ranks; use l1structured, l2structured or l1unstructured"
    )


def _distinct(layers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The layers' weights, each tensor once, by the name of the first layer that uses it."""
    found: dict[int, tuple[str, Tensor]] = {}
    for name, layer in layers.items():
        weight = layer.get_parameter("weight")
        found.setdefault(id(weight), (name, weight))
    return dict(found.values())


def _spread(model: nn.Module, kept: Masks) -> Masks:
    """Expands masks (O,) by layer name to masks of the layers' weights and biases.

    Layers that share the weight share the mask: their biases go with it.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    masks: dict[str, Tensor] = {}
    for name, mask in kept.items():
        weight = model.get_submodule(name).weight
        for layer in [module for module in model.modules() if module._parameters.get("weight") is weight]:
            for parameter in layer.parameters(recurse=False):
                per_output = mask.view(-1, *(1,) * (parameter.ndim - 1))  # (O, 1, ...)
                masks[names[id(parameter)]] = per_output.expand(parameter.shape).clone()
    return Masks(masks)
