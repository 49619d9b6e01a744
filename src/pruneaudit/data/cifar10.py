"""CIFAR-10: all 60,000 colour 32x32 images in 10 classes (50,000 train, then 10,000 test), binary version.

Krizhevsky 2009, "Learning multiple layers of features from tiny images"
(https://www.cs.toronto.edu/~kriz/cifar.html). Read from `cifar-10-binary.tar.gz`, of which nothing is
unpacked to disk, or from the folder `cifar-10-batches-bin`. Each of the six files holds 10,000
records: one label byte, then the red, green and blue planes of 32x32 bytes.
"""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np

from pruneaudit.data.source import PathOptions, RawData, Source, default_data_root
from pruneaudit.errors import UserError

# N samples, R records per file

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# The constants that are in use for this data set everywhere: those of its published training images.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2616)
SHAPE = (3, 32, 32)
RECORD_BYTES = 1 + 3 * 32 * 32
FILES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")
ARCHIVE = "cifar-10-binary.tar.gz"
FOLDER = "cifar-10-batches-bin"


class Cifar10(Source[PathOptions]):
    """The whole of CIFAR-10."""

    Options = PathOptions

    def __init__(self, records_per_file: int = 10_000) -> None:
        """Describes the files: how many images each of the six must hold."""
        self._records_per_file = records_per_file

    def load(self, options: PathOptions, data_root: Path | None) -> RawData:
        """Training images, then test images; x is (N, 3, 32, 32) uint8."""
        place = _find(options.path, data_root or default_data_root())
        size = self._records_per_file * RECORD_BYTES
        x = np.empty((len(FILES), self._records_per_file, *SHAPE), np.uint8)  # (6, R, 3, 32, 32)
        y = np.empty((len(FILES), self._records_per_file), np.int64)  # (6, R)
        missing = set(FILES)
        for name, content in _archived(place, size) if place.is_file() else _unpacked(place, size):
            records = np.frombuffer(content, np.uint8).reshape(-1, RECORD_BYTES)  # (R, 3073)
            x[FILES.index(name)] = records[:, 1:].reshape(-1, *SHAPE)
            y[FILES.index(name)] = records[:, 0]
            missing.discard(name)
        if missing:
            raise UserError(f"{place}: holds no {min(missing)}; expected the binary version of CIFAR-10, all six files")
        return RawData.from_file(place, x.reshape(-1, *SHAPE), y.reshape(-1), CLASSES, MEAN, STD)


def _find(path: Path | None, data_root: Path) -> Path:
    """The archive or the folder of the files: at or in `path`, otherwise in a usual place."""
    places = [path.expanduser()] if path else [data_root / "cifar10", data_root]
    for place in places:
        for found in (place, place / FOLDER):
            if any((found / name).is_file() for name in FILES):
                return found
        for found in (place, place / ARCHIVE):
            if found.is_file():
                return found
    raise UserError(
        f"CIFAR-10: no {ARCHIVE} or {FOLDER} in {' or '.join(map(str, places))}; put {ARCHIVE} "
        f"(https://www.cs.toronto.edu/~kriz/cifar.html) into {places[0]}, or say where it is: "
        "data.source = 'cifar10:PATH'"
    )


def _unpacked(folder: Path, size: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of a folder, each of `size` bytes."""
    for name in FILES:
        path = folder / name
        try:
            _check_size(str(path), path.stat().st_size, size)
            yield name, path.read_bytes()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror}); expected a file of CIFAR-10") from None


def _archived(archive: Path, size: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file of an archive, each of `size` bytes; other members are passed over."""
    try:
        with tarfile.open(archive) as members:
            for member in members:
                name = PurePosixPath(member.name).name
                if name not in FILES or not member.isfile():
                    continue
                _check_size(f"{archive}: {name}", member.size, size)
                content = members.extractfile(member)
                assert content is not None  # a regular file
                yield name, content.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(f"{archive}: cannot be read ({error}); expected a whole {ARCHIVE}: get it again") from None


def _check_size(what: str, got: int, expected: int) -> None:
    if got != expected:
        raise UserError(
            f"{what}: has {got:,} bytes, expected {expected:,} (whole records of {RECORD_BYTES:,}): get it again"
        )


SOURCE = Cifar10()
