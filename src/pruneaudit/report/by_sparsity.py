"""The figure of leakage against sparsity: one curve per pruning method, beside what the networks leak unpruned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures import NEUTRAL, Figure, label, line_across, plot_layout, style
from pruneaudit.report.paper.points import Point, leakage, methods, references, sparsity_of
from pruneaudit.report.quantities import AUC, sparsity_text
from pruneaudit.report.selection import primary_attack, references_shown
from pruneaudit.report.words import attack_name

_HEIGHT = 440
_HOVER = "%{customdata}<extra>%{fullData.name}</extra>"
_MOST_LEVELS = 3
"""Lines across the plot; more would hide the curves."""
_STEP, _SPREAD, _LEAST_REACH = 0.014, 0.06, 0.1
"""Methods are moved sideways, so that intervals at one sparsity do not lie on each other: by how much from one to the
next, and the most from the first to the last, as fractions of how far sparsities reach."""
_LEVEL_DASHES = ("dot", "dashdot", "longdash")


def leakage_by_sparsity(results: Results) -> Figure | None:
    """The primary attack's AUC on pruned releases; None where no release is pruned or none has a figure."""
    found = methods(results)
    all_sparsities = [sparsity_of(results, name) for method in found for name in method.releases]
    reach = max(max(all_sparsities, default=0.0) - min(all_sparsities, default=0.0), _LEAST_REACH)
    step = reach * min(_STEP, _SPREAD / max(len(found), 1))
    traces = []
    for index, method in enumerate(found):
        placed = [(name, at) for name in method.releases if (at := leakage(results, name, AUC)) is not None]
        if placed:
            traces.append(_method(results, method.label, placed, index, step * (index - (len(found) - 1) / 2)))
    if not traces:
        return None
    margin = max(_LEAST_REACH / 2, 0.1 * reach)
    ends = [min(all_sparsities) - margin, max(all_sparsities) + margin]
    levels = [(name, at) for name in references(results, found) if (at := leakage(results, name, AUC)) is not None]
    traces += [_level(name, at, ends, index) for index, (name, at) in enumerate(levels[:_MOST_LEVELS])]
    layout = plot_layout("Sparsity", "AUC")
    layout["xaxis"] |= {"tickformat": "~%", "range": ends}
    layout["shapes"] = [line_across("y", 0.5)]
    return Figure(
        key="sparsity",
        title=f"Leakage against sparsity, under {attack_name(primary_attack(results))}",
        caption=f"One curve per method, 95% intervals, references: {references_shown(results)}. Methods are moved "
        "sideways a little. Grey lines: what pruned releases are compared with. A sparser release usually classifies "
        "worse as well, which alone lowers leakage. The dashed line is guessing.",
        height=_HEIGHT,
        plot={"data": traces, "layout": layout},
    )


def _method(
    results: Results, name: str, placed: Sequence[tuple[str, Point]], index: int, shift: float
) -> dict[str, Any]:
    look = style(index)
    texts = [
        f"{label(release)}: {sparsity_text(sparsity_of(results, release))} sparsity, {_figure(at)}"
        for release, at in placed
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": label(name),
        "x": [sparsity_of(results, release) + shift for release, _ in placed],
        "y": [at.value for _, at in placed],
        "error_y": _bars([at for _, at in placed], look["color"]),
        "line": {"color": look["color"], "dash": look["dash"], "width": 2},
        "marker": {"color": look["color"], "symbol": look["symbol"], "size": 10},
        "customdata": texts,
        "hovertemplate": _HOVER,
    }


def _level(name: str, at: Point, ends: list[float], index: int) -> dict[str, Any]:
    """What an unpruned release leaks, as a line across."""
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
