"""Magnitude pruning of whole networks, and masks that hold while they are fine-tuned."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed
from pruneaudit.compression.mask import HoldMask, Masks
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

# n samples, C channels, H height, W width


def network(name: str = "tinycnn") -> nn.Module:
    options: dict[str, Any] = {"width": 4} if name == "tinycnn" else {"hidden": [8]}
    return build_model(name, options, (1, 8, 8), 3, torch.Generator().manual_seed(0))


def noise() -> Samples:
    generator = torch.Generator().manual_seed(1)
    return Samples(torch.randn(40, 8, 8, 1, generator=generator), torch.randint(3, (40,), generator=generator))


def pruned(model: nn.Module, sparsity: float, **options: Any) -> Compressed:
    pruner = COMPRESSORS.get("l1unstructured")
    return pruner.compress(model, pruner.Options(sparsity=sparsity, **options), context=None)


@pytest.mark.parametrize("sparsity", [0.3, 0.9, 0.95])
@pytest.mark.parametrize("scope", ["global", "layerwise"])
@pytest.mark.parametrize("name", ["mlp", "tinycnn"])
def test_exactly_the_smallest_weights_become_zero(name: str, scope: str, sparsity: float) -> None:
    model = network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    pruning = pruned(model, sparsity, scope=scope)
    prunable = prunable_weights(model)
    assert pruning.model is model
    assert pruning.masks is not None
    assert pruning.masks.keys() == prunable.keys()
    for key, value in model.state_dict().items():
        expected = torch.where(pruning.masks[key], before[key], 0.0) if key in prunable else before[key]
        assert torch.equal(value, expected)

    groups = [list(prunable)] if scope == "global" else [[key] for key in prunable]
    for group in groups:
        old, new = (torch.cat([weights[key].detach().flatten() for key in group]) for weights in (before, prunable))
        removed = num_removed(old.numel(), sparsity)
        assert int((new == 0).sum()) == removed
        assert torch.equal(new.abs().sort().values[removed:], old.abs().sort().values[removed:])


def test_excluded_layers_keep_all_their_weights() -> None:
    model = network()
    pruning = pruned(model, 0.8, exclude=("first_conv", "classifier"))
    assert pruning.masks is not None
    assert pruning.masks.keys() == {"features.1.conv.weight", "features.2.conv.weight"}
    zeros = {key: int((weight == 0).sum()) for key, weight in prunable_weights(model).items()}
    assert zeros["features.0.conv.weight"] == zeros["classifier.weight"] == 0
    assert sum(zeros.values()) == num_removed(pruning.masks.num_weights, 0.8)


@pytest.mark.parametrize("sparsity", [1.0, 0.9999999, -0.5])
def test_a_sparsity_that_leaves_nothing_is_refused(sparsity: float) -> None:
    with pytest.raises(UserError, match="sparsity"):
        pruned(network(), sparsity)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(UserError, match="exclude: no layer 'head'"):
        pruned(network(), 0.5, exclude=("head",))


def test_the_model_stays_a_plain_model() -> None:
    model, dense = network(), network()
    pruned(model, 0.5)
    assert list(model.state_dict()) == list(dense.state_dict())
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
    counterpart = copy.deepcopy(model)
    dense.load_state_dict(model.state_dict())
    x = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    for network_ in (model, counterpart, dense):
        network_.eval()
    assert torch.equal(counterpart(x), model(x))
    assert torch.equal(dense(x), model(x))


def test_pruning_twice_removes_no_more() -> None:
    model = network()
    first, second = pruned(model, 0.6).masks, pruned(model, 0.6).masks
    assert first is not None
    assert second is not None
    assert all(torch.equal(first[key], second[key]) for key in first)


class Watching(Hook):
    """Checks after every step that exactly the removed weights are zero."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self.num_steps = 0

    def after_step(self, state: TrainingState) -> None:
        self.num_steps += 1
        for key, weight in prunable_weights(state.model).items():
            assert torch.equal(weight != 0, self._masks[key])


OPTIMIZERS: list[dict[str, Any]] = [
    {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adam"])
@pytest.mark.parametrize("scope", ["global", "layerwise"])
def test_masks_hold_while_the_rest_is_trained(scope: str, optimizer: dict[str, Any]) -> None:
    model = network()
    settings = Training(epochs=2, batch_size=8, **optimizer)
    train(model, noise(), settings, torch.Generator().manual_seed(0))
    pruning = pruned(model, 0.7, scope=scope)
    assert pruning.masks is not None
    before: dict[str, Tensor] = {key: value.clone() for key, value in model.state_dict().items()}

    watching = Watching(pruning.masks)
    finetuning = settings.model_copy(update={"epochs": 10, "schedule": "constant"})
    train(model, noise(), finetuning, torch.Generator().manual_seed(1), (*pruning.hooks, watching))
    assert watching.num_steps == 50
    for key, weight in prunable_weights(model).items():
        assert torch.equal(weight != 0, pruning.masks[key])
        assert not torch.signbit(weight.detach()[~pruning.masks[key]]).any()
        assert (weight.detach() != before[key])[pruning.masks[key]].all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=["sgd", "adam"])
def test_without_the_hook_removed_weights_come_back(optimizer: dict[str, Any]) -> None:
    model = network()
    pruning = pruned(model, 0.7)
    assert pruning.masks is not None
    train(model, noise(), Training(epochs=1, batch_size=8, **optimizer), torch.Generator().manual_seed(1))
    assert any((weight != 0)[~pruning.masks[key]].any() for key, weight in prunable_weights(model).items())


def test_holding_a_mask_of_all_is_plain_training() -> None:
    models = [network(), network()]
    masks = Masks({key: torch.ones_like(w, dtype=torch.bool) for key, w in prunable_weights(models[0]).items()})
    for model, hooks in zip(models, ((), (HoldMask(models[1], masks),)), strict=True):
        train(model, noise(), Training(epochs=2, batch_size=8), torch.Generator().manual_seed(0), hooks)
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_masks_go_with_the_weights_to_another_type() -> None:
    model = network("mlp").double()
    pruning = pruned(model, 0.5)
    assert pruning.masks is not None
    weights, masks = pruning.masks.pairs(model)
    assert {mask.dtype for mask in masks} == {weight.dtype for weight in weights} == {torch.float64}
