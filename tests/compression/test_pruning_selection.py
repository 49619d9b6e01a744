"""Which weights can go, how many go, and that the lowest ones do: against a plain sort."""

from __future__ import annotations

import math
import time
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruneaudit.compression.mask import Masks
from pruneaudit.compression.selection import Scope, keep_highest, magnitude, num_removed, prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.models import build_model

SPARSITIES = st.floats(0, 0.95) | st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9])
SCOPES = st.sampled_from(["global", "layerwise"])


@st.composite
def tensors(draw: st.DrawFn) -> dict[str, Tensor]:
    """One to four weight tensors of 12 elements or more, in any memory layout, often with many equal values."""
    kinds = st.sampled_from(["normal", "few values", "all equal", "mostly zero"])
    found = {}
    for layer in range(draw(st.integers(1, 4))):
        shape = draw(st.sampled_from([(3, 4), (13, 1), (4, 3, 1, 1), (2, 3, 3, 3), (5, 2, 2, 4)]))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
        weight = torch.randn(shape, generator=generator)
        kind = draw(kinds)
        if kind == "few values":
            weight = weight.round()
        elif kind == "all equal":
            weight = torch.full(shape, -0.5)
        elif kind == "mostly zero":
            weight = weight * (torch.rand(shape, generator=generator) < 0.2)
        if len(shape) == 4 and draw(st.booleans()):
            weight = weight.contiguous(memory_format=torch.channels_last)
        found[f"layer{draw(st.integers(0, 9))}.{layer}.weight"] = weight
    return found


def lowest(values: list[float], sparsity: float) -> list[bool]:
    """What is kept when the lowest go, by sorting; of equal ones the first go first."""
    count = math.floor(sparsity * len(values) + 0.5)
    gone = set(sorted(range(len(values)), key=lambda place: (values[place], place))[:count])
    return [place not in gone for place in range(len(values))]


@given(tensors(), SPARSITIES, SCOPES)
@settings(deadline=None)
def test_the_lowest_go_by_exact_count(weights: dict[str, Tensor], sparsity: float, scope: Scope) -> None:
    scores = magnitude(weights)
    masks = keep_highest(scores, sparsity, scope)
    assert masks.keys() == weights.keys()
    assert all(masks[name].shape == weight.shape for name, weight in weights.items())
    kept = {name: mask.flatten().tolist() for name, mask in masks.items()}
    values = {name: score.flatten().tolist() for name, score in scores.items()}
    if scope == "layerwise":
        assert kept == {name: lowest(values[name], sparsity) for name in values}
        removed = sum(num_removed(len(row), sparsity) for row in values.values())
    else:
        assert sum((kept[name] for name in values), []) == lowest(sum(values.values(), []), sparsity)  # noqa: RUF017
        removed = num_removed(sum(map(len, values.values())), sparsity)
    assert masks.num_weights - masks.num_kept == removed
    assert masks.sparsity == pytest.approx(removed / masks.num_weights)


@given(tensors(), SPARSITIES, SPARSITIES, SCOPES)
@settings(deadline=None)
def test_a_higher_sparsity_removes_the_same_and_more(
    weights: dict[str, Tensor], one: float, other: float, scope: Scope
) -> None:
    few, many = (keep_highest(magnitude(weights), sparsity, scope) for sparsity in sorted((one, other)))
    assert all((many[name] <= few[name]).all() for name in weights)


@given(tensors(), SPARSITIES, SCOPES, st.sampled_from([0.25, 2.0, 1024.0]))
@settings(deadline=None)
def test_signs_and_scale_play_no_part(weights: dict[str, Tensor], sparsity: float, scope: Scope, factor: float) -> None:
    masks = keep_highest(magnitude(weights), sparsity, scope)
    scaled = keep_highest(magnitude({name: -factor * weight for name, weight in weights.items()}), sparsity, scope)
    assert all(torch.equal(masks[name], scaled[name]) for name in weights)


@given(st.integers(1, 10**8), st.decimals(0, Decimal("0.99"), places=2))
def test_the_count_is_the_nearest_whole_number(num_weights: int, sparsity: Decimal) -> None:
    expected = int((num_weights * sparsity).to_integral_value(ROUND_HALF_UP))
    if expected >= num_weights:
        with pytest.raises(UserError, match="leaves none of"):
            num_removed(num_weights, float(sparsity))
    elif abs((num_weights * sparsity) % 1 - Decimal("0.5")) > 0:  # a half is where 0.29 as a float decides
        assert num_removed(num_weights, float(sparsity)) == expected


def test_counts_by_hand() -> None:
    assert [num_removed(10, sparsity) for sparsity in (0, 0.04, 0.05, 0.1, 0.25, 0.9, 0.949)] == [0, 0, 1, 1, 3, 9, 9]


@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, 2, math.nan, math.inf])
def test_a_sparsity_out_of_range_is_refused(sparsity: float) -> None:
    with pytest.raises(UserError, match=rf"sparsity: got {sparsity:g}, expected at least 0 and below 1"):
        num_removed(100, sparsity)


@pytest.mark.parametrize(("num_weights", "sparsity"), [(1, 0.5), (10, 0.95), (100, 0.999)])
def test_a_sparsity_that_leaves_nothing_is_refused(num_weights: int, sparsity: float) -> None:
    with pytest.raises(UserError, match=rf"sparsity {sparsity:g} leaves none of {num_weights} weights; use a lower"):
        num_removed(num_weights, sparsity)


def test_a_small_layer_may_go_whole_globally_and_is_refused_layerwise() -> None:
    scores = {"a": torch.tensor([0.1]), "b": torch.arange(1.0, 10.0)}
    assert not keep_highest(scores, 0.5, "global")["a"].any()
    with pytest.raises(UserError, match="leaves none of 1 weights of a; use a lower one, or exclude that layer"):
        keep_highest(scores, 0.5, "layerwise")


@pytest.mark.parametrize("what", ["normal", "all equal", "mostly zero"])
def test_millions_of_weights_are_quick(what: str) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.rand(5_000_000, generator=generator)
    if what != "normal":
        weight = torch.ones_like(weight) if what == "all equal" else weight * (weight > 0.9)
    started = time.perf_counter()
    masks = keep_highest({"a": weight[:3_000_000], "b": weight[3_000_000:]}, 0.7, "global")
    assert time.perf_counter() - started < 2
    assert masks.num_kept == 1_500_000


# ------------------------------------------------------------------ which weights


def network(name: str, **options: Any) -> nn.Module:
    return build_model(name, options, (1, 8, 8), 3, torch.Generator().manual_seed(0))


def test_convolutions_and_linear_layers_and_nothing_else() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Conv1d(1, 2, 3)
            self.two = nn.ModuleDict({"conv": nn.Conv2d(1, 2, 3), "norm": nn.BatchNorm2d(2)})
            self.three = nn.Conv3d(1, 2, 3)
            self.norm = nn.LayerNorm(4)
            self.table = nn.Embedding(4, 2)
            self.head = nn.Linear(2, 2)
            self.free = nn.Parameter(torch.ones(3))

    model = Mixed()
    found = prunable_weights(model)
    assert list(found) == ["one.weight", "two.conv.weight", "three.weight", "head.weight"]
    parameters = dict(model.named_parameters())
    assert all(weight is parameters[name] for name, weight in found.items())
    assert list(prunable_weights(nn.Linear(2, 3))) == ["weight"]


@pytest.mark.parametrize("name", ["tinycnn", "convnet", "resnet20", "mlp"])
def test_every_model_has_prunable_weights_under_the_names_of_its_parameters(name: str) -> None:
    model = network(name)
    found = prunable_weights(model)
    parameters = dict(model.named_parameters())
    assert found.items() <= parameters.items()
    assert sum(w.numel() for w in found.values()) > 0.9 * sum(p.numel() for p in parameters.values())
    assert all(parameter.ndim == 1 for key, parameter in parameters.items() if key not in found)


@pytest.mark.parametrize(
    ("name", "exclude", "gone"),
    [
        ("tinycnn", ["first_conv"], {"features.0.conv.weight"}),
        ("tinycnn", ["classifier"], {"classifier.weight"}),
        ("tinycnn", ["features.1.conv", "features.1.conv"], {"features.1.conv.weight"}),
        ("tinycnn", ["first_conv", "classifier"], {"features.0.conv.weight", "classifier.weight"}),
        ("mlp", ["classifier"], {"3.weight"}),
        ("mlp", ["1"], {"1.weight"}),
        ("mlp", [], set()),
    ],
)
def test_excluded_layers_are_left_alone(name: str, exclude: list[str], gone: set[str]) -> None:
    model = network(name, **({"hidden": [4]} if name == "mlp" else {"width": 2}))
    assert prunable_weights(model).keys() - prunable_weights(model, exclude).keys() == gone


def test_an_unknown_layer_is_named_with_the_nearest_known_one() -> None:
    model = network("tinycnn", width=2)
    with pytest.raises(UserError) as caught:
        prunable_weights(model, ["clasifier"])
    assert str(caught.value) == (
        "exclude: no layer 'clasifier' (did you mean 'classifier'?); expected among: first_conv, classifier, "
        "features.0.conv, features.1.conv, features.2.conv"
    )
    with pytest.raises(UserError, match=r"no layer 'first_conv'.*expected among: classifier, 1, 3$"):
        prunable_weights(network("mlp", hidden=[4]), ["first_conv"])
    with pytest.raises(UserError, match="no layer 'features'"):
        prunable_weights(model, ["features"])  # a container is no layer


def test_nothing_to_prune_is_refused() -> None:
    for model, exclude in ((nn.BatchNorm2d(3), ()), (network("mlp", hidden=[]), ("classifier",))):
        with pytest.raises(UserError, match="nothing to prune"):
            prunable_weights(model, exclude)


# ------------------------------------------------------------------ masks


def test_masks_count_and_keep_their_names_sorted() -> None:
    masks = Masks({"b": torch.tensor([True, False, False]), "a": torch.tensor([[True]])})
    assert list(masks) == ["a", "b"]
    assert (len(masks), masks.num_weights, masks.num_kept, masks.sparsity) == (2, 4, 2, 0.5)
    assert "b" in masks
    with pytest.raises(KeyError):
        masks["c"]


def test_masks_of_another_type_are_refused() -> None:
    with pytest.raises(ValueError, match=r"mask of a: got torch\.float32, expected torch\.bool"):
        Masks({"a": torch.ones(3)})


@pytest.mark.parametrize("masks", [{"nonesuch": (3, 2)}, {"weight": (2, 3)}, {"weight": (3, 2), "bias": (1, 3)}])
def test_masks_of_another_model_are_refused(masks: dict[str, tuple[int, ...]]) -> None:
    made = Masks({name: torch.ones(shape, dtype=torch.bool) for name, shape in masks.items()})
    with pytest.raises(ValueError, match=r"mask of .* fits no parameter of this model"):
        made.apply(nn.Linear(2, 3))


def test_applying_masks_sets_zeros_and_nothing_else() -> None:
    model = nn.Linear(3, 2)
    before = model.weight.detach().clone()
    mask = torch.tensor([[True, False, True], [False, False, True]])
    Masks({"weight": mask}).apply(model)
    assert torch.equal(model.weight.detach(), torch.where(mask, before, 0.0))
    assert not torch.signbit(model.weight.detach()[~mask]).any()  # -0.0 would tell the sign of what was removed
