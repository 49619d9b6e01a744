"""Second moments and norms of layers' inputs, against direct products."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression.layer_inputs import SAMPLES_AT_ONCE, layers_in_order
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.training.samples import Samples


def some_samples(*shape: int, count: int = 5) -> Samples:
    """Random inputs of this shape, channels first, and labels that nobody reads."""
    x = torch.randn(count, *shape, generator=torch.Generator().manual_seed(count))
    return Samples(x.permute(0, 2, 3, 1).contiguous() if len(shape) == 3 else x, torch.zeros(count, dtype=torch.long))


@pytest.mark.parametrize("kind", [nn.Conv1d, nn.Conv2d, nn.Conv3d])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"stride": 2, "padding": 1},
        {"padding": "same", "dilation": 2},
        {"padding": 2, "padding_mode": "circular", "groups": 2},
        {"groups": 4, "bias": False},
    ],
)
def test_products_with_the_columns_moment_are_those_of_the_outputs(kind: Any, settings: dict[str, Any]) -> None:
    """W X X' W' is the second moment of the outputs, which needs no unfolding to know."""
    torch.manual_seed(1)
    dimensions = int(kind.__name__[4])
    layer = kind(4, 8, 3, **settings).double()
    x = torch.randn(3, 4, *[7, 6, 5][:dimensions], dtype=torch.float64)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, flat: Tensor) -> Tensor:
            return self.layer(flat.double().view(-1, *x.shape[1:]))

    samples = Samples(x.flatten(1), torch.zeros(3, dtype=torch.long))
    (found,) = layers_in_order(Net(), samples, ["layer.weight"])
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    outputs = layer(x).detach().movedim(1, 0).flatten(1).unflatten(0, (layer.groups, -1))  # (G, outputs, n)
    rows = layer.weight.detach().flatten(1).unflatten(0, (found.groups, -1))
    assert torch.allclose(rows @ found.moment() @ rows.mT, outputs @ outputs.mT)
    assert torch.allclose(found.norms() ** 2, found.moment().diagonal(dim1=1, dim2=2))


def test_patches_by_hand() -> None:
    layer = nn.Conv2d(1, 1, 2, stride=2, bias=False)
    image = torch.arange(16.0).view(1, 4, 4, 1)
    (found,) = layers_in_order(nn.Sequential(layer), Samples(image, torch.zeros(1)), ["0.weight"])
    patches = torch.tensor([[0.0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]], dtype=torch.float64)
    assert torch.equal(found.moment()[0], patches.T @ patches)


def test_a_linear_layer_counts_every_position_and_every_use() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)
            self.twin = nn.Linear(4, 4)
            self.twin.weight = self.fc.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.twin(input=self.fc(x.view(-1, 3, 4)))

    model, samples = Twice(), some_samples(12)
    (found,) = layers_in_order(model, samples, ["fc.weight"])
    first = samples.stored.reshape(-1, 4)
    columns = torch.cat([first, model.fc(first).detach()]).double().T
    assert torch.allclose(found.moment()[0], columns @ columns.T)
    assert torch.allclose(found.norms()[0], columns.norm(dim=1))


def test_later_layers_see_earlier_changes_and_evaluation_mode(make_net: Callable[..., Any], noise: Samples) -> None:
    model = make_net("tinycnn").train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    layers = layers_in_order(model, noise, prunable_weights(model))
    assert [layer.name for layer in layers] == list(prunable_weights(model))
    assert [layer.moment().shape[-1] for layer in layers] == [9, 36, 72, 16]
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training
    first, second = layers[0].moment(), layers[1].moment()
    with torch.no_grad():
        model.get_parameter(layers[0].name).mul_(2)
    assert torch.equal(layers[0].moment(), first)
    assert not torch.equal(layers[1].moment(), second)


def test_the_pass_ends_at_the_layer() -> None:
    class Fragile(nn.Module):
        broken = False

        def forward(self, x: Tensor) -> Tensor:
            assert not self.broken
            return x

    samples = some_samples(4, count=2 * SAMPLES_AT_ONCE + 3)
    model = nn.Sequential(nn.Linear(4, 4), Fragile())
    (found,) = layers_in_order(model, samples, ["0.weight"])
    Fragile.broken = True
    columns = samples.stored.double().T
    assert torch.allclose(found.moment()[0], columns @ columns.T)
    assert not model[0]._forward_pre_hooks


def test_many_numbers_are_summed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    model, samples = nn.Sequential(nn.Conv2d(2, 3, 3)), some_samples(2, 6, 6, count=9)
    (found,) = layers_in_order(model, samples, ["0.weight"])
    whole = found.moment()
    monkeypatch.setattr("pruneaudit.compression.layer_inputs._MOST_NUMBERS", 700)
    assert torch.allclose(found.moment(), whole, rtol=1e-12)


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.ConvTranspose2d(1, 2, 2), (1, 4, 4), r"'0\.weight'.*ConvTranspose2d.*exclude layer '0'"),
        (nn.GRU(4, 2), (4,), r"'0\.weight_ih_l0'.*GRU.*exclude layer '0'"),
    ],
)
def test_layers_without_columns_are_refused_by_name(layer: nn.Module, shape: tuple[int, ...], message: str) -> None:
    model = nn.Sequential(layer)
    with pytest.raises(UserError, match=message):
        layers_in_order(model, some_samples(*shape), prunable_weights(model))


def test_layers_that_are_not_called_are_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    model[0].register_module("spare", nn.Linear(4, 4))
    with pytest.raises(UserError, match=r"'0\.spare\.weight'.*never calls.*exclude layer '0\.spare'"):
        layers_in_order(model, some_samples(4), prunable_weights(model))
    with pytest.raises(UserError, match="no calibration samples"):
        layers_in_order(model, some_samples(4, count=0), ["0.weight"])
