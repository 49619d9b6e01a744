"""The figures of the page, as plotly figures in plain data (no plotly needed to build them).

Colours are those of Okabe and Ito, told apart by people with any colour vision; marker symbols and
dashes differ too. Backgrounds are transparent; the page's script sets the colours of text and axes
for light and dark mode. plotly reads HTML tags in its texts, so every text from outside passes
through `label`.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.report.escaping import printable_only

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe-Ito without black and yellow, which vanish on dark and on white paper."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
NEUTRAL = "#808080"
"""Seen on white and on dark paper."""
_LABEL_LENGTH = 28
_ROW_PIXELS = 19


@dataclass(frozen=True)
class Choice:
    """One of the things that a figure may show."""

    name: str
    plot: dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """One figure with the words around it."""

    key: str
    """Names its element in the page."""
    title: str
    caption: str
    height: int
    """Pixels."""
    plot: dict[str, Any]
    """{data, layout} for plotly; JSON data without NaN."""
    choices: tuple[Choice, ...] = ()
    """Other data that readers may have drawn in its place; the first is `plot` itself. Empty: no choice."""
    choose: str = ""
    """What is chosen."""


def label(text: str, length: int = _LABEL_LENGTH) -> str:
    """A text from outside for use in a figure: cut, kept apart from text in another direction, escaped.

    The middle is left out: names of releases differ at their ends.
    """
    cut = printable_only(text)
    if len(cut) > length:
        tail = length // 2
        cut = cut[: length - 1 - tail] + "…" + cut[-tail:]
    return html.escape(f"\u2068{cut}\u2069")


def error_bars(rows: pd.DataFrame, column: str, colour: str) -> dict[str, Any]:
    """Error bars from interval limits; a missing limit draws none."""

    def lengths(far: pd.Series, near: pd.Series) -> list[float]:
        return [max(float(length), 0.0) if length == length else 0.0 for length in far - near]

    value, low, high = rows[column], rows[f"{column}_low"], rows[f"{column}_high"]
    return {
        "type": "data",
        "symmetric": False,
        "array": lengths(high, value),
        "arrayminus": lengths(value, low),
        "color": colour,
        "thickness": 1.5,
        "width": 3,
    }


def plot_layout(x_title: str, y_title: str) -> dict[str, Any]:
    """What the layouts of all figures have in common."""
    axis = {"automargin": True, "zeroline": False, "gridcolor": NEUTRAL, "linecolor": NEUTRAL}
    return {
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13, "color": NEUTRAL},
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "xaxis": axis | {"title": {"text": x_title}},
        "yaxis": axis | {"title": {"text": y_title}},
        "legend": {
            "orientation": "h",
            "yref": "container",
            "y": 1,
            "yanchor": "top",
            "x": 0,
            "xanchor": "left",
            "itemwidth": 44,
        },
        "showlegend": True,
        "hovermode": "closest",
    }


def style(index: int) -> dict[str, str]:
    """The look of the n-th attack or release; colour and symbol repeat at different paces."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "symbol": SYMBOLS[index % len(SYMBOLS)],
        "dash": DASHES[index % len(DASHES)],
    }


def line_across(axis: str, at: float) -> dict[str, Any]:
    """A dashed line across the plot at one value of an axis."""
    other = "y" if axis == "x" else "x"
    ends = {f"{axis}0": at, f"{axis}1": at, f"{other}0": 0, f"{other}1": 1, f"{other}ref": f"{other} domain"}
    return {"type": "line", "layer": "below", "line": dashed(), **ends}


def dashed() -> dict[str, Any]:
    """The line of guessing."""
    return {"color": NEUTRAL, "dash": "dash", "width": 2}
