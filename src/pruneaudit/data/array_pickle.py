"""Reads pickles of plain data and byte arrays, and refuses anything else.

A pickle is a program that can call whatever it can name. Here it can name only the three objects that NumPy uses to
pickle an array, and gets a stand-in for each. The arrays are then made from the checked content of the stand-ins.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import IO, Any

import numpy as np

from pruneaudit.core.errors import UserError


def read_array_pickle(file: IO[bytes], name: str) -> dict[str, Any]:
    """Reads the dict in a pickle, with keys as texts and byte arrays as uint8 arrays.

    Args:
        file: the file, open for reading.
        name: its name in messages.

    Raises:
        UserError: it names anything other than arrays, has arrays of a type other than uint8, is not a dict, or is
            damaged.
    """
    data = file.read()
    try:
        _check_sizes(data)
        content = _unpickler(io.BytesIO(data)).load()
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    except Exception as error:  # a damaged pickle raises anything from EOFError to AttributeError
        raise UserError(
            f"{name}: cannot be read ({error or type(error).__name__}), expected a pickle of arrays: download it again"
        ) from None
    if not isinstance(content, dict):
        raise UserError(f"{name}: contains a {type(content).__name__}, expected a dict of arrays: download it again")
    found = {}
    for key, value in content.items():
        text = key.decode("latin1") if isinstance(key, bytes) else str(key)
        found[text] = value.as_array(f"{name}: '{text}'") if hasattr(value, "as_array") else value
    return found


def _check_sizes(data: bytes) -> None:
    """Refuses a pickle whose instructions need more memory than it has bytes.

    The reader would allocate the announced memory before it checks that the content follows.

    Raises:
        UserError: an instruction needs too much memory.
        ValueError: it is cut short, or not a pickle.
    """
    for instruction, argument, _ in pickletools.genops(data):  # raises if an announced text is cut short
        if instruction.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(data):
            raise UserError("needs more memory than its content justifies: download it again")


def _unpickler(file: IO[bytes]) -> pickle.Unpickler:
    """Makes an unpickler with new classes, so that a pickle that modifies one does not affect the next."""

    class ByteType:
        def __init__(self, *arguments: Any) -> None:
            self.arguments = arguments

        def __setstate__(self, state: Any) -> None:
            """Ignores the byte order, which bytes do not have."""

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
                    raise UserError(f"{name}: expected an array of plain bytes (uint8)")
                values = np.frombuffer(content, np.uint8)
                return values.reshape(tuple(shape), order="F" if is_fortran else "C")
            except (TypeError, ValueError, AttributeError) as error:
                raise UserError(f"{name} is not a whole array ({error}): download it again") from None

    def new_array(*arguments: Any) -> Array:
        return Array()

    class OnlyArrays(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
                return new_array
            if module == "numpy" and name in ("ndarray", "dtype"):
                return ByteType if name == "dtype" else Array
            raise UserError(f"uses {module}.{name}, expected arrays only: it could run code; download it again")

        def persistent_load(self, key: Any) -> Any:
            raise UserError("refers to an external object, expected arrays only: download it again")

    return OnlyArrays(file, encoding="bytes")
