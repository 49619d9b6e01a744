"""Downloads of whole data sets from a server, copies in torchvision's layout, and official parts."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from pruneaudit.core.errors import UserError
from pruneaudit.data.cifar10 import Cifar10
from pruneaudit.data.cifar100 import CLASSES, Cifar100
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.idx_images import MNIST, Mnist
from pruneaudit.data.source import RawData, Source, SplitOptions
from pruneaudit.data.svhn import Svhn

NUM_TRAIN, NUM_TEST = 200, 100
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (NUM_TRAIN + NUM_TEST, 3, 32, 32), dtype=np.uint8)
FINE = np.arange(NUM_TRAIN + NUM_TEST) % 100
PARTS = {"train": slice(NUM_TRAIN), "test": slice(NUM_TRAIN, None)}


def remote(name: str, address: str = "http://127.0.0.1:9/", content: bytes | None = None) -> RemoteFile:
    checksum = None if content is None else f"sha256:{hashlib.sha256(content).hexdigest()}"
    return RemoteFile(name, (address + name,), None, checksum)


def packed(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return content.getvalue()


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def cifar100_binary() -> dict[str, bytes]:
    coarse = np.full(len(FINE), 19)
    records = np.column_stack([coarse, FINE, IMAGES.reshape(len(IMAGES), -1)]).astype(np.uint8)
    return {f"cifar-100-binary/{part}.bin": records[rows].tobytes() for part, rows in PARTS.items()}


def cifar100_python() -> dict[str, bytes]:
    files = {}
    for part, rows in PARTS.items():
        batch = {b"data": IMAGES[rows].reshape(-1, 3072), b"fine_labels": FINE[rows].tolist(), b"coarse_labels": [19]}
        files[f"cifar-100-python/{part}"] = pickle.dumps(batch, 3)
    return files | {"cifar-100-python/meta": pickle.dumps({"names": ["x"]})}


def small_cifar100(
    binary: RemoteFile | None = None, python: RemoteFile | None = None, *, num_train: int = NUM_TRAIN
) -> Cifar100:
    binary = binary or remote("cifar-100-binary.tar.gz")
    return Cifar100(num_train, NUM_TEST, binary, python or remote("cifar-100-python.tar.gz"))


def check_parts(source: Source[Any], root: Path | None, path: Path | None, images: np.ndarray, y: np.ndarray) -> None:
    for split, rows in {"all": slice(None), **PARTS}.items():
        raw: RawData = source.load(SplitOptions(path=path, split=split), root)  # type: ignore[arg-type]
        np.testing.assert_array_equal(raw.x, images[rows])
        assert raw.y.tolist() == y[rows].tolist()


def test_cifar100_has_a_hundred_classes_in_order() -> None:
    assert len(CLASSES) == 100
    assert list(CLASSES) == sorted(CLASSES)


def test_cifar100_is_downloaded_checked_and_read_again(web: Any, tmp_path: Path) -> None:
    content = packed(cifar100_binary())
    web.put("cifar-100-binary.tar.gz", content)
    source = small_cifar100(remote("cifar-100-binary.tar.gz", web.address, content))
    assert source.whereabouts(tmp_path).endswith("; not downloaded")
    check_parts(source, tmp_path, None, IMAGES, FINE)
    place = tmp_path / "cifar100" / "cifar-100-binary.tar.gz"
    assert source.whereabouts(tmp_path).endswith(f"; found: {place} (sha256 published, checked at every use)")
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert web.asked == ["/cifar-100-binary.tar.gz"]
    place.write_bytes(content[:1000])
    with pytest.raises(UserError, match=rf"{place}: has sha256 .* as published"):
        source.load(SplitOptions(), tmp_path)


@pytest.mark.parametrize("form", ["folder", "archive"])
@pytest.mark.parametrize("files", [cifar100_binary, cifar100_python])
@pytest.mark.parametrize("by_path", [False, True])
def test_cifar100_in_every_form(tmp_path: Path, form: str, files: Any, by_path: bool) -> None:
    if form == "folder":
        write(tmp_path, files())
    else:
        name = next(iter(files())).split("/")[0]
        (tmp_path / f"{name}.tar.gz").write_bytes(packed(files()))
    root, path = (None, tmp_path) if by_path else (tmp_path, None)
    check_parts(small_cifar100(), root, path, IMAGES, FINE)


def test_the_python_version_of_cifar10(tmp_path: Path) -> None:
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    labels = np.arange(60) % 10
    for row, name in enumerate(names):
        rows = slice(10 * row, 10 * row + 10)
        batch = {"data": IMAGES[rows].reshape(-1, 3072), "labels": labels[rows].tolist()}
        write(tmp_path, {f"cifar-10-batches-py/{name}": pickle.dumps(batch, 4)})
    raw = Cifar10(10).load(SplitOptions(), tmp_path)
    np.testing.assert_array_equal(raw.x, IMAGES[:60])
    assert raw.y.tolist() == labels.tolist()
    assert raw.std == (0.2023, 0.1994, 0.2010)
    assert Cifar10(10).load(SplitOptions(split="test"), tmp_path).x.shape == (10, 3, 32, 32)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ({"data": IMAGES[:NUM_TRAIN].reshape(-1, 3072)}, "'fine_labels' is not a list of 200 labels"),
        ({"data": IMAGES[:9].reshape(-1, 3072), "fine_labels": [0] * NUM_TRAIN}, "not an array of 200 x 3,072 bytes"),
        ({"data": [1], "fine_labels": [0] * NUM_TRAIN}, "not an array of 200 x 3,072 bytes"),
        ({"data": IMAGES[:NUM_TRAIN].reshape(-1, 3072), "fine_labels": ["1"] * NUM_TRAIN}, "not a list of 200 labels"),
        ({"data": exec}, "builtins.exec"),
        ({"data": b"x" * 2_000_000}, "too many for 200 images"),
    ],
)
def test_wrong_pickles_are_named(tmp_path: Path, batch: dict[str, Any], message: str) -> None:
    write(tmp_path, cifar100_python() | {"cifar-100-python/train": pickle.dumps(batch, 3)})
    with pytest.raises(UserError, match=message) as caught:
        small_cifar100().load(SplitOptions(), tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "cifar-100-python" / "train"))


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


def mnist_files() -> dict[str, bytes]:
    grey = IMAGES[:, 0, :28, :28]
    return {
        f"{name}-{kind}-ubyte": idx_bytes(np.ascontiguousarray(values[rows]).astype(np.uint8))
        for name, rows in (("train", PARTS["train"]), ("t10k", PARTS["test"]))
        for kind, values in (("images-idx3", grey), ("labels-idx1", FINE % 10))
    }


def small_mnist(address: str = "http://127.0.0.1:9/") -> Mnist:
    assert set(mnist_files()) == set(MNIST.files)
    return Mnist(NUM_TRAIN, NUM_TEST, {name: remote(f"{name}.gz", address) for name in MNIST.files})


def test_mnist_is_downloaded_and_a_broken_off_download_goes_on(web: Any, tmp_path: Path) -> None:
    for name, content in mnist_files().items():
        web.put(f"{name}.gz", gzip.compress(content))
    missing = web.pages.pop("/t10k-labels-idx1-ubyte.gz")
    with pytest.raises(UserError, match=r"answered 404\); put t10k-labels-idx1-ubyte.gz into"):
        small_mnist(web.address).load(SplitOptions(), tmp_path)
    web.pages["/t10k-labels-idx1-ubyte.gz"] = missing
    check_parts(small_mnist(web.address), tmp_path, None, IMAGES[:, :1, :28, :28], FINE % 10)
    assert sorted(web.asked) == sorted([f"/{name}.gz" for name in mnist_files()] + ["/t10k-labels-idx1-ubyte.gz"])


@pytest.mark.parametrize("folder", ["MNIST/raw", "mnist", "mnist/MNIST/raw"])
@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_in_every_place(tmp_path: Path, folder: str, compressed: bool) -> None:
    for name, content in mnist_files().items():
        write(tmp_path / folder, {f"{name}.gz": gzip.compress(content)} if compressed else {name: content})
    check_parts(small_mnist(), tmp_path, None, IMAGES[:, :1, :28, :28], FINE % 10)
    check_parts(small_mnist(), None, tmp_path / folder, IMAGES[:, :1, :28, :28], FINE % 10)


def mat_bytes(**variables: Any) -> bytes:
    content = io.BytesIO()
    savemat(content, variables, do_compression=True)
    return content.getvalue()


def svhn_files() -> dict[str, bytes]:
    digit = (FINE % 10)[:, None]
    label = np.where(digit == 0, 10, digit).astype(np.uint8)  # as the files have it
    return {
        f"{part}_32x32.mat": mat_bytes(X=IMAGES[rows].transpose(2, 3, 1, 0), y=label[rows])
        for part, rows in PARTS.items()
    }


def small_svhn(address: str = "http://127.0.0.1:9/") -> Svhn:
    return Svhn(NUM_TRAIN, NUM_TEST, {part: remote(f"{part}_32x32.mat", address) for part in PARTS})


def test_svhn_is_downloaded_and_class_10_is_digit_0(web: Any, tmp_path: Path) -> None:
    for name, content in svhn_files().items():
        web.put(name, content)
    check_parts(small_svhn(web.address), tmp_path, None, IMAGES, FINE % 10)
    assert sorted(web.asked) == ["/test_32x32.mat", "/train_32x32.mat"]
    assert small_svhn().whereabouts(tmp_path).endswith("(unverified, checksum recorded on first use)")
    raw = small_svhn().load(SplitOptions(split="test"), tmp_path)
    assert raw.mean == raw.std == (0.5, 0.5, 0.5)


def test_svhn_in_the_folder_of_torchvision(tmp_path: Path) -> None:
    write(tmp_path, svhn_files())
    check_parts(small_svhn(), tmp_path, None, IMAGES, FINE % 10)
    (tmp_path / "test_32x32.mat").unlink()
    with pytest.raises(UserError, match=r"put test_32x32.mat into"):
        small_svhn().load(SplitOptions(), tmp_path)
    with pytest.raises(UserError, match=r"no test_32x32.mat in"):
        small_svhn().load(SplitOptions(path=tmp_path), None)


X, Y = IMAGES[PARTS["test"]].transpose(2, 3, 1, 0), np.ones((NUM_TEST, 1), np.uint8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (mat_bytes(X=X), "'y': got no such variable"),
        (mat_bytes(X=X[..., 1:], y=Y), r"'X': got uint8 of shape \(32, 32, 3, 99\)"),
        (mat_bytes(X=X.astype(float), y=Y), "'X': got double"),
        (mat_bytes(X={"a": X}, y=Y), "'X': got struct"),
        (mat_bytes(X=np.array([[1, "a"]], object), y=Y), "'X': got cell"),
        (mat_bytes(X=X, y=Y * 11), r"got labels 11\.\.11"),
        (mat_bytes(X=X, y=Y)[:-2000], "download it again"),
        (b"", "cannot be read"),
        (b"no MATLAB file at all" * 100, "cannot be read"),
        (b"\x89HDF\r\n\x1a\n" + bytes(500), "cannot be read"),
    ],
)
def test_wrong_mat_files_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    write(tmp_path, {"test_32x32.mat": content})
    with pytest.raises(UserError, match=message) as caught:
        small_svhn().load(SplitOptions(path=tmp_path, split="test"), None)
    assert str(caught.value).startswith(str(tmp_path / "test_32x32.mat"))
