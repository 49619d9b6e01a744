"""Leakage against test accuracy, with the envelope of the undefended dense networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.common import COLOURS, NEUTRAL, Figure, error_bars, label, line_across, plot_layout
from pruneaudit.report.figures.labels import text_positions
from pruneaudit.report.quantities import AUC, TEST_ACCURACY, Quantity
from pruneaudit.report.tables.equal_accuracy import KINDS, kind_of
from pruneaudit.report.words import attack_name

_LOOKS = dict(
    zip(KINDS.values(), zip(("circle", "square", "diamond", "triangle-up"), COLOURS, strict=False), strict=True)
)
"""Marker and colour by what was done to a release."""
_MOST_NAMED = 12
"""Points that are named in the figure itself; more would hide each other."""


def frontier_figure(results: Results, metric: Quantity = AUC) -> Figure | None:
    """Leakage against test accuracy with the baseline's step envelope; None where no release has both."""
    table = results.frontier
    points = table[(table["metric"] == metric.column) & table["leakage"].notna() & table["test_accuracy"].notna()]
    if points.empty:
        return None
    looks = [(kind_of(results, row), row["dominated"] == 1) for _, row in points.iterrows()]
    names = [label(name, 20) for name in points["release"]]
    places = text_positions(points["test_accuracy"].tolist(), points["leakage"].tolist(), names)
    named = dict(zip(points["release"], places, strict=True)) if len(points) <= _MOST_NAMED else {}
    traces = [_envelope(points)] if (points["is_baseline"] == 1).any() else []
    # In the order of KINDS, what is dominated after what is not.
    for kind in KINDS.values():
        for beaten in (False, True):
            chosen = points[[look == (kind, beaten) for look in looks]]
            if not chosen.empty:
                traces.append(_points(chosen, metric, kind, *_LOOKS[kind], beaten, named))
    layout = plot_layout("Test accuracy", metric.title)
    layout["xaxis"]["tickformat"] = "~%"
    if metric.is_percent:
        layout["yaxis"]["tickformat"] = "~%"
    layout["shapes"] = [] if metric.guessing is None else [line_across("y", metric.guessing)]
    attack = attack_name(str(points["attack"].iloc[0]))
    return Figure(
        key="frontier",
        title=f"Leakage against test accuracy, under {attack}",
        caption="One point per release with 95% intervals. Further down leaks less, further right is more accurate. "
        "The dotted line is the lower envelope of the undefended dense networks: the least that any leaks which is at "
        "least as accurate. It ends at the most accurate one. Grey and open: dominated by another release. The dashed "
        "line is guessing.",
        height=480,
        plot={"data": traces, "layout": layout},
    )


def _envelope(points: pd.DataFrame) -> dict[str, Any]:
    """The baseline's lower envelope as a step line, from the least accurate point of all to the best baseline."""
    baseline = points[points["is_baseline"] == 1].sort_values(["test_accuracy", "leakage"], ascending=False)
    steps: list[tuple[float, float]] = []
    for accuracy, leakage in zip(baseline["test_accuracy"], baseline["leakage"], strict=True):
        if not steps or leakage < steps[-1][1]:
            steps.append((float(accuracy), float(leakage)))
    start = min(float(points["test_accuracy"].min()), steps[-1][0])
    ascending = [(start, steps[-1][1]), *reversed(steps)]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "envelope of the undefended, dense",
        "x": [accuracy for accuracy, _ in ascending],
        "y": [leakage for _, leakage in ascending],
        "line": {"color": COLOURS[0], "shape": "vh", "width": 2, "dash": "dot"},
        "hoverinfo": "skip",
    }


def _points(
    rows: pd.DataFrame, metric: Quantity, kind: str, symbol: str, colour: str, beaten: bool, named: Mapping[str, str]
) -> dict[str, Any]:
    shade = NEUTRAL if beaten else colour
    texts = [
        f"{label(row['release'])}: {metric.title} {metric.value(row['leakage'])} at {TEST_ACCURACY.title.lower()} "
        f"{TEST_ACCURACY.value(row['test_accuracy'])}"
        for _, row in rows.iterrows()
    ]
    return {
        "type": "scatter",
        "mode": "markers+text" if named else "markers",
        "name": f"{kind}, dominated" if beaten else kind,
        "x": [float(value) for value in rows["test_accuracy"]],
        "y": [float(value) for value in rows["leakage"]],
        # Where there is no room for a name, hovering shows it.
        "text": [label(name, 20) if named.get(name) else "" for name in rows["release"]],
        "textposition": [named.get(name) or "bottom center" for name in rows["release"]],
        "textfont": {"size": 11},
        "error_x": error_bars(rows, "test_accuracy", shade),
        "error_y": error_bars(rows, "leakage", shade),
        "marker": {"color": shade, "symbol": f"{symbol}-open" if beaten else symbol, "size": 11},
        "customdata": texts,
        "hovertemplate": "%{customdata}<extra>%{fullData.name}</extra>",
    }
