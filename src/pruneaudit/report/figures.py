"""The figures of the page, as plotly figures in plain data (no plotly needed to build them).

Colours are those of Okabe and Ito, told apart by people with any colour vision; marker symbols and
dashes differ too. Backgrounds are transparent; the page's script sets the colours of text and axes
for light and dark mode. plotly reads HTML tags in its texts, so every text from outside passes
through `label`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.columns import MEAN
from pruneaudit.evaluation.results import Results
from pruneaudit.report.escaping import without_sanity_checks
from pruneaudit.report.quantities import AUC, TEST_ACCURACY
from pruneaudit.report.selection import (
    attack_order,
    finding,
    primary_attack,
    primary_references,
    references_named,
    release_names,
    release_row,
)
from pruneaudit.report.words import attack_name

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
    cut = without_sanity_checks(text)
    if len(cut) > length:
        tail = length // 2
        cut = cut[: length - 1 - tail] + "…" + cut[-tail:]
    return html.escape(f"\u2068{cut}\u2069")


def leakage_by_release(results: Results) -> Figure | None:
    """AUC with its interval: a line of the figure per release and attack, top to bottom.

    One kind of references at a time, the primary one first.
    """
    first = primary_references(results)
    names = dict.fromkeys([first, *results.findings["references"]])
    found = [(name, drawn) for name in names if (drawn := _leakage(results, name)) is not None]
    if not found:
        return None
    return Figure(
        key="leakage-by-release",
        title="Leakage by release",
        caption="Mean AUC over victims with its 95% interval. The dashed line is guessing (0.5). "
        f"References: {references_named(results, first)}" + (", or those that you choose." if len(found) > 1 else "."),
        # As high as the choice with the most lines needs it.
        height=max(height for _, (height, _) in found),
        plot=found[0][1][1],
        choices=tuple(Choice(name, plot) for name, (_, plot) in found),
        choose="References",
    )


def _leakage(results: Results, references: str) -> tuple[int, dict[str, Any]] | None:
    """Height in pixels, and the figure under one kind of references."""
    table = results.findings
    rows = table[(table["victim"] == MEAN) & (table["references"] == references) & table["auc"].notna()]
    releases = [name for name in release_names(results) if name in set(rows["release"])]
    attacks = [name for name in attack_order(results) if name in set(rows["attack"])]
    if not releases:
        return None
    slots = len(attacks) + 1
    traces = []
    for index, attack in enumerate(attacks):
        of_attack = rows[rows["attack"] == attack]
        places = [releases.index(name) * slots + index for name in of_attack["release"]]
        look = style(index)
        marker = {"color": look["color"], "symbol": look["symbol"], "size": 9}
        traces.append(_points(of_attack, AUC.column, "x", places, attack, marker))
    middles = [place * slots + (len(attacks) - 1) / 2 for place in range(len(releases))]
    layout = plot_layout("AUC", "")
    layout["yaxis"] |= {
        "tickvals": middles,
        "ticktext": [label(name, 30) for name in releases],
        "range": [len(releases) * slots - 0.5, -1],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }
    layout["shapes"] = [line_across("x", 0.5)]
    return 150 + _ROW_PIXELS * slots * len(releases), {"data": traces, "layout": layout}


def leakage_against_accuracy(results: Results) -> Figure | None:
    """The primary attack's AUC against test accuracy: what a release pays for what it hides."""
    traces = []
    for index, release in enumerate(release_names(results)):
        row, made = finding(results, release, primary_attack(results)), release_row(results, release)
        if row is None or made is None or math.isnan(row["auc"]) or math.isnan(made["test_accuracy"]):
            continue
        look = style(index)
        marker = {"color": look["color"], "symbol": look["symbol"], "size": 11}
        trace = _points(row.to_frame().T, AUC.column, "y", [float(made["test_accuracy"])], release, marker)
        trace["error_x"] = error_bars(made.to_frame().T, TEST_ACCURACY.column, trace["marker"]["color"])
        traces.append(trace)
    if not traces:
        return None
    layout = plot_layout("Test accuracy", "AUC")
    layout["xaxis"]["tickformat"] = "~%"  # as many digits as the step between ticks needs
    layout["shapes"] = [line_across("y", 0.5)]
    return Figure(
        key="tradeoff",
        title=f"Leakage against test accuracy, under {attack_name(primary_attack(results))}",
        caption="One point per release with 95% intervals. Further down leaks less, further right is more accurate.",
        height=440,
        plot={"data": traces, "layout": layout},
    )


def _points(
    rows: pd.DataFrame, column: str, value_axis: str, places: Sequence[float], name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    """Points with error bars along `value_axis` ("x" or "y")."""
    other = "y" if value_axis == "x" else "x"
    texts = [
        f"{label(release)}: AUC {AUC.value(value)} {AUC.interval(low, high)}"
        for release, value, low, high in zip(
            rows["release"], rows[column], rows[f"{column}_low"], rows[f"{column}_high"], strict=True
        )
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label(name),
        value_axis: [float(value) for value in rows[column]],
        other: list(places),
        f"error_{value_axis}": error_bars(rows, column, marker["color"]),
        "marker": marker,
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra>%{fullData.name}</extra>",
    }


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
