"""How figures for a paper look, and how they become files: one column wide, 8 points, the same bytes every time.

Colours are those of the page (Okabe-Ito); marker symbols and dashes differ too. Nothing is taken from
the user's own matplotlib settings, and no text is read as mathematics or TeX.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pruneaudit.core.errors import UserError
from pruneaudit.report.figures.common import COLOURS, DASHES, SYMBOLS
from pruneaudit.report.paper.names import one_line
from pruneaudit.report.paper.points import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

FORMATS = ("pdf", "png", "svg")
WIDTH_INCHES = 3.4
"""One column of a two-column page."""
TEXT_INCHES = 3.2
"""What a line of text over the whole width may take."""
FONT_POINTS = 8
_DPI = 300
_NEUTRAL = "#767676"
_MARKERS = {"circle": "o", "square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X", "star": "*"}
_LINES = {
    "solid": "-",
    "dash": (0, (4, 2)),
    "dot": (0, (1, 1.5)),
    "dashdot": (0, (5, 2, 1, 2)),
    "longdash": (0, (8, 3)),
}
_BLACK, _GREY = "#000000", "#5a5a5a"
_SETTINGS: dict[str, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib: the same on every machine
    **dict.fromkeys(("font.size", "axes.labelsize", "axes.titlesize", "figure.titlesize"), FONT_POINTS),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize", "legend.title_fontsize"), FONT_POINTS),
    "text.usetex": False,
    "text.parse_math": False,  # a "$" in a name is a "$"
    "axes.formatter.useoffset": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "lines.markersize": 4.5,
    "errorbar.capsize": 1.5,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "legend.columnspacing": 1.2,
    "legend.borderaxespad": 0.2,
    "figure.dpi": 100,
    "pdf.fonttype": 42,  # TrueType: publishers refuse Type 3
    "svg.fonttype": "none",  # texts stay texts, to be found and edited
    "svg.hashsalt": "pruneaudit",
}


@dataclass(frozen=True)
class Chart:
    """A figure, and what it is called."""

    stem: str
    """Its file name without suffix."""
    caption: str
    """One or two sentences; kept in the file's own description."""
    figure: Figure


@dataclass(frozen=True)
class Look:
    """What tells one series from the others."""

    colour: str
    marker: str
    line: Any
    """A dash pattern, as matplotlib takes it."""


def look(index: int) -> Look:
    """The n-th series; colour, marker and dash repeat at different paces."""
    dash = DASHES[index % len(DASHES)]
    return Look(COLOURS[index % len(COLOURS)], _MARKERS[SYMBOLS[index % len(SYMBOLS)]], _LINES[dash])


def unpruned_look(index: int) -> Look:
    """The n-th release that is not pruned: the first black, others grey."""
    line = _LINES[DASHES[index % len(DASHES)]]
    return Look(_BLACK, "h", line) if index == 0 else Look(_GREY, "p", line)


def guessing_style() -> dict[str, Any]:
    """How the line of guessing is drawn, in every figure alike."""
    return {"color": _NEUTRAL, "linestyle": (0, (2, 2)), "linewidth": 0.8, "zorder": 1}


def percent_ticks(axis: Axis) -> None:
    """Labels an axis of rates (0..1) as `2%`, `2.5%`."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda rate, _: f"{100 * rate:g}%"))


def require_matplotlib() -> None:
    """Checks that the extra is there.

    Raises:
        UserError: it is not.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise UserError(
            "figures: matplotlib is not installed; install it with: pip install 'pruneaudit[figures]'"
        ) from None


@contextmanager
def drawing() -> Iterator[None]:
    """Inside, matplotlib's settings are those of this file alone; afterwards they are the user's again."""
    import matplotlib.style

    with matplotlib.style.context(["default", _SETTINGS]), warnings.catch_warnings():
        # A name may hold letters that the font lacks; they are drawn as boxes.
        warnings.filterwarnings("ignore", message="Glyph ")
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support")
        yield


def new_figure(num_panels: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure of one column's width with panels below each other; `finish` sets its height."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES), layout="constrained")
    return figure, list(figure.subplots(num_panels, 1, sharex=True, squeeze=False)[:, 0])


def finish(figure: Figure, title: str, handles: Sequence[Any], names: Sequence[str], panels_inches: float) -> None:
    """Puts the legend above the panels, in as many columns as fit, and sets the figure's height."""
    for columns in (3, 2, 1):
        # A label that begins with "_" would be left out, so the texts are set afterwards.
        legend = figure.legend(
            handles, [" "] * len(handles), ncols=columns, loc="outside upper left", title=title, alignment="left"
        )
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set_text(name)
        extent = legend.get_window_extent()
        if columns == 1 or extent.width <= figure.bbox.width:
            break
        legend.remove()
    settle(figure, panels_inches + extent.height / figure.dpi)


def settle(figure: Figure, height_inches: float) -> None:
    """Sets the height and lays the figure out, once for all formats."""
    figure.set_figheight(height_inches)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def cut(text: str, inches: float = TEXT_INCHES) -> str:
    """A text from outside for use in a figure: on one line, its middle left out where it is too long.

    Names of releases often differ only at their ends.
    """
    whole = one_line(text)
    kept, shown = len(whole), whole
    while kept > 2 and _inches(shown) > inches:
        kept -= 1
        shown = whole[: (kept + 1) // 2] + "…" + whole[len(whole) - kept // 2 :]
    return shown


def cut_all(texts: Iterable[str], inches: float = TEXT_INCHES - 0.7) -> list[str]:
    """Each text as `cut` gives it; those that would look alike are numbered."""
    shown = [cut(text, inches) for text in texts]
    counts, seen = Counter(shown), Counter[str]()
    for place, text in enumerate(shown):
        if counts[text] > 1:
            seen[text] += 1
            shown[place] = f"{text} ({seen[text]})"
    return shown


def _inches(text: str) -> float:
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=FONT_POINTS)
    return float(text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]) / 72


def error_lengths(points: Iterable[Point]) -> list[list[float]]:
    """Lengths of error bars below and above, as matplotlib takes them; NaN draws none."""
    return [list(lengths) for lengths in zip(*(point.lengths for point in points), strict=True)]


def rendered(chart: Chart, format: str) -> bytes:
    """The file of a chart: nothing in it depends on when it was made."""
    caption = one_line(chart.caption)
    described: dict[str, dict[str, str | None]] = {
        "pdf": {"Title": chart.stem, "Subject": caption, "CreationDate": None},
        "png": {"Title": chart.stem, "Description": caption},
        "svg": {"Title": chart.stem, "Description": caption, "Date": None},
    }
    buffer = io.BytesIO()
    chart.figure.savefig(buffer, format=format, dpi=_DPI, metadata=described[format])
    return buffer.getvalue()
