"""The figures of leakage against sparsity and against bits: one curve per method, beside what is not compressed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import effective_bits, shows_sizes
from pruneaudit.report.figures.common import NEUTRAL, Figure, label, line_across, plot_layout, style
from pruneaudit.report.paper.points import Point, leakage, methods, references, sparsity_of
from pruneaudit.report.quantities import AUC, sparsity_text
from pruneaudit.report.selection import primary_attack, references_shown
from pruneaudit.report.words import attack_name

_HEIGHT = 440
_HOVER = "%{customdata}<extra>%{fullData.name}</extra>"
_MOST_LEVELS = 3
"""Lines across the plot; more would hide the curves."""
_STEP, _SPREAD = 0.014, 0.06
"""Methods are moved sideways, so that intervals at one place do not lie on each other: by how much from one to the
next, and the most from the first to the last, as fractions of how far places reach."""
_LEVEL_DASHES = ("dot", "dashdot", "longdash")
_BIT_TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class _Axis:
    """What compressed releases are placed by."""

    key: str
    title: str
    at: Callable[[Results, str], float]
    """The number of a release, above 0."""
    text: Callable[[float], str]
    place: Callable[[float], float]
    """Where on the axis a number stands."""
    least_reach: float
    """How far the axis reaches at least."""
    caption: str


_SPARSITY = _Axis(
    "sparsity",
    "Sparsity",
    sparsity_of,
    lambda sparsity: f"{sparsity_text(sparsity)} sparsity",
    lambda sparsity: sparsity,
    0.1,
    "Grey lines: what pruned releases are compared with. A sparser release usually classifies worse as well, which "
    "alone lowers leakage.",
)
_BITS = _Axis(
    "bits",
    "Effective bits per weight",
    effective_bits,
    lambda bits: f"{bits:.2f} bits per weight",
    math.log2,
    1.0,
    "Effective bits: the entropy bound of the compressed weight matrices, per weight of the dense network, on a "
    "logarithmic axis; an uncompressed weight has 32. Grey lines: what compressed releases are compared with. A "
    "release of fewer bits usually classifies worse as well, which alone lowers leakage.",
)


def leakage_by_sparsity(results: Results) -> Figure | None:
    """The primary attack's AUC on pruned releases; None where no release is pruned or none has a figure."""
    figure = _leakage_by(results, _SPARSITY)
    if figure is not None:
        figure.plot["layout"]["xaxis"]["tickformat"] = "~%"
    return figure


def leakage_by_bits(results: Results) -> Figure | None:
    """The primary attack's AUC on compressed releases against their effective bits per weight.

    None where no release has fewer than 32, or none of them has a figure.
    """
    figure = _leakage_by(results, _BITS) if shows_sizes(results) else None
    if figure is not None:
        places = [math.log2(bits) for bits in _BIT_TICKS]
        figure.plot["layout"]["xaxis"] |= {"tickvals": places, "ticktext": [f"{bits:g}" for bits in _BIT_TICKS]}
    return figure


def _leakage_by(results: Results, axis: _Axis) -> Figure | None:
    found = methods(results, axis.at)
    places = [axis.place(axis.at(results, name)) for method in found for name in method.releases]
    reach = max(max(places, default=0.0) - min(places, default=0.0), axis.least_reach)
    step = reach * min(_STEP, _SPREAD / max(len(found), 1))
    traces = []
    for index, method in enumerate(found):
        points = [(name, at) for name in method.releases if (at := leakage(results, name, AUC)) is not None]
        if points:
            shift = step * (index - (len(found) - 1) / 2)
            traces.append(_method(results, axis, method.label, points, index, shift))
    if not traces:
        return None
    margin = max(axis.least_reach / 2, 0.1 * reach)
    ends = [min(places) - margin, max(places) + margin]
    levels = [(name, at) for name in references(results, found) if (at := leakage(results, name, AUC)) is not None]
    traces += [_level(name, at, ends, index) for index, (name, at) in enumerate(levels[:_MOST_LEVELS])]
    layout = plot_layout(axis.title, "AUC")
    layout["xaxis"] |= {"range": ends}
    layout["shapes"] = [line_across("y", 0.5)]
    return Figure(
        key=axis.key,
        title=f"Leakage against {axis.title.lower()}, under {attack_name(primary_attack(results))}",
        caption=f"One curve per method, 95% intervals, references: {references_shown(results)}. Methods are moved "
        f"sideways a little. {axis.caption} The dashed line is guessing.",
        height=_HEIGHT,
        plot={"data": traces, "layout": layout},
    )


def _method(
    results: Results, axis: _Axis, name: str, points: Sequence[tuple[str, Point]], index: int, shift: float
) -> dict[str, Any]:
    look = style(index)
    numbers = [axis.at(results, release) for release, _ in points]
    texts = [
        f"{label(release)}: {axis.text(number)}, {_figure(at)}"
        for (release, at), number in zip(points, numbers, strict=True)
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(name),
        "x": [axis.place(number) + shift for number in numbers],
        "y": [at.value for _, at in points],
        "error_y": _bars([at for _, at in points], look["color"]),
        "line": {"color": look["color"], "dash": look["dash"], "width": 2},
        "marker": {"color": look["color"], "symbol": look["symbol"], "size": 10},
        "customdata": texts,
        "hovertemplate": _HOVER,
    }


def _level(name: str, at: Point, ends: list[float], index: int) -> dict[str, Any]:
    """What an uncompressed release leaks, as a line across."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": label(name),
        "x": ends,
        "y": [at.value, at.value],
        "line": {"color": NEUTRAL, "dash": _LEVEL_DASHES[index], "width": 2},
        "customdata": [f"{label(name)}: {_figure(at)}"] * 2,
        "hovertemplate": _HOVER,
    }


def _figure(at: Point) -> str:
    return f"AUC {AUC.value(at.value)} {AUC.interval(at.low, at.high)}".rstrip()


def _bars(points: Sequence[Point], colour: str) -> dict[str, Any]:
    """Error bars; a missing limit draws none."""
    below, above = zip(*(point.lengths for point in points), strict=True)
    bars = {"type": "data", "symmetric": False, "color": colour, "thickness": 1.5, "width": 3}
    return bars | {"array": _drawn(above), "arrayminus": _drawn(below)}


def _drawn(lengths: Sequence[float]) -> list[float]:
    return [0.0 if math.isnan(length) else float(length) for length in lengths]
