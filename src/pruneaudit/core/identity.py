"""Identities: canonical JSON and SHA-256.

The program finds stored parts by the hash of the settings that determine them. The hash does not
depend on the order of keys, on how a float is written, or on 4 being written 4.0.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def canonical(value: Any) -> Any:
    """Returns `value` as plain JSON data in its canonical form (4.0 becomes 4, tuples become lists).

    Raises:
        ValueError: the value contains NaN, an infinity, or something that JSON cannot represent.
    """
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"got {value!r}, expected a finite number: it cannot be part of an identity")
        return int(value) if value.is_integer() else value
    if isinstance(value, Mapping):
        wrong = [key for key in value if not isinstance(key, str)]
        if wrong:  # 1 and "1" would become the same key
            raise ValueError(f"got the key {wrong[0]!r}, expected texts as keys: it cannot be part of an identity")
        return {key: canonical(value[key]) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    raise ValueError(f"got {type(value).__name__}, expected JSON data: it cannot be part of an identity")


def canonical_json(value: Any) -> str:
    """Returns the canonical JSON text: sorted keys, shortest floats, no spaces."""
    return json.dumps(canonical(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256_of(value: Any) -> str:
    """Returns the SHA-256 (64 hex digits) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def sha256_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the SHA-256 of the names, dtypes, shapes and bytes of arrays, in the order of their names.

    Raises:
        ValueError: an array contains Python objects, whose bytes are addresses.
    """
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")  # ascontiguousarray would make () the shape (1,)
        if array.dtype.hasobject:
            raise ValueError(f"array '{name}': got Python objects, expected numbers: objects have no fixed bytes")
        digest.update(canonical_json([name, array.dtype.str, list(array.shape)]).encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
