"""RawData refuses what no network could train on; sources are found by name and import no torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.data import SOURCES
from pruneaudit.data.source import NoOptions, RawData, Source, default_data_root

IMAGES = np.zeros((4, 1, 2, 2), np.uint8)
TABLE = np.zeros((4, 3), np.float32)
LABELS = np.array([0, 1, 0, 1])
UNIT = {"mean": (0.5,), "std": (0.25,)}


@pytest.mark.parametrize("name", SOURCES.names())
def test_every_source_is_complete(name: str) -> None:
    source = SOURCES.get(name)
    assert isinstance(source, Source)
    assert issubclass(source.Options, Options)
    assert source.semantics_version >= 1
    assert SOURCES.summary(name)


def test_sources_import_no_torch() -> None:
    code = (
        "import sys; from pruneaudit.data import SOURCES, audit_data, splits; "
        "[SOURCES.get(name) for name in SOURCES.names()]; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_data_root_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PRUNEAUDIT_DATA", str(tmp_path))
    assert default_data_root() == tmp_path
    monkeypatch.delenv("PRUNEAUDIT_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_data_root() == tmp_path / ".cache" / "pruneaudit"


def test_images_and_tables_are_accepted() -> None:
    assert RawData(IMAGES, LABELS, ("a", "b"), **UNIT).mean == (0.5,)
    assert RawData(TABLE, LABELS, ("a", "b")).mean is None
    assert RawData(IMAGES.astype(np.float32), LABELS, ("a", "b")).std is None


@pytest.mark.parametrize(
    ("x", "y", "classes", "scale", "message"),
    [
        (IMAGES.astype(np.int32), LABELS, ("a", "b"), UNIT, "got int32"),
        (IMAGES[:, 0], LABELS, ("a", "b"), UNIT, r"shape \(4, 2, 2\)"),
        (TABLE.astype(np.uint8), LABELS, ("a", "b"), UNIT, "expected .N, channels"),
        (TABLE[:0], LABELS[:0], ("a", "b"), {}, "is empty"),
        (np.array([[0.0], [0.0], [np.nan], [0.0]], np.float32), LABELS, ("a", "b"), {}, "first in row 2"),
        (np.array([[0.0], [np.inf], [0.0], [0.0]], np.float32), LABELS, ("a", "b"), {}, "first in row 1"),
        (TABLE, LABELS[:3], ("a", "b"), {}, r"expected int64 of shape \(4,\)"),
        (TABLE, LABELS.astype(float), ("a", "b"), {}, "got float64"),
        (TABLE, LABELS - 1, ("a", "b"), {}, r"labels -1\.\.0, expected 0\.\.1"),
        (TABLE, LABELS + 1, ("a", "b"), {}, r"labels 1\.\.2, expected 0\.\.1"),
        (TABLE, LABELS, ("a", "a"), {}, "all different"),
        (TABLE, LABELS * 0, ("a",), {}, "label .a.*2 or more"),
        (TABLE, LABELS, ("a", "b"), UNIT, "float data"),
        (IMAGES, LABELS, ("a", "b"), {}, "each of 1 channels"),
        (IMAGES, LABELS, ("a", "b"), {"mean": (0.5, 0.5), "std": (0.2, 0.2)}, "each of 1 channels"),
        (IMAGES, LABELS, ("a", "b"), {"mean": (127.5,), "std": (0.2,)}, r"units of \[0, 1\]"),
        (IMAGES, LABELS, ("a", "b"), {"mean": (0.5,), "std": (0.0,)}, "std above 0"),
    ],
)
def test_what_is_wrong_is_said(x: np.ndarray, y: np.ndarray, classes: tuple, scale: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        RawData(x, y, classes, **scale)


def test_digits_keep_their_17_grey_levels() -> None:
    from sklearn.datasets import load_digits

    raw = SOURCES.get("digits").load(NoOptions(), None)
    assert raw.x.shape == (1797, 1, 8, 8)
    assert raw.x.dtype == np.uint8
    theirs = load_digits()
    level = theirs.images[:, None]
    assert [int(raw.x[level == value].max()) for value in (0, 1, 8, 15, 16)] == [0, 16, 128, 239, 255]
    np.testing.assert_array_equal(np.rint(raw.x / 255 * 16), level)
    assert len(np.unique(raw.x)) == 17
    assert raw.classes[int(raw.y[0])] == "0"
    np.testing.assert_array_equal(raw.y, theirs.target)
