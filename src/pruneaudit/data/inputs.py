"""Batches of inputs in the form that networks take: a tensor, or for texts a dict of tensors.

Texts go to a network as `model(input_ids=..., attention_mask=...)`, both int64 (B, T), the mask 1 for real tokens and 0
after the end. The mask comes from lengths, never from ids, because some models pad with the token that ends a text.
"""

# B batch, T tokens

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.core.errors import UserError
from pruneaudit.data.kinds import IDS as IDS
from pruneaudit.data.kinds import MASK as MASK
from pruneaudit.data.kinds import TokenShape

Inputs = Tensor | dict[str, Tensor]
"""A batch: a tensor, or for texts the dict that `token_inputs` returns."""


def token_inputs(ids: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """Makes the batch of texts.

    Args:
        ids: (B, T) integers.
        lengths: (B,) integers, the number of real tokens of each text.

    Returns:
        `input_ids` and `attention_mask`, int64 (B, T).
    """
    places = torch.arange(ids.shape[1], device=ids.device)
    return {IDS: ids.long(), MASK: (places < lengths[:, None]).long()}


def answered(model: nn.Module, x: Inputs) -> Any:
    """Returns the network's output for a batch."""
    return model(**x) if isinstance(x, Mapping) else model(x)


def num_in(x: Inputs) -> int:
    """Returns the number of samples in a batch."""
    return len(x[IDS]) if isinstance(x, Mapping) else len(x)


def device_of(x: Inputs) -> torch.device:
    """Returns the device of a batch."""
    return x[IDS].device if isinstance(x, Mapping) else x.device


def first_of(x: Inputs, count: int) -> Inputs:
    """Returns the first samples of a batch."""
    return {key: value[:count] for key, value in x.items()} if isinstance(x, Mapping) else x[:count]


def contiguous(x: Inputs) -> Inputs:
    """Returns the batch in plain memory format, as users' code expects it."""
    return {key: value.contiguous() for key, value in x.items()} if isinstance(x, Mapping) else x.contiguous()


def moved(x: Inputs, device: torch.device | str) -> Inputs:
    """Returns the batch on a device."""
    return {key: value.to(device) for key, value in x.items()} if isinstance(x, Mapping) else x.to(device)


def example_of(shape: tuple[int, ...], count: int = 1) -> Inputs:
    """Returns a batch of zeros, for texts of padding tokens that count as real ones.

    Args:
        shape: the shape of one sample.
        count: the number of samples.
    """
    if isinstance(shape, TokenShape):
        ids = torch.full((count, *shape), shape.vocabulary.padding)
        return token_inputs(ids, torch.full((count,), shape[0]))
    return torch.zeros(count, *shape)


def input_facts(x: Inputs) -> dict[str, Any]:
    """Returns shape and type of one input, as JSON data."""
    first = x[IDS] if isinstance(x, Mapping) else x
    found: dict[str, Any] = {"shape": list(first.shape[1:]), "type": str(first.dtype).removeprefix("torch.")}
    return found | ({"names": list(x)} if isinstance(x, Mapping) else {})


def described(x: Inputs) -> str:
    """Describes a batch for a message, such as `inputs of shape (2, 1, 28, 28)`."""
    if isinstance(x, Mapping):
        return f"{' and '.join(x)} of shape {tuple(x[IDS].shape)}"
    return f"inputs of shape {tuple(x.shape)}"


def tensor_of(x: Inputs, what: str) -> Tensor:
    """Returns a batch of images or rows.

    Args:
        x: the batch.
        what: what needs them, for the message.

    Raises:
        UserError: the batch has texts.
    """
    if isinstance(x, Mapping):
        raise UserError(f"{what}: got texts (token ids), expected images or tables; leave it out for texts")
    return x


def shortened(x: Inputs, model: nn.Module) -> Inputs:
    """Returns texts cut behind the longest of the batch, which saves the work on padding.

    Outputs change by rounding alone, so only training does it, where a batch is always the same.

    Args:
        x: the batch.
        model: the network. Texts keep their length unless its attribute `takes_any_length` is true.
    """
    if not isinstance(x, Mapping) or not getattr(model, "takes_any_length", False):
        return x
    longest = int(x[MASK].sum(1).amax()) if len(x[MASK]) else 1
    return {key: value[:, :longest] for key, value in x.items()}


def joined(first: Inputs, second: Inputs) -> Inputs:
    """Returns the samples of two batches in one."""
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return {key: torch.cat([value, second[key]]) for key, value in first.items()}
    assert isinstance(first, Tensor) and isinstance(second, Tensor)
    return torch.cat([first, second])
