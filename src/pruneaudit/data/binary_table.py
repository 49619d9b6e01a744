"""Location, Purchase and Texas: tables of zeros and ones, as Shokri et al. 2017 (arXiv:1610.05820) published them.

Archives of https://github.com/privacytrustlab/datasets. Each contains text files of comma-separated values: either one
file with the label first in each row, or one file of features and one of labels. Labels are numbered from 1 in the
files and from 0 here; classes are named by the number in the file. No checksums have been published.
"""

from __future__ import annotations

import codecs
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, ClassVar

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.archives import read_tar
from pruneaudit.data.download import UNCHECKED, RemoteFile, obtain, readable_bytes, trust, verify
from pruneaudit.data.source import PathOptions, RawData, Source, default_data_root

# N samples, F features, R rows of a block

PAGE = "https://github.com/privacytrustlab/datasets"
ROWS_PER_BLOCK = 2_000
MAX_VALUE_BYTES = 16

_SPELLINGS = {value + end for value in (b"0", b"1") for end in (b"", b".", b".0", b".00", b".000000")}


def published(name: str) -> RemoteFile:
    """Returns an archive of the page."""
    return RemoteFile(name, (f"https://github.com/privacytrustlab/datasets/raw/master/{name}",))


@dataclass(frozen=True)
class Description:
    """One of the tables."""

    name: str
    """The name of the source, and of its folder among the data sets."""
    title: str
    archive: RemoteFile
    features_file: str
    """The end of its name in the archive."""
    labels_file: str | None
    """None: the label is first in each row of features."""
    num_samples: int
    num_features: int
    num_classes: int
    about_bytes: int | None = None
    """Size of the archive, if known."""


class BinaryTable(Source[PathOptions]):
    """The whole of one table, which has no official parts."""

    is_public = True
    about: ClassVar[Description]
    """The table as it was published."""

    def __init__(self, about: Description | None = None) -> None:
        """Sets the description of the table; default: the published one."""
        self._about = about or type(self).about

    def load(self, options: PathOptions, data_root: Path | None) -> RawData:
        """Loads all rows, in the order of the file; x is (N, F) float32, all 0 or 1."""
        about = self._about
        root = data_root or default_data_root()
        place = self._find(options.path, root)
        if place is None and options.path is not None:
            raise UserError(
                f"{about.title}: no {about.archive.name} in {options.path}; put it ({PAGE}) there, or give "
                f"its path: data.source = '{about.name}:PATH'"
            )
        if place is None:
            place = obtain([about.archive], root / about.name, about.title)[0]
        elif place.name == about.archive.name:
            verify(place, about.archive, record=options.path is None)
        found = self._archived(place) if place.is_file() else self._unpacked(place)
        missing = [name for name in self._files if name not in found]
        if missing:
            raise UserError(f"{place}: has no {missing[0]}, expected {' and '.join(self._files)}: download it again")
        x, y = found[about.features_file]
        if about.labels_file is not None:
            y = found[about.labels_file][1]
        classes = tuple(str(number) for number in range(1, about.num_classes + 1))
        return RawData.from_file(place, x, y - 1, classes)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page of the table, and the path of a local copy."""
        archive, place = self._about.archive, self._find(None, data_root or default_data_root())
        size = f"; {readable_bytes(self._about.about_bytes)}" if self._about.about_bytes else ""
        said = f"{PAGE}{size}; "
        if place is None:
            return said + "not downloaded"
        return said + f"found: {place} ({trust(place, archive) if place.is_file() else UNCHECKED})"

    @property
    def _files(self) -> list[str]:
        return [name for name in (self._about.features_file, self._about.labels_file) if name is not None]

    def _find(self, path: Path | None, data_root: Path) -> Path | None:
        """Finds the archive, or the folder of the features file: at or in `path`, otherwise in a default place."""
        if path is not None and path.expanduser().is_file():
            return path.expanduser()
        for place in [path.expanduser()] if path is not None else [data_root / self._about.name, data_root]:
            if (place / self._about.archive.name).is_file():
                return place / self._about.archive.name
            if (place / self._about.features_file).is_file():
                return place
        return None

    def _archived(self, archive: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        def read(name: str, file: IO[bytes], num_bytes: int) -> tuple[np.ndarray, np.ndarray]:
            return self._read(name, file, f"{archive}: {name}")

        return read_tar(archive, self._files, read)

    def _unpacked(self, folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        found = {}
        for name in self._files:
            try:
                with (folder / name).open("rb") as file:
                    found[name] = self._read(name, file, str(folder / name))
            except OSError as error:
                raise UserError(f"{folder / name}: cannot be read ({error.strerror}): download it again") from None
        return found

    def _read(self, name: str, file: IO[bytes], what: str) -> tuple[np.ndarray, np.ndarray]:
        """Reads features (N, F) float32 and labels (N,) of a file; missing ones have length 0."""
        about = self._about
        num_features = 0 if name == about.labels_file else about.num_features
        has_label = name == about.labels_file or about.labels_file is None
        x = np.empty((about.num_samples, num_features), np.float32)
        y = np.empty(about.num_samples if has_label else 0, np.int64)
        lines = _lines(file, MAX_VALUE_BYTES * (num_features + 1), what)
        row = 0
        for block in iter(lambda: tuple(itertools.islice(lines, ROWS_PER_BLOCK)), ()):
            end = row + len(block)
            if end > about.num_samples:
                raise UserError(f"{what}: has more than {about.num_samples:,} rows: download it again")
            if has_label:
                y[row:end] = [_label(line.partition(b",")[0], what, row + at) for at, line in enumerate(block)]
                block = tuple(line.partition(b",")[2] for line in block)
            x[row:end] = _zeros_and_ones(block, num_features, what, row)
            row = end
        if row != about.num_samples:
            raise UserError(f"{what}: has {row:,} rows, expected {about.num_samples:,}: download it again")
        return x, y


def _lines(file: IO[bytes], longest: int, what: str) -> Iterator[bytes]:
    """Yields the rows; limits their length, because a file without line ends would otherwise fill the memory."""
    for row, line in enumerate(iter(lambda: file.readline(longest + 1), b"")):
        if len(line) > longest:
            raise UserError(f"{what}: row {row + 1} has more than {longest:,} characters: download it again")
        yield (line.removeprefix(codecs.BOM_UTF8) if row == 0 else line).rstrip(b"\r\n")


def _label(text: bytes, what: str, row: int) -> int:
    digits = text.strip().strip(b'"')
    if not digits.isdigit() or len(digits) >= MAX_VALUE_BYTES:
        raise UserError(f"{what}: row {row + 1} has label {digits[:20]!r}, expected a whole number: download it again")
    return int(digits)


def _zeros_and_ones(rows: tuple[bytes, ...], num_features: int, what: str, first: int) -> np.ndarray:
    """Parses texts such as `0,1,1` to (R, F) uint8, all at once, because there are hundreds of millions of values."""
    width = 2 * num_features
    if num_features == 0:
        return np.empty((len(rows), 0), np.uint8)
    plain = [
        line + b"," if len(line) == width - 1 else _plain(line, num_features, what, first + at)
        for at, line in enumerate(rows)
    ]
    text = np.frombuffer(b"".join(plain), np.uint8).reshape(len(rows), num_features, 2)
    values = text[:, :, 0] - ord("0")  # characters below "0" wrap round to large numbers
    wrong = ((values > 1) | (text[:, :, 1] != ord(","))).any(axis=1)
    if wrong.any():
        row = first + int(wrong.argmax()) + 1
        raise UserError(f"{what}: row {row} has values other than zeros and ones: download it again")
    return values


def _plain(line: bytes, num_features: int, what: str, row: int) -> bytes:
    """Converts a row with other spellings of its values (`"0"`, `1.0`) to `0,1,1,`."""
    values = [value.strip(b' "') for value in line.split(b",")]
    if len(values) != num_features:
        raise UserError(
            f"{what}: row {row + 1} has {len(values):,} features, expected {num_features:,}: download it again"
        )
    digits = [value[:1] if value in _SPELLINGS else b"?" for value in values]
    return b"".join(digit + b"," for digit in digits)


class Location(BinaryTable):
    """Location: 5,010 users of Foursquare in Bangkok, 446 places or kinds of places each visited or not, 30 clusters.

    Yang, Zhang, Qu 2016 (the check-ins), Shokri et al. 2017 (arXiv:1610.05820; the table). The classes are clusters
    that Shokri et al. found.
    """

    about = Description(
        name="location",
        title="Location",
        archive=published("dataset_location.tgz"),
        features_file="bangkok",
        labels_file=None,
        num_samples=5_010,
        num_features=446,
        num_classes=30,
        about_bytes=287_293,
    )


class Purchase100(BinaryTable):
    """Purchase100: 197,324 customers, 600 products each bought or not, 100 clusters.

    Kaggle's "Acquire valued shoppers" challenge (the purchases), Shokri et al. 2017 (arXiv:1610.05820; the table). The
    classes are clusters that Shokri et al. found.
    """

    about = Description(
        name="purchase100",
        title="Purchase100",
        archive=published("dataset_purchase.tgz"),
        features_file="dataset_purchase",
        labels_file=None,
        num_samples=197_324,
        num_features=600,
        num_classes=100,
    )


class Texas100(BinaryTable):
    """Texas100: 67,330 stays in hospitals of Texas, 6,169 facts each true or not, 100 main procedures.

    Texas Department of State Health Services (the discharge data), Shokri et al. 2017 (arXiv:1610.05820; the table).
    Needs 1.7 GB of memory.
    """

    about = Description(
        name="texas100",
        title="Texas100",
        archive=published("dataset_texas.tgz"),
        features_file="texas/100/feats",
        labels_file="texas/100/labels",
        num_samples=67_330,
        num_features=6_169,
        num_classes=100,
    )


SOURCE = {"location": Location(), "purchase100": Purchase100(), "texas100": Texas100()}
