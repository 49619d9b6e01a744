"""Random inputs for networks: of the shape and type of an example, and token ids that the network knows."""

# B batch, T tokens

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pruneaudit.compression.macs import evaluating
from pruneaudit.compression.smaller_attention import without_shortcuts
from pruneaudit.data.inputs import IDS, MASK, Inputs, answered


def random_inputs(model: nn.Module, example: Inputs, count: int, generator: torch.Generator) -> Inputs:
    """Random inputs for a network, on the device of the example; numbers are normal, of the type of its weights.

    Args:
        model: the network; the tables that the example is looked up in say which ids there are.
        example: one input (1, ...): numbers, whole numbers, or a dict with ids of texts.
        count: B.
        generator: on the CPU.

    Returns:
        B inputs. The first text is as long as the example, others can be shorter. Other entries of a dict are repeated.
    """
    dtype = next(model.parameters()).dtype
    if not isinstance(example, Mapping):
        return _random(model, example, example, count, generator).to(example.device, _type(example, dtype))
    made = {key: value[:1].repeat_interleave(count, 0) for key, value in example.items()}
    for key, value in example.items():
        if key == IDS or value.is_floating_point():
            made[key] = _random(model, example, value, count, generator).to(value.device, _type(value, dtype))
    if MASK in example and IDS in example:
        length = made[IDS].shape[1]
        lengths = torch.randint(min(2, length), length + 1, (count,), generator=generator)
        lengths[0] = length
        made[MASK] = (torch.arange(length) < lengths[:, None]).to(made[MASK].device, made[MASK].dtype)
    return made


def _type(example: Tensor, dtype: torch.dtype) -> torch.dtype:
    return dtype if example.is_floating_point() else example.dtype


def _random(model: nn.Module, example: Inputs, like: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Normal numbers, or ids below the length of the shortest table."""
    shape = (count, *like.shape[1:])
    limit = None if like.is_floating_point() and like is not example else _num_ids(model, example, like)
    if limit is None and like.is_floating_point():
        return torch.randn(shape, generator=generator)
    return torch.randint(limit or 2, shape, generator=generator)  # any code takes ids of 0 and 1


def _num_ids(model: nn.Module, example: Inputs, ids: Tensor) -> int | None:
    """How many ids the tables know that ids are looked up in; None if they are looked up in none."""
    found: list[int] = []
    probe = (torch.arange(ids.numel(), device=ids.device) % 2).view(ids.shape)  # no positions, and not all of one kind
    x = {**example, IDS: probe.to(ids.dtype)} if isinstance(example, Mapping) else probe.to(ids.dtype)

    def see(table: nn.Module, inputs: tuple[Any, ...]) -> None:
        assert isinstance(table, nn.Embedding)
        given = inputs[0] if inputs else None
        if isinstance(given, Tensor) and given.shape == probe.shape and bool((given == probe).all()):
            found.append(table.num_embeddings)

    handles = [module.register_forward_pre_hook(see) for module in model.modules() if isinstance(module, nn.Embedding)]
    if not handles:
        return None
    try:
        with evaluating(model), torch.no_grad(), without_shortcuts():
            answered(model, x)
    finally:
        for handle in handles:
            handle.remove()
    return min(found, default=None)
