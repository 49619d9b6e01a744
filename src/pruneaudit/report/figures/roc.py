"""ROC curves, both axes logarithmic: of one attack on every release, and of every attack on one release.

Which attack and which release stand there first is fixed before any result; readers may choose any other.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.rates import MIN_FALSE_POSITIVES
from pruneaudit.report.figures.common import Choice, Figure, dashed, label, plot_layout, style
from pruneaudit.report.selection import (
    attack_order,
    base_release,
    primary_attack,
    primary_references,
    references_shown,
    release_names,
    resolution,
)
from pruneaudit.report.words import attack_name

_HEIGHT = 460
_DIGITS = 5
"""Significant ones; more cannot be seen and would only make the page heavier."""


def roc_by_release(results: Results) -> Figure | None:
    """An attack's ROC on every release; the primary attack's first."""
    first = primary_attack(results)
    attacks = [first, *(name for name in attack_order(results) if name != first)]
    curves = {
        attack_name(attack): {name: _curve(results, name, attack) for name in release_names(results)}
        for attack in attacks
    }
    return _roc(results, "roc-releases", "ROC of one attack, by release", "Attack", curves)


def roc_by_attack(results: Results) -> Figure | None:
    """Every attack's ROC on one release; on what releases are compared with first."""
    first = base_release(results)
    releases = [first, *(name for name in release_names(results) if name != first)]
    curves = {release: {name: _curve(results, release, name) for name in attack_order(results)} for release in releases}
    return _roc(results, "roc-attacks", "ROC on one release, by attack", "Release", curves)


def _roc(
    results: Results, key: str, title: str, choose: str, curves: Mapping[str, Mapping[str, pd.DataFrame]]
) -> Figure | None:
    """A figure of the first of `curves`, the others to choose; None where nothing can be told."""
    lowest = resolution(results)
    if not lowest < 1:
        return None
    choices = tuple(
        Choice(name, {"data": traces, "layout": _layout(traces, lowest)})
        for name, group in curves.items()
        if (traces := _traces(group, lowest))
    )
    if not choices:
        return None
    caption = (
        f"Mean over victims, references: {references_shown(results)}; both axes logarithmic. Cut at a false-positive "
        f"rate of {100 * lowest:.2g}%: below it fewer than {MIN_FALSE_POSITIVES} non-members of a victim decide. The "
        "dashed line is guessing."
    )
    return Figure(key, title, caption, _HEIGHT, choices[0].plot, choices, choose)


def _traces(curves: Mapping[str, pd.DataFrame], lowest: float) -> list[dict[str, Any]]:
    """The curves, cut where too few non-members decide."""
    traces = []
    for index, (name, curve) in enumerate(curves.items()):
        # A rate of 0 has no place on a log axis.
        kept = curve[(curve["fpr"] >= lowest) & (curve["tpr"] > 0)]
        if kept.empty:
            continue
        look = style(index)
        traces.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": label(name),
                "x": [_rounded(rate) for rate in kept["fpr"]],
                "y": [_rounded(rate) for rate in kept["tpr"]],
                "line": {"color": look["color"], "dash": look["dash"], "width": 2},
                "hovertemplate": "FPR %{x:.3%}, TPR %{y:.3%}<extra>%{fullData.name}</extra>",
            }
        )
    return traces


def _layout(traces: list[dict[str, Any]], lowest: float) -> dict[str, Any]:
    first = min(min(trace["x"]) for trace in traces)
    # Small studies have curves that begin well above what could be told: no empty axis before them.
    lowest = first if first > 2 * lowest else lowest
    floor = min(lowest, *(min(trace["y"]) for trace in traces))
    layout = plot_layout("False-positive rate", "True-positive rate")
    for axis, start in (("xaxis", lowest), ("yaxis", floor)):
        layout[axis] |= {"type": "log", "range": [math.log10(start), 0.02], "dtick": "D2", "tickformat": "~%"}
    layout["shapes"] = [{"type": "line", "x0": lowest, "y0": lowest, "x1": 1, "y1": 1, "line": dashed()}]
    return layout


def _rounded(rate: float) -> float:
    return float(f"{rate:.{_DIGITS}g}")


def _curve(results: Results, release: str, attack: str) -> pd.DataFrame:
    """The curve under the primary references (see `finding` for the dense release)."""
    table = results.curves
    rows = table[(table["release"] == release) & (table["attack"] == attack)]
    primary = rows[rows["references"] == primary_references(results)]
    if primary.empty and release == base_release(results) and not rows.empty:
        return rows[rows["references"] == rows["references"].iloc[0]]
    return primary
