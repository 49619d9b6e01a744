"""Where the names of points go in a figure, so that they do not lie on each other."""

from __future__ import annotations

from collections.abc import Sequence

_WIDTH, _HEIGHT = 700.0, 340.0
"""Pixels of a plot for which there must be room: a page that is wider leaves more."""
_LETTER, _LINE, _GAP = 6.6, 15.0, 9.0
"""Width of a letter, height of a line, and distance of a name from its point, in pixels."""
_POSITIONS = {
    "bottom center": (0.0, -1.0),
    "top center": (0.0, 1.0),
    "middle right": (1.0, 0.0),
    "middle left": (-1.0, 0.0),
    "top right": (1.0, 1.0),
    "bottom left": (-1.0, -1.0),
}
_Box = tuple[float, float, float, float]


def text_positions(xs: Sequence[float], ys: Sequence[float], texts: Sequence[str]) -> list[str]:
    """The position of each name beside its point, as plotly calls it; empty where there is no room for it.

    Args:
        xs: where the points lie.
        ys: the same.
        texts: their names.
    """
    across, up = _pixels(xs, _WIDTH), _pixels(ys, _HEIGHT)
    taken: list[_Box] = [(x - 6, y - 6, x + 6, y + 6) for x, y in zip(across, up, strict=True)]
    found = []
    for x, y, text in zip(across, up, texts, strict=True):
        boxes = {name: _box(x, y, len(text), *way) for name, way in _POSITIONS.items()}
        free = next((name for name, box in boxes.items() if not any(_meet(box, other) for other in taken)), "")
        if free:
            taken.append(boxes[free])
        found.append(free)
    return found


def _pixels(values: Sequence[float], size: float) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [size * (value - low) / (high - low) if high > low else 0.0 for value in values]


def _box(x: float, y: float, letters: int, right: float, up: float) -> _Box:
    """Left, bottom, right and top of a name that stands to one side of its point."""
    width = _LETTER * letters
    middle, level = x + right * (width / 2 + _GAP), y + up * (_LINE / 2 + _GAP)
    return middle - width / 2, level - _LINE / 2, middle + width / 2, level + _LINE / 2


def _meet(one: _Box, other: _Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
