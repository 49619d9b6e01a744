"""CIFAR-10: archive and folder say the same, and what is missing or cut short is named."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.cifar10 import ARCHIVE, FILES, FOLDER, Cifar10
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.source import SplitOptions

NUM_RECORDS = 10


@pytest.fixture
def small() -> Cifar10:
    return Cifar10(NUM_RECORDS, RemoteFile(ARCHIVE, ()), RemoteFile("cifar-10-python.tar.gz", ()))


@pytest.fixture
def records() -> np.ndarray:
    """(60, 3073) bytes; record i has label i % 10."""
    records = np.random.default_rng(0).integers(0, 256, (len(FILES) * NUM_RECORDS, 3073), dtype=np.uint8)
    records[:, 0] = np.arange(len(records)) % 10
    return records


@pytest.fixture
def folder(tmp_path: Path, records: np.ndarray) -> Path:
    folder = tmp_path / "root" / FOLDER
    folder.mkdir(parents=True)
    for name, part in zip(FILES, np.split(records, len(FILES)), strict=True):
        (folder / name).write_bytes(part.tobytes())
    return folder


def archive_of(folder: Path, archive: Path, names: tuple[str, ...] = FILES) -> Path:
    """The files in reverse order, as the order in an archive is no promise, beside members that must not matter."""
    with tarfile.open(archive, "w:gz") as members:
        for name in reversed(names):
            members.add(folder / name, arcname=f"{FOLDER}/{name}")
        readme = tarfile.TarInfo(f"{FOLDER}/readme.html")
        readme.size = 5
        members.addfile(readme, io.BytesIO(b"hello"))
        link = tarfile.TarInfo("links/latest")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
        members.addfile(link)
    return archive


def test_records_become_planes_in_order(small: Cifar10, folder: Path, records: np.ndarray) -> None:
    raw = small.load(SplitOptions(path=folder), None)
    assert raw.x.shape == (60, 3, 32, 32)
    assert raw.y.tolist() == records[:, 0].tolist()
    for row, channel, top, left in ((0, 0, 0, 0), (9, 2, 31, 31), (59, 1, 4, 7)):
        assert raw.x[row, channel, top, left] == records[row, 1 + channel * 1024 + top * 32 + left]


def test_folder_and_archive_are_found_at_path_in_path_and_in_the_data_root(small: Cifar10, folder: Path) -> None:
    root = folder.parent
    expected = small.load(SplitOptions(path=folder), None)
    (root / "packed" / "cifar10").mkdir(parents=True)
    archive = archive_of(folder, root / "packed" / "cifar10" / ARCHIVE)
    renamed = archive_of(folder, root / "other-name.tgz")
    found = [
        small.load(SplitOptions(path=path), data_root)
        for path, data_root in (
            (root, None),
            (archive, None),
            (archive.parent, None),
            (renamed, None),
            (None, root),
            (None, root / "packed"),
            (None, archive.parent),
        )
    ]
    for raw in found:
        np.testing.assert_array_equal(raw.x, expected.x)
        np.testing.assert_array_equal(raw.y, expected.y)


def test_nothing_is_unpacked(small: Cifar10, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    small.load(SplitOptions(path=archive_of(folder, place / ARCHIVE)), None)
    assert [path.name for path in place.iterdir()] == [ARCHIVE]
    assert not (tmp_path / FOLDER).exists()


def test_missing_data_say_which_file_goes_where(small: Cifar10, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"put {ARCHIVE} into {tmp_path / 'cifar10'}"):
        small.load(SplitOptions(), tmp_path)


def test_a_missing_batch_is_named(small: Cifar10, folder: Path) -> None:
    archive = archive_of(folder, folder.parent / "five.tar.gz", FILES[:-1])
    with pytest.raises(UserError, match=r"five.tar.gz: has no test_batch.bin"):
        small.load(SplitOptions(path=archive), None)
    (folder / FILES[2]).unlink()
    with pytest.raises(UserError, match=r"data_batch_3.bin: cannot be read"):
        small.load(SplitOptions(path=folder), None)


@pytest.mark.parametrize("change", [-1, -3073, 1])
def test_a_file_of_another_size_is_refused(small: Cifar10, folder: Path, change: int) -> None:
    path = folder / FILES[1]
    path.write_bytes((path.read_bytes() + b"\0")[: 30730 + change])
    with pytest.raises(UserError, match=r"data_batch_2.bin: has .* expected 30,730"):
        small.load(SplitOptions(path=folder), None)
    with pytest.raises(UserError, match=r"x.tgz: data_batch_2.bin: has .* expected 30,730"):
        small.load(SplitOptions(path=archive_of(folder, folder.parent / "x.tgz")), None)


def test_a_cut_or_foreign_archive_is_refused(small: Cifar10, folder: Path) -> None:
    whole = archive_of(folder, folder.parent / "whole.tgz").read_bytes()
    for content in (whole[: len(whole) // 2], b"no archive at all", b""):
        broken = folder.parent / "broken.tgz"
        broken.write_bytes(content)
        with pytest.raises(UserError, match=r"broken.tgz: cannot be read"):
            small.load(SplitOptions(path=broken), None)


def test_labels_beyond_9_are_refused(small: Cifar10, folder: Path) -> None:
    path = folder / FILES[0]
    path.write_bytes(b"\x0a" + path.read_bytes()[1:])
    with pytest.raises(UserError, match=rf"{FOLDER}: y: got labels 0\.\.10"):
        small.load(SplitOptions(path=folder), None)
