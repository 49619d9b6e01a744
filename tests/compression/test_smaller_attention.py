"""torch's attention with code that can lose heads: the same answers with all heads, its own numbers with fewer."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformer_networks import HEADS, TorchEncoder, logits, randomised, texts

from pruneaudit.compression.macs import count_bit_operations, layer_macs
from pruneaudit.compression.smaller_attention import FewerHeads, all_layers_called, with_own_code, without_shortcuts
from pruneaudit.compression.units import Part, UnitGroup, cut, without_units

# B batch, L queries, S keys, E width, H heads

B, L, S, E, H = 3, 5, 7, 16, 4


def made(**options: Any) -> tuple[nn.MultiheadAttention, FewerHeads]:
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(E, H, **{"batch_first": True, **options}).eval()
    for parameter in attention.parameters():
        nn.init.normal_(parameter, std=0.5)
    other = nn.MultiheadAttention(E, H, **{"batch_first": True, **options}).eval()
    other.load_state_dict(attention.state_dict())
    with_own_code(other, other)
    assert isinstance(other, FewerHeads)
    return attention, other


def masks() -> dict[str, dict[str, Any]]:
    generator = torch.Generator().manual_seed(1)
    two, three = torch.rand(L, S, generator=generator) < 0.3, torch.rand(B * H, L, S, generator=generator) < 0.3
    padding = torch.arange(S) >= torch.tensor([7, 4, 2])[:, None]
    for mask in (two, three):
        mask[..., 0] = False
    added = torch.where(two, -1.5, 0.3)
    return {
        "none": {},
        "bool": {"attn_mask": two},
        "added": {"attn_mask": added},
        "by head": {"attn_mask": three},
        "padding": {"key_padding_mask": padding},
        "both": {"attn_mask": two, "key_padding_mask": padding},
        "padding that is added": {"key_padding_mask": torch.where(padding, -2.0, 0.0), "attn_mask": added},
        "causal": {"attn_mask": torch.ones(L, S).triu(1).bool(), "is_causal": True},
    }


@pytest.mark.parametrize("which", masks())
@pytest.mark.parametrize(("batch_first", "bias"), [*itertools.product([True, False], repeat=2)])
def test_with_all_heads_the_answers_are_torchs(which: str, batch_first: bool, bias: bool) -> None:
    attention, other = made(batch_first=batch_first, bias=bias)
    query, key, value = (torch.randn(B, length, E) for length in (L, S, S))
    if not batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    how = masks()[which]
    for need, average in ((True, True), (True, False), (False, True)):
        given = {**how, "need_weights": need, "average_attn_weights": average}
        given |= {"is_causal": False} if need else {}
        want, got = (each(query, key, value, **given) for each in (attention, other))
        torch.testing.assert_close(got[0], want[0], rtol=1e-4, atol=1e-5)
        assert (got[1] is None) == (want[1] is None)
        if got[1] is not None:
            torch.testing.assert_close(got[1], want[1], rtol=1e-4, atol=1e-5)


def test_one_sample_without_a_batch_and_arguments_by_place() -> None:
    attention, other = made()
    query, key = torch.randn(L, E), torch.randn(S, E)
    padding = torch.arange(S) >= 5
    for each in zip(attention(query, key, key, padding), other(query, key, key, padding), strict=True):
        torch.testing.assert_close(each[1], each[0])


def by_hand(attention: nn.MultiheadAttention, x: Tensor, kept: list[int]) -> Tensor:
    """The sum of some heads' outputs."""
    width = E // H
    q, k, v = (
        nn.functional.linear(x, weight, bias)
        for weight, bias in zip(attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3), strict=True)
    )
    total = attention.out_proj.bias.expand_as(x)
    for head in kept:
        own = slice(head * width, (head + 1) * width)
        weights = (q[..., own] @ k[..., own].mT / width**0.5).softmax(-1)
        total = total + weights @ v[..., own] @ attention.out_proj.weight[:, own].T
    return total


def test_with_fewer_heads_it_adds_up_those_that_are_left() -> None:
    attention, _ = made()
    x = torch.randn(B, L, E)
    parts = [Part(layer="a", side="outputs", offset=place * E) for place in range(3)]
    parts.append(Part(layer="a.out_proj", side="inputs"))
    group = UnitGroup(name="a", size=E // H, count=H, parts=tuple(parts), settings=(("a", "num_heads", 1),))
    holder = nn.ModuleDict({"a": attention})
    want = by_hand(attention, x, [1, 2])
    with without_units(holder, [group.without([0, 3])]):
        assert (attention.num_heads, attention.in_proj_weight.shape) == (2, (3 * E // 2, E))
        torch.testing.assert_close(attention(x, x, x)[0], want)
    assert type(attention) is nn.MultiheadAttention
    assert (attention.num_heads, attention.in_proj_weight.shape, attention.out_proj.in_features) == (H, (3 * E, E), E)
    torch.testing.assert_close(attention(x, x, x)[0], by_hand(attention, x, [0, 1, 2, 3]))
    cut(holder, [group.without([0, 3])])
    torch.testing.assert_close(attention(x, x, x)[0], want)


def test_an_encoder_gives_the_same_answers_in_training_and_in_evaluation_with_or_without_shortcuts() -> None:
    model, x = randomised(TorchEncoder()), texts().inputs(slice(None))
    for layer in model.encoder.layers:
        with_own_code(model, layer.self_attn)
    want = model.train()(**x).detach()
    with torch.no_grad():
        got = model.eval()(**x)
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(logits(model, x), want, rtol=1e-4, atol=1e-5)


def test_hooks_of_output_layers_run_within_the_context_alone() -> None:
    model, x, seen = randomised(TorchEncoder()), texts().inputs(slice(None)), []
    for layer in model.encoder.layers:
        layer.self_attn.out_proj.register_forward_hook(lambda *_: seen.append(1))
    want = logits(model, x)
    assert not seen
    with all_layers_called(model), torch.no_grad():
        torch.testing.assert_close(model(**x), want, rtol=1e-4, atol=1e-5)
    assert len(seen) == 2
    assert torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(RuntimeError), without_shortcuts():
        assert not torch.backends.mha.get_fastpath_enabled()
        raise RuntimeError
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("apart", [False, True])
def test_multiplications_of_attention_are_those_of_its_projections(apart: bool) -> None:
    sizes = {"kdim": 10, "vdim": 6} if apart else {}
    attention = nn.MultiheadAttention(E, H, batch_first=True, **sizes)

    class Crossing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = attention

        def forward(self, x: Tensor) -> Tensor:
            keys, values = (torch.zeros(len(x), S, sizes.get(key, E)) for key in ("kdim", "vdim"))
            found: Tensor = self.a(x, key=keys, value=values)[0]
            return found

    found = layer_macs(Crossing(), torch.zeros(2, L, E))
    if apart:
        want = {"a.q_proj_weight": 2 * L * E * E, "a.k_proj_weight": 2 * S * E * 10, "a.v_proj_weight": 2 * S * E * 6}
    else:
        want = {"a.in_proj_weight": 2 * (L + 2 * S) * E * E}
    assert found == want | {"a.out_proj": 2 * L * E * E}
    assert count_bit_operations(Crossing(), found, {}) == 32 * 32 * sum(want.values()) + 32 * 32 * 2 * L * E * E


def test_an_encoders_multiplications_do_not_depend_on_who_computes_them() -> None:
    model, x = TorchEncoder(), texts(1).inputs(slice(None))
    before = layer_macs(model, x)
    for layer in model.encoder.layers:
        with_own_code(model, layer.self_attn)
    assert layer_macs(model, x) == before
    assert before["encoder.layers.0.self_attn.in_proj_weight"] == 9 * 3 * 32 * 32
    assert model.encoder.layers[0].self_attn.num_heads == HEADS
