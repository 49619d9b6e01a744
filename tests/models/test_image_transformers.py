"""ViT, ConvNeXt and MobileNet: sizes by formula, what their blocks compute, and the networks of `transformers`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.models import build_model
from pruneaudit.models._convnext import ConvNextBlock
from pruneaudit.models._mobilenet import InvertedBottleneck, SqueezeExcitation
from pruneaudit.models._vit import Prefixed

# B batch, C channels, D width

CLASSES = 10
X = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def built(name: str, shape: tuple[int, ...] = (3, 16, 16), **options: Any) -> nn.Module:
    return build_model(name, options, shape, CLASSES, torch.Generator().manual_seed(0))


def randomised(network: nn.Module) -> nn.Module:
    """The same with other weights, biases and scales everywhere, so that each matters to the outputs."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return network.eval()


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def linear(i: int, o: int) -> int:
    return i * o + o


# ------------------------------------------------------------------ sizes


@pytest.mark.parametrize(("width", "layers", "patch", "side"), [(64, 4, 4, 32), (8, 1, 4, 28), (12, 2, 3, 10)])
def test_size_of_a_vit(width: int, layers: int, patch: int, side: int) -> None:
    network = built("vit", (3, side, side), width=width, layers=layers, patch=patch)
    positions = (-(side // -patch)) ** 2 + 1
    block = 4 * linear(width, width) + 2 * 2 * width + linear(width, 4 * width) + linear(4 * width, width)
    expected = linear(3 * patch**2, width) + width + positions * width + layers * block + 2 * width
    assert num_parameters(network) == expected + linear(width, CLASSES)


@pytest.mark.parametrize(("width", "layers", "patch"), [(32, 2, 2), (8, 1, 4)])
def test_size_of_a_convnext(width: int, layers: int, patch: int) -> None:
    expected, c = linear(3 * patch**2, width) + 2 * width, width
    for stage in range(3):
        if stage:
            expected += 2 * c + linear(4 * c, 2 * c)
            c *= 2
        expected += layers * (linear(49, c) + 2 * c + linear(c, 4 * c) + linear(4 * c, c) + c)
    network = built("convnext", width=width, layers=layers, patch=patch)
    assert num_parameters(network) == expected + 2 * c + linear(c, CLASSES)


@pytest.mark.parametrize(("width", "layers", "expansion"), [(16, 2, 4), (8, 1, 3)])
def test_size_of_a_mobilenet(width: int, layers: int, expansion: int) -> None:
    expected, i = 9 * 3 * width + 2 * width, width
    for o in (width, 2 * width, 4 * width):
        for _ in range(layers):
            wide = expansion * i
            gate = linear(wide, wide // 4) + linear(wide // 4, wide)
            expected += (i * wide + 2 * wide) + (9 * wide + 2 * wide) + gate + (wide * o + 2 * o)
            i = o
    expected += i * expansion * i + 2 * expansion * i + linear(expansion * i, CLASSES)
    assert num_parameters(built("mobilenet", width=width, layers=layers, expansion=expansion)) == expected


def test_maps_halve_at_each_stage() -> None:
    assert built("convnext", (3, 32, 32)).get_submodule("features")(torch.zeros(1, 3, 32, 32)).shape == (1, 128, 4, 4)
    assert built("mobilenet", (3, 32, 32)).get_submodule("features")(torch.zeros(2, 3, 32, 32)).shape == (2, 256, 4, 4)


# ------------------------------------------------------------------ initial weights


def test_loose_parameters_have_their_initial_values() -> None:
    prefix = built("vit", (3, 64, 64)).get_submodule("prefix")
    assert isinstance(prefix, Prefixed)
    for parameter in (prefix.class_token, prefix.positions):
        assert float(parameter.detach().std()) == pytest.approx(0.02, rel=0.2)
    scales = [p for name, p in built("convnext", layer_scale=0.25).named_parameters() if name.endswith("scale.scale")]
    assert len(scales) == 6
    assert all((scale == 0.25).all() for scale in scales)


# ------------------------------------------------------------------ what they compute


def test_patches_are_rows_of_the_image_and_the_edge_is_padded_with_zeros() -> None:
    network = randomised(built("vit", (3, 10, 6)))
    x = X[:, :, :10, :6]
    larger = functional.pad(x, (0, 2, 0, 2))
    with torch.no_grad():
        torch.testing.assert_close(network(x), network(larger))
        assert network.get_submodule("prefix").get_parameter("positions").shape == (1, 3 * 2 + 1, 64)


def test_dropout_of_a_vit_is_for_training() -> None:
    network = built("vit", dropout=0.3)
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        assert torch.equal(network.eval()(X), network(X))
        assert not torch.equal(network.train()(X), network(X))
        without = built("vit").train()
        assert torch.equal(without(X), without(X))


def test_a_convnext_block_by_hand() -> None:
    block = randomised(ConvNextBlock(3, 0.5))
    with torch.no_grad():
        maps = functional.conv2d(X, block.depthwise.weight, block.depthwise.bias, padding=3, groups=3)
        mean, var = maps.mean(1, keepdim=True), maps.var(1, unbiased=False, keepdim=True)
        maps = (maps - mean) / (var + 1e-5).sqrt()
        maps = maps * block.norm.weight.view(-1, 1, 1) + block.norm.bias.view(-1, 1, 1)
        hidden = functional.gelu(functional.conv2d(maps, block.fc1.weight[..., None, None], block.fc1.bias))
        maps = functional.conv2d(hidden, block.fc2.weight[..., None, None], block.fc2.bias)
        torch.testing.assert_close(block(X), X + block.scale.scale.view(-1, 1, 1) * maps, rtol=1e-4, atol=1e-5)


def test_squeeze_and_excitation_by_hand() -> None:
    layer = randomised(SqueezeExcitation(8))
    x = torch.randn(2, 8, 3, 3, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        for sample, found in zip(x, layer(x), strict=True):
            hidden = (layer.squeeze.weight[:, :, 0, 0] @ sample.mean((1, 2)) + layer.squeeze.bias).clamp_min(0)
            gate = ((layer.excite.weight[:, :, 0, 0] @ hidden + layer.excite.bias + 3) / 6).clamp(0, 1)
            torch.testing.assert_close(found, sample * gate.view(-1, 1, 1))


@pytest.mark.parametrize(("out_channels", "stride", "is_added"), [(3, 1, True), (5, 1, False), (3, 2, False)])
def test_blocks_add_their_input_where_shapes_agree(out_channels: int, stride: int, is_added: bool) -> None:
    block = InvertedBottleneck(3, out_channels, 2, stride, "group")
    nn.init.zeros_(block.project.weight)
    with torch.no_grad():
        found = block(X)
    assert found.shape == (4, out_channels, 16 // stride, 16 // stride)
    assert torch.equal(found, X if is_added else torch.zeros_like(found))


# ------------------------------------------------------------------ the same networks elsewhere


def copied(theirs: nn.Module, ours: nn.Module, names: dict[str, str]) -> None:
    """Copies weights; `names` gives, by our name of a parameter or layer, theirs."""
    state = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            layer, _, kind = name.rpartition(".")
            target = names[name] if name in names else f"{names[layer]}.{kind}"
            state.pop(target).copy_(parameter.view(state_shape(theirs, target)))
    assert not state


def state_shape(network: nn.Module, name: str) -> torch.Size:
    return network.get_parameter(name).shape


def logits_of(network: nn.Module) -> Tensor:
    with torch.no_grad():
        return network.eval()(pixel_values=X).logits


def test_a_vit_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    ours = randomised(built("vit", width=16, layers=2, heads=2))
    for layer in ours.modules():
        if isinstance(layer, nn.LayerNorm):
            layer.eps = 1e-12
    theirs = transformers.ViTForImageClassification(
        transformers.ViTConfig(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64, image_size=16,
            patch_size=4, num_labels=CLASSES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        )
    )  # fmt: skip
    names = {
        "prefix.class_token": "vit.embeddings.cls_token",
        "prefix.positions": "vit.embeddings.position_embeddings",
        "embed": "vit.embeddings.patch_embeddings.projection",
        "norm": "vit.layernorm",
        "head": "classifier",
    }
    found = {name for name, _ in theirs.named_modules()}
    for block in range(2):
        at = f"vit.layers.{block}"
        assert at in found
        parts = {
            "attention.q": "attention.q_proj", "attention.k": "attention.k_proj", "attention.v": "attention.v_proj",
            "attention.o": "attention.o_proj", "norm1": "layernorm_before", "norm2": "layernorm_after",
            "fc1": "mlp.fc1", "fc2": "mlp.fc2",
        }  # fmt: skip
        names |= {f"blocks.{block}.{one}": f"{at}.{other}" for one, other in parts.items()}
    copied(theirs, ours, names)
    with torch.no_grad():
        torch.testing.assert_close(ours(X), logits_of(theirs), rtol=1e-4, atol=1e-5)


def test_a_convnext_is_that_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    ours = randomised(built("convnext", width=8, layers=2, patch=4))
    theirs = transformers.ConvNextForImageClassification(
        transformers.ConvNextConfig(
            patch_size=4, num_stages=3, hidden_sizes=[8, 16, 32], depths=[2, 2, 2], num_labels=CLASSES
        )
    )
    names = {
        "features.0.conv": "convnext.embeddings.patch_embeddings", "features.1.norm": "convnext.embeddings.layernorm",
        "classifier.0": "convnext.layernorm", "classifier.1": "classifier",
    }  # fmt: skip
    place = 2
    for stage in range(3):
        at = f"convnext.encoder.stages.{stage}"
        if stage:
            names[f"features.{place}.norm"] = f"{at}.downsampling_layer.0"
            names[f"features.{place + 1}.conv"] = f"{at}.downsampling_layer.1"
            place += 2
        for block in range(2):
            parts = {"depthwise": "dwconv", "norm": "layernorm", "fc1": "pwconv1", "fc2": "pwconv2"}
            names |= {f"features.{place}.{one}": f"{at}.layers.{block}.{other}" for one, other in parts.items()}
            names[f"features.{place}.scale.scale"] = f"{at}.layers.{block}.layer_scale_parameter"
            place += 1
    copied(theirs, ours, names)
    for network in (ours, theirs):
        for layer in network.modules():
            if hasattr(layer, "eps"):
                layer.eps = 1e-6
    with torch.no_grad():
        torch.testing.assert_close(ours(X), logits_of(theirs), rtol=1e-4, atol=1e-5)
