"""Pickles of arrays are read; pickles that name anything else are refused before it happens."""

from __future__ import annotations

import io
import os
import pickle
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.array_pickle import read_array_pickle

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 4), dtype=np.uint8)


def read(content: bytes) -> dict[str, Any]:
    return read_array_pickle(io.BytesIO(content), "batch")


@pytest.mark.parametrize("protocol", [3, 4])
@pytest.mark.parametrize("array", [IMAGES, np.asfortranarray(IMAGES), IMAGES[:, 0], IMAGES[:0]])
def test_arrays_come_back(protocol: int, array: np.ndarray) -> None:
    found = read(pickle.dumps({"data": array, b"labels": [1, 2, 3], "name": "x"}, protocol))
    np.testing.assert_array_equal(found["data"], array)
    assert found["data"].dtype == np.uint8
    assert found["labels"] == [1, 2, 3]


def python2_pickle(array: np.ndarray, label_key: bytes, labels: list[int]) -> bytes:
    """What Python 2 wrote, opcode by opcode: texts and array contents are its byte strings."""

    def text(value: bytes) -> bytes:
        return (b"U" + bytes([len(value)]) if len(value) < 256 else b"T" + struct.pack("<i", len(value))) + value

    shape = b"".join(b"M" + struct.pack("<H", length) for length in array.shape)
    dtype = b"cnumpy\ndtype\n" + text(b"u1") + b"K\x00K\x01\x87R(K\x03" + text(b"|") + b"NNNJ\xff\xff\xff\xff" * 1
    dtype += b"J\xff\xff\xff\xffK\x00tb"
    made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
    filled = made + b"(K\x01(" + shape + b"t" + dtype + b"\x89" + text(array.tobytes()) + b"tb"
    listed = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"data") + filled + text(label_key) + listed + b"u."


def test_the_pickles_of_python_2_are_read() -> None:
    large = np.random.default_rng(1).integers(0, 256, (20, 3072), dtype=np.uint8)
    content = python2_pickle(large, b"fine_labels", list(range(20)))
    found = pickle.loads(content, encoding="bytes")  # noqa: S301  (our own: shows that the bytes are a real pickle)
    np.testing.assert_array_equal(found[b"data"], large)
    np.testing.assert_array_equal(read(content)["data"], large)
    assert read(content)["fine_labels"] == list(range(20))


class RunsCode:
    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self._path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_with_code_in_it_is_refused_before_it_runs(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps({"data": RunsCode(tmp_path / "ran")}, protocol)
    with pytest.raises(UserError, match=r"^batch: .*\w+\.mkdir, .* could run code"):
        read(content)
    assert not (tmp_path / "ran").exists()
    pickle.loads(content)  # noqa: S301  (shows that it would have run)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps({"data": np.array([{}], object)}, 4), "'data': .* plain bytes"),
        (pickle.dumps({"data": np.zeros(3)}, 4), "'data': .* plain bytes"),
        (pickle.dumps({"data": OrderedDict(a=1)}), "collections.OrderedDict"),
        (pickle.dumps([1, 2]), "contains a list"),
        (pickle.dumps({"data": IMAGES}, 4)[:-30], "cannot be read"),
        (b"", "cannot be read"),
        (b"\x80\x04Pabc\n.", "cannot be read|external object"),
        (b"\x80\x04\x8c\x03abcQ.", "external object"),
        (b"cbuiltins\neval\n(S'1'\ntR.", "builtins.eval"),
        (b"cnumpy\nndarray.tofile\n.", "numpy.ndarray.tofile"),
        (b"cnumpy\nload\n.", "numpy.load"),
    ],
)
def test_anything_else_is_refused_in_a_line(content: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(content)
    assert str(caught.value).startswith("batch: ")


def test_a_shape_that_the_content_does_not_have_is_refused() -> None:
    content = pickle.dumps({"data": IMAGES}, 4)
    wrong = content.replace(b"K\x03K\x04\x86", b"K\x03K\x05\x86")
    assert wrong != content
    with pytest.raises(UserError, match="'data' is not a whole array"):
        read(wrong)


def test_a_pickle_that_changes_the_stand_ins_changes_nothing_for_the_next() -> None:
    # BUILD with a dict sets attributes of what stands below it: here of the class behind the name numpy.ndarray.
    changes = b"\x80\x04cnumpy\nndarray\nN}\x8c\x08as_array\x8c\x01xs\x86b."
    with pytest.raises(UserError):
        read(changes)
    np.testing.assert_array_equal(read(pickle.dumps({"data": IMAGES}, 4))["data"], IMAGES)
