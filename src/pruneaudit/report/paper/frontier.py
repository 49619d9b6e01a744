"""Leakage against test accuracy: what a release pays for what it hides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pruneaudit.evaluation.results import Results
from pruneaudit.report.paper.points import Point, accuracy, leakage, methods
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
from pruneaudit.report.quantities import AUC, TEST_ACCURACY
from pruneaudit.report.selection import base_release, primary_attack, references_shown, release_names
from pruneaudit.report.words import attack_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PANEL_INCHES = 2.5
_SMALLEST_POINTS, _LARGEST_POINTS = 3.5, 7.0


def frontier(results: Results) -> Chart | None:
    """The primary attack's AUC against test accuracy, a marker per release; None where no release has both."""
    placed = {
        release: (across, up)
        for release in release_names(results)
        if (across := accuracy(results, release)) is not None and (up := leakage(results, release, AUC)) is not None
    }
    if not placed:
        return None
    figure, (axes,) = new_figure()
    series = _series(results)
    handles, names = [], []
    for label, releases, style, is_open in series:
        points = [placed[release] for release in releases if release in placed]
        if points:
            handles.append(_draw(axes, points, style, is_open))
            names.append(label)
    handles.append(axes.axhline(0.5, **guessing_style()))
    _label(axes)
    attack, references = attack_name(primary_attack(results)), references_shown(results)
    title = cut(f"{attack}; references: {references}")
    larger = any(len(releases) > 1 for _, releases, _, _ in series)
    finish(figure, title + "\nlarger marker: sparser" * larger, handles, cut_all([*names, "guessing"]), PANEL_INCHES)
    caption = (
        f"Leakage under {attack} (references: {references}) against test accuracy, one marker per release, means with "
        "95% intervals." + " Larger markers are sparser releases of a method." * larger
    )
    return Chart("frontier", caption, figure)


def _series(results: Results) -> list[tuple[str, tuple[str, ...], Look, bool]]:
    """(label, releases, look, whether markers are open): what is not pruned first, the base before all."""
    found = methods(results)
    pruned = {release for method in found for release in method.releases}
    others = sorted((name for name in release_names(results) if name not in pruned), key=base_release(results).__ne__)
    # Grey is for the dense networks and their baseline; a further release needs a colour of its own.
    series = [
        (name, (name,), unpruned_look(index) if index < 2 else look(len(found) + index - 2), True)
        for index, name in enumerate(others)
    ]
    return series + [(method.label, method.releases, look(index), False) for index, method in enumerate(found)]


def _draw(axes: Axes, points: list[tuple[Point, Point]], style: Look, is_open: bool) -> Any:
    """Markers that grow from the first release to the last, joined by a thin line; returns the legend's handle."""
    from matplotlib.lines import Line2D

    axes.plot(
        [across.value for across, _ in points], [up.value for _, up in points],
        color=style.colour, linestyle=style.line, linewidth=0.7, zorder=2,
    )  # fmt: skip
    marked: dict[str, Any] = {
        "color": style.colour,
        "marker": style.marker,
        "markerfacecolor": "white" if is_open else style.colour,
        "linestyle": "none",
    }
    middle = (_SMALLEST_POINTS + _LARGEST_POINTS) / 2
    for index, (across, up) in enumerate(points):
        grown = index / (len(points) - 1) * (_LARGEST_POINTS - _SMALLEST_POINTS) if len(points) > 1 else 0.0
        axes.errorbar(
            across.value,
            up.value,
            xerr=error_lengths([across]),
            yerr=error_lengths([up]),
            markersize=_SMALLEST_POINTS + grown if len(points) > 1 else middle,
            elinewidth=0.8,
            zorder=3,
            **marked,
        )
    return Line2D([], [], markersize=middle, **marked)


def _label(axes: Axes) -> None:
    axes.set_xlabel(TEST_ACCURACY.title)
    axes.set_ylabel("AUC")
    percent_ticks(axes.xaxis)
    axes.locator_params(nbins=6)
    axes.margins(0.08)
