"""Strided 1x1 convolutions of few channels: the same answers and gradients, by another way."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples
from pruneaudit.training.strided_convolutions import SAFE_CHANNELS, sound_strides


def gradients(layer: nn.Conv2d, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
    layer.zero_grad()
    x = x.clone().requires_grad_()
    answer = layer(x)
    (answer**2).sum().backward()
    assert x.grad is not None
    assert layer.weight.grad is not None
    return answer.detach(), layer.weight.grad.clone(), x.grad


@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
@pytest.mark.parametrize(("channels", "groups"), [(3, 1), (4, 2)])
@pytest.mark.parametrize("size", [8, 9])
def test_answers_and_gradients_are_those_of_the_layer(
    stride: int | tuple[int, int], channels: int, groups: int, size: int
) -> None:
    layer = nn.Conv2d(channels, 6, 1, stride, groups=groups).double()
    x = torch.randn(5, channels, size, size, dtype=torch.float64)  # oneDNN has no float64: the plain kernels answer
    expected = gradients(layer, x)
    with sound_strides(layer):
        found = gradients(layer, x)
    for got, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(got, wanted)


def test_only_such_layers_change_and_all_are_themselves_again() -> None:
    strided = nn.Conv2d(3, 6, 1, 2)
    others = [nn.Conv2d(3, 6, 1), nn.Conv2d(3, 6, 3, 2), nn.Conv2d(3, 6, 1, 2, 1), nn.Conv2d(SAFE_CHANNELS, 6, 1, 2)]
    network = nn.ModuleList([strided, *others])
    with pytest.raises(KeyError), sound_strides(network):
        assert type(strided) is not nn.Conv2d
        assert all(type(other) is nn.Conv2d for other in others)
        raise KeyError
    assert type(strided) is nn.Conv2d


def test_a_copy_made_meanwhile_has_weights_of_its_own() -> None:
    layer = nn.Conv2d(2, 3, 1, 2)
    with sound_strides(layer):
        other = copy.deepcopy(layer)
        with torch.no_grad():
            layer.weight.zero_()
        assert other(torch.ones(1, 2, 4, 4)).abs().sum() > 0


@pytest.mark.parametrize("channels", range(1, 9))
def test_training_such_a_network_survives(channels: int) -> None:
    """Where the kernel corrupts memory, this process aborts without the remedy."""
    network = nn.Sequential(nn.Conv2d(1, channels, 3), nn.Conv2d(channels, 8, 1, 2), nn.Flatten(), nn.LazyLinear(2))
    images = torch.randn(64, 10, 10, 1)
    network(images[:1].permute(0, 3, 1, 2))
    settings = Training(epochs=10, batch_size=8, learning_rate=0.01)
    state = train(network, Samples(images, torch.arange(64) % 2), settings, torch.Generator().manual_seed(0))
    assert len(state.history) == 10
