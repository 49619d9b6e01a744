"""BatchNorm gives way to GroupNorm, and what has no gradient of a single sample is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from pruneaudit.core.errors import UserError
from pruneaudit.defenses._dp_network import num_groups
from pruneaudit.defenses.dp import DEFENSE, DpOptions
from pruneaudit.models import build_model

OPTIONS = DpOptions(noise_multiplier=1.0)
MakeNet = Callable[..., nn.Module]


def build(name: str) -> nn.Module:
    return build_model(name, {}, (1, 8, 8), 3, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["tinycnn", "convnet", "resnet20", "mlp"])
def test_names_stay_and_only_running_statistics_go(name: str) -> None:
    before, after = build(name), DEFENSE.prepare(build(name), OPTIONS)
    assert not any(isinstance(layer, _BatchNorm) for layer in after.modules())
    assert [name for name, _ in before.named_modules()] == [name for name, _ in after.named_modules()]
    assert [name for name, _ in before.named_parameters()] == list(after.state_dict())
    for old, new in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(old, new)


@pytest.mark.parametrize("name", ["tinycnn", "convnet", "resnet20"])
def test_a_samples_output_no_longer_depends_on_its_batch(name: str) -> None:
    model = DEFENSE.prepare(build(name), OPTIONS)
    assert model.training
    x = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    together = model(x)
    alone = torch.cat([model(one[None]) for one in x])
    torch.testing.assert_close(together, alone)
    assert float((together[0] - together[1]).detach().abs().max()) > 1e-3  # 1x1 maps still say something


@given(st.integers(1, 2000))
def test_groups_are_large_and_few(channels: int) -> None:
    groups = num_groups(channels)
    assert channels % groups == 0
    assert 1 <= groups <= 32
    assert groups == 1 or channels // groups >= 16
    better = [g for g in range(groups + 1, 33) if channels % g == 0 and channels // g >= 16]
    assert not better


def test_groups_of_common_widths() -> None:
    assert [num_groups(channels) for channels in (4, 16, 64, 512, 1024, 17)] == [1, 1, 4, 32, 32, 1]


def test_a_layer_that_stands_in_two_places_is_replaced_by_one_layer() -> None:
    norm = nn.BatchNorm1d(32, affine=False)
    model = DEFENSE.prepare(nn.Sequential(nn.Linear(4, 32), norm, nn.Linear(32, 32), norm), OPTIONS)
    assert model[1] is model[3]
    assert isinstance(model[1], nn.GroupNorm)
    assert model[1].weight is None


def test_in_place_activations_compute_the_same() -> None:
    draws = torch.Generator().manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2))
    x = torch.randn(5, 4, generator=draws)
    before = model(x)
    assert torch.equal(DEFENSE.prepare(model, OPTIONS)(x), before)
    assert not model[1].inplace


class WithBuffer(nn.Module):
    """A layer of a user's with a buffer that nothing protects."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(3))


@pytest.mark.parametrize(
    "layer", [nn.LSTM(3, 3), nn.MultiheadAttention(4, 2), nn.InstanceNorm2d(3, track_running_stats=True)], ids=str
)
def test_layers_that_opacus_has_no_gradients_for_are_refused(layer: nn.Module) -> None:
    with pytest.raises(UserError, match="defense 'dp' cannot train this network") as refused:
        DEFENSE.prepare(nn.Sequential(nn.Linear(3, 3), layer), OPTIONS)
    assert "\n" not in str(refused.value)


def test_layers_with_buffers_are_refused_by_name() -> None:
    with pytest.raises(UserError, match="WithBuffer"):
        DEFENSE.prepare(nn.Sequential(nn.Linear(3, 3), WithBuffer()), OPTIONS)
