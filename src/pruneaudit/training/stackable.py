"""Which trainings can be done side by side; whatever could come out differently is refused, with its reason."""

# G models, n samples of one model, K classes

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pruneaudit.training.hooks import Hook
from pruneaudit.training.samples import Samples
from pruneaudit.training.stacked_layers import Turn, unsupported_layer
from pruneaudit.training.stacked_network import LayeredNetwork, MappedNetwork, Network, Stack

SIDE_BY_SIDE = {"epoch_end", "finalize", "kept", "put_back"}
"""What hooks may do in such a training: between epochs, the weights are in the models."""
NUM_TRIED = 4
"""Samples that both forms of a network are tried on."""
AGREEMENT = 1e-3
"""Largest difference of logits, relative to the largest logit, that counts as rounding."""


def obstacle(
    models: Sequence[nn.Module],
    samples: Sequence[Samples],
    hooks: Sequence[Sequence[Hook]] = (),
    masks: Sequence[Mapping[str, Tensor]] | None = None,
    by: str = "layers",
) -> str | None:
    """Why models cannot be trained by `train_stacked`, in one line; None: they can.

    Args:
        models: the networks.
        samples: each model's own training set.
        hooks: of each model.
        masks: held masks of each model, bool by parameter name; none is an obstacle.
        by: `layers` or `vmap`.

    Raises:
        ValueError: there are no models, or not as many samples or masks as models.
    """
    if not models or len(samples) != len(models) or (masks is not None and len(masks) != len(models)):
        numbers = f"{len(models)} models, {len(samples)} training sets and {len(masks or ())} masks"
        raise ValueError(f"got {numbers}, expected as many of each, and at least one (or no masks)")
    return (
        _of_samples(samples)
        or _of_hooks([hook for own in hooks for hook in own])
        or _of_models(models)
        or _of_layers(models[0], samples[0], by)
    )


def _of_samples(samples: Sequence[Samples]) -> str | None:
    least = min(len(own) for own in samples)
    return f"one has {least} training samples, and at least 2 are needed" if least < 2 else None


def _of_hooks(hooks: Sequence[Hook]) -> str | None:
    for hook in hooks:
        steps_in = [name for name in vars(Hook) if not name.startswith("_") and name not in SIDE_BY_SIDE]
        changed = [name for name in steps_in if getattr(type(hook), name) is not getattr(Hook, name)]
        if changed:
            return f"{type(hook).__name__} changes the steps of training ({changed[0]})"
    return None


def _of_models(models: Sequence[nn.Module]) -> str | None:
    first = models[0]
    shapes = {name: value.shape for name, value in first.state_dict().items()}
    for model in models[1:]:
        if repr(model) != repr(first) or {name: value.shape for name, value in model.state_dict().items()} != shapes:
            return "they are not of one architecture"
    if not all(parameter.requires_grad for model in models for parameter in model.parameters()):
        return "some of their weights are frozen"
    if len(list(first.named_parameters(remove_duplicate=False))) != len(list(first.parameters())):
        return "some of their layers share weights"
    for name, module in first.named_modules():
        if module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks:
            return f"something is registered on layer '{name}'"
    return None


def _of_layers(model: nn.Module, samples: Samples, by: str) -> str | None:
    random = [module for module in model.modules() if isinstance(module, nn.modules.dropout._DropoutNd)]
    if random and by == "vmap":
        return "vmap cannot draw dropout as each model alone would"
    if random and samples.y.device.type != "cpu":
        return "dropout draws differently on this device"
    if by == "layers" and (reason := unsupported_layer(model)):
        return reason
    return _disagreement(model, samples, by)


def _disagreement(model: nn.Module, samples: Samples, by: str) -> str | None:
    """Runs both forms on a few samples: what is made of known layers can still be put together in unknown ways."""
    model = copy.deepcopy(model).train()
    x = samples.inputs(slice(0, NUM_TRIED))
    make = LayeredNetwork if by == "layers" else MappedNetwork
    stack = Stack([model, model])
    seeds = {g: torch.Generator().manual_seed(0) for g in range(2)}
    turn = Turn({0: len(x), 1: len(x)}, len(x), seeds, 2, x.device)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            expected = model(x)
        network: Network = make(model, stack)
        got = network.logits(network.pack({0: x, 1: x}, len(x)), turn)
        got.sum().backward()
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return f"their network does not run side by side ({' '.join(str(error).split())[:120]})"
    if any(parameter.grad is None for parameter in stack.parameters.values()):
        return "some of their weights get no gradient"
    if got.shape != (2, *expected.shape):
        return "their network side by side gives outputs of another shape"
    if expected.isfinite().all() and (got - expected).abs().max() > AGREEMENT * expected.abs().max().clamp(min=1):
        return "their network side by side gives other outputs"
    return None
