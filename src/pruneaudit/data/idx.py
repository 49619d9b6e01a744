"""Reads idx files, the format of MNIST and its relatives (http://yann.lecun.com/exdb/mnist/).

A file is two zero bytes, a type byte (8: unsigned byte), the number of dimensions, each dimension as
a big-endian 32-bit integer, then the values in row-major order.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from pruneaudit.core.errors import UserError

_UNSIGNED_BYTE = 8


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Reads an idx file of unsigned bytes, compressed if its name ends with `.gz`.

    The shape is an argument, not taken from the file, so that no header can make this read more.

    Args:
        path: the file.
        shape: the expected shape.

    Returns:
        uint8 array of that shape, in 0..255.

    Raises:
        UserError: the file is unreadable, is not such an idx file, has another shape, is cut short, or
            continues after its last value.
    """
    size = math.prod(shape)
    try:
        with _opened(path) as file:
            _check_header(path, file.read(4 + 4 * len(shape)), shape)
            # One byte more than expected: detects files that are too long, and makes gzip verify its checksum.
            values = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error}); expected a whole idx file: download it again") from None
    if len(values) != size:
        got = f"only {len(values)}" if len(values) < size else "more"
        raise UserError(f"{path}: got {got} of the {size} values that its header announces: download it again")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _check_header(path: Path, header: bytes, shape: tuple[int, ...]) -> None:
    magic = struct.pack(">HBB", 0, _UNSIGNED_BYTE, len(shape))
    if header[:4] != magic:
        raise UserError(
            f"{path}: starts with {header[:4].hex() or 'nothing'}, expected {magic.hex()}: "
            f"an idx file of unsigned bytes in {len(shape)} dimensions"
        )
    if len(header) < 4 + 4 * len(shape):
        raise UserError(f"{path}: ends within its header: download it again")
    got = struct.unpack(f">{len(shape)}I", header[4:])
    if got != shape:
        raise UserError(f"{path}: has values of shape {got}, expected {shape}")
