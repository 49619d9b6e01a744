"""The common reader of CIFAR-10 and CIFAR-100.

Krizhevsky 2009, "Learning multiple layers of features from tiny images"
(https://www.cs.toronto.edu/~kriz/cifar.html). Reads four forms: the binary version, and the Python version that
torchvision uses, each as an archive (without unpacking it to disk) or as a folder. A binary file consists of records:
one label byte (CIFAR-100: coarse, then fine), then the red, green and blue planes of 32x32 bytes. A Python file is a
pickle, from which only arrays are accepted.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.archives import read_tar
from pruneaudit.data.array_pickle import read_array_pickle
from pruneaudit.data.download import UNCHECKED, RemoteFile, obtain, readable_bytes, trust, verify
from pruneaudit.data.source import RawData, Source, SplitOptions, default_data_root

# N samples, R records of a file

Batch = tuple[np.ndarray, np.ndarray]  # images (R, 3, 32, 32) uint8, labels (R,)

SHAPE = (3, 32, 32)
IMAGE_BYTES = 3 * 32 * 32
PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


@dataclass(frozen=True)
class Form:
    """The files of one version."""

    folder: str
    archive: RemoteFile
    files: Mapping[str, int]
    """The number of images in each file, training files first; the last is the test file."""
    is_binary: bool


class Cifar(Source[SplitOptions]):
    """The whole of CIFAR-10 or CIFAR-100."""

    is_public = True

    def __init__(
        self,
        name: str,
        title: str,
        classes: tuple[str, ...],
        num_label_bytes: int,
        label_key: str,
        forms: tuple[Form, ...],
        scale: tuple[tuple[float, ...], tuple[float, ...]],
    ) -> None:
        """Describes the data set.

        Args:
            name: the name of the source.
            title: its name in messages.
            classes: the class names.
            num_label_bytes: number of bytes before each image; the last is the label.
            label_key: key of the labels in the Python version.
            forms: the forms to look for, in this order; the first is downloaded if none is found.
            scale: mean and deviation of each channel, for normalisation.
        """
        self._scale = scale
        self._name, self._title, self._classes, self._forms = name, title, classes, forms
        self._num_label_bytes, self._label_key = num_label_bytes, label_key

    def load(self, options: SplitOptions, data_root: Path | None) -> RawData:
        """Loads training images, then test images; x is (N, 3, 32, 32) uint8."""
        root = data_root or default_data_root()
        found = self._find(options.path, root)
        if found is None and options.path is not None:
            raise UserError(
                f"{self._title}: no {self._forms[0].archive.name} or {self._forms[0].folder} in {options.path}; "
                f"put it there ({PAGE}), or give its path: data.source = '{self._name}:PATH'"
            )
        form = self._forms[0] if found is None else found[1]
        place = obtain([form.archive], root / self._name, self._title)[0] if found is None else found[0]
        names = list(form.files)
        names = {"all": names, "train": names[:-1], "test": names[-1:]}[options.split]
        if found is not None and place.is_file() and place.name == form.archive.name:
            verify(place, form.archive, record=options.path is None)
        batches = self._archived(place, form, names) if place.is_file() else self._unpacked(place, form, names)
        missing = [name for name in names if name not in batches]
        if missing:
            raise UserError(f"{place}: has no {missing[0]}; expected all of {', '.join(names)}: download it again")
        x = np.concatenate([batches[name][0] for name in names])  # (N, 3, 32, 32)
        y = np.concatenate([batches[name][1] for name in names]).astype(np.int64)  # (N,)
        return RawData.from_file(place, x, y, self._classes, *self._scale)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page of the data set, the size of its archive, and the path of a local copy."""
        found = self._find(None, data_root or default_data_root())
        archive = self._forms[0].archive
        about = f"{PAGE}; {readable_bytes(archive.num_bytes or 0)}; "
        if found is None:
            return about + "not downloaded"
        place, form = found
        return (
            about + f"found: {place}" + (f" ({trust(place, form.archive)})" if place.is_file() else f" ({UNCHECKED})")
        )

    def _find(self, path: Path | None, data_root: Path) -> tuple[Path, Form] | None:
        """Finds the archive or folder of the files, at or in `path` or in a default place, and its version."""
        if path is not None and path.expanduser().is_file():  # an archive under any name
            name = path.name
            return path.expanduser(), next(
                (form for form in self._forms if form.archive.name == name), self._guess(name)
            )
        for place in [path.expanduser()] if path is not None else [data_root / self._name, data_root]:
            for form in self._forms:
                for folder in (place, place / form.folder):
                    if all((folder / name).is_file() for name in form.files):
                        return folder, form
                if (place / form.archive.name).is_file():
                    return place / form.archive.name, form
            for form in self._forms:  # incomplete: reading it reports the missing file
                for folder in (place / form.folder, place):
                    if any((folder / name).is_file() for name in form.files):
                        return folder, form
        return None

    def _guess(self, name: str) -> Form:
        return next((form for form in self._forms if not form.is_binary and "python" in name), self._forms[0])

    def _unpacked(self, folder: Path, form: Form, names: list[str]) -> dict[str, Batch]:
        batches = {}
        for name in names:
            path = folder / name
            try:
                with path.open("rb") as file:
                    batches[name] = self._batch(form, name, file, path.stat().st_size, str(path))
            except OSError as error:
                raise UserError(
                    f"{path}: cannot be read ({error.strerror}); expected a file of {self._title}"
                ) from None
        return batches

    def _archived(self, archive: Path, form: Form, names: list[str]) -> dict[str, Batch]:
        def read(name: str, file: IO[bytes], num_bytes: int) -> Batch:
            return self._batch(form, name, file, num_bytes, f"{archive}: {name}")

        return read_tar(archive, names, read)

    def _batch(self, form: Form, name: str, file: IO[bytes], num_bytes: int, what: str) -> Batch:
        """Reads the images and labels of one file."""
        num_records = form.files[name]
        if form.is_binary:
            width = self._num_label_bytes + IMAGE_BYTES
            if num_bytes != num_records * width:
                raise UserError(
                    f"{what}: has {num_bytes:,} bytes, expected {num_records * width:,} "
                    f"(whole records of {width:,}): download it again"
                )
            records = np.frombuffer(file.read(), np.uint8).reshape(num_records, width)
            return records[:, self._num_label_bytes :].reshape(-1, *SHAPE), records[:, self._num_label_bytes - 1]
        if num_bytes > 2 * num_records * (IMAGE_BYTES + 100):  # pixels, file names and labels
            raise UserError(f"{what}: has {num_bytes:,} bytes, too many for {num_records:,} images: download it again")
        content = read_array_pickle(io.BytesIO(file.read()), what)
        images, labels = content.get("data"), content.get(self._label_key)
        if not isinstance(images, np.ndarray) or images.shape != (num_records, IMAGE_BYTES):
            raise UserError(
                f"{what}: 'data' is not an array of {num_records:,} x {IMAGE_BYTES:,} bytes: download it again"
            )
        is_whole = isinstance(labels, list) and len(labels) == num_records
        if not is_whole or not all(type(label) is int and 0 <= label < 256 for label in labels or ()):
            raise UserError(f"{what}: '{self._label_key}' is not a list of {num_records:,} labels: download it again")
        return images.reshape(-1, *SHAPE), np.array(labels)
