"""5,000 training images of Fashion-MNIST, 500 per class, shipped with the program: nothing to download.

Grey 28x28 images of clothes (Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747), (c) Zalando SE, Expat
licence: see `embedded/LICENSE.fashion-mnist`. `scripts/make_embedded_data.py` drew them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import sha256_of_arrays
from pruneaudit.data.download import readable_bytes
from pruneaudit.data.idx_images import FASHION_MNIST
from pruneaudit.data.source import NoOptions, RawData, Source

FILE = Path(__file__).parent / "embedded" / "fashion_mnist_5k.npz"
SHA256 = "00e73161dc709c09068aade809604a0b562145a192aabc0e990033a6b42c465c"
"""Hash of the arrays `x` (5000, 28, 28) and `y` (5000,), both uint8."""


class FashionMnist5k(Source[NoOptions]):
    """The embedded part of Fashion-MNIST."""

    is_public = True

    def __init__(self, file: Path = FILE) -> None:
        """Sets the embedded file."""
        self._file = file

    def load(self, options: NoOptions, data_root: Path | None) -> RawData:
        """Loads all 5,000 images, in their original order; x is (5000, 1, 28, 28) uint8."""
        try:
            with self._file.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                x, y = arrays["x"], arrays["y"]  # (5000, 28, 28), (5000,)
        except Exception as error:  # a damaged file causes various errors of zip, zlib and npy
            raise UserError(f"{self._file}: cannot be read ({error}): reinstall pruneaudit") from None
        if sha256_of_arrays({"x": x, "y": y}) != SHA256:
            raise UserError(f"{self._file}: not the original images of pruneaudit: reinstall pruneaudit")
        full = FASHION_MNIST
        return RawData(x[:, None], y.astype(np.int64), full.classes, full.mean, full.std)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns that they are part of the program, and their size."""
        return f"shipped with pruneaudit; {readable_bytes(self._file.stat().st_size)}"


SOURCE = FashionMnist5k()
