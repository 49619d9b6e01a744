"""Reads pickles that hold plain data and arrays of bytes, and can hold nothing else.

A pickle is a program: it may call whatever it can name. Here it can name three things, and gets a stand-in for each:
what NumPy says when it pickles an array. The arrays are then made from what the stand-ins collected, after a check.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import IO, Any

import numpy as np

from pruneaudit.core.errors import UserError


def read_array_pickle(file: IO[bytes], name: str) -> dict[str, Any]:
    """The dict that a pickle holds, its keys as texts, byte arrays in it as uint8 arrays.

    Args:
        file: open for reading.
        name: what it is called in messages.

    Raises:
        UserError: it names anything but arrays, holds arrays of another type than uint8, no dict, or is damaged.
    """
    data = file.read()
    try:
        _check_sizes(data)
        content = _unpickler(io.BytesIO(data)).load()
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # a damaged pickle raises anything from EOFError to AttributeError
        raise UserError(
            f"{name}: cannot be read ({error or type(error).__name__}), expected a pickle of arrays: get it again"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{name}: holds a {type(content).__name__}, expected a dict of arrays: get it again")
    found = {}
    for key, value in content.items():
        text = key.decode("latin1") if isinstance(key, bytes) else str(key)
        found[text] = value.as_array(f"{name}: '{text}'") if hasattr(value, "as_array") else value
    return found


def _check_sizes(data: bytes) -> None:
    """Refuses a pickle whose instructions ask for more memory than it has bytes.

    The reader would make room for what an instruction announces before it looks whether that follows.

    Raises:
        UserError: one does.
        ValueError: it is cut short, or no pickle.
    """
    for instruction, argument, _ in pickletools.genops(data):  # reads every announced text: a short one is an error
        if instruction.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(data):
            raise UserError("asks for more memory than its content can need: get it again")


def _unpickler(file: IO[bytes]) -> pickle.Unpickler:
    """A fresh one: its classes are made anew, so that a pickle that changes one changes nothing for the next."""

    class ByteType:
        def __init__(self, *arguments: Any) -> None:
            self.arguments = arguments

        def __setstate__(self, state: Any) -> None:
            """The byte order, which a byte has none of."""

        @property
        def is_byte(self) -> bool:
            return bool(self.arguments) and self.arguments[0] in ("u1", b"u1")

    class Array:
        state: Any = None

        def __setstate__(self, state: Any) -> None:
            self.state = state

        def as_array(self, name: str) -> np.ndarray:
            try:
                _, shape, kind, is_fortran, content = self.state
                if not kind.is_byte:
                    raise UserError(f"{name} holds no plain bytes (uint8), expected nothing else")
                values = np.frombuffer(content, np.uint8)
                return values.reshape(tuple(shape), order="F" if is_fortran else "C")
            except (TypeError, ValueError, AttributeError) as error:
                raise UserError(f"{name} is no whole array ({error}): get it again") from None

    def new_array(*arguments: Any) -> Array:
        return Array()

    class OnlyArrays(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
                return new_array
            if module == "numpy" and name in ("ndarray", "dtype"):
                return ByteType if name == "dtype" else Array
            raise UserError(f"asks for {module}.{name}, expected nothing but arrays: it could run code; get it again")

        def persistent_load(self, key: Any) -> Any:
            raise UserError("asks for something outside itself, expected nothing but arrays: get it again")

    return OnlyArrays(file, encoding="bytes")
