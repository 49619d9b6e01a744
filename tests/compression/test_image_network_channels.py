"""Channels of vit, convnext and mobilenet: the smaller network equals the dense one with these channels silenced."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruneaudit.compression.structured import kept_whole, remove_channels, replay
from pruneaudit.models import build_model

# B batch, C channels

SHAPE = (3, 8, 8)
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit", {"width": 8, "layers": 2, "heads": 2}),
    "convnext": ("convnext", {"width": 4, "layers": 2}),
    "mobilenet": ("mobilenet", {"width": 4, "layers": 2}),
    "mobilenet, no squeeze": ("mobilenet", {"width": 8, "layers": 1, "expansion": 1}),
}
HIDDEN = {"vit": {"fc1"}, "convnext": {"fc1"}}
"""The layers that lose units; MobileNets lose them everywhere."""
X = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network(name: str, seed: int = 0) -> nn.Module:
    """In float64, with weights, biases and statistics of normalisation at random: no two biases are equal."""
    model, options = NETWORKS[name]
    made = build_model(model, options, SHAPE, 5, torch.Generator().manual_seed(seed)).double().eval()
    draws = torch.Generator().manual_seed(seed + 2)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=draws, dtype=torch.float64)
        for layer in made.modules():
            if isinstance(layer, _BatchNorm):
                layer.running_mean += 0.3 * torch.randn(layer.num_features, generator=draws, dtype=torch.float64)
                layer.running_var += torch.rand(layer.num_features, generator=draws, dtype=torch.float64)
    return made


def silenced(dense: nn.Module, smaller: nn.Module) -> nn.Module:
    """The dense network; outputs of layers with a bias are zero in channels whose bias the smaller one lacks."""
    silent = copy.deepcopy(dense)
    for name, layer in silent.named_modules():
        bias, left = (getattr(part.get_submodule(name), "bias", None) for part in (silent, smaller))
        if bias is not None and left is not None and len(left) < len(bias):
            stays = torch.isin(bias, left).double()
            is_last = isinstance(layer, nn.Linear | nn.LayerNorm)

            def mask(
                _: nn.Module, inputs: Any, output: Tensor, stays: Tensor = stays, is_last: bool = is_last
            ) -> Tensor:
                return output * (stays if is_last else stays.view(1, -1, 1, 1))

            layer.register_forward_hook(mask)
    return silent


@pytest.mark.parametrize(
    ("importance", "scope", "target"), [("l2", "layerwise", "params"), ("l1", "global", "channels")]
)
@pytest.mark.parametrize("name", NETWORKS)
def test_it_equals_the_silenced_network(name: str, importance: Any, scope: Any, target: Any) -> None:
    dense = network(name)
    smaller, structure = remove_channels(dense, torch.zeros(1, *SHAPE), importance, 0.4, target, scope)
    with torch.no_grad():
        torch.testing.assert_close(smaller(X), silenced(dense, smaller)(X), rtol=1e-9, atol=1e-9)
        assert (smaller(X) - dense(X)).abs().max() > 1e-3
    record = json.loads(structure)
    assert record["reached"] == pytest.approx(0.4, abs=0.03)
    if name in HIDDEN:
        assert {layer.rpartition(".")[2] for layer, _ in record["removed"]} == HIDDEN[name]
    again = replay(network(name, seed=5), structure)
    again.load_state_dict(smaller.state_dict())
    with torch.no_grad():
        assert torch.equal(again(X), smaller(X))


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_that_stay_whole_are_named(name: str) -> None:
    dense = network(name)
    _, structure = remove_channels(dense, torch.zeros(1, *SHAPE), "l2", 0.3)
    said = " ".join(kept_whole(structure))
    whole = {
        "vit": {"embed", "blocks.0.attention.q", "blocks.1.attention.v", "blocks.0.attention.o", "blocks.1.fc2"},
        "convnext": {"features.0.conv", "features.2.depthwise", "features.2.fc2"},
    }.get(name, set())
    assert [layer for layer in whole if layer not in said] == []
    assert bool(said) == bool(whole)


def test_squeeze_and_excitation_loses_hidden_units_and_channels() -> None:
    smaller, structure = remove_channels(network("mobilenet"), torch.zeros(1, *SHAPE), "l2", 0.5, "channels")
    removed = {layer.rpartition(".")[2] for layer, _ in json.loads(structure)["removed"]}
    assert {"squeeze", "excite", "project"} <= removed
    for layer in smaller.modules():
        if isinstance(layer, nn.Conv2d) and layer.groups > 1:
            assert layer.groups == layer.in_channels == layer.out_channels == len(layer.weight)
