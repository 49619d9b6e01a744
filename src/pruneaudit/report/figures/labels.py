"""Places the names of points in a figure, so that they do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pruneaudit.report.figures.look import text_width

_WIDTH, _HEIGHT = 440.0, 340.0
"""Pixels of the narrowest plot that shows names: the first screen, where the picture has half of the page."""
_LETTERS, _LINE, _GAP, _HALF_POINT = 12.0, 15.0, 9.0, 6.0
"""Size of letters, height of a line, distance of a name from its point, and half a point, in pixels."""
_WAYS = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
"""The sides of a point, right and up, in the order in which they are tried: error bars leave the corners free."""
_Ends = tuple[float, float]
_Box = tuple[float, float, float, float]


def text_positions(
    xs: Sequence[float], ys: Sequence[float], texts: Sequence[str], x_ends: _Ends, y_ends: _Ends
) -> list[dict[str, Any]]:
    """The place of each name beside its point: {dx, dy, align} as in Vega; empty if there is no room.

    Args:
        xs: where the points lie.
        ys: the same.
        texts: their names.
        x_ends: lowest and highest value of the axis.
        y_ends: the same.
    """
    across, up = _pixels(xs, x_ends, _WIDTH), _pixels(ys, y_ends, _HEIGHT)
    taken: list[_Box] = [
        (x - _HALF_POINT, y - _HALF_POINT, x + _HALF_POINT, y + _HALF_POINT) for x, y in zip(across, up, strict=True)
    ]
    found: list[dict[str, Any]] = []
    for x, y, text in zip(across, up, texts, strict=True):
        boxes = {way: _box(x, y, text_width(text, _LETTERS), *way) for way in _WAYS}
        inside = {way: box for way, box in boxes.items() if box[0] >= 0 and box[2] <= _WIDTH}
        free = next((way for way, box in inside.items() if not any(_meet(box, other) for other in taken)), None)
        if free:
            taken.append(boxes[free])
        found.append(_beside(*free) if free else {})
    return found


def _beside(right: int, up: int) -> dict[str, Any]:
    return {
        "dx": right * _aside(up),
        "dy": -up * (_LINE / 2 + _aside(right)),
        "align": {-1: "right", 0: "center", 1: "left"}[right],
    }


def _aside(other: float) -> float:
    """The distance of a name from its point one way; less if the name is off the point the other way too."""
    return _HALF_POINT if other else _GAP


def _pixels(values: Sequence[float], ends: _Ends, size: float) -> list[float]:
    low, high = ends
    return [size * (value - low) / (high - low) if high > low else 0.0 for value in values]


def _box(x: float, y: float, width: float, right: float, up: float) -> _Box:
    """Left, bottom, right and top of a name on one side of its point."""
    middle, level = x + right * (width / 2 + _aside(up)), y + up * (_LINE / 2 + _aside(right))
    return middle - width / 2, level - _LINE / 2, middle + width / 2, level + _LINE / 2


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
