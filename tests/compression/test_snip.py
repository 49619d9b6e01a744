"""SNIP against finite differences of the loss; its traps: labels, the sum before the absolute value, BatchNorm."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.compression.snip import sensitivities
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]


def pruned(model: nn.Module, context: CompressionContext, **options: Any) -> Compressed:
    snip = COMPRESSORS.get("snip")
    return snip.compress(model, validated(snip.Options, options, "snip"), context)


@pytest.fixture
def context(make_net: MakeNet, make_context: MakeContext, noise: Samples) -> CompressionContext:
    """A context whose initial weights are those of seed 4, with all 40 samples."""
    return replace(make_context(lambda: make_net(seed=4)), samples=noise)


def differences(model: nn.Module, samples: Samples) -> dict[str, Tensor]:
    """|dL / dc| of a factor c = 1 on each weight, by central differences in float64, one weight at a time."""
    exact = copy.deepcopy(model).double().eval()
    exact.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    x, y = samples.inputs(slice(None)).double(), samples.y

    def loss() -> float:
        return -float(log_softmax(exact(x), 1)[torch.arange(len(y)), y].mean())

    found = {}
    with torch.no_grad():
        for name, weight in prunable_weights(exact).items():
            flat, slopes = weight.view(-1), torch.empty(weight.numel(), dtype=torch.float64)
            for place, value in enumerate(flat.tolist()):
                flat[place] = value * (1 + 1e-4)
                above = loss()
                flat[place] = value * (1 - 1e-4)
                slopes[place] = (above - loss()) / 2e-4
                flat[place] = value
            found[name] = slopes.abs().view(weight.shape)
    return found


@pytest.mark.parametrize("name", ["mlp", "tinycnn"])
def test_scores_are_how_the_loss_changes_with_each_weight(name: str, make_net: MakeNet, noise: Samples) -> None:
    model = make_net(name, **({"width": 2} if name == "tinycnn" else {"hidden": [5]}))
    scores = sensitivities(model, prunable_weights(model), noise)
    for key, expected in differences(model, noise).items():
        assert torch.allclose(scores[key].double(), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("scope", ["global", "layerwise"])
def test_the_lowest_scores_go_and_the_rest_are_initial_weights(
    scope: str, make_net: MakeNet, context: CompressionContext, noise: Samples
) -> None:
    model, initial = make_net(), make_net(seed=4)
    masks = pruned(model, context, sparsity=0.8, scope=scope).masks
    assert masks is not None
    scores = sensitivities(initial, prunable_weights(initial), noise)
    groups = [[name] for name in scores] if scope == "layerwise" else [list(scores)]
    for group in groups:
        together = torch.cat([scores[name].flatten() for name in group])
        kept = torch.cat([masks[name].flatten() for name in group])
        assert int((~kept).sum()) == num_removed(len(kept), 0.8)
        assert together[kept].min() >= together[~kept].max()
    for name, value in initial.state_dict().items():  # BatchNorm's statistics among them
        assert torch.equal(model.state_dict()[name], torch.where(masks[name], value, 0.0) if name in masks else value)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_absolute_value_comes_after_the_sum_over_the_batch() -> None:
    model = nn.Sequential(nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(1.0)  # both classes always have the same logit: probabilities 1/2
    x, y = torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.tensor([0, 1])
    both = sensitivities(model, prunable_weights(model), Samples(x, y))["0.weight"]
    assert both.tolist() == [[0, 0], [0, 0]]  # what one label pulls, the other pushes
    one = sensitivities(model, prunable_weights(model), Samples(x[:1], y[:1]))["0.weight"]
    assert one.tolist() == [[0.5, 0.5], [0.5, 0.5]]


def test_labels_matter_and_batches_of_other_samples_do_not(make_net: MakeNet, noise: Samples) -> None:
    model = make_net()
    weights = prunable_weights(model)
    scores = sensitivities(model, weights, noise)
    others = sensitivities(model, weights, Samples(noise.stored, (noise.y + 1) % 3))
    assert any(not torch.allclose(scores[name], others[name], rtol=0.1) for name in scores)
    many = Samples(noise.stored.repeat(8, 1, 1, 1), noise.y.repeat(8))  # 320 samples, in several passes
    again = sensitivities(model, weights, many)
    assert all(torch.allclose(scores[name], again[name], rtol=1e-3, atol=1e-7) for name in scores)


def test_running_statistics_are_used_and_left_alone(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    model = make_net()
    train(model, noise, Training(epochs=2, batch_size=8), torch.Generator().manual_seed(0))
    model.train().zero_grad(set_to_none=True)
    before = copy.deepcopy(model.state_dict())
    scores = sensitivities(model, prunable_weights(model), noise)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(module.training for module in model.modules())
    expected = differences(model, noise)  # in evaluation mode
    assert all(torch.allclose(scores[n].double(), expected[n], rtol=2e-3, atol=1e-5) for n in scores)


def test_a_layer_that_would_lose_everything_is_refused_by_name(make_net: MakeNet, context: CompressionContext) -> None:
    with pytest.raises(UserError, match=r"sparsity 0\.998: 'snip' removes all \d+ weights of '(features|classifier)"):
        pruned(make_net(), context, sparsity=0.998)


def test_a_loss_without_a_finite_gradient_is_refused(make_net: MakeNet, noise: Samples) -> None:
    model = make_net("mlp")
    with pytest.raises(UserError, match=r"'snip': the loss of 40 samples has no finite gradient at '1\.weight'"):
        sensitivities(model, prunable_weights(model), Samples(noise.stored * 1e38, noise.y))
    with pytest.raises(UserError, match="'snip' scores weights by samples, but there are none"):
        sensitivities(model, prunable_weights(model), Samples(noise.stored[:0], noise.y[:0]))


@pytest.mark.parametrize(
    ("options", "origin", "trained", "data", "num_samples"),
    [
        ({}, "init", True, "public", 128),
        ({"start": "pretrained", "data": "members"}, "own-dense", False, "members", 128),
        ({"num_samples": 20}, "init", True, "public", 20),
    ],
)
def test_where_it_starts_and_what_it_sees(
    options: dict[str, Any], origin: str, trained: bool, data: str, num_samples: int
) -> None:
    snip = COMPRESSORS.get("snip")
    chosen = snip.Options(sparsity=0.5, **options)
    assert (snip.origin(chosen), snip.works_in_training(chosen)) == (origin, trained)
    assert (snip.data(chosen), snip.num_samples(chosen)) == (data, num_samples)
