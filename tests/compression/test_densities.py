"""Densities of layers: ERK against a naive solution, exact totals, and identities that stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.densities import num_removed_in
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]
SHAPES = st.lists(st.lists(st.integers(1, 40), min_size=2, max_size=4), min_size=1, max_size=6)


def erk_by_bisection(shapes: list[tuple[int, ...]], num_kept: float) -> list[float]:
    """Densities min(1, eps sum / product) whose total is `num_kept`: the total rises with eps."""
    low, high = 0.0, 1e9
    for _ in range(200):
        eps = (low + high) / 2
        total = sum(min(math.prod(shape), eps * sum(shape)) for shape in shapes)
        low, high = (eps, high) if total < num_kept else (low, eps)
    return [min(1.0, low * sum(shape) / math.prod(shape)) for shape in shapes]


@given(shapes=SHAPES, sparsity=st.floats(0.01, 0.99))
@settings(deadline=None, max_examples=200)
def test_erk_is_the_scaled_density_and_meets_the_total_exactly(shapes: list[list[int]], sparsity: float) -> None:
    named = {str(n): tuple(shape) for n, shape in enumerate(shapes)}
    sizes = {name: math.prod(shape) for name, shape in named.items()}
    total = sum(sizes.values())
    assume(math.floor(sparsity * total + 0.5) < total)
    num_kept = total - num_removed(total, sparsity)
    densities = erk_by_bisection(list(named.values()), num_kept)
    if min(density * size for density, size in zip(densities, sizes.values(), strict=True)) < 1:
        return  # may be refused
    removed = num_removed_in(named, sparsity, "erk")
    assert sum(removed.values()) == num_removed(total, sparsity)
    for (name, size), density in zip(sizes.items(), densities, strict=True):
        assert abs(size - removed[name] - density * size) < 1 + 1e-6
        assert 0 <= removed[name] < size


def test_layers_above_one_are_whole_and_the_others_make_up_for_them() -> None:
    # eps = 500 / 266 puts the first two above 1: their 8 + 9 weights stay, and eps is 483 / 246.
    shapes = {"depthwise": (1, 1, 3, 3), "pointwise": (4, 2), "large": (20, 50), "other": (100, 76)}
    removed = num_removed_in(shapes, 1 - 500 / 8617, "erk")
    assert removed == {"depthwise": 0, "pointwise": 0, "large": 1000 - 137, "other": 7600 - 346}  # 137.4, 345.6


def test_equal_fractions_go_to_the_first_layers() -> None:
    shapes = {"a": (4, 4), "b": (4, 4), "c": (4, 4)}
    assert num_removed_in(shapes, 1 - 11 / 48, "erk") == {"a": 12, "b": 12, "c": 13}


def test_a_layer_without_weights_is_refused_by_name() -> None:
    # 90,400 weights keep 5; the smaller layer's share is 40 / 640 of them.
    with pytest.raises(UserError, match=r"sparsity 0\.99995 leaves none of 400 weights of b by ERK"):
        num_removed_in({"a": (300, 300), "b": (20, 20)}, 0.99995, "erk")


def pruned(method: str, model: nn.Module, context: CompressionContext, **options: Any) -> Compressed:
    pruner = COMPRESSORS.get(method)
    return pruner.compress(model, validated(pruner.Options, options, method), context)


@pytest.mark.parametrize("method", ["static", "random"])
def test_erk_keeps_the_highest_of_each_layer(method: str, make_net: MakeNet, make_context: MakeContext) -> None:
    model = make_net()
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    masks = pruned(method, model, make_context(make_net), sparsity=0.8, densities="erk").masks
    assert masks is not None
    assert masks.num_weights - masks.num_kept == num_removed(masks.num_weights, 0.8)
    removed = num_removed_in({name: weight.shape for name, weight in before.items()}, 0.8, "erk")
    assert {name: int((~masks[name]).sum()) for name in before} == removed
    assert removed["features.0.conv.weight"] == 0 < removed["features.2.conv.weight"]
    if method == "static":
        for name, mask in masks.items():
            if removed[name]:
                assert before[name][mask].abs().min() > before[name][~mask].abs().max()


@pytest.mark.parametrize("method", ["static", "random"])
def test_uniform_is_layerwise_as_before_and_keeps_its_identity(
    method: str, make_net: MakeNet, make_context: MakeContext
) -> None:
    options = COMPRESSORS.get(method).Options
    plain = options(sparsity=0.8, scope="layerwise")
    assert options(sparsity=0.8, densities="uniform") == plain
    assert "densities" not in plain.model_dump(mode="json")
    erk = options(sparsity=0.8, densities="erk")
    assert (erk.scope, erk.model_dump(mode="json")["densities"]) == ("layerwise", "erk")
    assert options.model_validate(erk.model_dump(mode="json")) == erk
    model = make_net()
    pruned(method, model, make_context(make_net), sparsity=0.8, densities="uniform")
    for weight in prunable_weights(model).values():
        assert int((weight == 0).sum()) == num_removed(weight.numel(), 0.8)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("static", {"scope": "global", "densities": "erk"}, "densities = 'erk' .* scope = 'global'"),
        ("random", {"densities": "Erk"}, "'densities': got 'Erk', expected"),
        (
            "static",
            {"preset": "pruning_mia", "densities": "erk"},
            "'pruning_mia' means densities = 'uniform', got 'erk'",
        ),
        ("l1unstructured", {"densities": "erk"}, "unknown key 'densities'"),
    ],
)
def test_densities_that_cannot_be_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        validated(COMPRESSORS.get(method).Options, {"sparsity": 0.5, **options}, "options")


def test_erk_counts_what_is_not_excluded(make_net: MakeNet, make_context: MakeContext) -> None:
    model = make_net()
    masks = pruned("static", model, make_context(make_net), sparsity=0.7, densities="erk", exclude=["first_conv"]).masks
    assert masks is not None
    assert masks.keys() == prunable_weights(model, ["first_conv"]).keys()
    assert masks.num_weights - masks.num_kept == num_removed(masks.num_weights, 0.7)
    assert torch.count_nonzero(prunable_weights(model)["features.0.conv.weight"]) == 36
