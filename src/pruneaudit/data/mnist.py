"""MNIST: all 70,000 grey 28x28 images of handwritten digits in 10 classes (60,000 train, then 10,000 test).

LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition". Read from the four idx
files, compressed or not.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from pruneaudit.data.download import RemoteFile
from pruneaudit.data.idx_images import Description, IdxImages

# The constants that are in use for this data set everywhere: those of its published training images.
MEAN = (0.1307,)
STD = (0.3081,)
# The authors' own server no longer gives the files out; these two copies have the bytes that it gave.
_URLS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
# SHA-256 as TensorFlow Datasets has them.
_PUBLISHED = (
    ("train-images-idx3-ubyte", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    ("train-labels-idx1-ubyte", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    ("t10k-images-idx3-ubyte", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    ("t10k-labels-idx1-ubyte", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
ABOUT = Description(
    name="mnist",
    title="MNIST",
    page="http://yann.lecun.com/exdb/mnist/",
    torchvision_folder="MNIST",
    classes=tuple("0123456789"),
    mean=MEAN,
    std=STD,
    files={
        name: RemoteFile(f"{name}.gz", tuple(f"{url}{name}.gz" for url in _URLS), size, f"sha256:{digest}")
        for name, size, digest in _PUBLISHED
    },
)


class Mnist(IdxImages):
    """The whole of MNIST."""

    def __init__(
        self, num_train: int = 60_000, num_test: int = 10_000, files: Mapping[str, RemoteFile] = ABOUT.files
    ) -> None:
        """Describes the files: how many images the training and the test part must hold."""
        super().__init__(dataclasses.replace(ABOUT, files=files), num_train, num_test)


SOURCE = Mnist()
