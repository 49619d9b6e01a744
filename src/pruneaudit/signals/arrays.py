"""Converts users' arrays to the types of `Signals`."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError


def as_array(name: str, value: Any, may_lack: bool = False) -> np.ndarray:
    """The value as an array of numbers, bools or texts.

    It accepts arrays and lists; torch's tensors on any device, sparse, in bfloat16 or with a gradient; pandas' columns
    and tables of any type; and lists of all these.

    Args:
        name: the key, for messages.
        value: the user's value.
        may_lack: missing values become NaN instead of being refused.

    Raises:
        UserError: lists of unequal lengths, a missing value, or texts mixed with numbers.
    """
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        if not may_lack:
            raise _missing(name, tuple(np.argwhere(np.ma.getmaskarray(value))[0]))
        value = np.where(np.ma.getmaskarray(value), np.nan, value.data)
    if isinstance(value, list | tuple) and any(_is_tensor(part) for part in value):
        value = [as_array(name, part, may_lack) for part in value]
    if _is_tensor(value):
        value = _from_torch(value)
    try:
        found = np.asarray(value)
    except ValueError:
        rows = "; for lists of row numbers, use numpy.isin(numpy.arange(num_samples), rows) for each model"
        raise UserError(
            f"{name}: got lists of unequal lengths, expected a regular array{rows if name == 'member' else ''}"
        ) from None
    if found.dtype.kind == "T":  # NumPy's variable-length texts
        return found.astype(str)
    is_pandas = hasattr(value, "isna") and not may_lack
    if is_pandas and found.dtype.kind == "f" and np.isnan(found).any():  # pandas' optional integers
        raise _missing(name, tuple(np.argwhere(np.isnan(found))[0]))
    return _from_objects(name, found, may_lack) if found.dtype == object else found


def _is_tensor(value: Any) -> bool:
    """Whether it is a torch tensor; does not import torch."""
    return type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach")


def _from_torch(value: Any) -> np.ndarray:
    dense = value.detach().to_dense() if value.is_sparse or "sparse" in str(value.layout) else value.detach()
    dense = dense.float() if str(dense.dtype) == "torch.bfloat16" else dense
    found: np.ndarray = dense.cpu().resolve_conj().resolve_neg().numpy()
    return found


def _from_objects(name: str, value: np.ndarray, may_lack: bool) -> np.ndarray:
    """Converts objects (pandas' form of texts and optional values) to their common type."""
    for place, one in np.ndenumerate(value):
        if one is None or type(one).__name__ in ("NAType", "NaTType"):
            if not may_lack:
                raise _missing(name, place)
            value = value.copy()
            value[place] = np.nan
    kinds = {isinstance(one, str) for one in value.flat}
    if len(kinds) > 1:
        raise UserError(f"{name}: got texts mixed with other values, expected values of one kind")
    found = np.array(value.tolist())
    if found.dtype == object or found.shape != value.shape:
        raise UserError(f"{name}: got objects such as {type(value.flat[0]).__name__}, expected numbers, bools or texts")
    return found


def _missing(name: str, place: tuple[int, ...]) -> UserError:
    where = f"row {place[0]}" + (f", column {place[1]}" if len(place) > 1 else "")
    return UserError(f"{name}: got a missing value in {where}, expected none; fill it in, or leave that sample out")


def as_bool(name: str, value: np.ndarray | None) -> np.ndarray | None:
    """Zeros and ones as bool.

    Raises:
        UserError: there are other values.
    """
    if value is None or value.dtype == bool:
        return value
    if value.dtype.kind not in "iuf" or not np.isin(value, (0, 1)).all():
        numbers = value.dtype.kind in "iuf"
        wrong = f"; the first is {value[~np.isin(value, (0, 1))].flat[0]}" if numbers else ""
        raise UserError(f"{name}: got {value.dtype} with values other than 0 and 1, expected bool{wrong}")
    return value.astype(bool)


def as_floats(
    name: str, value: np.ndarray | None, keep_double: bool = False, log_zero: bool = False, each: str = "model"
) -> Any:
    """Finite numbers as float32, row by row.

    Args:
        name: the key, for messages.
        value: (rows, ...) numbers.
        keep_double: keep float64: near 1, float32 cannot distinguish probabilities that float64 can.
        log_zero: allow minus infinity, the logarithm of 0.
        each: what a row is, for messages.

    Raises:
        UserError: they are not numbers, not finite, or too large for float32.
    """
    if value is None:
        return None
    if value.dtype.kind not in "fiu":
        raise UserError(f"{name}: got {value.dtype}, expected numbers")

    def is_fine(block: np.ndarray) -> bool:
        return bool((np.isfinite(block) | np.isneginf(block) if log_zero else np.isfinite(block)).all())

    for row, block in enumerate(value):
        if not is_fine(block):
            raise UserError(f"{name}: NaN or infinity for {each} {row}; leave that {each} out or fix its numbers")
    if keep_double and value.dtype.kind == "f" and value.dtype.itemsize == 8:
        return value.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        result = value.astype(np.float32, copy=False)
    if result is not value and not all(
        (np.isinf(new) == np.isinf(old)).all() for new, old in zip(result, value, strict=True)
    ):
        raise UserError(f"{name}: values beyond float32's range (3.4e38); rescale them")
    return result
