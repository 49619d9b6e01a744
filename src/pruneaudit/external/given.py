"""Inputs and labels that users pass in Python: arrays, tensors, and texts as a tokenizer encodes them."""

# N samples, T tokens

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pruneaudit.core.errors import UserError
from pruneaudit.data.inputs import IDS, MASK, Inputs, token_inputs
from pruneaudit.data.token_arrays import SIZE, tokens_in
from pruneaudit.signals.arrays import as_array
from pruneaudit.training.samples import Samples

_TYPES = "token_type_ids"
"""The text (of two) that a token belongs to; without it, networks assume 0 everywhere."""


def tensor_of(given: Any, name: str) -> Tensor:
    """A user's array or tensor as a dense tensor.

    Raises:
        UserError: it is neither.
    """
    if isinstance(given, Tensor):
        return given.detach().to_dense() if given.layout != torch.strided else given.detach()
    try:
        array = as_array(name, given)
        return torch.as_tensor(array if array.flags.writeable else array.copy())
    except (TypeError, ValueError, RuntimeError) as error:
        raise UserError(f"{name}: got {type(given).__name__}, expected an array or a tensor ({error})") from None


def texts_of(given: Mapping[str, Any], y: Tensor | None, device: torch.device | str, name: str) -> Samples:
    """Texts as a tokenizer of Hugging Face encodes them, as samples on a device.

    Args:
        given: `input_ids` (N, T), and `attention_mask` (N, T) with each text at the left, unless all tokens are real.
        y: (N,) int64 labels; None: all 0.
        device: the device.
        name: their name, for messages.

    Raises:
        UserError: an array is missing, of another form, or one that only some networks take.
    """
    arrays = {key: tensor_of(value, f"{name}['{key}']").cpu().numpy() for key, value in given.items()}
    if IDS not in arrays:
        keys = ", ".join(map(str, given)) or "none"
        raise UserError(
            f"{name}: got a dict with the keys {keys}, expected texts: {IDS}, and {MASK} if some are padded"
        )
    if _TYPES in arrays and not arrays[_TYPES].any():
        del arrays[_TYPES]
    other = [key for key in arrays if key not in (IDS, MASK)]
    if other:
        raise UserError(
            f"{name}: got '{other[0]}', expected {IDS} and {MASK} alone; leave it out, or wrap your network in one "
            f"that adds it"
        )
    try:
        found = tokens_in({**arrays, SIZE: np.array(int(arrays[IDS].max(initial=0)) + 1)})
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    ids, lengths = (torch.from_numpy(found[key]).to(device) for key in ("x", "lengths"))
    labels = torch.zeros(len(ids), dtype=torch.int64) if y is None else y.long()
    if labels.shape != (len(ids),):
        raise UserError(f"{name}: got {len(ids)} texts and y {tuple(labels.shape)}, expected one label for each text")
    return Samples(ids, labels.to(device), lengths, found["vocabulary"])


def inputs_of_user(given: Any, device: torch.device | str, dtype: torch.dtype, name: str) -> Inputs:
    """A user's batch on a device: floats in the network's type, whole numbers, or texts by name.

    Raises:
        UserError: it is no array, no tensor and no dict of these.
    """
    if isinstance(given, Mapping):
        samples = texts_of(given, None, device, name)
        assert samples.lengths is not None
        return token_inputs(samples.stored, samples.lengths)
    x = tensor_of(given, name).to(device)
    return x.to(dtype) if x.is_floating_point() else x
