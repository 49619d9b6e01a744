"""Reads texts that are token ids already, from the arrays of a file.

| key | allowed values |
|---|---|
| `input_ids` | (N, T) integers, each text at the left |
| `attention_mask` | (N, T) of 0 and 1: 1 where a token is real; default: all are real |
| `lengths` | (N,) integers, the number of real tokens, in place of the mask |
| `vocabulary_size` | the number of ids: `len(tokenizer)` |
| `padding_id` | the id behind the end of a text; default: the one that is there, or 0 |
| `unknown_id` | the id that takes the place of a dropped token; default: `padding_id` |

The first two are what a tokenizer of Hugging Face returns. Ids behind the end become `padding_id`.
"""

# N samples, T tokens

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.kinds import IDS, MASK, Vocabulary

LENGTHS, SIZE, PADDING, UNKNOWN = "lengths", "vocabulary_size", "padding_id", "unknown_id"
TOKEN_KEYS = (IDS, MASK, LENGTHS, SIZE, PADDING, UNKNOWN)
"""The arrays of texts in a file."""
_LARGEST = 2**31 - 1


def tokens_in(arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Converts arrays of texts for `RawData`.

    Args:
        arrays: by the keys of this module.

    Returns:
        `x` int32 (N, T), `lengths` int32 (N,), and `vocabulary`.

    Raises:
        UserError: an array is missing, or has another type, shape or range.
    """
    ids = arrays[IDS]
    if ids.dtype.kind not in "iu" or ids.ndim != 2 or not ids.size:
        raise UserError(f"{IDS}: got {ids.dtype} of shape {ids.shape}, expected integers (texts, tokens)")
    if SIZE not in arrays:
        raise UserError(f"no array '{SIZE}' in addition to {IDS}, expected the number of ids: {SIZE}=len(tokenizer)")
    size = _number(arrays, SIZE, 0)
    if not 1 <= size <= _LARGEST:
        raise UserError(f"{SIZE}: got {size}, expected the number of ids, such as len(tokenizer)")
    lengths = _lengths(arrays)
    behind = np.arange(ids.shape[1]) >= lengths[:, None]  # (N, T)
    padding = _number(arrays, PADDING, _padding_in(ids[behind]))
    if not 0 <= padding < size:
        raise UserError(f"{PADDING}: got {padding}, expected one of the ids 0..{size - 1}")
    vocabulary = Vocabulary(size, padding, _number(arrays, UNKNOWN, padding))
    _check_inside(ids, behind, size)
    x = np.where(behind, padding, ids).astype(np.int32)
    return {"x": x, "lengths": lengths.astype(np.int32), "vocabulary": vocabulary}


def token_arrays(x: np.ndarray, lengths: np.ndarray, vocabulary: Vocabulary) -> dict[str, Any]:
    """Returns texts as the arrays that `tokens_in` reads, with a mask.

    Args:
        x: (N, T) ids.
        lengths: (N,) the number of real tokens.
        vocabulary: their ids.
    """
    mask = (np.arange(x.shape[1]) < lengths[:, None]).astype(np.int64)
    size, padding, unknown = vocabulary.numbers
    return {IDS: x.astype(np.int64), MASK: mask, SIZE: size, PADDING: padding, UNKNOWN: unknown}


def _lengths(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """The number of real tokens of each text (N,) int64."""
    num, most = arrays[IDS].shape
    if LENGTHS in arrays:
        lengths = arrays[LENGTHS]
        if lengths.dtype.kind not in "iu" or lengths.shape != (num,):
            raise UserError(f"{LENGTHS}: got {lengths.dtype} of shape {lengths.shape}, expected integers ({num},)")
    elif MASK in arrays:
        lengths = _lengths_of_mask(arrays[MASK], (num, most))
    else:
        lengths = np.full(num, most)
    wrong = np.flatnonzero((lengths < 1) | (lengths > most))
    if wrong.size:
        raise UserError(
            f"row {wrong[0]} has {lengths[wrong[0]]} real tokens, expected 1..{most}; of {num:,} rows {wrong.size:,}"
            " are wrong: drop empty texts"
        )
    return lengths.astype(np.int64)


def _lengths_of_mask(mask: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if mask.dtype.kind not in "iub" or mask.shape != shape or not np.isin(mask, (0, 1)).all():
        raise UserError(f"{MASK}: got {mask.dtype} of shape {mask.shape}, expected 0 and 1 of shape {shape}")
    lengths: np.ndarray = mask.sum(axis=1, dtype=np.int64)
    gaps = np.flatnonzero((mask.astype(bool) != (np.arange(shape[1]) < lengths[:, None])).any(axis=1))
    if gaps.size:
        raise UserError(
            f"{MASK}: row {gaps[0]} has a 1 after a 0, expected each text at the left: encode the texts with"
            " tokenizer.padding_side = 'right'"
        )
    return lengths


def _padding_in(behind: np.ndarray) -> int:
    """The id behind the ends of texts, if there is one."""
    different = np.unique(behind)
    return int(different[0]) if len(different) == 1 and 0 <= different[0] <= _LARGEST else 0


def _number(arrays: Mapping[str, np.ndarray], key: str, default: int) -> int:
    if key not in arrays:
        return default
    if arrays[key].dtype.kind not in "iu" or arrays[key].size != 1:
        raise UserError(f"{key}: got {arrays[key].dtype} of shape {arrays[key].shape}, expected one integer")
    return int(arrays[key].item())


def _check_inside(ids: np.ndarray, behind: np.ndarray, size: int) -> None:
    outside = np.argwhere(((ids < 0) | (ids >= size)) & ~behind)
    if outside.size:
        row, place = outside[0]
        raise UserError(
            f"{IDS}: got id {ids[row, place]} in row {row}, expected 0..{size - 1}; give the {SIZE} of the tokenizer"
            " that encoded the texts, len(tokenizer), or encode them with the network's own"
        )
