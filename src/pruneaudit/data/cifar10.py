"""CIFAR-10: all 60,000 colour 32x32 images in 10 classes (50,000 train, then 10,000 test).

Krizhevsky 2009; `cifar.py` lists the supported forms.
"""

from __future__ import annotations

from pruneaudit.data.cifar import Cifar, Form
from pruneaudit.data.download import RemoteFile

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
"""From Yuan & Zhang 2022 (arXiv:2202.03335), who also use them for CIFAR-100. The deviations are means of the
deviations within images, which are smaller than those over all pixels (0.2470, 0.2435, 0.2616)."""
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
ARCHIVE = "cifar-10-binary.tar.gz"
BINARY = RemoteFile(
    ARCHIVE,
    ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
    170_052_171,
    "sha256:c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",  # of TensorFlow Datasets
)
PYTHON = RemoteFile(
    "cifar-10-python.tar.gz",
    ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
    checksum="md5:c58f30108f718f92721af3b95e74349a",  # of the authors' page
)
FOLDER = "cifar-10-batches-bin"
PYTHON_FOLDER = "cifar-10-batches-py"
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


class Cifar10(Cifar):
    """The whole of CIFAR-10."""

    semantics_version = 2
    """2: the deviations that Yuan & Zhang use."""

    def __init__(
        self,
        records_per_file: int = 10_000,
        binary: RemoteFile = BINARY,
        python: RemoteFile = PYTHON,
    ) -> None:
        """Sets the files, and the number of images in each of the six."""
        binary_form = Form(FOLDER, binary, dict.fromkeys(FILES, records_per_file), is_binary=True)
        names = [name.removesuffix(".bin") for name in FILES]
        python_form = Form(PYTHON_FOLDER, python, dict.fromkeys(names, records_per_file), is_binary=False)
        super().__init__("cifar10", "CIFAR-10", CLASSES, 1, "labels", (binary_form, python_form), (MEAN, STD))


SOURCE = Cifar10()
