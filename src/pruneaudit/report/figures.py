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

from pruneaudit.report.answer import attack_name
from pruneaudit.report.quantities import AUC, TEST_ACCURACY
from pruneaudit.report.selection import (
    MEAN,
    MIN_DECIDING,
    attack_order,
    base_release,
    finding,
    primary_attack,
    primary_knowledge,
    release_names,
    release_row,
    resolution,
)
from pruneaudit.results import Results
from pruneaudit.study import DENSE

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe-Ito without black and yellow, which vanish on dark and on white paper."""
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
NEUTRAL = "#808080"
"""Seen on white and on dark paper."""
_LABEL_LENGTH = 28
_ROW_PIXELS = 19


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


def draw(results: Results) -> list[Figure]:
    """All figures for which there is something to draw."""
    drawn = [leakage_by_release(results, knowledge) for knowledge in dict.fromkeys(results.findings["knowledge"])]
    drawn += [roc_by_release(results), roc_by_attack(results)]
    if results.frontier.empty:  # where there is a frontier, its section has this figure
        drawn.append(leakage_against_accuracy(results))
    return [figure for figure in drawn if figure is not None]


def label(text: str, length: int = _LABEL_LENGTH) -> str:
    """A text from outside for use in a figure: cut, kept apart from text in another direction, escaped.

    The middle is left out: names of releases differ at their ends.
    """
    cut = "".join(character if character.isprintable() else " " for character in text)
    if len(cut) > length:
        tail = length // 2
        cut = cut[: length - 1 - tail] + "…" + cut[-tail:]
    return html.escape(f"\u2068{cut}\u2069")


def leakage_by_release(results: Results, knowledge: str) -> Figure | None:
    """AUC with its interval: a line of the figure per release and attack, top to bottom."""
    table = results.findings
    rows = table[(table["victim"] == MEAN) & (table["knowledge"] == knowledge) & table["auc"].notna()]
    releases = [name for name in release_names(results) if name in set(rows["release"])]
    attacks = [name for name in attack_order(results) if name in set(rows["attack"])]
    if not releases:
        return None
    slots = len(attacks) + 1
    traces = []
    for index, attack in enumerate(attacks):
        of_attack = rows[rows["attack"] == attack]
        places = [releases.index(name) * slots + index for name in of_attack["release"]]
        style = _style(index)
        marker = {"color": style["color"], "symbol": style["symbol"], "size": 9}
        traces.append(_points(of_attack, AUC.column, "x", places, attack, marker))
    middles = [place * slots + (len(attacks) - 1) / 2 for place in range(len(releases))]
    layout = plot_layout("AUC", "")
    layout["xaxis"]["tickformat"] = ".2f"
    layout["yaxis"] |= {
        "tickvals": middles,
        "ticktext": [label(name, 30) for name in releases],
        "range": [len(releases) * slots - 0.5, -1],
        "showgrid": False,
        "zeroline": False,
        "fixedrange": True,
    }
    layout["shapes"] = [line_across("x", 0.5)]
    return Figure(
        key=f"leakage-{list(dict.fromkeys(table['knowledge'])).index(knowledge)}",
        title=f"Leakage by release, references: {knowledge}",
        caption="Mean AUC over victims with its 95% interval. The dashed line is guessing (0.5).",
        height=150 + _ROW_PIXELS * slots * len(releases),
        plot={"data": traces, "layout": layout},
    )


def roc_by_release(results: Results) -> Figure | None:
    """The declared attack's ROC on every release."""
    attack = primary_attack(results)
    curves = {name: _curve(results, name, attack) for name in release_names(results)}
    title = f"ROC of {attack_name(attack)}, by release"
    return _roc(results, "roc-releases", title, curves)


def roc_by_attack(results: Results) -> Figure | None:
    """Every attack's ROC on the networks that releases are held against."""
    base = base_release(results)
    curves = {name: _curve(results, base, name) for name in attack_order(results)}
    title = "ROC on the dense networks, by attack" if base == DENSE else f"ROC on {base}, by attack"
    return _roc(results, "roc-attacks", title, curves)


def leakage_against_accuracy(results: Results) -> Figure | None:
    """The declared attack's AUC against test accuracy: what a release pays for what it hides."""
    traces = []
    for index, release in enumerate(release_names(results)):
        row, made = finding(results, release, primary_attack(results)), release_row(results, release)
        if row is None or made is None or math.isnan(row["auc"]) or math.isnan(made["test_accuracy"]):
            continue
        style = _style(index)
        marker = {"color": style["color"], "symbol": style["symbol"], "size": 11}
        trace = _points(row.to_frame().T, AUC.column, "y", [float(made["test_accuracy"])], release, marker)
        trace["error_x"] = error_bars(made.to_frame().T, TEST_ACCURACY.column, trace["marker"]["color"])
        traces.append(trace)
    if not traces:
        return None
    layout = plot_layout("Test accuracy", "AUC")
    layout["xaxis"]["tickformat"] = ".0%"
    layout["yaxis"]["tickformat"] = ".2f"
    layout["shapes"] = [line_across("y", 0.5)]
    return Figure(
        key="tradeoff",
        title=f"Leakage against test accuracy, under {attack_name(primary_attack(results))}",
        caption="One point per release with 95% intervals. Further down leaks less, further right is more accurate.",
        height=440,
        plot={"data": traces, "layout": layout},
    )


def _roc(results: Results, key: str, title: str, curves: dict[str, pd.DataFrame]) -> Figure | None:
    """A log-log ROC, cut where too few non-members decide."""
    lowest = resolution(results)
    if not lowest < 1:
        return None
    traces = []
    for index, (name, curve) in enumerate(curves.items()):
        # A rate of 0 has no place on a log axis.
        kept = curve[(curve["fpr"] >= lowest) & (curve["tpr"] > 0)]
        if kept.empty:
            continue
        style = _style(index)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label(name),
                "x": kept["fpr"].tolist(),
                "y": kept["tpr"].tolist(),
                "line": {"color": style["color"], "dash": style["dash"], "width": 2},
                "hovertemplate": "FPR %{x:.3%}, TPR %{y:.3%}<extra>%{fullData.name}</extra>",
            }
        )
    if not traces:
        return None
    floor = min(lowest, *(min(trace["y"]) for trace in traces))
    layout = plot_layout("False-positive rate", "True-positive rate")
    for axis, start in (("xaxis", lowest), ("yaxis", floor)):
        layout[axis] |= {"type": "log", "range": [math.log10(start), 0.02], "dtick": "D2", "tickformat": "~%"}
    layout["shapes"] = [{"type": "line", "x0": lowest, "y0": lowest, "x1": 1, "y1": 1, "line": _dashed()}]
    caption = (
        f"Mean over victims, both axes logarithmic. Cut at a false-positive rate of {100 * lowest:.2g}%: below it "
        f"fewer than {MIN_DECIDING} non-members of a victim decide. The dashed line is guessing."
    )
    return Figure(key, title, caption, 460, {"data": traces, "layout": layout})


def _curve(results: Results, release: str, attack: str) -> pd.DataFrame:
    """The curve under the primary knowledge (see `finding` for the dense release)."""
    table = results.curves
    rows = table[(table["release"] == release) & (table["attack"] == attack)]
    primary = rows[rows["knowledge"] == primary_knowledge(results)]
    if primary.empty and release == base_release(results) and not rows.empty:
        return rows[rows["knowledge"] == rows["knowledge"].iloc[0]]
    return primary


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


def _style(index: int) -> dict[str, str]:
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
    return {"type": "line", "layer": "below", "line": _dashed(), **ends}


def _dashed() -> dict[str, Any]:
    return {"color": NEUTRAL, "dash": "dash", "width": 2}
