"""CHMNIST and users' own folders of pictures."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.data.chmnist import CLASS_FOLDERS, CLASSES, FOLDER, Chmnist
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.images import ImagesOptions
from pruneaudit.data.source import PathOptions, RawData

Image = pytest.importorskip("PIL.Image", reason="pictures need the extra 'images'")

RNG = np.random.default_rng(0)


def encoded(pixels: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    content = io.BytesIO()
    picture = Image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(content, kind)
    return content.getvalue()


def tiles() -> dict[str, bytes]:
    """Two tiles of each class, of one colour each: class number, then number of the tile."""
    return {
        f"{FOLDER}/{folder}/tile{number}.tif": encoded(np.full((150, 150, 3), (label, number, 9), np.uint8), "TIFF")
        for label, folder in enumerate(CLASS_FOLDERS)
        for number in range(2)
    }


def zipped(path: Path, files: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def small() -> Chmnist:
    return Chmnist(2, RemoteFile(f"{FOLDER}.zip", ("http://127.0.0.1:9/x",)))


def test_chmnist_from_archive_and_folder(small: Chmnist, tmp_path: Path) -> None:
    system_files = {"__MACOSX/x/._tile.tif": b"?", f"{FOLDER}/01_TUMOR/.x.tif": b"?", f"{FOLDER}/readme.txt": b"hello"}
    archive = zipped(tmp_path / "chmnist" / f"{FOLDER}.zip", tiles() | system_files)
    found = [small.load(PathOptions(), tmp_path), small.load(PathOptions(path=archive), None)]
    for name, content in tiles().items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found += [small.load(PathOptions(path=tmp_path), None), small.load(PathOptions(path=tmp_path / FOLDER), None)]
    for raw in found:
        assert raw.x.shape == (16, 3, 32, 32)
        assert raw.x[:, 0, 5, 5].tolist() == raw.y.tolist() == np.repeat(np.arange(8), 2).tolist()
        assert raw.x[:, 1, 5, 5].tolist() == [0, 1] * 8
        assert raw.classes == CLASSES
        assert raw.mean == (0.485, 0.456, 0.406)
        assert raw.std == (0.229, 0.224, 0.225)


def test_shrinking_averages(small: Chmnist, tmp_path: Path) -> None:
    files = tiles()
    board = (np.indices((150, 150)).sum(axis=0) % 2 * 200).astype(np.uint8)
    files[f"{FOLDER}/01_TUMOR/tile0.tif"] = encoded(np.repeat(board[:, :, None], 3, axis=2), "TIFF")
    raw = small.load(PathOptions(path=zipped(tmp_path / "a.zip", files)), None)
    assert np.abs(raw.x[0].astype(int) - 100).max() <= 2  # every second pixel alone would give 0 or 200


def test_wrong_tiles_are_named(small: Chmnist, tmp_path: Path) -> None:
    name = f"{FOLDER}/03_COMPLEX/tile1.tif"
    for content, message in ((encoded(np.zeros((9, 9, 3), np.uint8)), "cannot be read"), (b"II*\0", "cannot be read")):
        archive = zipped(tmp_path / "a.zip", tiles() | {name: content})
        with pytest.raises(UserError, match=rf"a.zip: {name}: {message}"):
            small.load(PathOptions(path=archive), None)
    fewer = {key: content for key, content in tiles().items() if key != name}
    with pytest.raises(UserError, match=r"a.zip: has 1 tiles of 03_COMPLEX, expected 2"):
        small.load(PathOptions(path=zipped(tmp_path / "a.zip", fewer)), None)
    with pytest.raises(UserError, match=rf"put {FOLDER}.zip into {tmp_path / 'none' / 'chmnist'}"):
        small.load(PathOptions(), tmp_path / "none")


def pictures(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def load(path: Path, **options: Any) -> RawData:
    return SOURCES.get("images").load(ImagesOptions(path=path, **options), None)


GREY = RNG.integers(0, 256, (4, 6, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)


def four(pixels: np.ndarray, encode: Callable[[np.ndarray], bytes] = encoded) -> dict[str, bytes]:
    names = ("cat/a.png", "cat/b.PNG", "dog/x.png", "dog/y.png")
    return {name: encode(image) for name, image in zip(names, pixels, strict=True)}


def test_grey_and_colour_pictures(tmp_path: Path) -> None:
    beside = {"cat/notes.txt": b"x", "cat/.hidden.png": b"x", ".git/a.png": b"x", "readme.png": b"x"}
    grey = load(pictures(tmp_path / "grey", four(GREY) | beside))
    np.testing.assert_array_equal(grey.x, GREY[:, None])
    assert grey.y.tolist() == [0, 0, 1, 1]
    assert grey.classes == ("cat", "dog")
    assert (grey.mean, grey.std) == ((0.5,), (0.25,))
    colour = load(pictures(tmp_path / "colour", four(COLOUR)), mean=(0.1, 0.2, 0.3), std=(1, 1, 1))
    np.testing.assert_array_equal(colour.x, COLOUR.transpose(0, 3, 1, 2))
    assert colour.mean == (0.1, 0.2, 0.3)


def test_one_colour_picture_makes_all_colour(tmp_path: Path) -> None:
    files = four(GREY) | {"dog/y.png": encoded(COLOUR[3])}
    raw = load(pictures(tmp_path, files))
    assert raw.x.shape == (4, 3, 6, 5)
    np.testing.assert_array_equal(raw.x[0], np.repeat(GREY[:1], 3, axis=0))
    np.testing.assert_array_equal(load(tmp_path, color="grey").x[0, 0], GREY[0])


@pytest.mark.parametrize("mode", ["RGBA", "P", "1", "LA", "CMYK"])
def test_other_types_of_pixels(tmp_path: Path, mode: str) -> None:
    kind = "TIFF" if mode == "CMYK" else "PNG"
    raw = load(pictures(tmp_path, four(COLOUR, lambda pixels: encoded(pixels, kind, mode))))
    assert raw.x.shape == (4, 1 if mode in ("1", "LA") else 3, 6, 5)


def test_mixed_sizes_are_refused_or_resized(tmp_path: Path) -> None:
    pictures(tmp_path, four(GREY) | {"dog/y.jpg": encoded(np.zeros((7, 5), np.uint8), "JPEG")})
    with pytest.raises(UserError, match=rf"{tmp_path}/dog/y.jpg: has 7 x 5 pixels .* a.png has 6 x 5, .*size = 32"):
        load(tmp_path)
    assert load(tmp_path, size=8).x.shape == (5, 1, 8, 8)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"bird/only.png": encoded(GREY[0])}, "bird: has 1 pictures .* expected 2 or more of each class"),
        ({"bird/notes.txt": b"x"}, "bird: has 0 pictures"),
        ({"bird/sub/a.png": encoded(GREY[0])}, "bird: has 0 pictures"),
        ({"cat/c.png": encoded(GREY[0])[:60]}, "c.png: cannot be read"),
        ({"cat/c.png": b""}, "c.png: cannot be read"),
        ({"cat/c.png": b"<svg/>"}, "c.png: cannot be read"),
        ({"cat/c.png": encoded(GREY[0].astype(np.uint16) * 256)}, "c.png: has pixels of type I;16, expected 8 bits"),
        ({"cat/c.png": encoded(np.zeros((1, 5000), np.uint8))}, "c.png: has 5,000 x 1 pixels, more than 4,096"),
    ],
)
def test_wrong_folders_and_pictures_are_named(tmp_path: Path, files: dict[str, bytes], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load(pictures(tmp_path, four(GREY) | files))
    assert str(caught.value).startswith(str(tmp_path))


def test_too_few_classes(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none: cannot be read \(No such file"):
        load(tmp_path / "none")
    with pytest.raises(UserError, match="has 1 class folders, expected 2 or more"):
        load(pictures(tmp_path, {"cat/a.png": encoded(GREY[0])}))
