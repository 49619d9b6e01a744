"""The look of figures: colours, marks, letters, and the differences between the page and a paper.

Colours are those of Okabe and Ito, which people with any colour vision can tell apart; shapes and dashes differ too. In
the page backgrounds are transparent, and its style sheet sets the colours of text and axes for light and dark mode.
Names from outside are in a specification as data or as ends of a scale, never inside an expression: Vega draws them as
plain text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pruneaudit.report.escaping import one_line

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe-Ito without black and yellow, which vanish on dark and on white paper."""
SHAPES = (
    *("circle", "square", "diamond", "triangle-up", "cross", "triangle-down"),
    "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z",  # an x
)
DASHES = ((1, 0), (6, 3), (1.5, 2), (6, 2, 1.5, 2), (10, 4))
NEUTRAL = "#808080"
"""Seen on white and on dark paper."""
LINE = "stroke"
"""The shape of a series that is a line."""
GUESSING = "guessing"
GUESSING_DASH = (4, 3)
_EM = 1000
_LEAST_PAGE = 320.0
_WIDEST = 1.2
_BLACK = "#000000"
_WIDTHS = {
    191: "'", 222: "ijl", 260: "|", 278: " !,./:;I[\\]ft", 333: "()-`r", 334: "{}", 355: '"', 389: "*", 469: "^",
    500: "Jckszvxy", 556: "#$?L_0123456789abdeghnopqu", 584: "+<=>~", 611: "FTZ", 667: "&ABEKPSVXY",
    722: "CDHNRUw", 778: "GOQ", 833: "Mm", 889: "%", 944: "W",
}  # fmt: skip
_LETTER_WIDTHS = {letter: width for width, letters in _WIDTHS.items() for letter in letters}
"""Of Liberation Sans and Arial, in thousandths of the size of the letters; any other letter is taken for 1,000."""


@dataclass(frozen=True)
class Theme:
    """What differs between the page and a paper."""

    width: float | str
    """Of the whole figure. Page: pixels, or "container". Paper: points."""
    font: str
    font_size: float
    name_length: float
    """The most that a name takes in a legend, in units of `width`."""
    point_area: float
    line_width: float
    ink: str
    """The colour of text."""
    interactive: bool
    """Hovering, zooming and choosing a series; names beside points."""
    config: dict[str, Any] = field(default_factory=dict)

    @property
    def is_paper(self) -> bool:
        """The figure itself holds its title and how to read it."""
        return not self.interactive

    @property
    def line(self) -> float:
        """What a line of text over the whole figure may take."""
        return (self.width if isinstance(self.width, float) else _LEAST_PAGE) - self.font_size


def _config(font: str, size: float, ink: str, grid: str, line: float) -> dict[str, Any]:
    text = {"labelFont": font, "titleFont": font, "labelFontSize": size, "titleFontSize": size}
    plain = {"titleFontWeight": "normal", "labelColor": ink, "titleColor": ink}
    axis = {"domainColor": NEUTRAL, "tickColor": NEUTRAL, "gridColor": grid, "domainWidth": line, "tickWidth": line}
    return {
        "background": "white" if ink == _BLACK else "transparent",
        "font": font,
        "view": {"stroke": None},
        "axis": text | plain | axis | {"gridWidth": line, "labelBound": False, "titlePadding": size / 2},
        "legend": text | plain | {
            **{"title": None, "orient": "top", "offset": size * 0.6, "symbolStrokeWidth": 1.5 * line},
            **{"rowPadding": size / 5, "columnPadding": size, "symbolSize": 0.9 * size**2, "symbolOpacity": 1},
        },
        "point": {"opacity": 1},
        "title": {"font": font, "fontSize": size, "fontWeight": "normal", "color": ink, "anchor": "start"},
    }  # fmt: skip


_PAGE_FONT, _PAPER_FONT = "system-ui, sans-serif", "Liberation Sans, Arial, Helvetica, sans-serif"
WIDTH_POINTS = 3.4 * 72
"""One column of a two-column page."""
FONT_POINTS = 8
PAGE = Theme(
    "container", _PAGE_FONT, 13, 200, 90, 2, "currentColor", True,
    _config(_PAGE_FONT, 13, "currentColor", "#d0d7de", 1),
)  # fmt: skip
PAPER = Theme(
    WIDTH_POINTS, _PAPER_FONT, FONT_POINTS, 170, 22, 1.1, _BLACK, False,
    _config(_PAPER_FONT, FONT_POINTS, _BLACK, "#e3e3e3", 0.5),
)  # fmt: skip


@dataclass(frozen=True)
class Series:
    """What belongs together, and how it is told apart."""

    label: str
    colour: str
    shape: str = LINE
    dash: tuple[float, ...] = DASHES[0]


def series(label: str, index: int) -> Series:
    """The n-th attack, release or method; colour, shape and dash repeat at different paces."""
    return Series(label, COLOURS[index % len(COLOURS)], SHAPES[index % len(SHAPES)], DASHES[index % len(DASHES)])


def guessing_series(label: str = GUESSING) -> Series:
    """The line of guessing."""
    return Series(label, NEUTRAL, LINE, GUESSING_DASH)


def text_width(text: str, size: float) -> float:
    """About how wide a text is, in the unit of `size`; seldom less than it is."""
    return sum(_LETTER_WIDTHS.get(letter, _EM) for letter in text) * size / _EM


def cut(text: str, width: float, size: float) -> str:
    """A text from outside for use in a figure: on one line, its middle left out where it is too wide.

    Names of releases often differ only at their ends.
    """
    whole = one_line(text)
    kept, shown = len(whole), whole
    while kept > 2 and text_width(shown, size) > width:
        kept -= 1
        shown = whole[: (kept + 1) // 2] + "…" + whole[len(whole) - kept // 2 :]
    return shown


def cut_all(texts: Iterable[str], width: float, size: float) -> list[str]:
    """Each text as `cut` gives it; equal results are numbered."""
    shown = [cut(text, width, size) for text in texts]
    counts, seen = Counter(shown), Counter[str]()
    for place, text in enumerate(shown):
        if counts[text] > 1:
            seen[text] += 1
            shown[place] = f"{text} ({seen[text]})"
    return shown


def labels(texts: Iterable[str], theme: Theme) -> list[str]:
    """Names for a legend, all different."""
    return cut_all(texts, theme.name_length, theme.font_size)


def isolated(text: str) -> str:
    """A name inside a sentence, kept apart from words in another direction."""
    return f"\u2068{one_line(text)}\u2069"


def colour_and_shape(shown: Sequence[Series], theme: Theme, aside: float | None = None) -> dict[str, Any]:
    """Encodings of points by the field `series`, and of lines among them, with one legend.

    Args:
        shown: all series.
        theme: page or paper.
        aside: what the upright axis takes. Default: room for numbers.
    """
    dashes = [list(one.dash if one.shape == LINE else DASHES[0]) for one in shown]
    return {
        "color": _colour(shown, theme, aside),
        "shape": _scaled(shown, [one.shape for one in shown]),
        "strokeDash": _scaled(shown, dashes),
    }


def colour_and_dash(shown: Sequence[Series], theme: Theme) -> dict[str, Any]:
    """Encodings of lines by the field `series`, with one legend."""
    colour = _colour(shown, theme)
    colour["legend"] |= {"symbolType": LINE, "symbolSize": 3 * theme.font_size**2}
    return {"color": colour, "strokeDash": _scaled(shown, [list(one.dash) for one in shown])}


def _colour(shown: Sequence[Series], theme: Theme, aside: float | None = None) -> dict[str, Any]:
    legend = _legend([one.label for one in shown], theme, 5 * theme.font_size if aside is None else aside)
    return _scaled(shown, [one.colour for one in shown]) | {"legend": legend}


def _scaled(shown: Sequence[Series], looks: Sequence[Any]) -> dict[str, Any]:
    scale = {"domain": [one.label for one in shown], "range": list(looks)}
    return {"field": "series", "type": "nominal", "scale": scale}


def _legend(names: Sequence[str], theme: Theme, aside: float) -> dict[str, Any]:
    """As many columns as fit side by side.

    Args:
        names: all entries.
        theme: page or paper.
        aside: what the upright axis takes, for the legend begins where the plot does.
    """
    column = max(text_width(name, theme.font_size) for name in names) + 3 * theme.font_size
    if theme.is_paper:
        return {"columns": max(1, min(3, int((WIDTH_POINTS - aside) // column))), "labelLimit": 0}
    column *= _WIDEST  # the reader's font may be wider
    fitting = f"max(1, floor((containerSize()[0] - {aside:.0f}) / {column:.0f}))"
    return {"columns": {"expr": fitting}, "labelLimit": 2 * theme.name_length}
