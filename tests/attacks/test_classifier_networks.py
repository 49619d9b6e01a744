"""Dropout from fewer random bits, and the encoder layer that uses it, beside torch's own."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from pruneaudit.attacks._networks import Dropout, EncoderLayer, dropped


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
