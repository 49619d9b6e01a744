"""CHMNIST: 5,000 colour tiles of tissue from colorectal cancer, 625 in each of 8 classes, resized to 32x32.

Kather et al. 2016, "Multi-class texture analysis in colorectal cancer histology" (Scientific Reports 6:27988; Zenodo
record 53169, CC BY 4.0). The tiles have 150x150 pixels; as in Yuan & Zhang 2022 (arXiv:2202.03335) they are resized to
32x32 and normalised by the constants of ImageNet. Reads the zip archive, without unpacking it to disk, or its unpacked
folder. Needs the extra `images`.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.archives import zip_members
from pruneaudit.data.download import UNCHECKED, RemoteFile, obtain, readable_bytes, trust, verify
from pruneaudit.data.pictures import read_picture
from pruneaudit.data.source import PathOptions, RawData, Source, default_data_root

# N samples

PAGE = "https://zenodo.org/records/53169"
CLASSES = ("tumor", "stroma", "complex", "lympho", "debris", "mucosa", "adipose", "empty")
CLASS_FOLDERS = tuple(f"{number:02}_{name.upper()}" for number, name in enumerate(CLASSES, start=1))
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
SIZE = 32
MAX_TILE_BYTES = 1_000_000
FOLDER = "Kather_texture_2016_image_tiles_5000"
ARCHIVE = RemoteFile(
    f"{FOLDER}.zip",
    (f"{PAGE}/files/{FOLDER}.zip?download=1",),
    258_098_431,
    "sha256:936d0b95ae0f04f1f7b18a2b7e8c55776c3e887d102f645bcee752d1a6626a32",  # of TensorFlow Datasets
)


class Chmnist(Source[PathOptions]):
    """All tiles, without official parts."""

    is_public = True

    def __init__(self, num_per_class: int = 625, archive: RemoteFile = ARCHIVE) -> None:
        """Sets the archive, and the number of tiles per class."""
        self._num_per_class = num_per_class
        self._archive = archive

    def load(self, options: PathOptions, data_root: Path | None) -> RawData:
        """Loads all tiles, ordered by class and name; x is (N, 3, 32, 32) uint8."""
        root = data_root or default_data_root()
        place = self._find(options.path, root)
        if place is None and options.path is not None:
            raise UserError(
                f"CHMNIST: no {self._archive.name} or {FOLDER} in {options.path}; put it ({PAGE}) there, or give "
                "its path: data.source = 'chmnist:PATH'"
            )
        if place is None:
            place = obtain([self._archive], root / "chmnist", "CHMNIST")[0]
        elif place.name == self._archive.name:
            verify(place, self._archive, record=options.path is None)
        images, labels = [], []
        for label, name, content in _tiles(place):
            images.append(read_picture(io.BytesIO(content), f"{place}: {name}", ("TIFF",), is_grey=False, size=SIZE))
            labels.append(label)
        y = np.array(labels, np.int64)  # (N,)
        counts = np.bincount(y, minlength=len(CLASSES))
        if (counts != self._num_per_class).any():
            wrong = int(np.argmax(counts != self._num_per_class))
            raise UserError(
                f"{place}: has {counts[wrong]:,} tiles of {CLASS_FOLDERS[wrong]}, expected {self._num_per_class:,}: "
                "download it again"
            )
        order = np.argsort(y, kind="stable")
        return RawData.from_file(place, np.stack(images)[order], y[order], CLASSES, MEAN, STD)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page of the data set, the size of its archive, and the path of a local copy."""
        place = self._find(None, data_root or default_data_root())
        said = f"{PAGE}; {readable_bytes(self._archive.num_bytes or 0)}; "
        if place is None:
            return said + "not downloaded"
        return said + f"found: {place} ({trust(place, self._archive) if place.is_file() else UNCHECKED})"

    def _find(self, path: Path | None, data_root: Path) -> Path | None:
        """Finds the archive, or the folder of the class folders: at or in `path`, otherwise in a default place."""
        if path is not None and path.expanduser().is_file():
            return path.expanduser()
        for place in [path.expanduser()] if path is not None else [data_root / "chmnist", data_root]:
            if (place / self._archive.name).is_file():
                return place / self._archive.name
            for folder in (place, place / FOLDER):
                if (folder / CLASS_FOLDERS[0]).is_dir():
                    return folder
        return None


def _tiles(place: Path) -> Iterator[tuple[int, str, bytes]]:
    """Yields label, name and content of each tile, in the order of names."""
    if place.is_file():
        for name, content in zip_members(place, ".tif", MAX_TILE_BYTES):
            label = _label(name)
            if label is not None:
                yield label, str(name), content
        return
    for label, folder in enumerate(CLASS_FOLDERS):
        for path in sorted((place / folder).glob("*.tif")):
            try:
                yield label, f"{folder}/{path.name}", path.read_bytes()
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror}): download it again") from None


def _label(name: PurePosixPath) -> int | None:
    """Returns the class of a member from its folder; None for other files (such as those of operating systems)."""
    if name.name.startswith(".") or name.parent.name not in CLASS_FOLDERS:
        return None
    return CLASS_FOLDERS.index(name.parent.name)


SOURCE = Chmnist()
