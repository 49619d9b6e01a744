"""Fashion-MNIST: the idx format, where files are looked for, and the embedded part."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.fashion_mnist_5k import FILE, FashionMnist5k
from pruneaudit.data.idx import read_idx
from pruneaudit.data.idx_images import DEBIAN_FOLDER, FASHION_MNIST, FashionMnist
from pruneaudit.data.source import NoOptions, SplitOptions

NUM_TRAIN, NUM_TEST = 30, 20


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def small() -> FashionMnist:
    return FashionMnist(NUM_TRAIN, NUM_TEST, {name: RemoteFile(f"{name}.gz", ()) for name in FASHION_MNIST.files})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Four idx files: sample i of a part is grey level i, its label i % 10; the test part is compressed."""
    folder = tmp_path / "fashion_mnist"
    folder.mkdir()
    for part, count, end, pack in (("train", NUM_TRAIN, "", bytes), ("t10k", NUM_TEST, ".gz", gzip.compress)):
        level = np.arange(count, dtype=np.uint8)
        images = np.broadcast_to(level[:, None, None], (count, 28, 28))
        (folder / f"{part}-images-idx3-ubyte{end}").write_bytes(pack(idx_bytes(images)))
        (folder / f"{part}-labels-idx1-ubyte{end}").write_bytes(pack(idx_bytes(level % 10)))
    return folder


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_is_read_back(tmp_path: Path, compressed: bool) -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 5, 2), dtype=np.uint8)
    path = tmp_path / ("values.gz" if compressed else "values")
    path.write_bytes(gzip.compress(idx_bytes(values)) if compressed else idx_bytes(values))
    np.testing.assert_array_equal(read_idx(path, (3, 5, 2)), values)


GOOD = idx_bytes(np.zeros((2, 3), np.uint8))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a", b"", "starts with nothing, expected 00000802"),
        ("a", b"\0\0\x09\x02" + GOOD[4:], "starts with 00000902"),
        ("a", GOOD[:7], "within its header"),
        ("a", idx_bytes(np.zeros((3, 2), np.uint8)), r"shape \(3, 2\), expected \(2, 3\)"),
        ("a", GOOD[:-1], "only 5 of the 6"),
        ("a", GOOD + b"\0", "more of the 6"),
        ("a.gz", GOOD, "cannot be read"),
        ("a.gz", gzip.compress(GOOD, mtime=0)[:-9], "cannot be read"),
        ("a.gz", gzip.compress(GOOD, mtime=0)[:-8] + bytes(8), "CRC"),
    ],
)
def test_malformed_idx_names_the_file(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_idx(tmp_path / name, (2, 3))
    assert str(caught.value).startswith(str(tmp_path / name))


@pytest.mark.parametrize("by_path", [False, True])
def test_train_comes_before_test(small: FashionMnist, folder: Path, by_path: bool) -> None:
    raw = small.load(SplitOptions(path=folder if by_path else None), folder.parent)
    levels = [*range(NUM_TRAIN), *range(NUM_TEST)]
    assert raw.x.shape == (NUM_TRAIN + NUM_TEST, 1, 28, 28)
    assert raw.x[:, 0, 27, 27].tolist() == levels
    assert raw.y.tolist() == [level % 10 for level in levels]


def test_a_missing_file_is_named(small: FashionMnist, folder: Path) -> None:
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte: missing"):
        small.load(SplitOptions(path=folder), None)


def test_an_empty_place_says_what_to_put_there(small: FashionMnist, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="train-images-idx3-ubyte"):
        small.load(SplitOptions(path=tmp_path), None)


def test_labels_beyond_9_name_the_folder(small: FashionMnist, folder: Path) -> None:
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.arange(NUM_TRAIN, dtype=np.uint8)))
    with pytest.raises(UserError, match=rf"fashion_mnist: y: got labels 0\.\.{NUM_TRAIN - 1}"):
        small.load(SplitOptions(path=folder), None)


def test_embedded_part_is_balanced() -> None:
    raw = SOURCES.get("fashion_mnist_5k").load(NoOptions(), None)
    assert raw.x.shape == (5000, 1, 28, 28)
    assert raw.x.dtype == np.uint8
    assert np.bincount(raw.y).tolist() == [500] * 10
    assert len(np.unique(raw.x.reshape(5000, -1), axis=0)) == 5000
    assert (FILE.parent / "LICENSE.fashion-mnist").read_text().count("Zalando SE") == 1


def test_embedded_part_has_the_statistics_that_it_is_normalised_by() -> None:
    raw = SOURCES.get("fashion_mnist_5k").load(NoOptions(), None)
    assert raw.mean is not None and raw.std is not None
    assert raw.x.mean() / 255 == pytest.approx(raw.mean[0], abs=0.01)
    assert raw.x.std() / 255 == pytest.approx(raw.std[0], abs=0.01)


def test_altered_embedded_images_are_refused(tmp_path: Path) -> None:
    with np.load(FILE) as arrays:
        x, y = arrays["x"].copy(), arrays["y"]
    x[0, 0, 0] ^= 1
    np.savez(tmp_path / "altered.npz", x=x, y=y)
    (tmp_path / "cut.npz").write_bytes(FILE.read_bytes()[:100_000])
    with pytest.raises(UserError, match="not the original images"):
        FashionMnist5k(tmp_path / "altered.npz").load(NoOptions(), None)
    for broken in ("cut.npz", "absent.npz"):
        with pytest.raises(UserError, match="cannot be read"):
            FashionMnist5k(tmp_path / broken).load(NoOptions(), None)


@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_embedded_images_are_training_images_with_their_labels() -> None:
    whole = SOURCES.get("fashion_mnist").load(SplitOptions(path=DEBIAN_FOLDER), None)
    part = SOURCES.get("fashion_mnist_5k").load(NoOptions(), None)
    assert whole.x.shape == (70_000, 1, 28, 28)
    label_of = {image.tobytes(): label for image, label in zip(whole.x[:60_000], whole.y[:60_000], strict=True)}
    assert [label_of[image.tobytes()] for image in part.x] == part.y.tolist()
