"""What networks can be told: normalisation, initial weights, dropout, shortcuts; and how their blocks compute."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruneaudit.core.errors import UserError
from pruneaudit.models import MODELS, build_model, initialise

# B batch, C channels, H height, W width

SMALL: dict[str, dict[str, Any]] = {
    "convnet": {"width": 8},
    "densenet121": {"growth": 2},
    "mobilenet": {"width": 8, "layers": 1},
    "resnet": {"depth": 8, "width": 4},
    "resnet18": {"width": 4},
    "resnet20": {},
    "tinycnn": {},
    "vgg16": {"width": 4, "hidden": 16},
    "wideresnet": {"depth": 10, "width_factor": 1},
}
X = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def built(name: str, seed: int = 0, shape: tuple[int, ...] = (3, 16, 16), **options: Any) -> nn.Module:
    return build_model(name, SMALL.get(name, {}) | options, shape, 10, torch.Generator().manual_seed(seed))


def same_weights(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(name == other and torch.equal(value, found) for (name, value), (other, found) in pairs)


def noisy(network: nn.Module) -> nn.Module:
    """The same with biases and scales that differ from channel to channel."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return network


# ------------------------------------------------------------------ normalisation


@pytest.mark.parametrize("name", SMALL)
def test_group_norm_lets_no_sample_see_its_batch(name: str) -> None:
    network = built(name, norm="group")
    assert not any(isinstance(layer, _BatchNorm) for layer in network.modules())
    assert not list(network.buffers())
    for layer in network.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    with torch.no_grad():
        together = network.train()(X)
        alone = torch.cat([network(x[None]) for x in X])
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
        assert float(together.std()) > 1e-3
        by_batch = built(name).train()(X)
        assert not torch.allclose(by_batch[:2], built(name).train()(X[:2]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_both_normalisations_have_the_same_parameters(name: str) -> None:
    batch, group = built(name), built(name, norm="group")
    assert [*dict(batch.named_modules())] == [*dict(group.named_modules())]
    for (old, value), (new, found) in zip(batch.named_parameters(), group.named_parameters(), strict=True):
        assert old == new
        assert torch.equal(value, found)


def test_groups_are_counted_by_width() -> None:
    layers = [layer for layer in built("vgg16", width=64, norm="group").modules() if isinstance(layer, nn.GroupNorm)]
    assert [layer.num_groups for layer in layers] == [4, 4, 8, 8, 16, 16, 16, *[32] * 6]
    assert {
        layer.num_groups for layer in built("tinycnn", width=4, norm="group").modules() if hasattr(layer, "eps")
    } == {1}


# ------------------------------------------------------------------ initial weights

ORDER = [
    *("features.0.conv", "features.1.conv1", "features.1.conv2", "features.2.conv1", "features.2.conv2"),
    *("features.3.conv1", "features.3.conv2", "features.3.shortcut.conv", "features.4.conv1", "features.4.conv2"),
]
"""Of the layers of ResNet-18's first two stages, as their weights are drawn."""


@pytest.mark.parametrize("scheme", ["kaiming_normal", "xavier_normal"])
def test_weights_are_drawn_one_by_one_in_the_order_of_the_layers(scheme: str) -> None:
    """Results of earlier versions can be repeated as long as this holds."""
    network, generator = built("resnet18", seed=7, init=scheme), torch.Generator().manual_seed(7)
    for name in ORDER:
        found = network.get_parameter(f"{name}.weight")
        o, i, k, _ = found.shape
        variance = 2 / (o * k * k) if scheme == "kaiming_normal" else 2 / (o * k * k + i * k * k)
        expected = torch.empty(found.shape).normal_(0, math.sqrt(variance), generator=generator)
        torch.testing.assert_close(found.detach(), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(name, "xavier_normal" if name in ("columnfc", "convnext", "densenet121", "vgg16", "vit") else "kaiming_normal")
     for name in MODELS.names() if name not in ("factory", "hf") and MODELS.get(name).takes_images],
)  # fmt: skip
def test_networks_of_mia_prune_and_new_ones_start_from_xavier_and_the_others_from_kaiming(
    name: str, expected: str
) -> None:
    other = ({"xavier_normal", "kaiming_normal"} - {expected}).pop()
    network = built(name)
    assert same_weights(network, built(name, init=expected))
    assert not same_weights(network, built(name, init=other))
    again = built(name, seed=1)
    initialise(again, torch.Generator().manual_seed(0), expected)
    assert same_weights(network, again)


def test_xavier_weights_have_their_variance_and_biases_are_zero() -> None:
    network = built("vgg16", width=16, hidden=128)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            assert layer.bias is not None
            assert (layer.bias == 0).all()
            if layer.weight.numel() > 5000:
                fans = sum(layer.weight.shape[:2]) * (9 if isinstance(layer, nn.Conv2d) else 1)
                assert float(layer.weight.detach().var()) == pytest.approx(2 / fans, rel=0.1)


# ------------------------------------------------------------------ dropout


@pytest.mark.parametrize(("name", "default"), [("columnfc", 0.1), ("vgg16", 0.5)])
def test_dropout_is_for_training(name: str, default: float) -> None:
    network = built(name)
    layers = [layer for layer in network.modules() if isinstance(layer, nn.Dropout)]
    assert [layer.p for layer in layers] == [default, default]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        assert torch.equal(network.eval()(X), network(X))
        assert not torch.equal(network.train()(X), network(X))
        without = built(name, dropout=0.0).train()
        assert torch.equal(without(X), without(X))


# ------------------------------------------------------------------ blocks


def test_depth_20_is_resnet20() -> None:
    one, other = build_model("resnet", {}, (3, 16, 16), 10, torch.Generator().manual_seed(0)), built("resnet20")
    assert same_weights(one, other)
    with torch.no_grad():
        assert torch.equal(one(X), other(X))


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_only_option_b_has_weights_in_its_shortcuts(shortcut: str) -> None:
    names = {name for name, _ in built("resnet", depth=14, shortcut=shortcut).named_parameters() if "shortcut" in name}
    blocks = {name.split(".")[1] for name in names}
    assert blocks == (set() if shortcut == "A" else {"3", "5"})  # the first blocks of the second and third stage


def test_the_first_bottleneck_projects_as_well() -> None:
    network = built("resnet", depth=14, width=4, shortcut="B", block="bottleneck")
    blocks = {name.split(".")[1] for name, _ in network.named_parameters() if "shortcut" in name}
    assert blocks == {"1", "3", "5"}
    strides = [layer.stride[0] for name, layer in network.named_modules() if name.endswith(("conv1", "conv2", "conv3"))]
    assert strides == [1] * 6 + [1, 2, 1] + [1] * 3 + [1, 2, 1] + [1] * 3  # the 3x3 convolution halves the size


def test_pre_activation_blocks_add_to_the_untouched_input() -> None:
    from pruneaudit.models._residual import PreActivationBlock

    x = X[:, :, :8, :8]
    block = noisy(PreActivationBlock(3, 3, 1, "group"))
    nn.init.zeros_(block.get_parameter("conv2.weight"))
    assert torch.equal(block(x), x)
    block = noisy(PreActivationBlock(3, 5, 2, "group"))
    nn.init.zeros_(block.get_parameter("conv2.weight"))
    activated = block.get_submodule("norm1")(x).relu()
    expected = torch.einsum(
        "oi,bihw->bohw", block.get_parameter("shortcut.weight")[:, :, 0, 0], activated[:, :, ::2, ::2]
    )
    torch.testing.assert_close(block(x), expected)


def test_nothing_follows_the_addition_but_the_last_activation() -> None:
    """The stream of a wide ResNet may be negative, its maps before the classifier may not."""
    features = noisy(built("wideresnet")).get_submodule("features")
    assert isinstance(features, nn.Sequential)
    with torch.no_grad():
        stream = features[:-1](X)
        assert float(stream.min()) < 0
        assert float(features[-1](stream).min()) == 0


def test_dense_layers_keep_what_came_before() -> None:
    from pruneaudit.models._dense import DenseLayer, Transition

    layer = noisy(DenseLayer(3, 2, "batch"))
    found = layer(X)
    assert found.shape == (6, 5, 16, 16)
    assert torch.equal(found[:, :3], X)
    assert not torch.equal(found[:, 3], found[:, 4])
    assert Transition(6, "batch")(torch.zeros(1, 6, 5, 3).expand(2, -1, -1, -1)).shape == (2, 3, 3, 2)


def test_windows_over_the_edge_are_the_mean_of_what_they_hold() -> None:
    from pruneaudit.models._dense import Transition

    transition = Transition(2, "batch").eval()
    nn.init.ones_(transition.get_parameter("conv.weight"))
    x = torch.arange(1.0, 10.0).reshape(1, 1, 3, 3).expand(-1, 2, -1, -1)
    found: Tensor = transition(x) / 2 * math.sqrt(1 + 1e-5)  # two equal channels, BatchNorm of a new network
    torch.testing.assert_close(found, torch.tensor([[[[3.0, 4.5], [7.5, 9.0]]]]))


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("resnet", {"depth": 21}, r"model 'resnet': 'depth': got 21, expected 6n \+ 2, such as 20, 32, 44, 56 or 110$"),
        ("resnet", {"depth": 2}, r"'depth': got 2, expected: greater than or equal to 8"),
        ("resnet", {"block": "bottleneck"}, r"model 'resnet': block 'bottleneck' .*; use shortcut B$"),
        ("resnet", {"shortcut": "C"}, r"'shortcut': got 'C', expected: 'A' or 'B'"),
        ("wideresnet", {"depth": 20}, r"model 'wideresnet': 'depth': got 20, expected 6n \+ 4, such as 10, 16"),
        ("wideresnet", {"width_factor": 0}, r"'width_factor': got 0"),
        ("densenet121", {"growth": 0}, r"'growth': got 0"),
        ("vgg16", {"dropout": 1.0}, r"'dropout': got 1.0, expected: less than 1"),
        ("vit", {"width": 10}, r"model 'vit': width 10 is not a multiple of heads 4; choose a width that is$"),
        ("vit", {"patch": 0}, r"'patch': got 0"),
        ("convnext", {"norm": "group"}, r"unknown key 'norm'"),
        ("convnext", {"layer_scale": 0}, r"'layer_scale': got 0, expected: greater than 0"),
        ("tinycnn", {"norm": "layer"}, r"'norm': got 'layer', expected: 'batch' or 'group'"),
        ("mlp", {"init": "xavier"}, r"'init': got 'xavier', expected: 'kaiming_normal' or 'xavier_normal'"),
        ("columnfc", {"norm": "group"}, r"unknown key 'norm'"),
    ],
)
def test_mistakes_are_said_in_one_line(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        built(name, **options)
    assert "\n" not in str(refused.value)
