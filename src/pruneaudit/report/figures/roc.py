"""ROC curves, both axes logarithmic: of one attack on every release, and of every attack on one release.

The attack and the release shown first are fixed before any result; readers can choose any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.rates import MIN_FALSE_POSITIVES
from pruneaudit.report.figures.figure import Choice, Figure, Spec
from pruneaudit.report.figures.layers import HOVER, assembled, axis, choosing, faded
from pruneaudit.report.figures.look import PAGE, PAPER, Theme, colour_and_dash, cut, guessing_series, labels, series
from pruneaudit.report.selection import (
    attack_order,
    base_release,
    is_one_network,
    once,
    primary_attack,
    references_shown,
    release_names,
    resolution,
    shown_references,
)
from pruneaudit.report.words import attack_name

_HEIGHT = 380
_HEIGHT_POINTS = 135
_AROUND_PIXELS = 75
_DIGITS = 5
"""Significant ones; more cannot be seen and would only make the page heavier."""
_NUM_HOVERED = 48
"""Points of a curve that show their values."""
_BEYOND = 0.95
"""Axes reach a little further than the curves, so that no curve lies on them."""
_FEW_DECADES = 1.5


def roc_by_release(results: Results, theme: Theme = PAGE) -> Figure | None:
    """An attack's ROC on every release; the primary attack's first."""
    first = primary_attack(results)
    attacks = [first, *(name for name in attack_order(results) if name != first)]
    curves = {
        attack_name(attack): {name: _curve(results, name, attack) for name in release_names(results)}
        for attack in attacks
    }
    return _roc(results, "roc-releases", "ROC of one attack, by release", "Attack", curves, theme)


def roc_by_attack(results: Results, theme: Theme = PAGE) -> Figure | None:
    """Every attack's ROC on one release; on what releases are compared with first."""
    first = base_release(results)
    releases = [first, *(name for name in release_names(results) if name != first)]
    curves = {release: _by_attack(results, release) for release in releases}
    return _roc(results, "roc-attacks", "ROC on one release, by attack", "Release", curves, theme)


def roc_of_release(results: Results, release: str, theme: Theme = PAPER) -> Figure | None:
    """Every attack's ROC on a release; None where no curve has a point that can be told."""
    title = f"ROC of every attack on {release}"
    return _roc(results, "roc-attacks", title, "Release", {release: _by_attack(results, release)}, theme)


def _by_attack(results: Results, release: str) -> dict[str, pd.DataFrame]:
    return {attack_name(name): _curve(results, release, name) for name in attack_order(results)}


def _roc(
    results: Results, key: str, title: str, choose: str, curves: Mapping[str, Mapping[str, pd.DataFrame]], theme: Theme
) -> Figure | None:
    """A figure of the first of `curves`, the others to choose; None where nothing can be told."""
    lowest = resolution(results)
    if not lowest < 1:
        return None
    references = references_shown(results)
    choices = tuple(
        Choice(name, spec)
        for name, group in curves.items()
        if (spec := _spec(group, lowest, [name, f"references: {references}"], theme))
    )
    if not choices:
        return None
    whose = "References" if is_one_network(results) else "Mean over victims, references"
    caption = (
        f"{whose}: {references}; both axes logarithmic. Cut at a false-positive "
        f"rate of {100 * lowest:.2g}%: below it fewer than {MIN_FALSE_POSITIVES} non-members of a victim decide. The "
        "dashed line is guessing."
    )
    return Figure(key, title, caption, _HEIGHT + _AROUND_PIXELS, choices[0].spec, choices, choose)


def _spec(curves: Mapping[str, pd.DataFrame], lowest: float, title: Sequence[str], theme: Theme) -> Spec | None:
    """The curves, cut where too few non-members decide."""
    # A rate of 0 has no place on a log axis.
    kept = {name: curve[(curve["fpr"] >= lowest) & (curve["tpr"] > 0)] for name, curve in curves.items()}
    drawn = [(index, name, curve) for index, (name, curve) in enumerate(kept.items()) if not curve.empty]
    if not drawn:
        return None
    first = min(curve["fpr"].min() for _, _, curve in drawn)
    # Small studies have curves that begin well above what could be told: no empty axis before them.
    start = first if first > 2 * lowest else lowest
    floor = min(start, *(curve["tpr"].min() for _, _, curve in drawn))
    names = labels([*(name for _, name, _ in drawn), "guessing"], theme)
    shown = [series(label, index) for label, (index, _, _) in zip(names, drawn, strict=False)]
    data = [{"series": label, **_points(curve, theme)} for label, (_, _, curve) in zip(names, drawn, strict=False)]
    data.append(
        {"series": names[-1], "fpr": [_rounded(start), 1], "tpr": [_rounded(start), 1], "at": [], "reached": []}
    )
    across = axis("fpr", "False-positive rate", (_BEYOND * start, 1 / _BEYOND), log=True, **_ticks(start, theme))
    up = axis("tpr", "True-positive rate", (_BEYOND * floor, 1 / _BEYOND), log=True, **_ticks(floor, theme))
    looks = colour_and_dash([*shown, guessing_series(names[-1])], theme)
    layers = [
        {
            **choosing(theme),
            "transform": [{"flatten": ["fpr", "tpr"]}],
            "mark": {"type": "line", "clip": True, "strokeWidth": theme.line_width},
            "encoding": {"x": across, "y": up, **looks, **faded(theme)},
        },
        _hovered(across, up, looks["color"]) if theme.interactive else {},
    ]
    lines = [cut(text, theme.line, theme.font_size) for text in title]
    return assembled(layers, data, theme, _HEIGHT_POINTS if theme.is_paper else _HEIGHT, lines)


def _hovered(across: Spec, up: Spec, colour: Spec) -> Spec:
    """The point that is nearest to the mouse, with its values."""
    near = {"type": "point", "on": "pointermove", "clear": "pointerout", "nearest": True}
    said = "datum.series + ': FPR ' + format(datum.at, '.3~%') + ', TPR ' + format(datum.reached, '.3~%')"
    return {
        "params": [{"name": "near", "select": near}],
        "transform": [
            {"flatten": ["at", "reached"]},
            {"filter": "isValid(datum.at)"},
            {"calculate": said, "as": "tooltip"},
        ],
        "mark": {"type": "point", "filled": True, "size": 60, "clip": True},
        "encoding": {
            "x": across | {"field": "at"},
            "y": up | {"field": "reached"},
            "color": colour,
            "opacity": {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0},
            "tooltip": HOVER,
        },
    }


def _points(curve: pd.DataFrame, theme: Theme) -> dict[str, list[float]]:
    """The curve, and some of its points, evenly spread as the eye sees them."""
    fpr, tpr = ([_rounded(rate) for rate in curve[name]] for name in ("fpr", "tpr"))
    points = {"fpr": fpr, "tpr": tpr}
    if not theme.interactive:
        return points
    reach = np.log(np.array(fpr)) + np.log(np.array(tpr))
    wanted = np.linspace(reach[0], reach[-1], _NUM_HOVERED)
    some = sorted(set(np.searchsorted(np.maximum.accumulate(reach), wanted).clip(0, len(fpr) - 1).tolist()))
    return points | {"at": [fpr[place] for place in some], "reached": [tpr[place] for place in some]}


def _ticks(start: float, theme: Theme) -> dict[str, Any]:
    """At 1, 10 and 100%, or at 1, 2, 5, 10, ... where the axis is short."""
    steps = (1, 2, 5) if theme.interactive or -np.log10(start) < _FEW_DECADES else (1,)
    decades = range(int(np.floor(np.log10(start))), 1)
    values = [float(f"{step}e{decade}") for decade in decades for step in steps]
    return {"values": [value for value in values if _BEYOND * start <= value <= 1], "format": "~%"}


def _rounded(rate: float) -> float:
    return float(f"{rate:.{_DIGITS}g}")


def _curve(results: Results, release: str, attack: str) -> pd.DataFrame:
    """The curve under the references that summaries show (see `finding` for the dense release)."""
    rows = _curves(results).get((release, attack), results.curves.iloc[:0])
    primary = rows[rows["references"] == shown_references(results, release)]
    if primary.empty and release == base_release(results) and not rows.empty:
        return rows[rows["references"] == rows["references"].iloc[0]]
    return primary


@once
def _curves(results: Results) -> dict[tuple[str, str], pd.DataFrame]:
    """By release and attack: the curves under all references."""
    groups = results.curves.groupby(["release", "attack"], sort=False, observed=True)
    return {(str(release), str(attack)): rows for (release, attack), rows in groups}
