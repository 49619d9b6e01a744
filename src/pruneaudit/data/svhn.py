"""SVHN: 99,289 colour 32x32 images of house numbers' digits (73,257 train, then 26,032 test), cropped.

Netzer, Wang, Coates, Bissacco, Wu, Ng 2011, "Reading digits in natural images with unsupervised feature learning"
(http://ufldl.stanford.edu/housenumbers/). Two MATLAB files, format 5, which torchvision also uses. The 531,131 `extra`
images are left out. The digit 0 is class 10 in the files and class 0 here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.download import RemoteFile, obtain, readable_bytes, trust, verify
from pruneaudit.data.source import RawData, Source, SplitOptions, default_data_root

# N samples

PAGE = "http://ufldl.stanford.edu/housenumbers/"
MEAN = STD = (0.5, 0.5, 0.5)  # Yuan & Zhang 2022 (arXiv:2202.03335)
# SHA-256 from TensorFlow Datasets.
FILES = {
    "train": RemoteFile(
        "train_32x32.mat",
        (f"{PAGE}train_32x32.mat",),
        182_040_794,
        "sha256:435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
    ),
    "test": RemoteFile(
        "test_32x32.mat",
        (f"{PAGE}test_32x32.mat",),
        64_275_384,
        "sha256:cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
    ),
}


class Svhn(Source[SplitOptions]):
    """SVHN without its extra images."""

    is_public = True

    def __init__(
        self, num_train: int = 73_257, num_test: int = 26_032, files: dict[str, RemoteFile] | None = None
    ) -> None:
        """Sets the files, and the numbers of training and test images."""
        self._counts = {"train": num_train, "test": num_test}
        self._files = files or FILES

    def load(self, options: SplitOptions, data_root: Path | None) -> RawData:
        """Loads training images, then test images; x is (N, 3, 32, 32) uint8."""
        root = data_root or default_data_root()
        names = ("train", "test") if options.split == "all" else (options.split,)
        paths = self._paths(names, options.path, root)
        parts = [_read(path, self._counts[name]) for name, path in paths.items()]
        x = np.concatenate([images for images, _ in parts])  # (N, 3, 32, 32)
        y = np.concatenate([labels for _, labels in parts])  # (N,)
        return RawData.from_file(paths[names[0]].parent, x, y, tuple("0123456789"), MEAN, STD)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page of the data set, the size of its files, and the path of a local copy."""
        said = f"{PAGE}; {readable_bytes(sum(file.num_bytes or 0 for file in self._files.values()))}; "
        train = self._files["train"]
        path = _find(train, None, data_root or default_data_root())
        return said + (f"found: {path} ({trust(path, train)})" if path else "not downloaded")

    def _paths(self, names: tuple[str, ...], path: Path | None, data_root: Path) -> dict[str, Path]:
        """Returns the verified file of each part."""
        found = {name: _find(self._files[name], path, data_root) for name in names}
        absent = [self._files[name] for name in names if found[name] is None]
        if absent and path is not None:
            raise UserError(
                f"SVHN: no {absent[0].name} in {path}; put it ({PAGE}) there, or give its folder: "
                "data.source = 'svhn:FOLDER'"
            )
        obtain(absent, data_root / "svhn", "SVHN")
        places = {}
        for name, place in found.items():
            if place is not None:
                verify(place, self._files[name], record=path is None)
            places[name] = place or data_root / "svhn" / self._files[name].name
        return places


def _find(file: RemoteFile, path: Path | None, data_root: Path) -> Path | None:
    places = [path.expanduser()] if path else [data_root / "svhn", data_root]
    return next((place / file.name for place in places if (place / file.name).is_file()), None)


def _read(path: Path, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Reads images (count, 3, 32, 32) uint8 and labels (count,) int64 in 0..9."""
    expected: dict[str, tuple[int, ...]] = {"X": (32, 32, 3, count), "y": (count, 1)}
    found = _arrays(path, expected)
    labels = found["y"][:, 0].astype(np.int64)
    if labels.min() < 1 or labels.max() > 10:
        raise UserError(f"{path}: got labels {labels.min()}..{labels.max()}, expected 1..10: download it again")
    return np.ascontiguousarray(found["X"].transpose(3, 2, 0, 1)), labels % 10


def _arrays(path: Path, expected: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Reads byte arrays of the expected shapes; checks shapes and types before unpacking."""
    from scipy.io import loadmat, whosmat

    try:
        headers = {name: (shape, kind) for name, shape, kind in whosmat(str(path), appendmat=False)}
        _check_headers(path, headers, expected)
        found: dict[str, Any] = loadmat(
            str(path), appendmat=False, variable_names=list(expected), struct_as_record=True
        )
    except UserError:
        raise
    except Exception as error:  # a damaged file raises anything from zlib.error to NotImplementedError
        raise UserError(
            f"{path}: cannot be read ({error or type(error).__name__}), expected a MATLAB 5 file: download it again"
        ) from None
    for name, shape in expected.items():
        array = found.get(name)
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or array.shape != shape:
            raise UserError(f"{path}: '{name}' is not a byte array of shape {shape}: download it again")
    return found


def _check_headers(path: Path, headers: dict[str, Any], expected: dict[str, tuple[int, ...]]) -> None:
    for name, shape in expected.items():
        got = headers.get(name)
        if got != (shape, "uint8"):
            said = "no such variable" if got is None else f"{got[1]} of shape {got[0]}"
            raise UserError(f"{path}: '{name}': got {said}, expected uint8 of shape {shape}: download it again")


SOURCE = Svhn()
