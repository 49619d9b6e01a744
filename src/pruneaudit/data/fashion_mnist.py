"""Fashion-MNIST: all 70,000 grey 28x28 images of clothes in 10 classes (60,000 train, then 10,000 test).

Xiao, Rasul, Vollgraf 2017 (arXiv:1708.07747). Read from the four idx files, compressed or not, which
the authors publish and Debian packages as `dataset-fashion-mnist`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pruneaudit.data.idx import read_idx
from pruneaudit.data.source import PathOptions, RawData, Source, default_data_root
from pruneaudit.errors import UserError

# N samples

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
# The constants that are in use for this data set everywhere: those of its published training images.
MEAN = (0.286,)
STD = (0.353,)
HEIGHT = WIDTH = 28
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FIRST_FILE = "train-images-idx3-ubyte"


class FashionMnist(Source[PathOptions]):
    """The whole of Fashion-MNIST."""

    Options = PathOptions

    def __init__(self, num_train: int = 60_000, num_test: int = 10_000) -> None:
        """Describes the files: how many images the training and the test part must hold."""
        self._parts = {"train": num_train, "t10k": num_test}

    def load(self, options: PathOptions, data_root: Path | None) -> RawData:
        """Training images, then test images; x is (N, 1, 28, 28) uint8."""
        folder = find_folder(options.path, data_root or default_data_root())
        parts = [read_part(folder, part, count) for part, count in self._parts.items()]
        x = np.concatenate([images for images, _ in parts])[:, None]  # (N, 1, 28, 28)
        y = np.concatenate([labels for _, labels in parts]).astype(np.int64)  # (N,)
        return RawData.from_file(folder, x, y, CLASSES, MEAN, STD)


def read_part(folder: Path, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The images (count, 28, 28) and labels (count,) of one part, both uint8.

    Args:
        folder: where the idx files are.
        part: `train` or `t10k`, as file names have it.
        count: how many images the part must hold.

    Raises:
        UserError: a file is missing or malformed.
    """
    images = read_idx(_file(folder, f"{part}-images-idx3-ubyte"), (count, HEIGHT, WIDTH))
    labels = read_idx(_file(folder, f"{part}-labels-idx1-ubyte"), (count,))
    return images, labels


def find_folder(path: Path | None, data_root: Path) -> Path:
    """The folder of the idx files: `path`, otherwise the first usual place that has them.

    Raises:
        UserError: they are nowhere.
    """
    places = [path.expanduser()] if path else [data_root / "fashion_mnist", DEBIAN_FOLDER]
    for place in places:
        if (place / FIRST_FILE).is_file() or (place / f"{FIRST_FILE}.gz").is_file():
            return place
    raise UserError(
        f"Fashion-MNIST: no {FIRST_FILE} or {FIRST_FILE}.gz in {' or '.join(map(str, places))}; put the four idx files "
        f"(https://github.com/zalandoresearch/fashion-mnist) into {places[0]}, or name their folder: "
        "data.source = 'fashion_mnist:FOLDER'"
    )


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UserError(f"{folder / name}: missing; expected it or {name}.gz beside {FIRST_FILE}")


SOURCE = FashionMnist()
