"""Decodes picture files with Pillow, which the extra `images` installs."""

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
"""Maximum side in pixels: networks here need no larger ones, and a small file can unpack to a huge picture."""


def read_picture(
    file: Path | IO[bytes], name: str, formats: tuple[str, ...], is_grey: bool, size: int | None
) -> np.ndarray:
    """Reads one picture as bytes.

    Args:
        file: its file.
        name: its name in messages.
        formats: Pillow's names of the allowed formats.
        is_grey: one channel, otherwise three.
        size: height and width to resize to (bilinear, averaging when shrinking); None: unchanged.

    Returns:
        (K, H, W) uint8.

    Raises:
        UserError: Pillow is missing, or the picture has another format, is damaged, too large, or has more than 8 bits.
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
    """Returns height and width of a picture, and whether it is grey; reads only its header.

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
            "reading pictures needs Pillow, which is not installed: pip install 'pruneaudit[images]'"
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd metadata; pictures too large are refused below
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
