"""MNIST and Fashion-MNIST: grey images of 28x28 pixels in idx files.

Both consist of four idx files, compressed or not, as published. torchvision stores them in `NAME/raw`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.download import UNCHECKED, RemoteFile, obtain, readable_bytes, trust, verify
from pruneaudit.data.idx import read_idx
from pruneaudit.data.source import RawData, Source, SplitOptions, default_data_root

# N samples

HEIGHT = WIDTH = 28
PARTS = {"all": ("train", "t10k"), "train": ("train",), "test": ("t10k",)}
"""The parts in file names, by the option `split`."""


@dataclass(frozen=True)
class Description:
    """One data set of this kind."""

    name: str
    """The name of the source, and of its folder among the data sets."""
    title: str
    page: str
    torchvision_folder: str
    classes: tuple[str, ...]
    mean: tuple[float]
    std: tuple[float]
    files: Mapping[str, RemoteFile]
    """The compressed files, by their names without `.gz`."""
    elsewhere: tuple[Path, ...] = ()
    """Other default places."""


class IdxImages(Source[SplitOptions]):
    """A whole data set in idx files of 28x28 grey images."""

    is_public = True
    about: ClassVar[Description]
    """The data set as it was published."""

    def __init__(
        self, num_train: int = 60_000, num_test: int = 10_000, files: Mapping[str, RemoteFile] | None = None
    ) -> None:
        """Sets the files, and the numbers of training and test images; default: as published."""
        self._about = self.about if files is None else dataclasses.replace(self.about, files=files)
        self._counts = {"train": num_train, "t10k": num_test}

    def load(self, options: SplitOptions, data_root: Path | None) -> RawData:
        """Loads training images, then test images; x is (N, 1, 28, 28) uint8."""
        about, parts = self._about, PARTS[options.split]
        root = data_root or default_data_root()
        folder = find_folder(about, options.path, root, file_names(parts[0])[0])
        if folder is None and options.path is not None:
            raise UserError(missing_files(about, options.path))
        names = [name for part in parts for name in file_names(part)]
        if folder is None or (
            options.path is None and folder == root / about.name
        ):  # absent, or only partly downloaded
            folder = root / about.name
            obtain([about.files[name] for name in names if not (folder / name).is_file()], folder, about.title)
        elif (
            options.path is None and folder not in about.elsewhere
        ):  # copies in `elsewhere` are repacked, so their bytes differ
            _verify(about, folder, names)
        read = [read_part(folder, part, self._counts[part]) for part in parts]
        x = np.concatenate([images for images, _ in read])[:, None]  # (N, 1, 28, 28)
        y = np.concatenate([labels for _, labels in read]).astype(np.int64)  # (N,)
        return RawData.from_file(folder, x, y, about.classes, about.mean, about.std)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page of the data set, the size of its files, and the path of local copies."""
        about, first = self._about, file_names("train")[0]
        folder = find_folder(about, None, data_root or default_data_root(), first)
        size = sum(file.num_bytes or 0 for file in about.files.values())
        said = f"{about.page}; {readable_bytes(size)}; "
        if folder is None:
            return said + "not downloaded"
        is_checked = folder not in about.elsewhere and not (folder / first).is_file()
        return said + f"found: {folder} ({trust(folder / first, about.files[first]) if is_checked else UNCHECKED})"


def file_names(part: str) -> tuple[str, str]:
    """Returns the file names of the images and of the labels of a part, without `.gz`."""
    return f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"


def read_part(folder: Path, part: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads the images (count, 28, 28) and labels (count,) of one part, both uint8.

    Args:
        folder: the folder of the idx files.
        part: `train` or `t10k`, as in file names.
        count: the expected number of images.

    Raises:
        UserError: a file is missing or malformed.
    """
    images, labels = file_names(part)
    return (
        read_idx(_file(folder, images), (count, HEIGHT, WIDTH)),
        read_idx(_file(folder, labels), (count,)),
    )


def find_folder(about: Description, path: Path | None, data_root: Path, first_file: str) -> Path | None:
    """Finds the first folder with `first_file` or its compressed form: at or in `path`, otherwise a default place."""
    layout = Path(about.torchvision_folder) / "raw"
    if path is not None:
        places = [path.expanduser(), path.expanduser() / layout]
    else:
        places = [data_root / about.name, data_root / layout, data_root / about.name / layout, *about.elsewhere]
    for place in places:
        if (place / first_file).is_file() or (place / f"{first_file}.gz").is_file():
            return place
    return None


def missing_files(about: Description, path: Path) -> str:
    """Returns the error for files missing in `path`, with how to fix it, in one line."""
    first = file_names("train")[0]
    return (
        f"{about.title}: no {first} or {first}.gz in {path}; put the four idx files ({about.page}) there, or give "
        f"their folder: data.source = '{about.name}:FOLDER'"
    )


def _verify(about: Description, folder: Path, names: list[str]) -> None:
    """Verifies the compressed files to read."""
    for name in names:
        if not (folder / name).is_file() and (folder / f"{name}.gz").is_file():
            verify(folder / f"{name}.gz", about.files[name], record=True)


def _file(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise UserError(f"{folder / name}: missing; expected this file or {name}.gz in the folder of the other idx files")


def _gzipped(addresses: tuple[str, ...], *published: tuple[str, int, str]) -> dict[str, RemoteFile]:
    """Returns the compressed files by name, from name, size in bytes and SHA-256 (from TensorFlow Datasets)."""
    return {
        name: RemoteFile(f"{name}.gz", tuple(f"{address}{name}.gz" for address in addresses), size, f"sha256:{digest}")
        for name, size, digest in published
    }


# The authors' server no longer serves the files; these two copies have the same bytes.
_MNIST_URLS = ("https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/")
# `mean` and `std` are the widely used values for these data sets, from their training images.
MNIST = Description(
    name="mnist",
    title="MNIST",
    page="http://yann.lecun.com/exdb/mnist/",
    torchvision_folder="MNIST",
    classes=tuple("0123456789"),
    mean=(0.1307,),
    std=(0.3081,),
    files=_gzipped(
        _MNIST_URLS,
        ("train-images-idx3-ubyte", 9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        ("train-labels-idx1-ubyte", 28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        ("t10k-images-idx3-ubyte", 1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        ("t10k-labels-idx1-ubyte", 4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
)


class Mnist(IdxImages):
    """MNIST: all 70,000 grey 28x28 images of handwritten digits in 10 classes (60,000 train, then 10,000 test).

    LeCun, Bottou, Bengio, Haffner 1998, "Gradient-based learning applied to document recognition". Reads the four
    idx files, compressed or not.
    """

    about = MNIST


_FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN_FOLDER = Path("/usr/share/datasets/fashion-mnist")
FASHION_MNIST = Description(
    name="fashion_mnist",
    title="Fashion-MNIST",
    page="https://github.com/zalandoresearch/fashion-mnist",
    torchvision_folder="FashionMNIST",
    classes=(
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
    ),
    mean=(0.286,),
    std=(0.353,),
    files=_gzipped(
        (_FASHION_URL,),
        ("train-images-idx3-ubyte", 26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        ("train-labels-idx1-ubyte", 29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        ("t10k-images-idx3-ubyte", 4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        ("t10k-labels-idx1-ubyte", 5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    elsewhere=(DEBIAN_FOLDER,),
)


class FashionMnist(IdxImages):
    """Fashion-MNIST: all 70,000 grey 28x28 images of clothes in 10 classes (60,000 train, then 10,000 test).

    Xiao, Rasul, Vollgraf 2017 (arXiv:1708.07747). Reads the four idx files, compressed or not, which
    the authors publish and Debian packages as `dataset-fashion-mnist`.
    """

    about = FASHION_MNIST


SOURCE = {"mnist": Mnist(), "fashion_mnist": FashionMnist()}
