"""Samples that become detected from one release to another, by class."""

from __future__ import annotations

from typing import Any

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.figure import Figure, Spec
from pruneaudit.report.figures.layers import HOVER, assembled
from pruneaudit.report.figures.look import COLOURS, PAGE, Series, Theme, colour_and_shape, cut_all, isolated
from pruneaudit.report.samples import Samples
from pruneaudit.report.tables.detected import ALL, NO_SAMPLES, class_named, count_text, shown_pairs

_HEIGHT = 190
_AROUND_PIXELS = 90
_CLASS_PIXELS = 90
_SIDES = (("newly_detected", "noise_newly", 1, COLOURS[1]), ("no_longer_detected", "noise_no_longer", -1, COLOURS[0]))
"""Column, the same by chance, direction and colour."""
_BY_CHANCE = "by chance alone"


def detected_figures(results: Results, samples: Samples = NO_SAMPLES, theme: Theme = PAGE) -> list[Figure]:
    """For each release with its baseline: how many samples of each class moved, and how many by chance."""
    drawn = []
    for index, (release, baseline) in enumerate(shown_pairs(results)):
        rows = results.detection_changes
        rows = rows[(rows["release"] == release) & (rows["baseline"] == baseline) & (rows["class"] != ALL)]
        if rows[["newly_detected", "no_longer_detected"]].to_numpy().any():
            drawn.append(_by_class(rows, f"detected-{index}", release, baseline, samples, theme))
    return drawn


def _by_class(rows: pd.DataFrame, key: str, release: str, baseline: str, samples: Samples, theme: Theme) -> Figure:
    """Bars up for newly detected, down for no longer detected; short lines where chance alone would lie."""
    named = [class_named(samples, number) for number in rows["class"]]
    names = dict(zip(rows["class"], cut_all(named, _CLASS_PIXELS, theme.font_size), strict=True))
    bars: list[dict[str, Any]] = []
    chance: list[dict[str, Any]] = []
    for column, by_chance, sign, _ in _SIDES:
        words = column.replace("_", " ")
        for _, row in rows.iterrows():
            place = {"name": names[row["class"]]}
            said = f"class {isolated(place['name'])}: {count_text(row[column])} {words}"
            bars.append(place | {"series": words, "count": sign * int(row[column]), "tooltip": said})
            if rows[by_chance].notna().all():
                said = f"class {isolated(place['name'])}: {count_text(row[by_chance])} {_BY_CHANCE}"
                chance.append(place | {"series": _BY_CHANCE, "count": sign * float(row[by_chance]), "tooltip": said})
    shown = [Series(column.replace("_", " "), colour, "square") for column, _, _, colour in _SIDES]
    shown += [Series(_BY_CHANCE, theme.ink)] if chance else []
    across = {
        "field": "name",
        "type": "nominal",
        "sort": None,
        "scale": {"paddingInner": 0.4},
        "axis": {"title": "Class", "labelAngle": -45 if max(map(len, names.values())) > 3 else 0, "grid": False},
    }
    up = {"field": "count", "type": "quantitative", "axis": {"title": "Samples", "tickMinStep": 1}, "stack": None}
    positions = {"x": across, "y": up, "color": colour_and_shape(shown, theme)["color"], "tooltip": HOVER}
    layers: list[Spec] = [
        {"mark": {"type": "bar"}, "encoding": positions},
        {"data": {"values": chance}, "mark": {"type": "tick", "thickness": 2}, "encoding": positions} if chance else {},
    ]
    return Figure(
        key=key,
        title=f"Who becomes exposed, by class: {release} against {baseline}",
        caption="Up: newly detected. Down: no longer detected. The numbers are in detection_changes.csv, in the same "
        "folder." + (" Short lines: the same between two fine-tuning seeds of one release." if chance else ""),
        height=_HEIGHT + _AROUND_PIXELS,
        spec=assembled(layers, bars, theme, _HEIGHT),
    )
