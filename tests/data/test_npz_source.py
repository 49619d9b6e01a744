"""Users' own files: every layout that is documented, every malformation in one line."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.data.npz import NpzOptions
from pruneaudit.data.source import RawData

LABELS = np.array([0, 1, 2, 1, 0, 2])
TABLE = np.random.default_rng(0).normal(size=(6, 5))


def load(path: Path) -> RawData:
    return SOURCES.get("npz").load(NpzOptions(path=path), None)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "own.npz", **arrays)
    return folder / "own.npz"


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 28, 28), (6, 1, 28, 28)),
        ((6, 3, 8, 8), (6, 3, 8, 8)),
        ((6, 1, 8, 9), (6, 1, 8, 9)),
        ((6, 8, 9, 3), (6, 3, 8, 9)),
        ((6, 8, 9, 1), (6, 1, 8, 9)),
        ((6, 4, 8, 9), (6, 4, 8, 9)),
        ((6, 3, 8, 3), (6, 3, 8, 3)),
        ((6, 1, 3, 3), (6, 1, 3, 3)),
    ],
)
def test_layout_of_images(tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    raw = load(saved(tmp_path, x=x, y=LABELS))
    assert raw.x.shape == expected
    assert raw.mean == (0.5,) * expected[1]
    assert raw.std == (0.25,) * expected[1]
    if x.ndim == 4 and shape != expected:
        assert raw.x[4, 0, 7, 2] == x[4, 7, 2, 0]
    else:
        np.testing.assert_array_equal(raw.x, x.reshape(expected))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8"])
def test_tables_and_float_images_are_taken_as_they_are(tmp_path: Path, dtype: Any) -> None:
    raw = load(saved(tmp_path, x=TABLE.astype(dtype), y=LABELS))
    assert raw.x.dtype == np.float32
    assert raw.mean is raw.std is None
    np.testing.assert_array_equal(raw.x, TABLE.astype(dtype).astype(np.float32))
    images = TABLE.reshape(6, 1, 5, 1).astype(dtype)
    assert load(saved(tmp_path, x=images, y=LABELS)).x.shape == (6, 1, 5, 1)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, ">i4"])
def test_labels_of_any_integer_type(tmp_path: Path, dtype: Any) -> None:
    raw = load(saved(tmp_path, x=TABLE, y=LABELS.astype(dtype)))
    assert raw.y.dtype == np.int64
    assert raw.y.tolist() == LABELS.tolist()
    assert raw.classes == ("0", "1", "2")


def test_class_names(tmp_path: Path) -> None:
    assert load(saved(tmp_path, x=TABLE, y=LABELS, classes=["cat", "dog", "owl"])).classes == ("cat", "dog", "owl")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": TABLE}, "no array 'y' among x"),
        ({"data": TABLE, "y": LABELS}, "no array 'x' among data, y"),
        ({"x": TABLE.astype(object), "y": LABELS}, "never loaded"),
        ({"x": TABLE, "y": LABELS.astype(object)}, "never loaded"),
        ({"x": TABLE.astype(complex), "y": LABELS}, "got complex128"),
        ({"x": TABLE.astype(int), "y": LABELS}, r"got int64, expected .* x.astype\('float32'\)"),
        ({"x": TABLE.astype(np.uint8), "y": LABELS}, r"for a table, x.astype\('float32'\)"),
        ({"x": TABLE[:, 0], "y": LABELS}, r"shape \(6,\)"),
        ({"x": np.float64(1), "y": LABELS}, r"shape \(\)"),
        ({"x": TABLE[:, :, None], "y": LABELS}, "expected a table"),
        ({"x": np.zeros((6, 8, 8, 4), np.uint8), "y": LABELS}, "no axis is clearly the channels"),
        ({"x": np.zeros((0, 5)), "y": LABELS[:0]}, "is empty"),
        ({"x": np.where(TABLE[1, 1] == TABLE, np.nan, TABLE), "y": LABELS}, "first in row 1"),
        ({"x": TABLE * 1e300, "y": LABELS}, "infinity"),
        ({"x": TABLE, "y": LABELS.astype(float)}, r"got float64, expected integer labels: y.astype\('int64'\)"),
        ({"x": TABLE, "y": LABELS.astype(str)}, "expected integer labels"),
        ({"x": TABLE, "y": LABELS - 1}, r"labels -1\.\.1"),
        ({"x": TABLE, "y": LABELS.astype(np.uint64) + 2**63}, "number the classes from 0"),
        ({"x": TABLE, "y": LABELS[:5]}, r"int64 of shape \(5,\)"),
        ({"x": TABLE, "y": LABELS[:, None]}, r"int64 of shape \(6, 1\)"),
        ({"x": TABLE, "y": LABELS * 0}, "2 or more"),
        ({"x": TABLE, "y": LABELS, "classes": ["cat", "dog"]}, r"labels 0\.\.2, expected 0\.\.1"),
        ({"x": TABLE, "y": LABELS, "classes": [b"a", b"b", b"c"]}, "list of texts"),
        ({"x": TABLE, "y": LABELS, "classes": "abc"}, "list of texts"),
    ],
)
def test_malformed_arrays(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    path = saved(tmp_path, **arrays)
    with pytest.raises(UserError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_malformed_files(tmp_path: Path) -> None:
    whole = saved(tmp_path, x=TABLE, y=LABELS).read_bytes()
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    np.save(tmp_path / "array.npy", TABLE)
    (tmp_path / "cut.npz").write_bytes(whole[:300])
    (tmp_path / "flipped.npz").write_bytes(flipped)
    (tmp_path / "text.npz").write_text("hello")
    with zipfile.ZipFile(tmp_path / "foreign.npz", "w") as archive:
        archive.writestr("x", b"not an array")
        archive.writestr("y", b"nor this")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    for name in ("array.npy", "cut.npz", "flipped.npz", "text.npz", "foreign.npz", "empty.npz", "absent.npz", "."):
        with pytest.raises(UserError) as caught:
            load(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: ")


@pytest.mark.parametrize(("classes", "known"), [(None, False), (["a", "b", "c", "d", "e", "f", "g"], True)])
def test_a_class_may_have_no_sample(tmp_path: Path, classes: list[str] | None, known: bool) -> None:
    given = {} if classes is None else {"classes": classes}
    raw = SOURCES.get("npz").load(NpzOptions(path=saved(tmp_path, x=TABLE, y=LABELS * 3, **given)), None)
    assert raw.y.tolist() == (LABELS * 3).tolist()
    assert len(raw.classes) == 7
    assert raw.classes_known is known
