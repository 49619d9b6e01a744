"""Leakage at equal accuracy, for page and terminal: the table, and the figure with the baseline's envelope."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.figures import COLOURS, NEUTRAL, Figure, error_bars, label, line_across, plot_layout
from pruneaudit.report.labels import text_positions
from pruneaudit.report.quantities import AUC, TEST_ACCURACY, Quantity, ranking_quantities
from pruneaudit.report.selection import NEAR, far_from_baselines, release_row
from pruneaudit.report.tables import NO_REASON, Cell, Notes
from pruneaudit.report.words import attack_name

KINDS = {
    (False, False): ("undefended, dense", "circle", COLOURS[0]),
    (True, False): ("compressed", "square", COLOURS[1]),
    (False, True): ("defended", "diamond", COLOURS[2]),
    (True, True): ("compressed and defended", "triangle-up", COLOURS[3]),
}
"""Name, marker and colour by (compressed, defended)."""
_MOST_NAMED = 12
"""Points that are named in the figure itself; more would hide each other."""


@dataclass(frozen=True)
class Compared:
    """One release in one metric."""

    leakage: Cell
    dominated: bool
    """Another release is as accurate and leaks no more, and is better in one of the two."""
    difference: Cell
    against: str
    """The release that is the envelope at its accuracy; empty where there is none."""


@dataclass(frozen=True)
class FrontierLine:
    """One release."""

    release: str
    kind: str
    """What was done to it, in words."""
    accuracy: Cell
    compared: tuple[Compared, ...]
    """One for each metric."""


@dataclass(frozen=True)
class FrontierTable:
    """The table of all releases."""

    attack: str
    references: str
    metrics: tuple[Quantity, ...]
    lines: tuple[FrontierLine, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""
    num_baselines: int
    num_far: int
    """Releases without a baseline of similar accuracy."""
    conditional: bool
    """So few victims that intervals are conditional on this bank."""
    near_points: float = 100 * NEAR
    """Percentage points of test accuracy up to which networks are similar."""


def frontier_metrics(results: Results) -> tuple[Quantity, ...]:
    """The metrics of the frontier in which any release has a figure."""
    table = results.frontier
    found = table.loc[table["leakage"].notna(), "metric"]
    return ranking_quantities(found)


def frontier_table(results: Results, metrics: tuple[Quantity, ...] | None = None) -> FrontierTable | None:
    """The table, or None where no release has a figure.

    Args:
        results: of a study.
        metrics: those to show; default: `frontier_metrics`.
    """
    shown = frontier_metrics(results) if metrics is None else metrics
    table, notes = results.frontier, Notes()
    if not shown or table.empty:
        return None
    lines = []
    for release, rows in table.groupby("release", sort=False):
        first = rows.iloc[0]
        limits = TEST_ACCURACY.interval(first["test_accuracy_low"], first["test_accuracy_high"])
        accuracy = Cell(TEST_ACCURACY.value(first["test_accuracy"]), limits)
        by_metric = {row["metric"]: row for _, row in rows.iterrows()}
        compared = tuple(_compared(by_metric.get(metric.column), metric, notes) for metric in shown)
        lines.append(FrontierLine(str(release), _kind(results, first)[0], accuracy, compared))
    return FrontierTable(
        str(table["attack"].iloc[0]),
        str(table["references"].iloc[0]),
        shown,
        tuple(lines),
        notes.listed(),
        int((table.drop_duplicates("release")["is_baseline"] == 1).sum()),
        len(far_from_baselines(results)),
        bool(table["num_victims"].min() < FEW_MODELS),
    )


def _compared(row: pd.Series | None, metric: Quantity, notes: Notes) -> Compared:
    if row is None or math.isnan(row["leakage"]):
        missing = Cell("", note=notes.number(NO_REASON if row is None else row["suppressed"] or NO_REASON))
        return Compared(missing, False, missing, "")
    leakage = Cell(metric.value(row["leakage"]), metric.interval(row["leakage_low"], row["leakage_high"]))
    return Compared(leakage, row["dominated"] == 1, _difference(row, metric, notes), row["envelope_release"])


def _difference(row: pd.Series, metric: Quantity, notes: Notes) -> Cell:
    """The difference at equal accuracy; its interval may have no lower end."""
    value, low, high = row["difference"], row["difference_low"], row["difference_high"]
    if math.isnan(value):
        return Cell("", note=notes.number(row["suppressed"] or NO_REASON))
    return Cell(metric.signed(value), metric.signed_interval(low, high), stands_out=bool(low > 0 or high < 0))


def _kind(results: Results, row: pd.Series) -> tuple[str, str, str]:
    made = release_row(results, row["release"])
    compressed, defended = (made is not None and bool(made[what]) for what in ("compress", "defense"))
    return KINDS[compressed, defended]


def frontier_figure(results: Results, metric: Quantity = AUC) -> Figure | None:
    """Leakage against test accuracy with the baseline's step envelope; None where no release has both."""
    table = results.frontier
    points = table[(table["metric"] == metric.column) & table["leakage"].notna() & table["test_accuracy"].notna()]
    if points.empty:
        return None
    looks = [(*_kind(results, row), row["dominated"] == 1) for _, row in points.iterrows()]
    names = [label(name, 20) for name in points["release"]]
    places = text_positions(points["test_accuracy"].tolist(), points["leakage"].tolist(), names)
    named = dict(zip(points["release"], places, strict=True)) if len(points) <= _MOST_NAMED else {}
    traces = [_envelope(points)] if (points["is_baseline"] == 1).any() else []
    # In the order of KINDS, what is dominated after what is not.
    for kind in KINDS.values():
        for beaten in (False, True):
            chosen = points[[look == (*kind, beaten) for look in looks]]
            if not chosen.empty:
                traces.append(_points(chosen, metric, *kind, beaten, named))
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
