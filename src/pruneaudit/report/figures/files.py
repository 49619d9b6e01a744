"""Writes a figure as a file for a paper: one column wide, letters of 8 points, the same bytes every time.

vl-convert draws without a browser, in Liberation Sans, which it includes: files are the same on every
machine. Letters that this font lacks are taken from the machine's own fonts.
"""

from __future__ import annotations

import re
import struct
import zlib
from html import escape

from pruneaudit.core.errors import UserError
from pruneaudit.report.escaping import one_line
from pruneaudit.report.figures.figure import Figure
from pruneaudit.report.figures.look import WIDTH_POINTS
from pruneaudit.report.figures.pdf import canonical_pdf

FORMATS = ("pdf", "png", "svg")
_DPI = 300
_ID = re.compile(r"""(id="|url\(#)(clip|gradient_|pattern_)(\d+)(?=["')])""")
_FRAME = re.compile(r'(<svg [^>]*?)width="[\d.]+" height="([\d.]+)" viewBox="[^"]*"')


def require_vl_convert() -> None:
    """Checks that the extra is there.

    Raises:
        UserError: it is not.
    """
    try:
        import vl_convert  # noqa: F401
    except ImportError:
        raise UserError(
            "figures: vl-convert-python is not installed; install it with: pip install 'pruneaudit[figures]'"
        ) from None


def rendered(figure: Figure, stem: str, formats: tuple[str, ...] = FORMATS) -> dict[str, bytes]:
    """The files of a figure, by format: nothing in them depends on when they were made.

    Args:
        figure: made for a paper.
        stem: its title in the file's own description; the caption is there too.
        formats: of `FORMATS`.
    """
    import vl_convert

    drawn = _numbered_anew(vl_convert.vegalite_to_svg(figure.spec))
    picture, caption = _a_column_wide(drawn), one_line(figure.caption)
    files = {}
    for format in formats:
        if format == "pdf":
            files[format] = canonical_pdf(vl_convert.svg_to_pdf(picture), stem, caption)
        elif format == "png":
            # A point of the picture is a 72nd of an inch.
            files[format] = _described_png(vl_convert.svg_to_png(picture, ppi=_DPI), stem, caption)
        else:
            files[format] = _described_svg(picture, stem, caption).encode()
    return files


def _numbered_anew(picture: str) -> str:
    """The picture with its ids numbered from 1: Vega counts on from one picture of a process to the next."""
    numbers: dict[str, int] = {}

    def anew(found: re.Match[str]) -> str:
        return f"{found[1]}{found[2]}{numbers.setdefault(found[2] + found[3], len(numbers) + 1)}"

    return _ID.sub(anew, picture)


def _a_column_wide(picture: str) -> str:
    """The picture in a frame of exactly one column: panels below each other come out a little narrower."""
    frame = _FRAME.match(picture)
    assert frame is not None
    size = f'width="{WIDTH_POINTS:g}" height="{frame[2]}" viewBox="0 0 {WIDTH_POINTS:g} {frame[2]}"'
    return f"{frame[1]}{size}{picture[frame.end() :]}"


def _described_svg(picture: str, title: str, caption: str) -> str:
    """The picture with its size in inches, its title, and a description that screen readers find."""
    frame = _FRAME.match(picture)
    assert frame is not None
    size = f'width="{WIDTH_POINTS / 72:g}in" height="{float(frame[2]) / 72:.4g}in" role="img"'
    box = f'viewBox="0 0 {WIDTH_POINTS:g} {frame[2]}"'
    head, inner = f"{frame[1]}{size} {box}>", picture[picture.index(">") + 1 :]
    described = f"<title>{escape(title)}</title><desc>{escape(caption)}</desc>"
    return f'<?xml version="1.0" encoding="utf-8"?>\n{head}{described}{inner}\n'


def _described_png(picture: bytes, title: str, caption: str) -> bytes:
    """The picture with title and description in its metadata."""
    header_end = 8 + 12 + 13  # signature, then the chunk IHDR
    texts = (("Title", title), ("Description", caption))
    chunks = b"".join(_chunk(b"iTXt", key.encode() + b"\0\0\0\0\0" + text.encode()) for key, text in texts)
    return picture[:header_end] + chunks + picture[header_end:]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
