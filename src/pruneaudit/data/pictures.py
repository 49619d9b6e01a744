"""Decodes picture files by Pillow, which the extra `images` installs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from pruneaudit.core.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

# K channels, H height, W width

GREY_MODES = ("1", "L", "LA")
COLOUR_MODES = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")
MAX_SIDE = 4096
"""Pixels; no network here is trained on larger ones, and a small file can unpack to a huge picture."""


def read_picture(
    file: Path | IO[bytes], name: str, formats: tuple[str, ...], is_grey: bool, size: int | None
) -> np.ndarray:
    """One picture as bytes.

    Args:
        file: its file.
        name: what it is called in messages.
        formats: Pillow's names of those that may be read.
        is_grey: one channel, else three.
        size: height and width that it is brought to (bilinear, averaging when it shrinks); None: as it is.

    Returns:
        (K, H, W) uint8.

    Raises:
        UserError: Pillow is missing, or it is no such picture, damaged, too large, or has more than 8 bits.
    """

    def decoded(picture: Image.Image) -> np.ndarray:
        from PIL import Image

        converted = picture.convert("L" if is_grey else "RGB")
        if size is not None and converted.size != (size, size):
            converted = converted.resize((size, size), Image.Resampling.BILINEAR)
        pixels = np.asarray(converted)  # (H, W) or (H, W, 3)
        return pixels[None] if is_grey else pixels.transpose(2, 0, 1)

    return _opened(file, name, formats, decoded)


def look_at_picture(file: Path, formats: tuple[str, ...]) -> tuple[tuple[int, int], bool]:
    """Height and width of a picture, and whether it is grey; reads its header alone.

    Raises:
        UserError: as for `read_picture`.
    """
    return _opened(
        file, str(file), formats, lambda picture: ((picture.height, picture.width), picture.mode in GREY_MODES)
    )


def _opened(file: Path | IO[bytes], name: str, formats: tuple[str, ...], use: Any) -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise UserError(
            "pictures are read by Pillow, which is not installed: pip install 'pruneaudit[images]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; too large ones are refused below
            with Image.open(file, formats=formats) as picture:
                if max(picture.size) > MAX_SIDE:
                    raise UserError(
                        f"{name}: has {picture.width:,} x {picture.height:,} pixels, more than {MAX_SIDE:,} a side"
                    )
                if picture.mode not in (*GREY_MODES, *COLOUR_MODES):
                    raise UserError(
                        f"{name}: has pixels of type {picture.mode}, expected 8 bits per channel: convert it"
                    )
                return use(picture)
    except UserError:
        raise
    except Exception as error:  # a damaged picture raises anything from SyntaxError to struct.error
        kinds = ", ".join(formats)
        raise UserError(
            f"{name}: cannot be read ({error or type(error).__name__}), expected a whole picture ({kinds})"
        ) from None
