"""Who becomes exposed from one release to another, by class."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.common import COLOURS, NEUTRAL, Figure, label, plot_layout
from pruneaudit.report.samples import Samples
from pruneaudit.report.tables.detected import ALL, NO_SAMPLES, class_named, count_text, shown_pairs

_FIGURE_HEIGHT = 250
_CLASS_LENGTH = 14
_HOVER = "class %{x}: %{customdata}<extra></extra>"


def detected_figures(results: Results, samples: Samples = NO_SAMPLES) -> list[Figure]:
    """For each release with its baseline: how many samples of each class moved, and how many by chance."""
    drawn = []
    for index, (release, baseline) in enumerate(shown_pairs(results)):
        rows = results.detection_changes
        rows = rows[(rows["release"] == release) & (rows["baseline"] == baseline) & (rows["class"] != ALL)]
        if rows[["newly_detected", "no_longer_detected"]].to_numpy().any():
            drawn.append(_by_class(rows, f"detected-{index}", release, baseline, samples))
    return drawn


def _by_class(rows: pd.DataFrame, key: str, release: str, baseline: str, samples: Samples) -> Figure:
    """Bars up for newly exposed, down for no longer exposed; marks where chance alone would lie."""
    classes = [label(class_named(samples, name), _CLASS_LENGTH) for name in rows["class"]]
    traces = []
    sides = (("newly_detected", "noise_newly", 1), ("no_longer_detected", "noise_no_longer", -1))
    for (column, chance, sign), colour in zip(sides, (COLOURS[1], COLOURS[0]), strict=True):
        name = column.replace("_", " ")
        bars = {"type": "bar", "name": name, "x": classes, "y": [sign * int(value) for value in rows[column]]}
        texts = [f"{count_text(value)} {name}" for value in rows[column]]
        traces.append(bars | {"marker": {"color": colour}, "customdata": texts, "hovertemplate": _HOVER})
        if rows[chance].notna().all():
            traces.append(_marks(classes, rows[chance], sign))
    layout = plot_layout("Class", "Samples")
    layout["xaxis"]["type"] = "category"
    layout |= {"barmode": "relative", "bargap": 0.4}
    return Figure(
        key=key,
        title=f"Who becomes exposed, by class: {release} against {baseline}",
        caption="Up: newly detected. Down: no longer detected. The numbers are in detection_changes.csv beside it."
        + (" Short lines: the same between two fine-tuning seeds of one release." if len(traces) > len(sides) else ""),
        height=_FIGURE_HEIGHT,
        plot={"data": traces, "layout": layout},
    )


def _marks(classes: list[str], values: pd.Series, sign: int) -> dict[str, Any]:
    """The noise floor as a short line per class."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "by chance alone",
        "showlegend": sign > 0,
        "x": classes,
        "y": [sign * float(value) for value in values],
        "marker": {"symbol": "line-ew", "size": 22, "line": {"width": 2, "color": NEUTRAL}},
        "customdata": [f"{count_text(value)} by chance alone" for value in values],
        "hovertemplate": _HOVER,
    }
