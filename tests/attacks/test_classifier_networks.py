"""Dropout from fewer random bits, and the encoder layer that uses it, beside torch's own."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from pruneaudit.attacks._networks import (
    AttentionNetwork,
    Dropout,
    EncoderLayer,
    draw_weights_of_mia_prune,
    dropped,
    posterior_mlp,
)


def layers(p: float) -> tuple[EncoderLayer, nn.TransformerEncoderLayer]:
    """Ours and torch's with the same weights, in float64."""
    torch.manual_seed(0)
    ours = EncoderLayer(64, 4, 128, dropout=p, activation="gelu", batch_first=True).double()
    theirs = nn.TransformerEncoderLayer(64, 4, 128, dropout=p, activation="gelu", batch_first=True).double()
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    return ours, theirs


@pytest.mark.parametrize(("p", "training"), [(0.0, True), (0.0, False), (0.2, False)])
def test_without_dropout_answers_and_gradients_are_those_of_torch(p, training):
    x = torch.randn(5, 7, 64, dtype=torch.float64, requires_grad=True)
    found = []
    for layer in layers(p):
        x.grad = None
        answer = layer.train(training)(x)
        answer.square().sum().backward()
        found.append([answer, x.grad, *(parameter.grad for parameter in layer.parameters())])
    assert len(found[0]) == 2 + 12
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_in_training_it_drops_as_often_as_torch_does():
    """Standard deviations over draws of the mean answer, which dropout at all four places sets."""
    x = torch.randn(1, 6, 64, dtype=torch.float64).expand(4000, 6, 64)
    ours, theirs = (layer.train()(x).detach() for layer in layers(0.2))
    torch.testing.assert_close(ours.mean(0), theirs.mean(0), rtol=0, atol=0.06)
    ratio = ours.std(0) / theirs.std(0)
    assert abs(float(ratio.mean()) - 1) < 0.01
    assert float((ratio - 1).abs().max()) < 0.12


@pytest.mark.parametrize("shape", [(1,), (3,), (7, 5), (2, 3, 4, 5)])
def test_a_number_is_dropped_or_raised(shape):
    torch.manual_seed(1)
    x = torch.randn(shape).abs() + 1
    y = dropped(x, 0.2)
    kept = y != 0
    torch.testing.assert_close(y[kept], x[kept] / 0.8, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_numbers_are_kept_by_the_16_bits_in_their_place(dtype):
    x = torch.randn(3, 7, dtype=dtype)
    words = torch.empty(6, dtype=torch.int64).random_(-(2**63), None, generator=torch.Generator().manual_seed(5))
    bits = words.view(torch.int16)[:21].view(3, 7)
    expected = torch.where(bits >= 13_107 - 32_768, x * (65_536 / (65_536 - 13_107)), 0.0)
    found = dropped(x, 0.2, torch.Generator().manual_seed(5))
    assert found.dtype == dtype
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_every_number_has_the_same_chance_of_its_own(p):
    torch.manual_seed(2)
    dropped_here = torch.stack([dropped(torch.ones(64), p) == 0 for _ in range(20_000)]).double()
    rates = dropped_here.mean(0)
    error = (p * (1 - p) / 20_000) ** 0.5
    assert float((rates - p).abs().max()) < 4.5 * error
    correlations = torch.corrcoef(dropped_here.T) - torch.eye(64)
    assert float(correlations.abs().max()) < 5 / 20_000**0.5


def test_it_follows_the_global_generator_and_rests_in_evaluation():
    layer, x = Dropout(0.2), torch.randn(100)
    torch.manual_seed(3)
    first = layer(x)
    torch.manual_seed(3)
    assert torch.equal(layer(x), first)
    assert not torch.equal(layer(x), first)
    assert torch.equal(layer.eval()(x), x)


def drawn(network: nn.Module, seed: int = 0) -> nn.Module:
    """A network whose first weights are drawn as mia_prune does."""
    torch.manual_seed(seed)
    draw_weights_of_mia_prune(network)
    return network


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    """The layers that mia_prune's code draws; attention's output projection is none of them."""
    return [layer for layer in network.modules() if type(layer) is nn.Linear]


@pytest.mark.parametrize(("network", "num_layers"), [(posterior_mlp(10), 4), (AttentionNetwork(10), 9)])
def test_weights_of_mia_prune_are_xavier_normal(network, num_layers):
    layers = linear_layers(drawn(network))
    assert len(layers) == num_layers
    for layer in layers:
        assert not layer.bias.any()
        weights = layer.weight.detach().double()
        expected = math.sqrt(2 / (layer.in_features + layer.out_features))
        error = 1 / math.sqrt(2 * weights.numel())  # of a standard deviation, relative
        assert abs(float(weights.square().mean().sqrt()) / expected - 1) < 4 * error
        if weights.numel() > 10_000:  # normal, not uniform: kurtosis 3, not 1.8
            assert float(weights.pow(4).mean() / weights.square().mean() ** 2) == pytest.approx(3, abs=0.15)


def test_attention_of_mia_prune_keeps_the_weights_of_torch():
    """That code goes by class names, and its encoder copies one layer."""
    attentions = [m for m in drawn(AttentionNetwork(10)).modules() if isinstance(m, nn.MultiheadAttention)]
    assert len(attentions) == 3
    first = attentions[0].state_dict()
    for attention in attentions:
        assert float(attention.out_proj.weight.detach().abs().max()) <= 1 / math.sqrt(64)  # torch's, uniform
        assert float(attention.in_proj_weight.detach().abs().max()) <= math.sqrt(6 / (64 + 3 * 64))  # Xavier-uniform
        assert not attention.in_proj_bias.any()
        assert not attention.out_proj.bias.any()
        assert all(torch.equal(value, first[key]) for key, value in attention.state_dict().items())


def test_weights_of_mia_prune_follow_the_global_generator():
    first, again, other = (drawn(posterior_mlp(5), seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])
