"""Your own pictures: `images:FOLDER`, one folder of PNG, JPEG, ... files per class.

Classes are the names of the folders, in alphabetical order; samples are ordered by class, then by file name. Other
files, and names that start with a dot, are skipped. Pictures have 8 bits per channel; they are scaled to [0, 1], then
normalised by mean 0.5 and std 0.25 unless set otherwise. Transparency and the rotation tag of cameras are ignored.
Needs the extra `images`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.data.pictures import MAX_SIDE, look_at_picture, read_picture
from pruneaudit.data.source import GENERIC_MEAN, GENERIC_STD, RawData, Source

# N samples, K channels, H height, W width

FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "GIF", "WEBP", "PPM")
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".gif", ".webp", ".ppm", ".pgm")
MIN_PER_CLASS = 2

Channels = tuple[Annotated[float, Field(ge=0, le=1)], ...]
Deviations = tuple[Annotated[float, Field(gt=0, le=1)], ...]


class ImagesOptions(Options):
    """The folder, and how to convert its pictures."""

    path: Path
    """The folder of the class folders."""
    size: int | None = Field(default=None, ge=1, le=MAX_SIDE)
    """Height and width to resize pictures to, in pixels; default: unchanged, then all must have the same size."""
    color: Literal["auto", "grey", "rgb"] = "auto"
    """Channels: grey: one; rgb: three; auto: one if every picture is grey, otherwise three."""
    mean: Channels | None = None
    """Mean per channel, in units of [0, 1]; default: 0.5."""
    std: Deviations | None = None
    """Standard deviation per channel, in units of [0, 1]; default: 0.25."""


class Images(Source[ImagesOptions]):
    """Pictures from a user's folder."""

    def load(self, options: ImagesOptions, data_root: Path | None) -> RawData:
        """Loads all pictures; x is (N, K, H, W) uint8."""
        folder = options.path.expanduser()
        files = _files(folder)
        paths = [path for name in files for path in files[name]]
        looks = [look_at_picture(path, FORMATS) for path in paths]
        if options.size is None:
            _check_alike(paths, [size for size, _ in looks])
        is_grey = options.color == "grey" or (options.color == "auto" and all(grey for _, grey in looks))
        height, width = looks[0][0] if options.size is None else (options.size, options.size)
        num_channels = 1 if is_grey else 3
        x = np.empty((len(paths), num_channels, height, width), np.uint8)
        for row, path in enumerate(paths):
            x[row] = read_picture(path, str(path), FORMATS, is_grey, options.size)
        y = np.repeat(np.arange(len(files)), [len(of_class) for of_class in files.values()])  # (N,)
        mean = options.mean or (GENERIC_MEAN,) * num_channels
        std = options.std or (GENERIC_STD,) * num_channels
        return RawData.from_file(folder, x, y.astype(np.int64), tuple(files), mean, std)


def _files(folder: Path) -> dict[str, list[Path]]:
    """Returns the pictures of each class."""
    try:
        folders = sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        files = {path.name: sorted(file for file in path.iterdir() if _is_picture(file)) for path in folders}
    except OSError as error:
        raise UserError(f"{folder}: cannot be read ({error.strerror}); expected FOLDER/CLASS/PICTURE.png") from None
    if len(files) < 2:
        raise UserError(f"{folder}: has {len(files)} class folders, expected 2 or more: FOLDER/CLASS/PICTURE.png")
    for name, of_class in files.items():
        if len(of_class) < MIN_PER_CLASS:
            raise UserError(
                f"{folder / name}: has {len(of_class)} pictures ({', '.join(SUFFIXES)}), expected {MIN_PER_CLASS} or "
                "more of each class: add some, or remove the folder"
            )
    return files


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _check_alike(paths: list[Path], sizes: list[tuple[int, int]]) -> None:
    for path, size in zip(paths, sizes, strict=True):
        if size != sizes[0]:
            raise UserError(
                f"{path}: has {size[0]} x {size[1]} pixels (height x width), but {paths[0].name} has {sizes[0][0]} x "
                f"{sizes[0][1]}, expected the same size for all: set the option size, such as size = 32, to resize them"
            )


SOURCE = Images()
