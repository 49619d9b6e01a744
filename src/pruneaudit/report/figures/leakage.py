"""Leakage by release, and against test accuracy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from pruneaudit.evaluation.columns import MEAN
from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.common import (
    _ROW_PIXELS,
    Choice,
    Figure,
    error_bars,
    label,
    line_across,
    plot_layout,
    style,
)
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
