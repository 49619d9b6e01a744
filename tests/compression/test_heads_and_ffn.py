"""Heads and hidden units: removed whole, exactly, from networks of several authors; or refused."""

from __future__ import annotations

import copy
import importlib.util
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformer_networks import (
    FOREIGN,
    HEADS,
    HIDDEN,
    LAYERS,
    MAKERS,
    WIDTH,
    Block,
    C,
    Joint,
    Listed,
    example,
    hugging_face,
    logits,
    own,
    randomised,
    texts,
)

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.attention import Found
from pruneaudit.compression.chain import Step, check_order
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.linear_layers import is_transposed
from pruneaudit.compression.structure import kept_whole, replay
from pruneaudit.compression.unit_choice import chosen, found_groups
from pruneaudit.compression.unit_importance import by_gradient, by_magnitude
from pruneaudit.compression.units import Part, UnitGroup, cut
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.models import build_model
from pruneaudit.training.samples import Samples

# n units of a group, H heads

LACKS_TRANSFORMERS = importlib.util.find_spec("transformers") is None
NAMES = [
    pytest.param(name, marks=pytest.mark.skipif(name in FOREIGN and LACKS_TRANSFORMERS, reason="needs transformers"))
    for name in MAKERS
]


def removed(model: nn.Module, method: str, samples: Samples | None = None, **options: Any) -> Compressed:
    compressor = COMPRESSORS.get(method)
    given: Any = CompressionContext(
        example(), torch.Generator(), lambda *_: None, nn.Module, samples=samples or texts()
    )
    return compressor.compress(model, validated(compressor.Options, {"sparsity": 0.5, **options}, method), given)


def groups_of(made: Compressed) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(made.structure)["groups"]
    return found


@torch.no_grad()
def silence(model: nn.Module, made: Compressed) -> nn.Module:
    """By hand: the layers that compute removed units give zeros; of a head its values, since the rest has no effect."""
    for group in groups_of(made):
        channels = [unit * group["size"] + place for unit in group["removed"] for place in range(group["size"])]
        parts = [part for part in group["parts"] if part["side"] == "outputs"]
        parts = parts[2:3] if group["size"] > 1 else parts
        for part in parts:
            layer = model.get_submodule(part["layer"])
            rows = torch.tensor(channels) + part["offset"]
            if isinstance(layer, nn.MultiheadAttention):
                layer.in_proj_weight[rows], layer.in_proj_bias[rows] = 0, 0
                continue
            weight = layer.weight.T if is_transposed(layer) else layer.weight
            weight[rows] = 0
            if layer.bias is not None:
                layer.bias[rows] = 0
    return model


@pytest.mark.parametrize("method", ["heads", "ffn"])
@pytest.mark.parametrize("name", NAMES)
def test_the_smaller_network_equals_the_whole_one_with_silent_units(name: str, method: str) -> None:
    model = randomised(MAKERS[name]())
    whole, x = copy.deepcopy(model), texts(20).inputs(slice(None))
    made = removed(model, method)
    want, got, dense = logits(silence(copy.deepcopy(whole), made), x), logits(made.model, x), logits(whole, x)
    scale = float(dense.abs().max())
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5 * scale)
    assert float((want - dense).abs().max()) > 0.01 * scale
    shared = name == "albert"  # all its blocks are one
    blocks = 1 if shared or name in ("listed", "joint") else LAYERS
    count = {"heads": HEADS, "ffn": 2 * WIDTH if name == "own" else HIDDEN}[method]
    assert sum(len(group["removed"]) for group in groups_of(made)) == blocks * count // 2
    assert len(groups_of(made)) == blocks or method == "heads"
    again = replay(MAKERS[name](), made.structure)
    again.load_state_dict(made.model.state_dict())
    assert torch.equal(logits(again, x), logits(copy.deepcopy(made.model), x))
    parameters = [sum(p.numel() for p in net.parameters()) for net in (whole, made.model)]
    assert parameters[1] < parameters[0]


@pytest.mark.parametrize("name", [*NAMES[:2], *NAMES[-2:]])
def test_it_trains_and_frozen_layers_stay_frozen(name: str) -> None:
    model = randomised(MAKERS[name]())
    first = next(iter(groups_of(removed(copy.deepcopy(model), "heads"))))["parts"][0]["layer"]
    for parameter in model.get_submodule(first).parameters():
        parameter.requires_grad_(False)
    made = removed(model, "heads", importance="magnitude").model.train()
    frozen = [parameter for parameter in made.get_submodule(first).parameters() if not parameter.requires_grad]
    assert len(frozen) == len(list(made.get_submodule(first).parameters()))
    samples = texts()
    loss = cross_entropy(logits_of(made, samples), samples.y)
    loss.backward()
    assert all(p.grad is not None for p in made.parameters() if p.requires_grad and p.ndim > 1)


def logits_of(model: nn.Module, samples: Samples) -> Tensor:
    found = model(**samples.inputs(slice(None)))
    answer: Tensor = found if isinstance(found, Tensor) else found.logits
    return answer


def test_other_layers_keep_their_bits() -> None:
    model = randomised(own())
    before = copy.deepcopy(model.state_dict())
    made = removed(model, "heads")
    touched = {part["layer"] for group in groups_of(made) for part in group["parts"]}
    for key, value in made.model.state_dict().items():
        if key.rpartition(".")[0] not in touched:
            assert torch.equal(value, before[key])
        else:
            assert torch.isin(value, before[key]).all()


# ------------------------------------------------------------------ wrong guesses


class HalfHeads(Listed):
    """Says that it has twice as many heads as its code makes."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        q, k, v = (layer(x).unflatten(2, (2, -1)).transpose(1, 2) for layer in list(self.linears)[:3])
        scores = (q @ k.mT).masked_fill(~real[:, None, None, :], -1e9)
        result: Tensor = self.linears[-1]((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return result


class Interleaved(Joint):
    """Holds q, k and v head by head."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (-1, 3, self.head_dim)).permute(3, 0, 2, 1, 4)
        scores = (q @ k.mT).masked_fill(~real[:, None, None, :], -1e9)
        result: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return result


class Scaled(nn.Module):
    """Divides by the square root of the width of a head, which it computes from the number of heads and of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.width = HEADS, WIDTH
        self.to_q, self.to_k, self.to_v = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Dropout(0.1))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        size = self.width // self.num_heads
        q, k, v = (f(x).unflatten(2, (-1, size)).transpose(1, 2) for f in (self.to_q, self.to_k, self.to_v))
        scores = (q @ k.mT * size**-0.5).masked_fill(~real[:, None, None, :], -1e9)
        result: Tensor = self.to_out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return result


class Unnamed(Scaled):
    """Has no attribute with a number of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = self.num_heads
        del self.num_heads

    def __getattr__(self, name: str) -> Any:
        return self.pieces if name == "num_heads" else super().__getattr__(name)


@pytest.mark.parametrize(
    ("attention", "words"),
    [
        (lambda: HalfHeads(WIDTH, 4), ("linears.0", "other outputs")),
        (lambda: Interleaved(WIDTH, HEADS), ("qkv", "other outputs")),
        (Unnamed, ("to_q", "how many heads")),
    ],
)
def test_heads_that_are_not_what_they_seem_stay(attention: Callable[[], nn.Module], words: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as raised:
        removed(randomised(Block(attention())), "heads")
    assert all(word in str(raised.value) for word in (*words, "attention", "l1unstructured"))


def test_attributes_follow_the_heads_where_the_code_reads_them() -> None:
    model = randomised(Block(Scaled()))
    whole, x = copy.deepcopy(model), texts().inputs(slice(None))
    made = removed(model, "heads")
    assert (made.model.attention.num_heads, made.model.attention.width) == (HEADS // 2, WIDTH // 2)
    torch.testing.assert_close(logits(made.model, x), logits(silence(whole, made), x), rtol=0, atol=1e-4)


def test_a_network_without_attention_is_refused_in_one_line() -> None:
    for method, advice in (("heads", "ffn"), ("ffn", "l2structured")):
        compressor, plain = COMPRESSORS.get(method), nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
        context: Any = CompressionContext(
            torch.zeros(1, 12), torch.Generator(), lambda *_: None, nn.Module, samples=texts()
        )
        with pytest.raises(UserError, match=advice) as raised:
            compressor.compress(plain, compressor.Options(sparsity=0.5), context)
        assert "\n" not in str(raised.value)


@pytest.mark.skipif(LACKS_TRANSFORMERS, reason="needs transformers")
def test_keys_that_several_queries_share_are_refused_and_the_reason_is_given() -> None:
    with pytest.raises(UserError, match="widths differ"):
        removed(hugging_face("grouped")(), "heads")
    assert groups_of(removed(randomised(hugging_face("grouped")()), "ffn"))


def test_layers_that_share_their_weights_stay_whole() -> None:
    model = randomised(own())
    model.blocks[1].attention.q.weight = model.blocks[0].attention.q.weight
    with pytest.raises(UserError, match=r"blocks\.0\.attention\.q.*shared"):
        removed(model, "heads")
    made = removed(model, "ffn")
    assert len(groups_of(made)) == LAYERS


def test_weights_that_are_not_finite_are_refused_by_name() -> None:
    model = randomised(own())
    with torch.no_grad():
        model.blocks[1].attention.k.weight[3, 4] = math.nan
    with pytest.raises(UserError, match=r"blocks\.1\.attention\.k\.weight.*NaN"):
        removed(model, "heads")


def test_a_record_of_another_architecture_is_refused() -> None:
    made = removed(randomised(own()), "heads")
    with pytest.raises(UserError, match="another architecture"):
        replay(Block(Listed(WIDTH, HEADS)), made.structure)
    with pytest.raises(UserError, match="another architecture"):
        replay(made.model, made.structure)  # they are gone already
    text = made.structure.replace('"removed":[', '"removed":[7,')
    with pytest.raises(UserError, match="cannot lose"):
        replay(own(), text)


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


# ------------------------------------------------------------------ images


class OfImages(nn.Module):
    """A vision transformer of transformers, as users wrap it."""

    def __init__(self) -> None:
        super().__init__()
        import transformers

        sizes = {"hidden_size": WIDTH, "intermediate_size": HIDDEN, "image_size": 8, "patch_size": 4, "num_channels": 1}
        config = transformers.ViTConfig(num_hidden_layers=2, num_attention_heads=HEADS, num_labels=C, **sizes)
        self.vit = transformers.AutoModelForImageClassification.from_config(config)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.vit(pixel_values=x).logits
        return found


def vision(kind: str) -> nn.Module:
    if kind == "own":
        return build_model("vit", VIT, (1, 8, 8), C, torch.Generator().manual_seed(0))
    pytest.importorskip("transformers")
    return OfImages()


VIT = {"width": WIDTH, "heads": HEADS, "layers": 2}
IMAGES = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(4))


def of_images(model: nn.Module, method: str, **options: Any) -> Compressed:
    samples = Samples(IMAGES.permute(0, 2, 3, 1).contiguous(), torch.arange(12) % C)
    compressor = COMPRESSORS.get(method)
    context: Any = CompressionContext(IMAGES[:1], torch.Generator(), lambda *_: None, nn.Module, samples=samples)
    return compressor.compress(model, validated(compressor.Options, {"sparsity": 0.3, **options}, method), context)


@pytest.mark.parametrize("kind", ["own", "hugging face"])
@pytest.mark.parametrize("method", ["heads", "ffn"])
def test_vision_transformers_lose_whole_units_exactly(kind: str, method: str) -> None:
    model = randomised(vision(kind))
    whole = copy.deepcopy(model)
    made = of_images(model, method, sparsity=0.5)
    want, got, dense = (
        logits(silence(copy.deepcopy(whole), made), IMAGES),
        logits(made.model, IMAGES),
        logits(whole, IMAGES),
    )
    torch.testing.assert_close(got, want, rtol=0, atol=2e-5 * float(dense.abs().max()))
    assert float((want - dense).abs().max()) > 0.01 * float(dense.abs().max())


@pytest.mark.parametrize("kind", ["own", "hugging face"])
def test_removal_of_channels_leaves_the_heads_of_vision_transformers_whole(kind: str) -> None:
    model = randomised(vision(kind))
    made = of_images(model, "l2structured")
    layers = {name: layer for name, layer in made.model.named_modules() if isinstance(layer, nn.Linear)}
    attention = [name for name in layers if "attention" in name]
    assert len(attention) == 8
    assert all(layers[name].weight.shape == (WIDTH, WIDTH) for name in attention)
    notes = [note for note in kept_whole(made.structure) if "'heads'" in note]
    assert len(notes) == 1
    assert all(name in notes[0] for name in attention if not name.endswith(("o", "o_proj")))
    assert not torch.equal(logits(made.model, IMAGES), logits(model, IMAGES))


def test_removal_of_channels_refuses_texts_and_names_the_methods_for_them() -> None:
    for method in ("l1structured", "l2structured"):
        with pytest.raises(UserError, match=r"'ffn'.*'heads'"):
            removed(randomised(own()), method)
