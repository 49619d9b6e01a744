"""Copies: samples of a data set with equal x and any labels.

If a sample is in the data twice, and membership is drawn for each row, it can be a member and a non-member at once: the
model was trained on the "non-member" through the other row. An audit that counts both rows then underestimates the
leakage. Near-duplicates (scaled or shifted pictures) are not detected.
"""

# N samples, R rows of the source, G different ones

from __future__ import annotations

import hashlib

import numpy as np

BLOCK_BYTES = 1 << 24


def first_equal(x: np.ndarray) -> np.ndarray:
    """Returns for each sample the index of the first sample equal to it, or its own index.

    Args:
        x: (N, ...) numbers, compared by value, so that 0.0 equals -0.0.

    Returns:
        (N,) int64; `arange(N)` if no two samples are equal.
    """
    rows = x.reshape(len(x), -1)
    places: dict[bytes, int] = {}
    found = np.empty(len(rows), np.int64)
    step = max(1, BLOCK_BYTES // max(1, rows[:1].nbytes))
    for start in range(0, len(rows), step):
        block = np.ascontiguousarray(rows[start : start + step])
        if block.dtype.kind == "f":
            block = block + 0  # converts -0.0 to 0.0
        for place, row in enumerate(block, start):
            found[place] = places.setdefault(hashlib.sha256(row).digest(), place)
    return found


def originals(order: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the distinct rows of a source, in the order of drawing.

    Args:
        order: (r,) int, the rows to draw from, in a random order.
        first: (R,) int, from `first_equal`.

    Returns:
        (G,) int, the first row of each group of equal rows, in that order; and (r,) int, the index of the group of each
        row, in that order.
    """
    _, begins, group = np.unique(first[order], return_index=True, return_inverse=True)
    rank = np.empty(len(begins), np.int64)
    rank[np.argsort(begins)] = np.arange(len(begins))
    return order[np.sort(begins)], rank[group]
