"""Attention and encoder blocks against torch's own, with padding, and with whole heads removed."""

from __future__ import annotations

from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.models import initialise
from pruneaudit.models._attention import EncoderBlock, SelfAttention

# B batch, T positions, D width, H heads

B, T, D, HEADS, HIDDEN = 3, 5, 8, 4, 12
X = torch.randn(B, T, D, generator=torch.Generator().manual_seed(1))
REAL = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]], dtype=torch.bool)


Network = TypeVar("Network", bound=nn.Module)


def randomised(network: Network) -> Network:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return network.eval()


def copied(theirs: nn.MultiheadAttention, ours: SelfAttention) -> None:
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]))
        theirs.out_proj.load_state_dict(ours.o.state_dict())


def compare(found: Tensor, expected: Tensor, real: Tensor) -> None:
    torch.testing.assert_close(found[real], expected[real], rtol=1e-5, atol=1e-5)
    assert float(found[real].detach().std()) > 0.1


def test_attention_is_that_of_torch() -> None:
    ours, theirs = randomised(SelfAttention(D, HEADS)), nn.MultiheadAttention(D, HEADS, batch_first=True).eval()
    copied(theirs, ours)
    with torch.no_grad():
        compare(ours(X), theirs(X, X, X)[0], torch.ones_like(REAL))
        compare(ours(X, REAL), theirs(X, X, X, key_padding_mask=~REAL)[0], REAL)


def test_a_block_is_that_of_torch() -> None:
    ours = randomised(EncoderBlock(D, HEADS, HIDDEN))
    theirs = nn.TransformerEncoderLayer(D, HEADS, HIDDEN, 0.0, "gelu", batch_first=True, norm_first=True)
    copied(theirs.self_attn, ours.attention)
    for name, layer in (("norm1", ours.norm1), ("norm2", ours.norm2), ("linear1", ours.fc1), ("linear2", ours.fc2)):
        theirs.get_submodule(name).load_state_dict(layer.state_dict())
    # In training mode, because torch's fast path of evaluation computes other bits.
    compare(ours(X, REAL), theirs.train()(X, src_key_padding_mask=~REAL), REAL)


def test_padding_changes_nothing() -> None:
    block = randomised(EncoderBlock(D, HEADS, HIDDEN))
    with torch.no_grad():
        other = torch.where(REAL[..., None], X, torch.randn(X.shape, generator=torch.Generator().manual_seed(3)))
        torch.testing.assert_close(block(X, REAL)[REAL], block(other, REAL)[REAL])
        assert not torch.allclose(block(X)[REAL], block(other)[REAL], atol=1e-3)


@pytest.mark.parametrize("gone", [[0], [1, 3], [0, 1, 2]])
def test_heads_are_removed_by_their_rows_alone(gone: list[int]) -> None:
    dense = randomised(SelfAttention(D, HEADS))
    smaller = randomised(SelfAttention(D, HEADS))
    width = D // HEADS
    kept = torch.tensor([row for row in range(D) if row // width not in gone])
    with torch.no_grad():
        for name in ("q", "k", "v"):
            layer = smaller.get_submodule(name)
            layer.weight = nn.Parameter(layer.weight[kept])
            layer.bias = nn.Parameter(layer.bias[kept])
        smaller.o.weight = nn.Parameter(smaller.o.weight[:, kept])
        silent = torch.ones(D).index_fill(0, torch.tensor([r for r in range(D) if r // width in gone]), 0)
        dense.o.weight *= silent  # columns of removed heads
        compare(smaller(X, REAL), dense(X, REAL), REAL)


def test_dropout_is_for_training_alone() -> None:
    block = randomised(EncoderBlock(D, HEADS, HIDDEN, dropout=0.5))
    assert torch.equal(block(X), block(X))
    assert torch.equal(block(X), randomised(EncoderBlock(D, HEADS, HIDDEN))(X))
    block.train()
    assert not torch.allclose(block(X), block(X))


def test_initial_weights_make_each_position_differ() -> None:
    block = EncoderBlock(D, HEADS, HIDDEN)
    initialise(block, torch.Generator().manual_seed(0))
    assert float(block(X).detach().std(dim=1).min()) > 0.1
