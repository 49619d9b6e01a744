"""The ROC of every attack on one release, both axes logarithmic."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.rates import MIN_FALSE_POSITIVES
from pruneaudit.report.paper.style import Chart, cut, cut_all, finish, guessing_style, look, new_figure, percent_ticks
from pruneaudit.report.selection import attack_order, finding, primary_references, resolution
from pruneaudit.report.words import attack_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

PANEL_INCHES = 2.5
_FEW_DECADES = 1.5
_BEYOND = 0.95
"""Axes end a little further out, so that no curve lies on them."""


def roc(results: Results, release: str, stem: str) -> Chart | None:
    """All attacks on a release, mean over victims, cut where too few non-members decide.

    None where no curve has a point that can be told.
    """
    lowest = resolution(results)
    if not lowest < 1:
        return None
    curves = {attack: _curve(results, release, attack, lowest) for attack in attack_order(results)}
    drawn = [(index, attack) for index, attack in enumerate(curves) if not curves[attack].empty]
    if not drawn:
        return None
    figure, (axes,) = new_figure()
    handles = []
    for index, attack in drawn:
        style = look(index)
        handles += axes.plot(curves[attack]["fpr"], curves[attack]["tpr"], color=style.colour, linestyle=style.line)
    handles += axes.plot([lowest, 1], [lowest, 1], **guessing_style())
    floor = min(lowest, *(curves[attack]["tpr"].min() for _, attack in drawn))
    _label(axes, lowest, floor)
    references = primary_references(results)
    names = cut_all([*(attack_name(attack) for _, attack in drawn), "guessing"])
    finish(figure, f"{cut(release)}\n{cut(f'references: {references}')}", handles, names, PANEL_INCHES)
    caption = (
        f"ROC of every attack on {release} (references: {references}), mean over victims, logarithmic axes; cut at "
        f"a false-positive rate of {100 * lowest:.2g}%, below which fewer than {MIN_FALSE_POSITIVES} non-members "
        "decide."
    )
    return Chart(stem, caption, figure)


def _curve(results: Results, release: str, attack: str, lowest: float) -> pd.DataFrame:
    """The curve that goes with the finding which summaries show; a rate of 0 has no place on a log axis."""
    row, table = finding(results, release, attack), results.curves
    if row is None:
        return table.iloc[:0]
    which = (table["release"] == release) & (table["attack"] == attack) & (table["references"] == row["references"])
    return table[which & (table["fpr"] >= lowest) & (table["tpr"] > 0)]


def _label(axes: Axes, lowest: float, floor: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(_BEYOND * lowest, 1 / _BEYOND)
    axes.set_ylim(_BEYOND * floor, 1 / _BEYOND)
    axes.set_xlabel("False-positive rate")
    axes.set_ylabel("True-positive rate")
    _tick(axes.xaxis, lowest)
    _tick(axes.yaxis, floor)


def _tick(axis: Axis, start: float) -> None:
    """Labels at 1, 10 and 100%, or at 1, 2, 5, 10, ... where the axis is short."""
    from matplotlib.ticker import LogLocator, NullFormatter

    labelled = (1.0, 2.0, 5.0) if -math.log10(start) < _FEW_DECADES else (1.0,)
    axis.set_major_locator(LogLocator(subs=labelled))
    percent_ticks(axis)
    axis.set_minor_formatter(NullFormatter())
