"""Copies: samples of a data set whose x is equal, whatever their labels.

A sample that stands in the data twice, with a coin for each row, is a member and a non-member at once: the row that
counts as a non-member was trained on under the other row's number. Its model remembers it, and an audit that counts
both rows says that the model leaks less than it does. Near-duplicates (a picture scaled or shifted)
are not looked for.
"""

# N samples

from __future__ import annotations

import hashlib

import numpy as np

BLOCK_BYTES = 1 << 24


def first_equal(x: np.ndarray) -> np.ndarray:
    """For each sample the place of the first one that is equal to it: its own, where none before it is.

    Args:
        x: (N, ...) numbers. Equal are values, so that 0.0 and -0.0 are.

    Returns:
        (N,) int64; `arange(N)` where no two samples are equal.
    """
    rows = x.reshape(len(x), -1)
    places: dict[bytes, int] = {}
    found = np.empty(len(rows), np.int64)
    step = max(1, BLOCK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        block = np.ascontiguousarray(rows[start : start + step])
        if block.dtype.kind == "f":
            block = block + 0  # makes -0.0 a 0.0
        for place, row in enumerate(block, start):
            found[place] = places.setdefault(hashlib.sha256(row).digest(), place)
    return found
