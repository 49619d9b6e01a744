"""The published networks: how many parameters they have, counted by formula, and how large their maps are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from pruneaudit.models import build_model

# C classes; i inputs and o outputs of a layer, k its kernel, g growth

CLASSES = 10


def built(name: str, classes: int = CLASSES, channels: int = 3, **options: Any) -> nn.Module:
    shape = (446,) if name == "columnfc" else (channels, 32, 32)
    return build_model(name, options, shape, classes, torch.Generator())


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def conv_norm(k: int, i: int, o: int) -> int:
    return k * k * i * o + 2 * o


def linear(i: int, o: int) -> int:
    return i * o + o


def residual(i: int, width: int, bottleneck: bool, projected: bool) -> int:
    """One block of a ResNet."""
    o = 4 * width if bottleneck else width
    if bottleneck:
        path = conv_norm(1, i, width) + conv_norm(3, width, width) + conv_norm(1, width, o)
    else:
        path = conv_norm(3, i, width) + conv_norm(3, width, o)
    return path + (conv_norm(1, i, o) if projected else 0)


def cifar_resnet(depth: int, bottleneck: bool = False, projected: bool = False) -> int:
    total, i = conv_norm(3, 3, 16), 16
    for width in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            o = 4 * width if bottleneck else width
            total += residual(i, width, bottleneck, projected and i != o)
            i = o
    return total + linear(i, CLASSES)


def wide_resnet(depth: int, k: int) -> int:
    total, i = 9 * 3 * 16, 16
    for o in (16 * k, 32 * k, 64 * k):
        for _ in range((depth - 4) // 6):
            total += 2 * i + 9 * i * o + 2 * o + 9 * o * o + (i * o if i != o else 0)
            i = o
    return total + 2 * i + linear(i, CLASSES)


def densenet121(g: int, classes: int) -> int:
    total, i = conv_norm(3, 3, 2 * g), 2 * g
    for block, layers in enumerate((6, 12, 24, 16)):
        if block:
            total, i = total + 2 * i + i * i // 2, i // 2
        for _ in range(layers):
            total += 2 * i + conv_norm(1, i, 4 * g) + 9 * 4 * g * g
            i += g
    return total + 2 * i + linear(i, classes)


def vgg16(width: int, hidden: int) -> int:
    total, i = 0, 3
    for factor in (1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8):
        total += conv_norm(3, i, factor * width) + factor * width  # with a bias
        i = factor * width
    return total + linear(i, hidden) + linear(hidden, hidden) + linear(hidden, CLASSES)


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_parameters_of_resnets(depth: int) -> None:
    assert num_parameters(built("resnet", depth=depth)) == cifar_resnet(depth)
    assert num_parameters(built("resnet", depth=depth, shortcut="B")) == cifar_resnet(depth, projected=True)
    bottlenecks = built("resnet", depth=depth, shortcut="B", block="bottleneck")
    assert num_parameters(bottlenecks) == cifar_resnet(depth, bottleneck=True, projected=True)


@pytest.mark.parametrize(("depth", "millions"), [(20, "0.27"), (32, "0.46"), (44, "0.66"), (56, "0.85"), (110, "1.7")])
def test_resnets_have_the_size_that_their_paper_gives(depth: int, millions: str) -> None:
    """He et al. 2015, table 6."""
    digits = len(millions.split(".")[1])
    assert f"{num_parameters(built('resnet', depth=depth)) / 1e6:.{digits}f}" == millions


@pytest.mark.parametrize(("depth", "k", "millions"), [(40, 1, "0.6"), (40, 2, "2.2"), (16, 8, "11.0")])
def test_wide_resnets_have_the_size_that_their_paper_gives(depth: int, k: int, millions: str) -> None:
    """Zagoruyko and Komodakis 2016, table 4."""
    found = num_parameters(built("wideresnet", depth=depth, width_factor=k))
    assert found == wide_resnet(depth, k)
    assert f"{found / 1e6:.1f}" == millions


def test_the_default_wide_resnet_is_28_10() -> None:
    """The same table: 36.5 million."""
    assert num_parameters(built("wideresnet")) == wide_resnet(28, 10) == 36_479_194


@pytest.mark.parametrize("growth", [2, 12, 32])
def test_parameters_of_densenet(growth: int) -> None:
    assert num_parameters(built("densenet121", growth=growth)) == densenet121(growth, CLASSES)


@pytest.mark.parametrize(("width", "hidden"), [(4, 16), (16, 32)])
def test_parameters_of_vgg(width: int, hidden: int) -> None:
    assert num_parameters(built("vgg16", width=width, hidden=hidden)) == vgg16(width, hidden)


def test_networks_differ_from_those_for_imagenet_by_what_was_changed() -> None:
    """The counts that torchvision publishes, less the 7x7 kernel of the stem, and less VGG's weights for 7x7 maps."""
    stem = (7 * 7 - 3 * 3) * 3 * 64
    assert num_parameters(built("resnet18", classes=1000)) == 11_689_512 - stem
    assert num_parameters(built("densenet121", classes=1000)) == 7_978_856 - stem
    assert num_parameters(built("vgg16", classes=1000)) == 138_365_992 - (7 * 7 - 1) * 512 * 4096


def test_the_published_sizes_are_the_defaults() -> None:
    assert num_parameters(built("densenet121")) == densenet121(32, CLASSES) == 6_956_426
    assert num_parameters(built("vgg16")) == vgg16(64, 4096) == 33_646_666
    assert num_parameters(built("columnfc")) == linear(446, 256) + linear(256, 128) + linear(128, CLASSES)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("densenet121", {"growth": 4}),
        ("resnet", {}),
        ("vgg16", {"width": 4, "hidden": 8}),
        ("wideresnet", {"depth": 10}),
    ],
)
def test_images_of_one_channel_only_change_the_first_layer(name: str, options: dict[str, Any]) -> None:
    colour, grey = built(name, **options), built(name, channels=1, **options)
    first = next(layer for layer in colour.modules() if isinstance(layer, nn.Conv2d))
    assert num_parameters(colour) - num_parameters(grey) == 2 * 9 * first.out_channels


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("densenet121", {"growth": 2}, (64, 2, 2)),
        ("resnet", {"depth": 8}, (64, 8, 8)),
        ("resnet", {"depth": 8, "shortcut": "B", "block": "bottleneck"}, (256, 8, 8)),
        ("resnet18", {"width": 4}, (32, 4, 4)),
        ("resnet18", {"width": 4, "max_pool": True}, (32, 2, 2)),
        ("vgg16", {"width": 4, "hidden": 8}, (32, 1, 1)),
        ("wideresnet", {"depth": 10, "width_factor": 2}, (128, 8, 8)),
    ],
)
def test_maps_before_the_mean(name: str, options: dict[str, Any], expected: tuple[int, ...]) -> None:
    network = built(name, **options).eval()
    assert network.get_submodule("features")(torch.zeros(1, 3, 32, 32)).shape[1:] == expected


@pytest.mark.parametrize("name", ["densenet121", "vgg16"])
def test_whole_published_networks_pass_an_image(name: str) -> None:
    with torch.no_grad():
        assert built(name).eval()(torch.zeros(1, 3, 32, 32)).shape == (1, CLASSES)
