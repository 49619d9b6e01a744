"""Leakage and test accuracy against sparsity: a curve per pruning method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pruneaudit.evaluation.results import Results
from pruneaudit.report.paper.points import (
    Method,
    Point,
    accuracy,
    leakage,
    methods,
    references,
    sparsity_of,
)
from pruneaudit.report.paper.style import (
    Chart,
    Look,
    cut,
    cut_all,
    error_lengths,
    finish,
    guessing_style,
    look,
    new_figure,
    percent_ticks,
    unpruned_look,
)
from pruneaudit.report.quantities import TEST_ACCURACY, Quantity, headline_quantities, sparsity_text
from pruneaudit.report.selection import primary_attack, references_shown
from pruneaudit.report.words import attack_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = 1.35
_STEP, _SPREAD = 0.014, 0.06
"""Sideways distance between methods, and the most that it may come to between the first and the last, as fractions
of the range of sparsities: intervals at one sparsity would lie on each other."""
_LEAST_RANGE = 0.1
_LABEL_WIDTH = 0.17
"""What a tick's label takes of the range of sparsities."""


@dataclass(frozen=True)
class _Panel:
    title: str
    is_percent: bool
    guessing: float | None
    point: Callable[[str], Point | None]
    """Where a release stands."""


def sparsity_leakage(results: Results) -> Chart | None:
    """AUC, TPR and their like and test accuracy against sparsity; None where no pruned release has a leakage figure."""
    found = methods(results)
    releases = [release for method in found for release in method.releases]
    panels = [panel for panel in _panels(results) if any(panel.point(release) is not None for release in releases)]
    if all(panel.guessing is None for panel in panels):  # test accuracy alone says nothing of leakage
        return None
    figure, all_axes = new_figure(len(panels))
    figure.align_ylabels(all_axes)
    # What the legend shows; a series may be missing in a panel.
    levels: dict[str, Any] = {}
    curves: dict[Method, Any] = {}
    guessing: dict[str, Any] = {}
    for axes, panel in zip(all_axes, panels, strict=True):
        for index, release in enumerate(references(results, found)):
            if (level := panel.point(release)) is not None:
                levels[release] = _draw_level(axes, level, index)
        for index, (method, shift) in enumerate(zip(found, _shifts(results, found), strict=True)):
            if (curve := _draw_method(results, axes, panel, method, look(index), shift)) is not None:
                curves[method] = curve
        if panel.guessing is not None:
            guessing["guessing"] = axes.axhline(panel.guessing, **guessing_style())
        _label(axes, panel)
    all_axes[-1].set_xlabel("Sparsity")
    _tick_sparsities(all_axes[-1], [sparsity_of(results, release) for release in releases])
    attack, kind = attack_name(primary_attack(results)), references_shown(results)
    finish(
        figure,
        cut(f"{attack}; references: {kind}"),
        [*levels.values(), *curves.values(), *guessing.values()],
        cut_all([*levels, *(method.label for method in curves), *guessing]),
        PANEL_INCHES * len(panels),
    )
    caption = (
        f"Leakage under {attack} (references: {kind}) and test accuracy against sparsity; means with 95% "
        "intervals. Methods are moved sideways a little, so that their intervals can be told apart."
    )
    return Chart("sparsity-leakage", caption, figure)


def _panels(results: Results) -> list[_Panel]:
    def panel(quantity: Quantity) -> _Panel:
        point = partial(leakage, results, quantity=quantity)
        return _Panel(quantity.title, quantity.is_percent, quantity.guessing, point)

    panels = [panel(quantity) for quantity in headline_quantities(results.findings.columns)]
    return [*panels, _Panel(TEST_ACCURACY.title, True, None, lambda release: accuracy(results, release))]


def _shifts(results: Results, found: Sequence[Method]) -> list[float]:
    """How far each method is moved sideways."""
    sparsities = [sparsity_of(results, release) for method in found for release in method.releases]
    step = min(_STEP, _SPREAD / len(found)) * max(max(sparsities) - min(sparsities), _LEAST_RANGE)
    return [(index - (len(found) - 1) / 2) * step for index in range(len(found))]


def _draw_level(axes: Axes, level: Point, index: int) -> Any:
    """A line across the panel with its interval as a band."""
    style = unpruned_look(index)
    if level.low <= level.high:
        axes.axhspan(level.low, level.high, facecolor=style.colour, alpha=0.13, linewidth=0, zorder=0)
    return axes.axhline(level.value, color=style.colour, linestyle=style.line, linewidth=0.9, zorder=2)


def _draw_method(results: Results, axes: Axes, panel: _Panel, method: Method, style: Look, shift: float) -> Any | None:
    """The method's curve with its intervals; None where the panel has no point of it."""
    placed = [
        (sparsity_of(results, release) + shift, point)
        for release in method.releases
        if (point := panel.point(release)) is not None
    ]
    if not placed:
        return None
    return axes.errorbar(
        [place for place, _ in placed],
        [point.value for _, point in placed],
        yerr=error_lengths(point for _, point in placed),
        color=style.colour,
        marker=style.marker,
        linestyle=style.line,
        elinewidth=0.8,
        zorder=3,
    )


def _label(axes: Axes, panel: _Panel) -> None:
    axes.set_ylabel(panel.title)
    axes.margins(x=0.08, y=0.08)
    axes.locator_params(axis="y", nbins=5)
    if panel.is_percent:
        percent_ticks(axes.yaxis)


def _tick_sparsities(axes: Axes, sparsities: Sequence[float]) -> None:
    """Ticks at the sparsities themselves, where their labels do not meet; else at round numbers."""
    places = {sparsity_text(sparsity): sparsity for sparsity in sorted(sparsities)}
    gaps = [right - left for left, right in pairwise(places.values())]
    if all(gap >= _LABEL_WIDTH * (max(sparsities) - min(sparsities)) for gap in gaps):
        axes.set_xticks(list(places.values()), list(places))
    else:
        axes.locator_params(axis="x", nbins=7)
        percent_ticks(axes.xaxis)
