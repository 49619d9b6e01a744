"""Parts of specifications, for page and paper: axes, bars, lines and marks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pruneaudit.report.figures.figure import Spec
from pruneaudit.report.figures.look import GUESSING_DASH, NEUTRAL, Theme

HOVER = {"field": "tooltip", "type": "nominal"}
"""The field of a datum that is shown under the mouse. It must have this name: for the nearest point
Vega-Lite 6.4 reads the drawn mark in the place of the datum, and a mark keeps its text under this name."""
DASH_OF_DATUM = {"expr": "datum.dash"}
MARKS = ("shape", "strokeDash", "size", "tooltip")
"""Encodings of points that lines and bars do without."""
_PICKED, _ZOOM = "picked", "zoom"
_FADED = 0.12
_MARGIN = 0.06
"""Axes reach further than the data by this part of their range."""
_LEAST_RANGE = 0.01
_EXTENT = 26
"""Points for the labels of an upright axis where panels are below each other, so that all are equally wide."""
Data = list[dict[str, Any]]


def axis(
    name: str,
    title: str,
    ends: tuple[float, float] | None = None,
    percent: bool = False,
    log: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """A position by the field `name`; between `ends` where they are given."""
    scale: dict[str, Any] = {"type": "log", "nice": False} if log else {"zero": False, "nice": False}
    # The default is twice as many ticks, whose labels would meet.
    shown = {"title": title, "tickCount": {"expr": "ceil(width / 90)"}} | ({"format": "~%"} if percent else {})
    if ends is not None:
        scale["domain"] = list(ends)
    return {"field": name, "type": "quantitative", "scale": scale, "axis": shown | more}


def ends_of(values: Iterable[float]) -> tuple[float, float]:
    """Ends of an axis that holds all values; missing ones do not count."""
    known = [value for value in values if not math.isnan(value)]
    low, high = min(known), max(known)
    margin = _MARGIN * max(high - low, _LEAST_RANGE)
    return low - margin, high + margin


def known(row: Mapping[str, Any]) -> dict[str, Any]:
    """A datum as JSON can hold it: numbers that are missing are left out."""
    return {key: value for key, value in row.items() if not (isinstance(value, float) and math.isnan(value))}


def error_bar(value_axis: str, name: str, positions: Spec, theme: Theme) -> Spec:
    """Lines from `name`_low to `name`_high with short lines at their ends; a missing limit draws none.

    Args:
        value_axis: "x" or "y".
        name: the field.
        positions: the encodings of both positions, colours and whatever else tells series apart.
        theme: of the figure.
    """
    low, high = f"{name}_low", f"{name}_high"
    along, width = without_marks(positions), 0.75 * theme.line_width
    bar = along | {value_axis: positions[value_axis] | {"field": low}, f"{value_axis}2": {"field": high}}
    ends = [along | {value_axis: positions[value_axis] | {"field": end}} for end in (low, high)]
    cap: Spec = {"type": "tick", "orient": "vertical" if value_axis == "x" else "horizontal", "clip": True}
    cap |= {"thickness": width, "size": 3 * theme.line_width}
    return {
        "transform": [{"filter": f"isValid(datum.{low}) && isValid(datum.{high})"}],
        "layer": [
            {"mark": {"type": "rule", "clip": True, "strokeWidth": width}, "encoding": bar},
            *({"mark": cap, "encoding": end} for end in ends),
        ],
    }


def guessing_line(position: str, at: float, place: Spec, theme: Theme) -> Spec:
    """A dashed line across the figure at one value of an axis, "x" or "y"."""
    return {
        "data": {"values": [{"at": at}]},
        "mark": {
            **{"type": "rule", "color": NEUTRAL},
            **{"strokeDash": list(GUESSING_DASH), "strokeWidth": 0.8 * theme.line_width},
        },
        "encoding": {position: place | {"field": "at"}},
    }


def without_marks(encodings: Spec) -> Spec:
    """The encodings of a line with its own dash, or without one."""
    return {key: value for key, value in encodings.items() if key not in MARKS}


def faded(theme: Theme, opacity: float = 1.0) -> dict[str, Any]:
    """The opacity of marks: low for all but the series that somebody clicked in the legend."""
    if theme.is_paper:
        return {"opacity": {"value": opacity}} if opacity != 1 else {}
    return {"opacity": {"condition": {"param": _PICKED, "value": opacity}, "value": _FADED * opacity}}


def choosing(theme: Theme, zoom: bool = True) -> dict[str, Any]:
    """What readers of the page can do, for one layer of a figure.

    Click series in the legend to fade all others, and click them again to undo it. Drag to move the axes, turn the
    wheel with shift held to zoom, double-click to go back.
    """
    if theme.is_paper:
        return {}
    picked = {"name": _PICKED, "select": {"type": "point", "fields": ["series"], "toggle": "true"}, "bind": "legend"}
    scales = {"name": _ZOOM, "select": {"type": "interval", "zoom": "wheel![event.shiftKey]"}, "bind": "scales"}
    return {"params": [picked, *([scales] if zoom else [])]}


def assembled(layers: Sequence[Spec], data: Data, theme: Theme, height: float, title: Sequence[str] = ()) -> Spec:
    """The whole specification of a figure.

    Args:
        layers: from the lowest to the topmost; empty ones are left out.
        data: of all layers that have none of their own.
        theme: page or paper.
        height: of the panel, in pixels or points.
        title: lines for a paper's figure only.
    """
    return stacked([(layers, data)], theme, height, title)


def stacked(
    panels: Sequence[tuple[Sequence[Spec], Data]], theme: Theme, height: float, title: Sequence[str] = ()
) -> Spec:
    """As `assembled`, of panels below each other, which have one legend and one axis at the bottom."""
    parts: list[Spec] = [
        {"data": {"values": data}, "layer": [layer for layer in layers if layer]} for layers, data in panels
    ]
    spec: Spec = {"padding": 1 if theme.is_paper else 4, "config": theme.config}
    if title and theme.is_paper:
        spec["title"] = {"text": list(title), "frame": "bounds"}
    if len(parts) == 1:
        size = {"width": theme.width, "height": height, "autosize": {"type": "fit-x", "contains": "padding"}}
        return spec | size | parts[0]
    beside = {"minExtent": _EXTENT, "maxExtent": _EXTENT}
    width = theme.width - 2 - _EXTENT - 2.2 * theme.font_size if isinstance(theme.width, float) else 300
    config = theme.config | {"axisY": beside, "concat": {"spacing": theme.font_size}}
    for part in parts[:-1]:
        _without_x_axis(part["layer"])
    return spec | {"config": config, "vconcat": [part | {"width": width, "height": height} for part in parts]}


def _without_x_axis(layers: list[Spec]) -> None:
    for number, layer in enumerate(layers):
        if "layer" in layer:
            _without_x_axis(layer["layer"])
        elif "axis" in layer["encoding"].get("x", {}):
            bare = layer["encoding"]["x"] | {"axis": layer["encoding"]["x"]["axis"] | {"title": None, "labels": False}}
            layers[number] = layer | {"encoding": layer["encoding"] | {"x": bare}}
