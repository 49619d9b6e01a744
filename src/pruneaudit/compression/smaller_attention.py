"""torch's attention with fewer heads: `nn.MultiheadAttention` whose number of heads follows from its weights.

torch's own code computes the width of a head from the width of its inputs, so it cannot lose heads. The same module
gets this code instead: its parameters keep their names, and shapes alone say how many heads there are. torch's encoder
has a shortcut in evaluation that reads the weights itself; it stays off.
"""

# B batch, L queries, S keys, E width of the inputs, H heads, W width of a head

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class _How(NamedTuple):
    """The further arguments of `nn.MultiheadAttention.forward`, in its order."""

    key_padding_mask: Tensor | None = None
    need_weights: bool = True
    attn_mask: Tensor | None = None
    average_attn_weights: bool = True
    is_causal: bool = False
    """Only repeats `attn_mask`."""


class FewerHeads(nn.MultiheadAttention):
    """`nn.MultiheadAttention` that can have fewer heads than its width allows."""

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, *others: Any, **named: Any
    ) -> tuple[Tensor, Tensor | None]:
        """The same as `nn.MultiheadAttention`, which describes the arguments."""
        how, is_batched = _How(*others, **named), query.ndim > 2
        inputs = [x if is_batched else x[None] for x in (query, key, value)]
        if is_batched and not self.batch_first:
            inputs = [x.transpose(0, 1) for x in inputs]
        assert self.in_proj_weight is not None
        biases = (None,) * 3 if self.in_proj_bias is None else self.in_proj_bias.chunk(3)
        parts = zip(inputs, self.in_proj_weight.chunk(3), biases, strict=True)
        q, k, v = (
            functional.linear(x, weight, bias).unflatten(2, (-1, self.head_dim)).transpose(1, 2)
            for x, weight, bias in parts
        )  # (B, H, L or S, W)
        padding = how.key_padding_mask
        mask = _added(how.attn_mask, padding if padding is None or is_batched else padding[None], q)
        dropout = self.dropout if self.training else 0.0
        weights: Tensor | None = None
        if how.need_weights:
            scores = q @ k.mT * self.head_dim**-0.5
            weights = functional.dropout((scores if mask is None else scores + mask).softmax(-1), dropout)
            mixed = weights @ v
            weights = weights.mean(1) if how.average_attn_weights else weights
            weights = weights if is_batched else weights[0]
        else:
            mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=dropout)
        answer: Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))  # (B, L, E)
        if not is_batched:
            return answer[0], weights
        return answer if self.batch_first else answer.transpose(0, 1), weights


def _added(attn_mask: Tensor | None, key_padding_mask: Tensor | None, like: Tensor) -> Tensor | None:
    """What is added to the scores (B, H, L, S), broadcast; None if there are no masks. A bool mask hides where true."""
    total: Tensor | None = None
    for mask, is_padding in ((attn_mask, False), (key_padding_mask, True)):
        if mask is None:
            continue
        if is_padding:
            mask = mask[:, None, None, :]
        elif mask.ndim == 3:
            mask = mask.unflatten(0, (len(like), -1))
        if mask.dtype == torch.bool:
            mask = torch.zeros_like(mask, dtype=like.dtype).masked_fill_(mask, float("-inf"))
        total = mask.to(like.dtype) if total is None else total + mask.to(like.dtype)
    return total


def joint_weights(attention: nn.MultiheadAttention) -> Tensor | None:
    """The weights of q, k and v in one tensor (3 H W, E); None if they are apart, or if keys and values are added."""
    is_plain = attention.bias_k is None and attention.bias_v is None and not attention.add_zero_attn
    return attention._parameters.get("in_proj_weight") if is_plain else None


def with_own_code(model: nn.Module, attention: nn.MultiheadAttention) -> None:
    """Makes an attention compute as `FewerHeads`, in place; with all its heads it gives the same answers.

    Args:
        model: the network that it is in; torch's encoders in it lose their shortcut.
        attention: with joint weights.
    """
    attention.__class__ = FewerHeads
    attention._qkv_same_embed_dim = False  # encoder layers then call the module
    for encoder in model.modules():
        if isinstance(encoder, nn.TransformerEncoder) and any(part is attention for part in encoder.modules()):
            encoder.use_nested_tensor = False


@contextmanager
def without_shortcuts() -> Iterator[None]:
    """Within the context, torch's encoders call their layers, also in evaluation mode."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


@contextmanager
def all_layers_called(model: nn.Module) -> Iterator[None]:
    """Within the context, torch's attentions call their output layer, so that hooks on it work.

    It gives the same answers, up to rounding.
    """
    found = [module for module in model.modules() if type(module) is nn.MultiheadAttention]
    found = [module for module in found if joint_weights(module) is not None]
    with without_shortcuts():
        try:
            for module in found:
                module.__class__ = FewerHeads
            yield
        finally:
            for module in found:
                module.__class__ = nn.MultiheadAttention
