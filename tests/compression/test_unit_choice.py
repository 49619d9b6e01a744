"""Which heads and hidden units go: importance, ranking, exclusion, chains, and what is known of the kept ones."""

from __future__ import annotations

import copy
import importlib.util
import math
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy
from transformer_networks import (
    HEADS,
    MAKERS,
    WIDTH,
    C,
    example,
    groups_of,
    logits,
    own,
    randomised,
    removed,
    texts,
)

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.attention import Found
from pruneaudit.compression.chain import Step, check_order
from pruneaudit.compression.kept import Whole, kept_bits
from pruneaudit.compression.kept_weights import kept_weights
from pruneaudit.compression.matrices import counted_weights
from pruneaudit.compression.structure import joined
from pruneaudit.compression.unit_choice import chosen, found_groups
from pruneaudit.compression.unit_importance import by_gradient, by_magnitude
from pruneaudit.compression.units import Part, UnitGroup, cut
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated

# n units of a group, H heads

NEED_TRANSFORMERS = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="needs transformers")


# ------------------------------------------------------------------ importance


def test_gradients_are_those_of_the_loss_towards_scaled_outputs() -> None:
    model, samples = randomised(own()).double(), texts(6)
    groups = found_groups(model, example(), "heads", ()).groups
    scores = by_gradient(model, groups, samples)
    for group in groups:
        reader = model.get_submodule(group.parts[-1].layer)
        found = torch.zeros(group.count, dtype=torch.float64)
        for sample in range(len(samples)):
            x, y = samples.batch(torch.tensor([sample]))
            for head in range(group.count):
                losses = []
                for step in (1e-5, -1e-5):
                    columns = slice(head * group.size, (head + 1) * group.size)
                    changed = copy.deepcopy(model)
                    with torch.no_grad():
                        changed.get_submodule(group.parts[-1].layer).weight[:, columns] *= 1 + step
                    losses.append(float(cross_entropy(logits(changed, x), y)))
                found[head] += abs(losses[0] - losses[1]) / 2e-5
        torch.testing.assert_close(scores[group.name], found / found.norm(), rtol=1e-5, atol=1e-8)
        assert reader.in_features == WIDTH


@pytest.mark.parametrize("name", ["torch", "torch, time first"])
def test_gradients_reach_the_heads_of_torchs_attention(name: str) -> None:
    model, samples = randomised(MAKERS[name]()).double(), texts(5)
    groups = found_groups(model, example(), "heads", ()).groups
    scores = by_gradient(model, groups, samples)
    weights = [layer.self_attn.out_proj.weight for layer in model.encoder.layers]
    total = [torch.zeros(HEADS, dtype=torch.float64) for _ in weights]
    for sample in range(len(samples)):
        x, y = samples.batch(torch.tensor([sample]))
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            slopes = torch.autograd.grad(cross_entropy(model(**x), y), weights)
        finally:
            torch.backends.mha.set_fastpath_enabled(True)
        for place, (weight, slope) in enumerate(zip(weights, slopes, strict=True)):
            total[place] += (weight * slope).sum(0).view(HEADS, -1).sum(1).detach().abs()
    for group, want in zip(groups, total, strict=True):
        torch.testing.assert_close(scores[group.name], want / want.norm())
    assert all(type(layer.self_attn) is nn.MultiheadAttention for layer in model.encoder.layers)


def test_magnitude_is_the_relative_length_of_a_heads_weights() -> None:
    model = randomised(own())
    for group in found_groups(model, example(), "heads", ()).groups:
        attention = model.get_submodule(group.name)
        lengths = []
        for weight in (attention.q.weight, attention.k.weight, attention.v.weight, attention.o.weight.T):
            weight = weight.detach()
            own_lengths = [float(weight[8 * head : 8 * head + 8].norm()) for head in range(HEADS)]
            lengths.append([length / (sum(own_lengths) / HEADS) for length in own_lengths])
        want = torch.tensor(lengths).mean(0).double()
        torch.testing.assert_close(by_magnitude(model, [group])[group.name], want, rtol=1e-5, atol=0)


def test_a_head_that_nothing_reads_goes_first() -> None:
    model = randomised(own())
    with torch.no_grad():
        model.blocks[1].attention.o.weight[:, 16:24] = 0
        model.blocks[0].fc2.weight[:, 5] = 0
    (group,) = groups_of(removed(copy.deepcopy(model), "heads", sparsity=0.125))
    assert (group["name"], group["removed"]) == ("blocks.1.attention", [2])
    first = groups_of(removed(model, "ffn", sparsity=1 / 64, scope="layerwise"))[0]
    assert first["removed"] == [5]


# ------------------------------------------------------------------ choice


def made_groups(counts: list[int]) -> Found:
    part = Part(layer="x", side="inputs")
    return Found(tuple(UnitGroup(name=str(place), size=1, count=n, parts=(part,)) for place, n in enumerate(counts)))


@given(
    st.lists(st.integers(2, 6), min_size=1, max_size=4).flatmap(
        lambda counts: st.tuples(
            st.just(counts), st.lists(st.integers(0, 9), min_size=sum(counts), max_size=sum(counts))
        )
    ),
    st.integers(1, 99),
)
def test_globally_the_lowest_go_but_one_of_each_layer_stays(given_: tuple[list[int], list[int]], percent: int) -> None:
    counts, values = given_
    found, sparsity = made_groups(counts), percent / 100
    parts = torch.tensor(values, dtype=torch.float64).split(counts)
    scores = {str(place): part for place, part in enumerate(parts)}
    number = math.floor(sparsity * sum(counts) + 0.5)
    if not 0 < number <= sum(counts) - len(counts):
        with pytest.raises(UserError) as raised:
            chosen(found, scores, sparsity, "global")
        advised = float(str(raised.value).rpartition(" ")[2])
        if advised < 1 and sum(counts) > len(counts):  # the advice works
            assert chosen(found, scores, advised, "global")
        return
    left = dict(enumerate(counts))
    gone: set[tuple[int, int]] = set()
    while len(gone) < number:
        candidates = [
            (float(scores[str(place)][unit]), place, unit)
            for place, count in enumerate(counts)
            for unit in range(count)
            if left[place] > 1 and (place, unit) not in gone
        ]
        _, place, unit = min(candidates)
        gone.add((place, unit))
        left[place] -= 1
    result = chosen(found, scores, sparsity, "global")
    assert {(int(group.name), unit) for group in result for unit in group.removed} == gone


@given(st.lists(st.integers(2, 12), min_size=1, max_size=4), st.integers(1, 99))
def test_layer_by_layer_the_same_fraction_goes(counts: list[int], percent: int) -> None:
    found, sparsity = made_groups(counts), percent / 100
    scores = {str(place): torch.rand(count, dtype=torch.float64) for place, count in enumerate(counts)}
    numbers = [math.floor(sparsity * count + 0.5) for count in counts]
    if not any(numbers) or any(number == count for number, count in zip(numbers, counts, strict=True)):
        with pytest.raises(UserError) as raised:
            chosen(found, scores, sparsity, "layerwise")
        advised = float(str(raised.value).rpartition(" ")[2])
        if math.floor(advised * min(counts) + 0.5) < min(counts):
            assert chosen(found, scores, advised, "layerwise")
        return
    result = chosen(found, scores, sparsity, "layerwise")
    assert [len(group.removed) for group in result] == [number for number in numbers if number]
    for group in result:
        order = scores[group.name].argsort().tolist()
        assert set(group.removed) == set(order[: len(group.removed)])


def test_excluded_modules_stay_whole() -> None:
    made = removed(randomised(own()), "heads", exclude=["blocks.0"])
    assert {group["name"] for group in groups_of(made)} == {"blocks.1.attention"}
    made = removed(randomised(own()), "ffn", exclude=["blocks.1.fc2"])
    assert {group["name"] for group in groups_of(made)} == {"blocks.0.fc1"}
    with pytest.raises(UserError, match=r"block\.0.*blocks\.0\.attention"):
        removed(randomised(own()), "heads", exclude=["block.0"])


def test_settings_without_effect_are_refused() -> None:
    options = COMPRESSORS.get("heads").Options
    with pytest.raises(UserError, match="no samples"):
        validated(options, {"sparsity": 0.5, "importance": "magnitude", "num_samples": 9}, "heads")
    heads = COMPRESSORS.get("heads")
    assert heads.data(options(sparsity=0.5)) == "public"
    assert heads.needs_labels(options(sparsity=0.5))
    assert heads.data(options(sparsity=0.5, importance="magnitude")) == "none"
    assert heads.data(options(sparsity=0.5, data="members")) == "members"


@pytest.mark.parametrize(
    ("names", "is_allowed"),
    [
        (("heads", "ffn", "l1unstructured", "rtn"), True),
        (("ffn", "heads"), True),
        (("heads", "svd"), True),
        (("svd", "heads"), False),
        (("heads", "heads"), False),
        (("l1structured", "heads"), False),
        (("ffn", "l2structured"), False),
        (("rtn", "heads"), False),
        (("l1unstructured", "ffn"), False),
    ],
)
def test_what_can_follow_what(names: tuple[str, ...], is_allowed: bool) -> None:
    degrees: dict[str, Any] = {"rtn": {"bits": 4}, "svd": {"fraction": 0.5}}
    steps = [Step.of({"name": name, "options": degrees.get(name, {"sparsity": 0.5})}) for name in names]
    if is_allowed:
        check_order(steps)
        return
    with pytest.raises(UserError, match=f"'{names[1]}' cannot follow '{names[0]}'"):
        check_order(steps)


def test_cutting_follows_the_record_alone() -> None:
    model = own()
    group = found_groups(randomised(model), example(), "heads", ()).groups[0]
    cut(model, [group.without([0, 3])])
    assert model.blocks[0].attention.q.weight.shape == (WIDTH // 2, WIDTH)
    assert model.blocks[0].attention.o.in_features == WIDTH // 2
    assert model.blocks[1].attention.q.weight.shape == (WIDTH, WIDTH)
    assert logits(model, texts().inputs(slice(None))).shape == (12, C)


# ------------------------------------------------------------------ what is kept


@pytest.mark.parametrize("name", ["own", "torch", pytest.param("gpt2", marks=NEED_TRANSFORMERS)])
def test_kept_weights_are_those_of_the_smaller_network_in_the_whole_one(name: str) -> None:
    model = randomised(MAKERS[name]())
    whole = copy.deepcopy(model)
    first = removed(model, "heads")
    made = removed(first.model, "ffn", importance="magnitude")
    structure = joined([first.structure, made.structure])
    left = counted_weights(made.model)
    masks = {
        key: torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5 for key, weight in left.items()
    }
    found = kept_weights(whole, masks, structure)
    for key, weight in counted_weights(whole).items():
        assert torch.equal(weight.detach()[found[key]], left[key].detach()[masks[key]])
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_kept_bits_are_one_per_head_and_hidden_unit_in_places_of_the_whole_network() -> None:
    model = randomised(own())
    first = removed(model, "heads")
    made = removed(first.model, "ffn", exclude=["blocks.0"])
    structure = joined([first.structure, made.structure])
    mask = torch.rand(made.model.blocks[1].fc1.weight.shape) < 0.5
    bits = kept_bits({"blocks.1.fc1.weight": mask}, structure, Whole(own))
    for group in (*groups_of(first), *groups_of(made)):
        kept = bits[f"channels/{group['name']}"]
        assert (~kept).nonzero()[0].tolist() == group["removed"]
        assert len(kept) == group["count"]
    units = groups_of(made)[0]
    rows = torch.tensor([unit for unit in range(units["count"]) if unit not in units["removed"]])
    want = torch.zeros(2 * WIDTH, WIDTH, dtype=torch.bool)
    want[rows] = mask
    assert bits["mask/blocks.1.fc1.weight"].tolist() == want.flatten().tolist()
