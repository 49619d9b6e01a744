"""Digits: 1,797 grey 8x8 images of handwritten digits, shipped with scikit-learn.

Alpaydin, Kaynak 1998, "Optical recognition of handwritten digits" (UCI), the test part. Its 17 grey
levels 0..16 become round(level * 255 / 16), halves rounded up: 0 to 0, 16 to 255, all levels distinct.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np

from pruneaudit.data.source import GENERIC_MEAN, GENERIC_STD, NoOptions, RawData, Source

_MAX_LEVEL = 16


class Digits(Source[NoOptions]):
    """The digits of scikit-learn."""

    is_public = True

    def load(self, options: NoOptions, data_root: Path | None) -> RawData:
        """Loads all images, in the order of scikit-learn; x is (1797, 1, 8, 8) uint8."""
        table = _table()
        level = table[:, :-1].reshape(-1, 1, 8, 8)  # (1797, 1, 8, 8), in 0..16
        x = ((level * 255 + _MAX_LEVEL // 2) // _MAX_LEVEL).astype(np.uint8)
        classes = tuple(str(digit) for digit in range(10))
        return RawData(x, table[:, -1], classes, (GENERIC_MEAN,), (GENERIC_STD,))

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns that they are part of scikit-learn."""
        return "shipped with scikit-learn"


def _table() -> np.ndarray:
    """Returns (1797, 65) int64: the levels of 64 pixels, row by row, and the digit.

    Reads the file of `sklearn.datasets.load_digits` directly: importing scikit-learn takes a second, which would be
    most of the time for showing a finished run.
    """
    package = find_spec("sklearn")
    places = (package.submodule_search_locations if package is not None else None) or ()
    for file in (Path(place, "datasets/data/digits.csv.gz") for place in places):
        if file.is_file():
            return np.loadtxt(file, delimiter=",").astype(np.int64)
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target]).astype(np.int64)


SOURCE = Digits()
