"""Inputs of layers on texts: padding counts for nothing; against texts one by one, without any padding."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformer_networks import (
    HEADS,
    WIDTH,
    Block,
    C,
    Listed,
    T,
    TorchEncoder,
    V,
    example,
    logits,
    own,
    randomised,
    texts,
)

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.compression.layer_inputs import SAMPLES_AT_ONCE, layers_in_order
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.data.inputs import token_inputs
from pruneaudit.training.samples import Samples

# n texts, T tokens, d inputs


def one_by_one(model: nn.Module, samples: Samples, layers: list[str]) -> dict[str, Tensor]:
    """By hand: the inputs (n, d) of linear layers, from each text alone and at its own length."""
    found: dict[str, list[Tensor]] = defaultdict(list)
    handles = [
        model.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, name=name: found[name].append(inputs[0].reshape(-1, inputs[0].shape[-1]))
        )
        for name in layers
    ]
    assert samples.lengths is not None
    with torch.no_grad():
        for ids, length in zip(samples.stored, samples.lengths.tolist(), strict=True):
            model.eval()(**token_inputs(ids[None, :length], torch.tensor([length])))
    for handle in handles:
        handle.remove()
    return {name: torch.cat(parts).double() for name, parts in found.items()}


def linear_layers(model: nn.Module) -> list[str]:
    return [name for name, layer in model.named_modules() if isinstance(layer, nn.Linear)]


@pytest.mark.parametrize("n", [5, T, SAMPLES_AT_ONCE + T])
def test_moments_are_those_of_real_tokens(n: int) -> None:
    model, samples = randomised(own()), texts(n)
    want = one_by_one(model, samples, linear_layers(model))
    for layer in layers_in_order(model, samples, prunable_weights(model)):
        x = want[layer.name.removesuffix(".weight")]
        assert len(x) == (n if layer.name == "classifier.weight" else int(samples.lengths.sum()))
        torch.testing.assert_close(layer.moment()[0], x.T @ x, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(layer.norms()[0], x.norm(dim=0), rtol=1e-5, atol=1e-5)


def context_of(samples: Samples) -> CompressionContext:
    return CompressionContext(example(), torch.Generator(), lambda *_: None, nn.Module, samples=samples)


def test_wanda_is_the_naive_one() -> None:
    model, samples, sparsity = randomised(own()), texts(10), 0.4
    naive = copy.deepcopy(model)
    order = [layer.name for layer in layers_in_order(model, samples, prunable_weights(model))]
    for name in order:
        layer = naive.get_submodule(name.removesuffix(".weight"))
        lengths = one_by_one(naive, samples, [name.removesuffix(".weight")]).popitem()[1].norm(dim=0).numpy()
        weight, gone = layer.weight.detach().numpy(), 0
        for row in range(len(weight)):
            until = int(np.floor(sparsity * weight.shape[1] * (row + 1) + 0.5))
            scores = np.abs(weight[row].astype(np.float64)) * lengths
            weight[row, np.argsort(scores, kind="stable")[: until - gone]] = 0
            gone = until
    wanda = COMPRESSORS.get("wanda")
    made = wanda.compress(model, validated(wanda.Options, {"sparsity": sparsity}, "wanda"), context_of(samples))
    for name in order:
        assert torch.equal(made.model.get_parameter(name), naive.get_parameter(name))


def test_ranges_of_quantised_inputs_are_those_of_real_tokens() -> None:
    model, samples = randomised(own()), texts(10)
    with torch.no_grad():
        model.embedding.weight[0] = 100.0  # the padding
    want = one_by_one(model, samples, linear_layers(model))
    static8 = COMPRESSORS.get("static8")
    made = static8.compress(model, static8.Options(), context_of(samples)).model
    for name, x in want.items():
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        assert float(made.get_submodule(name).input_scale) == pytest.approx((high - low) / 255, rel=1e-5)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("n", [T, 11])
def test_torchs_attention_has_inputs_too(n: int, batch_first: bool) -> None:
    model, samples = randomised(TorchEncoder(batch_first=batch_first)), texts(n)
    names = [
        f"encoder.layers.{place}.{key}"
        for place in range(2)
        for key in ("self_attn.in_proj_weight", "self_attn.out_proj.weight", "linear1.weight", "linear2.weight")
    ]
    found = {layer.name: layer.norms()[0] for layer in layers_in_order(model, samples, names)}
    assert list(found) == names
    squares: dict[str, Any] = defaultdict(float)
    for ids, length in zip(samples.stored, samples.lengths.tolist(), strict=True):
        x = model.words(ids[:length].long())
        for place, layer in enumerate(model.encoder.layers):
            attention, prefix = layer.self_attn, f"encoder.layers.{place}"
            q, k, v = (
                (x @ weight.T + bias).unflatten(1, (HEADS, -1)).transpose(0, 1)
                for weight, bias in zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
            )
            mixed = ((q @ k.mT * (WIDTH // HEADS) ** -0.5).softmax(-1) @ v).transpose(0, 1).flatten(1)
            first = layer.norm1(x + attention.out_proj(mixed))
            hidden = layer.linear1(first).relu()
            of_layer = (x, mixed, first, hidden)
            for key, inputs in zip(names[4 * place : 4 * place + 4], of_layer, strict=True):
                squares[key] += inputs.detach().double().square().sum(0)
            x = layer.norm2(first + layer.linear2(hidden))
            assert prefix in names[4 * place]
    for name in names:
        torch.testing.assert_close(found[name], squares[name].sqrt(), rtol=1e-4, atol=1e-4)


class Crossing(nn.Module):
    """Attends to other inputs than its own."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.others = nn.Embedding(V, WIDTH), nn.Embedding(V, WIDTH)
        self.attention, self.head = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), nn.Linear(WIDTH, C)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        other = self.others(input_ids)
        logits: Tensor = self.head(self.attention(self.words(input_ids), other, other)[0].mean(1))
        return logits


def test_attention_to_other_inputs_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"attention\.in_proj_weight.*different inputs.*exclude layer 'attention'"):
        layers_in_order(Crossing(), texts(3), ["attention.in_proj_weight", "head.weight"])


def test_int8_inputs_of_torchs_attention_are_rounded_for_queries_keys_and_values() -> None:
    model, samples = randomised(TorchEncoder()), texts(9)
    static8 = COMPRESSORS.get("static8")
    x, whole = samples.inputs(slice(None)), copy.deepcopy(model)
    made = static8.compress(model, static8.Options(), context_of(samples))
    seen: list[Tensor] = []
    attention = made.model.encoder.layers[0].self_attn
    attention.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs))
    got, want = logits(made.model, x), logits(whole, x)
    assert all(len(each.unique()) <= 256 for each in seen[:3])
    assert torch.equal(seen[0], seen[1])
    assert 0 < float((got - want).abs().max()) < 0.1 * float(want.abs().max())


def test_int8_inputs_of_some_layers_of_torchs_encoder_are_rounded_in_evaluation_too() -> None:
    model, samples = randomised(TorchEncoder()), texts(9)
    static8, x = COMPRESSORS.get("static8"), samples.inputs(slice(None))
    options = validated(static8.Options, {"exclude": [f"encoder.layers.{n}.self_attn" for n in range(2)]}, "static8")
    made = static8.compress(model, options, context_of(samples)).model
    with torch.no_grad():
        torch.testing.assert_close(made.eval()(**x), logits(made, x), rtol=1e-4, atol=1e-4)


CALIBRATED: dict[str, dict[str, Any]] = {
    "gptq": {"bits": 3},
    "sparsegpt": {"sparsity": 0.5},
    "svd": {"fraction": 0.5, "data": "public"},
}


@pytest.mark.parametrize("method", CALIBRATED)
def test_methods_with_calibration_do_not_see_padding(method: str) -> None:
    compressor = COMPRESSORS.get(method)
    found = []
    for padding in (0.0, 50.0):
        model, samples = randomised(Block(Listed(WIDTH, HEADS))), texts(16)
        with torch.no_grad():
            model.words.weight[0] = padding
        options = validated(compressor.Options, CALIBRATED[method], method)
        made = compressor.compress(model, options, context_of(samples)).model
        found.append({key: value for key, value in made.state_dict().items() if key != "words.weight"})
    for key, value in found[0].items():
        torch.testing.assert_close(found[1][key], value, rtol=1e-3, atol=1e-4)
