"""Digits: 1,797 grey 8x8 images of handwritten digits, shipped with scikit-learn.

Alpaydin, Kaynak 1998, "Optical recognition of handwritten digits" (UCI), the test part. Its 17 grey
levels 0..16 become round(level * 255 / 16), a half rounded up: 0 is 0, 16 is 255, no two levels meet.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pruneaudit.data.source import GENERIC_MEAN, GENERIC_STD, NoOptions, RawData, Source

_MAX_LEVEL = 16


class Digits(Source[NoOptions]):
    """The digits of scikit-learn."""

    is_public = True
    Options = NoOptions

    def load(self, options: NoOptions, data_root: Path | None) -> RawData:
        """All images, in the order of scikit-learn; x is (1797, 1, 8, 8) uint8."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        level = digits.images.astype(np.int64)[:, None]  # (1797, 1, 8, 8), in 0..16
        x = ((level * 255 + _MAX_LEVEL // 2) // _MAX_LEVEL).astype(np.uint8)
        classes = tuple(str(digit) for digit in range(10))
        return RawData(x, digits.target.astype(np.int64), classes, (GENERIC_MEAN,), (GENERIC_STD,))

    def whereabouts(self, data_root: Path | None) -> str:
        """They came with scikit-learn."""
        return "shipped with scikit-learn"


SOURCE = Digits()
