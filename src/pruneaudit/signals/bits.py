"""Bits of many models, stored eight to a byte: the masks of 128 networks of 11 million weights take 176 MB."""

# M models, D bits, n bits at once

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from pruneaudit.signals.arrays import as_bool

BITS_AT_ONCE = 2**14
"""A multiple of 8; the same on every machine, as the size of a block can change the last digit of a sum."""


class Bits:
    """(M, D) bool, kept eight to a byte; `numpy.asarray` unpacks it.

    Example:
        >>> bits = Bits.of(np.array([[True, False, True], [True, True, True]]))
        >>> bits.shape, bits.num_varying
        ((2, 3), 1)
        >>> np.asarray(bits[np.array([1])]).tolist()
        [[True, True, True]]
    """

    def __init__(self, packed: np.ndarray, num_bits: int) -> None:
        """Takes bits that are packed.

        Args:
            packed: (M, ceil(D / 8)) uint8 as `numpy.packbits` gives it, each model's bits padded with 0.
            num_bits: D.
        """
        self._packed, self._num_bits = packed, num_bits

    @classmethod
    def of(cls, rows: Sequence[np.ndarray] | np.ndarray) -> Bits:
        """Packs each model's bits (D,)."""
        return cls(np.stack([np.packbits(row) for row in rows]), len(rows[0]))

    @property
    def shape(self) -> tuple[int, int]:
        """(M, D)."""
        return len(self._packed), self._num_bits

    @property
    def ndim(self) -> int:
        """2."""
        return 2

    @property
    def dtype(self) -> np.dtype[np.bool_]:
        """Bool, as of the array that it stands for."""
        return np.dtype(bool)

    @property
    def num_varying(self) -> int:
        """The number of bits in which any two models differ."""
        differ = np.bitwise_or.reduce(self._packed, axis=0) ^ np.bitwise_and.reduce(self._packed, axis=0)
        return int(np.unpackbits(differ).sum())

    def __getitem__(self, rows: np.ndarray) -> Bits:
        """The bits of some of the models."""
        return Bits(self._packed[rows], self._num_bits)

    def blocks(self) -> Iterator[np.ndarray]:
        """Yields all bits, (M, n) bool, at most `BITS_AT_ONCE` at a time."""
        for start in range(0, self._num_bits, BITS_AT_ONCE):
            size = min(BITS_AT_ONCE, self._num_bits - start)
            part = self._packed[:, start // 8 : (start + size + 7) // 8]
            yield np.unpackbits(part, axis=1, count=size).astype(bool)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """All bits, (M, D) bool, unpacked into a new array."""
        found = np.unpackbits(self._packed, axis=1, count=self._num_bits).view(bool)
        return found if dtype is None else found.astype(dtype)


def as_bits(name: str, value: np.ndarray | Bits | None) -> Bits | None:
    """Zeros and ones (M, D), packed.

    Args:
        name: the key, for messages.
        value: numbers or bool, or bits that are packed already.

    Raises:
        UserError: there are other values.
    """
    if value is None or isinstance(value, Bits):
        return value
    rows = (as_bool(name, row) for row in value)  # row by row: a copy of all would not fit
    return Bits(np.stack([np.packbits(row) for row in rows if row is not None]), value.shape[1])
