"""Every model: shapes, sizes, memory formats, and weights that come from its generator alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.models import MODELS, build_model, initialise
from pruneaudit.models.init import Constant, Normal

# B batch, C channels, H height, W width, F features

IMAGE_MODELS = (
    *("convnet", "convnext", "densenet121", "mobilenet", "resnet", "resnet18", "resnet20", "tinycnn", "vgg16", "vit"),
    "wideresnet",
)
SMALL: dict[str, dict[str, Any]] = {
    "convnet": {"width": 8},
    "convnext": {"width": 8, "layers": 1},
    "densenet121": {"growth": 2},
    "mobilenet": {"width": 4, "layers": 1},
    "resnet": {"depth": 8, "width": 4, "shortcut": "B", "block": "bottleneck"},
    "resnet18": {"width": 4},
    "vgg16": {"width": 4, "hidden": 16},
    "vit": {"width": 16, "layers": 2},
    "wideresnet": {"depth": 10, "width_factor": 1},
}
WITH_BIASES = {"convnext", "mobilenet", "vgg16", "vit"}
"""Networks with biases in convolutions; elsewhere the bias is BatchNorm's."""


def built(name: str, shape: tuple[int, ...] = (3, 8, 8), seed: int = 0, **options: Any) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    return build_model(name, options or SMALL.get(name, {}), shape, 10, generator)


def num_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


OURS = [name for name in MODELS.names() if name not in ("factory", "hf") and MODELS.get(name).takes_images]
"""Networks of the package; `factory` and `hf` are whatever their user makes of them."""


def test_the_models_of_the_tests_are_there_and_every_model_says_what_it_is() -> None:
    assert {*IMAGE_MODELS, "columnfc", "factory", "mlp"} <= set(MODELS.names())
    assert all(MODELS.summary(name) for name in MODELS.names())


def test_listing_models_imports_no_torch() -> None:
    code = (
        "import sys; from pruneaudit.models import MODELS; "
        "[MODELS.get(name).Options for name in MODELS.names()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 28, 28), (3, 32, 32), (3, 9, 5), (1, 1, 1)])
def test_images_of_any_size_in_any_memory_format(name: str, shape: tuple[int, int, int]) -> None:
    network = built(name, shape).eval()
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = network(x)
        assert logits.shape == (4, 10)
        assert logits.isfinite().all()
        torch.testing.assert_close(network(x[:1]), logits[:1], rtol=1e-3, atol=1e-4)
        channels_last = network.to(memory_format=torch.channels_last)
        found = channels_last(x.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(found, logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", OURS)
def test_every_parameter_is_trained(name: str) -> None:
    network = built(name)
    loss = nn.functional.cross_entropy(network(torch.randn(4, 3, 8, 8)), torch.arange(4))
    loss.backward()
    without = [key for key, parameter in network.named_parameters() if parameter.grad is None]
    assert without == []
    biased = [key for key, layer in network.named_modules() if isinstance(layer, nn.Conv2d) and layer.bias is not None]
    assert bool(biased) == (name in WITH_BIASES)


@pytest.mark.parametrize(
    ("name", "shape", "options", "expected"),
    [
        ("resnet20", (3, 32, 32), {}, 269_722),
        ("resnet18", (3, 32, 32), {}, 11_173_962),
        # By hand: 3x3 convolutions, two parameters per BatchNorm channel, a linear layer with bias.
        ("tinycnn", (1, 28, 28), {}, 9 * (1 * 16 + 16 * 32 + 32 * 64) + 2 * (16 + 32 + 64) + 650),
        (
            "convnet",
            (3, 32, 32),
            {},
            9 * (3 * 32 + 32 * 32 + 32 * 64 + 64 * 64 + 64 * 128 + 128 * 128) + 2 * 2 * (32 + 64 + 128) + 1290,
        ),
        ("mlp", (446,), {}, 447 * 256 + 257 * 128 + 129 * 10),
        ("mlp", (1, 28, 28), {"hidden": []}, 785 * 10),
    ],
)
def test_number_of_parameters(name: str, shape: tuple[int, ...], options: dict[str, Any], expected: int) -> None:
    assert num_parameters(build_model(name, options, shape, 10, torch.Generator())) == expected


def test_resnets_halve_the_image_at_each_stage() -> None:
    for name, expected in (("resnet20", (64, 8, 8)), ("resnet18", (32, 4, 4))):
        network = built(name, (3, 32, 32)).eval()
        assert network.get_submodule("features")(torch.zeros(1, 3, 32, 32)).shape[1:] == expected


def test_option_a_shortcut_drops_pixels_and_adds_zero_channels() -> None:
    from pruneaudit.models._residual import PaddedShortcut

    x = torch.arange(1.0, 19.0).reshape(1, 2, 3, 3)
    found = PaddedShortcut(2, 4)(x)
    assert found.tolist() == [[[[0, 0], [0, 0]], [[1, 3], [7, 9]], [[10, 12], [16, 18]], [[0, 0], [0, 0]]]]


@pytest.mark.parametrize("name", ["columnfc", "mlp"])
def test_tables_of_features(name: str) -> None:
    assert built(name, (446,)).eval()(torch.zeros(1, 446)).shape == (1, 10)


@pytest.mark.parametrize("name", IMAGE_MODELS)
def test_tables_are_refused_with_what_fits(name: str) -> None:
    with pytest.raises(UserError, match=rf"model '{name}': .*\(446,\).* use columnfc or .*mlp"):
        built(name, (446,))


def test_wrong_options_are_named() -> None:
    with pytest.raises(UserError, match=r"model 'tinycnn': unknown key 'widht' .did you mean 'width'"):
        built("tinycnn", widht=3)
    with pytest.raises(UserError, match=r"model 'mlp': 'hidden.0': got 0"):
        built("mlp", hidden=[0])


@pytest.mark.parametrize("name", OURS)
def test_weights_come_from_the_generator_alone(name: str) -> None:
    torch.manual_seed(1)
    first = built(name).state_dict()
    torch.manual_seed(2)
    again, other = built(name).state_dict(), built(name, seed=5).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", OURS)
def test_torchs_random_state_stays_as_it_was(name: str) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    numpy_before = np.random.get_state()[1].copy()  # noqa: NPY002 - the legacy state is what must not change
    built(name)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_weights_have_kaimings_variance() -> None:
    network = built("convnet", (3, 32, 32), width=32)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.numel() > 5000:
            fan_out = layer.out_channels * 9
            assert float(layer.weight.detach().var()) == pytest.approx(2 / fan_out, rel=0.1)
        if isinstance(layer, nn.BatchNorm2d):
            assert (layer.weight == 1).all() and (layer.bias == 0).all()
    linear = next(layer for layer in built("mlp", (446,)).modules() if isinstance(layer, nn.Linear))
    assert float(linear.weight.detach().var()) == pytest.approx(2 / 446, rel=0.02)
    assert (linear.bias == 0).all()


def test_initialise_forgets_all_that_was_learned() -> None:
    trained, fresh = built("tinycnn", seed=1), built("tinycnn", seed=2)
    trained(torch.randn(8, 3, 8, 8) + 3)
    initialise(trained, torch.Generator().manual_seed(2))
    assert all(torch.equal(trained.state_dict()[key], value) for key, value in fresh.state_dict().items())


class Positions(nn.Module):
    """A layer with loose parameters; it states initial values for `stated`."""

    def __init__(self, **stated: Normal | Constant) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.full((50, 40), 7.0))
        self.scale = nn.Parameter(torch.full((40,), 7.0))
        self.initial_values = stated


def test_layers_state_the_initial_values_of_loose_parameters() -> None:
    layer = Positions(table=Normal(0.5), scale=Constant(0.1))
    initialise(layer, torch.Generator().manual_seed(0))
    assert float(layer.table.detach().std()) == pytest.approx(0.5, rel=0.05)
    assert (layer.scale == 0.1).all()
    assert layer.table.requires_grad


def test_stated_values_go_before_the_rule() -> None:
    linear = nn.Linear(40, 50)
    linear.initial_values = {"weight": Normal(2.0)}  # type: ignore[assignment]
    initialise(linear, torch.Generator().manual_seed(0))
    assert float(linear.weight.detach().std()) == pytest.approx(2.0, rel=0.05)
    assert (linear.bias == 0).all()


@pytest.mark.parametrize("scheme", ["kaiming_normal", "xavier_normal"])
def test_embeddings_are_normal_and_their_padding_is_zero(scheme: Any) -> None:
    layer = nn.Embedding(100, 20, padding_idx=3)
    initialise(layer, torch.Generator().manual_seed(0), scheme)
    assert (layer.weight[3] == 0).all()
    assert float(layer.weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert layer.weight.is_leaf and layer.weight.requires_grad


def test_layers_without_a_rule_are_refused() -> None:
    with pytest.raises(ValueError, match="layer '1' is a PReLU"):
        initialise(nn.Sequential(nn.Linear(2, 2), nn.PReLU()), torch.Generator())
    with pytest.raises(ValueError, match=r"layer '' is a Positions.*'scale'.*initial_values"):
        initialise(Positions(table=Normal(1)), torch.Generator())
    initialise(nn.Sequential(nn.Linear(2, 2, bias=False), nn.BatchNorm1d(2, affine=False)), torch.Generator())
