"""Changes a network so that the gradient of each single sample can be computed."""

from __future__ import annotations

from opacus import GradSampleModule
from opacus.validators import ModuleValidator
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruneaudit.core.errors import UserError
from pruneaudit.models._blocks import num_groups


def prepare(model: nn.Module) -> nn.Module:
    """Replaces BatchNorm by GroupNorm, in place, and puts `model` in training mode.

    Layers keep their names. The new ones have weight 1 and bias 0. In-place activations become plain ones, which
    compute the same: the hooks that take gradients of single samples fail on in-place ones.

    Raises:
        UserError: DP-SGD cannot train one of the layers.
    """
    replaced: dict[nn.Module, nn.Module] = {}
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if isinstance(layer, _BatchNorm) and layer.num_features and name:
            if layer not in replaced:
                replaced[layer] = _group_norm(layer)
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, replaced[layer])
        elif getattr(layer, "inplace", False) is True:
            layer.inplace = False
    model.train()
    kinds = [type(layer).__name__ for layer in model.modules() if getattr(layer, "track_running_stats", False)]
    problems: list[object] = [f"{kind} keeps running statistics, which DP-SGD does not protect" for kind in kinds]
    problems += [*ModuleValidator.validate(model), *GradSampleModule.validate(model)]
    if problems:
        reason = " ".join(str(problems[0]).split())
        raise UserError(f"defense 'dp' cannot train this network; choose another model ({reason[:200]})")
    return model


def _group_norm(layer: _BatchNorm) -> nn.GroupNorm:
    device = layer.weight.device if layer.affine else None
    return nn.GroupNorm(num_groups(layer.num_features), layer.num_features, layer.eps, layer.affine, device=device)
