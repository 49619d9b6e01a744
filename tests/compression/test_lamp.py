"""LAMP against a naive computation in exact numbers; its largest weights, its sums, and layers that stay."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.lamp import lamp_scores
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.core.errors import UserError

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]


def naive(weights: list[float]) -> list[Fraction]:
    """One weight at a time, in fractions: its square over those of all that are larger, or equal and later."""
    exact = [abs(Fraction(w)) for w in weights]
    return [
        square / total
        if (square := w * w) and (total := sum(v * v for m, v in enumerate(exact) if (v, m) >= (w, n)))
        else Fraction(0)
        for n, w in enumerate(exact)
    ]


@given(
    weights=st.lists(st.floats(-4, 4, width=32).map(lambda w: w if abs(w) > 1e-15 else 0.0), min_size=1, max_size=30),
    decimals=st.sampled_from([None, 0, 1]),
)
@settings(deadline=None, max_examples=100)
def test_scores_are_those_of_a_naive_computation(weights: list[float], decimals: int | None) -> None:
    weight = torch.tensor(weights, dtype=torch.float32)
    weight = weight if decimals is None else weight.round(decimals=decimals)  # ties
    scores = lamp_scores(weight)
    assert scores.dtype == torch.float64
    assert scores.tolist() == pytest.approx([float(score) for score in naive(weight.tolist())], rel=1e-12)
    if weight.any():
        assert exact(weight.tolist()) == naive(weight.tolist())
        assert scores.max() == 1
        assert int((scores == 1).sum()) == 1


def test_sums_from_the_largest_down_keep_the_tail() -> None:
    # The total less the squares so far would be 0 for the small ones, or below: 1e16 + 1 = 1e16 in float64.
    weight = torch.tensor([1e8, 1.0, 0.5, 2e-8], dtype=torch.float32)
    assert lamp_scores(weight).tolist() == pytest.approx([1, 1e-16, 0.25e-16, 4e-32], rel=1e-7)
    assert torch.equal(lamp_scores(weight).argsort(descending=True), torch.arange(4))


def test_weights_whose_squares_are_equal_stand_in_their_order() -> None:
    weight = torch.tensor([1e-30, 2e-30, 1.0])  # squares below what float32 holds
    scores = lamp_scores(weight)
    assert 0 < scores[0] < scores[1] < scores[2] == 1


def exact(weights: list[float]) -> list[Fraction]:
    """The same with one sum that grows from the largest weight down, for whole layers."""
    found, total = [Fraction(0)] * len(weights), Fraction(0)
    for _, place in sorted(((abs(w), place) for place, w in enumerate(weights)), reverse=True):
        total += Fraction(weights[place]) ** 2
        found[place] = Fraction(weights[place]) ** 2 / total
    return found


def pruned(model: nn.Module, context: CompressionContext, sparsity: float, **options: Any) -> Compressed:
    lamp = COMPRESSORS.get("lamp")
    return lamp.compress(model, lamp.Options(sparsity=sparsity, **options), context)


@pytest.mark.parametrize("sparsity", [0.3, 0.8, 0.97])
def test_masks_are_those_of_the_exact_ranking(sparsity: float, make_net: MakeNet, make_context: MakeContext) -> None:
    model = make_net()
    with torch.no_grad():
        prunable_weights(model)["features.1.conv.weight"].mul_(1e-3)  # a layer that magnitudes alone would empty
    ranked = sorted(
        (score, n, name, place)
        for n, (name, weight) in enumerate(prunable_weights(model).items())
        for place, score in enumerate(exact(weight.flatten().tolist()))
    )
    gone = {(name, place) for _, _, name, place in ranked[: num_removed(len(ranked), sparsity)]}
    masks = pruned(model, make_context(make_net), sparsity).masks
    assert masks is not None
    assert masks.num_weights - masks.num_kept == len(gone)
    for name, mask in masks.items():
        assert [(name, place) not in gone for place in range(mask.numel())] == mask.flatten().tolist()
        assert mask.any()


def test_the_scale_of_a_layer_makes_no_difference(make_net: MakeNet, make_context: MakeContext) -> None:
    model, scaled = make_net(), make_net()
    with torch.no_grad():
        for number, weight in enumerate(prunable_weights(scaled).values()):
            weight.mul_(4.0**number)
    masks = [pruned(net, make_context(make_net), 0.9).masks for net in (model, scaled)]
    assert masks[0] is not None
    assert masks[1] is not None
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])


def test_at_the_extreme_every_layer_keeps_its_largest_weight(make_net: MakeNet, make_context: MakeContext) -> None:
    model = make_net()
    before = {name: weight.detach().abs().clone() for name, weight in prunable_weights(model).items()}
    masks = pruned(model, make_context(make_net), 1 - 4 / 1524).masks
    assert masks is not None
    assert {name: int(mask.sum()) for name, mask in masks.items()} == dict.fromkeys(before, 1)
    assert all(before[name][mask] == before[name].max() for name, mask in masks.items())
    with pytest.raises(UserError, match=r"sparsity 0\.998031: 'lamp' removes all \d+ weights of 'features"):
        pruned(make_net(), make_context(make_net), 1 - 3 / 1524)


def test_lamp_needs_nothing_but_the_weights() -> None:
    lamp = COMPRESSORS.get("lamp")
    options = lamp.Options(sparsity=0.5)
    assert (lamp.data(options), lamp.origin(options), lamp.works_in_training(options)) == ("none", "own-dense", False)
