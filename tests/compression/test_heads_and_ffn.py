"""Heads and hidden units: removed whole, exactly, from networks of several authors; or refused."""

from __future__ import annotations

import copy
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
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
    groups_of,
    hugging_face,
    logits,
    own,
    randomised,
    removed,
    texts,
)

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.linear_layers import is_transposed
from pruneaudit.compression.structure import kept_whole, replay
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.models import build_model
from pruneaudit.training.samples import Samples

# n units of a group, H heads

LACKS_TRANSFORMERS = importlib.util.find_spec("transformers") is None
NEED_TRANSFORMERS = pytest.mark.skipif(LACKS_TRANSFORMERS, reason="needs transformers")
NAMES = [pytest.param(name, marks=NEED_TRANSFORMERS if name in FOREIGN else ()) for name in MAKERS]


@torch.no_grad()
def silence(model: nn.Module, made: Compressed) -> nn.Module:
    """By hand: the layers that compute removed units give zeros; of a head its values, since the rest has no effect."""
    for group in groups_of(made):
        parts = [part for part in group["parts"] if part["side"] == "outputs"]
        parts = parts[2:] if group["size"] > 1 and len(parts) > 1 else parts
        for part in parts:
            size = part["size"] or group["size"]
            channels = [unit * size + place for unit in group["removed"] for place in range(size)]
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
    blocks = 1 if shared or name in ("listed", "joint", "head by head") else LAYERS
    hidden = 2 * WIDTH if name == "own" else HIDDEN
    count = {"heads": 2 if name == "grouped" else HEADS, "ffn": hidden}[method]
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
    """Holds q, k and v channel by channel."""

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(2, (self.num_heads, -1, 3)).permute(4, 0, 2, 1, 3)
        scores = (q @ k.mT).masked_fill(~real[:, None, None, :], -1e9)
        result: Tensor = self.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2).roll(1, 2))
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


class Deep(nn.Module):
    """Four layers in a list that are no attention."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, real: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x).relu()
        return x


def test_four_layers_in_a_list_are_no_attention_without_heads() -> None:
    with pytest.raises(UserError, match="no heads") as raised:
        removed(randomised(Block(Deep())), "heads")
    assert "attention.layers" not in str(raised.value)
    blocks = {
        tuple(part["layer"] for part in group["parts"])
        for group in groups_of(removed(randomised(Block(Deep())), "ffn"))
    }
    assert blocks == {
        ("attention.layers.0", "attention.layers.1"),
        ("attention.layers.2", "attention.layers.3"),
        ("gate", "up", "down"),
    }


@NEED_TRANSFORMERS
def test_heads_that_share_their_keys_go_together() -> None:
    model = randomised(hugging_face("grouped")())
    (first, *_) = groups_of(removed(copy.deepcopy(model), "heads"))
    assert (first["count"], first["size"]) == (2, 2 * WIDTH // HEADS)


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
