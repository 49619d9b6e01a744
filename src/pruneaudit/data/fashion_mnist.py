"""Fashion-MNIST: all 70,000 grey 28x28 images of clothes in 10 classes (60,000 train, then 10,000 test).

Xiao, Rasul, Vollgraf 2017 (arXiv:1708.07747). Read from the four idx files, compressed or not, which
the authors publish and Debian packages as `dataset-fashion-mnist`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.idx_images import Description, IdxImages, missing_files, read_part
from pruneaudit.data.idx_images import find_folder as _find_folder

__all__ = ["CLASSES", "DEBIAN_FOLDER", "MEAN", "SOURCE", "STD", "FashionMnist", "find_folder", "read_part"]

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
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
# SHA-256 as TensorFlow Datasets has them.
_PUBLISHED = (
    ("train-images-idx3-ubyte", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
    ("train-labels-idx1-ubyte", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
    ("t10k-images-idx3-ubyte", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
    ("t10k-labels-idx1-ubyte", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
)
ABOUT = Description(
    name="fashion_mnist",
    title="Fashion-MNIST",
    page="https://github.com/zalandoresearch/fashion-mnist",
    torchvision_folder="FashionMNIST",
    classes=CLASSES,
    mean=MEAN,
    std=STD,
    files={
        name: RemoteFile(f"{name}.gz", (f"{_URL}{name}.gz",), size, f"sha256:{digest}")
        for name, size, digest in _PUBLISHED
    },
    elsewhere=(DEBIAN_FOLDER,),
)


def find_folder(path: Path | None, data_root: Path) -> Path:
    """The folder of the idx files: at or in `path`, otherwise the first usual place that has them.

    Raises:
        UserError: they are nowhere.
    """
    folder = _find_folder(ABOUT, path, data_root, "train-images-idx3-ubyte")
    if folder is None:
        raise UserError(missing_files(ABOUT, path or data_root))
    return folder


class FashionMnist(IdxImages):
    """The whole of Fashion-MNIST."""

    def __init__(
        self, num_train: int = 60_000, num_test: int = 10_000, files: Mapping[str, RemoteFile] = ABOUT.files
    ) -> None:
        """Describes the files: how many images the training and the test part must hold."""
        super().__init__(dataclasses.replace(ABOUT, files=files), num_train, num_test)


SOURCE = FashionMnist()
