"""What makes two things the same: canonical JSON and SHA-256.

Everything the program keeps is found again by the hash of what shaped it. The text that is hashed
does not depend on key order, on how a float was written, or on 4 being written 4.0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def canonical(value: Any) -> Any:
    """`value` as plain JSON data in its one normal form (4.0 becomes 4, tuples become lists).

    Raises:
        ValueError: the value holds NaN or an infinity, or something that JSON cannot say.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"got {value!r}, expected a finite number: it cannot be part of an identity")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:  # 1 and "1" would be one key
            raise ValueError(f"got the key {wrong[0]!r}, expected texts as keys: it cannot be part of an identity")
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    raise ValueError(f"got {type(value).__name__}, expected JSON data: it cannot be part of an identity")


def canonical_json(value: Any) -> str:
    """One text for one meaning: sorted keys, shortest floats, no spaces."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_of(value: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of arrays, in the order of their names.

    Raises:
        ValueError: an array holds Python objects, whose bytes are addresses.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")  # ascontiguousarray would make () the shape (1,)
        if array.dtype.hasobject:
            raise ValueError(f"array '{name}': got Python objects, expected numbers: they have no bytes of their own")
        digest.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
