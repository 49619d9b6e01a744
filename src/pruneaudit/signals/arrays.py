"""Arrays as users bring them, in the types that `Signals` keeps."""

from __future__ import annotations

from typing import Any

import numpy as np

from pruneaudit.errors import UserError


def as_array(name: str, value: Any) -> np.ndarray:
    """The value as an array.

    Raises:
        UserError: it is a list of lists of unequal lengths.
    """
    try:
        return np.asarray(value)
    except ValueError:
        raise UserError(f"{name}: got lists of unequal lengths, expected a regular array") from None


def as_bool(name: str, value: np.ndarray | None) -> np.ndarray | None:
    """Zeros and ones as bool.

    Raises:
        UserError: there are other values.
    """
    if value is None or value.dtype == bool:
        return value
    if value.dtype.kind not in "iuf" or not np.isin(value, (0, 1)).all():
        raise UserError(f"{name}: got {value.dtype} with other values than 0 and 1, expected bool")
    return value.astype(bool)


def as_floats(name: str, value: np.ndarray | None, keep_double: bool = False, log_zero: bool = False) -> Any:
    """Finite numbers as float32, model by model.

    Args:
        name: the key, for messages.
        value: (M, ...) numbers.
        keep_double: leave float64 as it is: next to 1, float32 cannot tell probabilities apart that float64 can.
        log_zero: minus infinity, the logarithm of 0, may stand.

    Raises:
        UserError: they are no numbers, not finite, or too large for float32.
    """
    if value is None:
        return None
    if value.dtype.kind not in "fiu":
        raise UserError(f"{name}: got {value.dtype}, expected numbers")

    def is_fine(block: np.ndarray) -> bool:
        return bool((np.isfinite(block) | np.isneginf(block) if log_zero else np.isfinite(block)).all())

    for row, block in enumerate(value):
        if not is_fine(block):
            raise UserError(f"{name}: NaN or infinity for model {row}; leave that model out or mend its outputs")
    if keep_double and value.dtype.kind == "f" and value.dtype.itemsize == 8:
        return value.astype(np.float64, copy=False)
    with np.errstate(over="ignore"):
        result = value.astype(np.float32, copy=False)
    if result is not value and not all(
        (np.isinf(new) == np.isinf(old)).all() for new, old in zip(result, value, strict=True)
    ):
        raise UserError(f"{name}: values beyond float32's range (3.4e38); rescale them")
    return result
