"""AUC against the number of references, with LiRA's extrapolation."""

from __future__ import annotations

import math
from itertools import pairwise

import pandas as pd

from pruneaudit.evaluation.power import EXTRAPOLATED, SCORED
from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.figure import Choice, Figure, Spec
from pruneaudit.report.figures.layers import (
    HOVER,
    assembled,
    axis,
    choosing,
    ends_of,
    error_bar,
    faded,
    guessing_line,
    known,
    without_marks,
)
from pruneaudit.report.figures.look import PAGE, Theme, colour_and_shape, isolated, labels, series
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import release_names
from pruneaudit.report.sentences.networks import mean_of
from pruneaudit.report.words import attack_name, counted

_HEIGHT = 280
_AROUND_PIXELS = 90
_APART = 0.05
"""Attacks are moved sideways by this part of a doubling, so that their intervals can be told apart."""


def leakage_by_references(results: Results, theme: Theme = PAGE) -> Figure | None:
    """AUC with its interval against the number of references, one release at a time; None without such a curve."""
    power = results.power
    rows = power[(power["metric"] == AUC.column) & (power["samples"] == SCORED) & power["value"].notna()]
    found = [
        (name, _of_release(rows[rows["release"] == name], theme))
        for name in release_names(results)
        if name in set(rows["release"])
    ]
    if not found:
        return None
    return Figure(
        key="leakage-by-references",
        title="Leakage against the number of references",
        caption=f"{mean_of(results, 'AUC')} with its 95% interval, release {found[0][0]}"
        + (" or the one that you choose" if len(found) > 1 else "")
        + ", on a logarithmic axis. With few references, not every sample can be scored: see the table. Points without "
        "a line: LiRA, extrapolated. Attacks are moved sideways a little. The dashed line is guessing (0.5).",
        height=_HEIGHT + _AROUND_PIXELS,
        spec=found[0][1],
        choices=tuple(Choice(name, spec) for name, spec in found),
        choose="Release",
    )


def _of_release(rows: pd.DataFrame, theme: Theme) -> Spec:
    attacks = list(dict.fromkeys(rows["attack"]))
    shown = dict(zip(attacks, labels(map(attack_name, attacks), theme), strict=True))
    middle = (len(attacks) - 1) / 2
    data = []
    for _, row in rows.iterrows():
        is_measured = row["kind"] != EXTRAPOLATED
        number = int(row["num_references"])
        said = f"{isolated(attack_name(row['attack']))}, {counted(number, 'reference')}"
        said += "" if is_measured else ", extrapolated"
        data.append(
            known(
                {
                    "at": math.log2(number) + _APART * (attacks.index(row["attack"]) - middle),
                    "series": shown[row["attack"]],
                    "measured": is_measured,
                    "auc": float(row["value"]),
                    "auc_low": float(row["low"]),
                    "auc_high": float(row["high"]),
                    "tooltip": f"{said}: AUC {AUC.value(row['value'])} {AUC.interval(row['low'], row['high'])}",
                }
            )
        )
    across, up = _axes(rows, data)
    looks = [series(label, index) for index, label in enumerate(shown.values())]
    positions = {"x": across, "y": up, **colour_and_shape(looks, theme), **faded(theme)}
    layers = [
        guessing_line("y", 0.5, up, theme),
        {
            "transform": [{"filter": "datum.measured"}],
            "mark": {"type": "line", "clip": True, "strokeWidth": theme.line_width},
            "encoding": without_marks(positions),
        },
        error_bar("y", "auc", positions, theme),
        {
            **choosing(theme),
            "mark": {"type": "point", "filled": True, "size": theme.point_area, "clip": True},
            "encoding": positions | {"tooltip": HOVER},
        },
    ]
    return assembled(layers, data, theme, _HEIGHT)


def _axes(rows: pd.DataFrame, data: list[Spec]) -> tuple[Spec, Spec]:
    """The axes of one release: numbers of references, a tick for each, and AUC."""
    counts = sorted(set(rows["num_references"].astype(int)))
    close = [small for small, large in pairwise(counts) if large < 1.5 * small]
    ticks = [math.log2(count) for count in counts if count not in close]
    across = axis("at", "References", (math.log2(counts[0]) - 0.3, math.log2(counts[-1]) + 0.3))
    across["axis"] = {"title": "References", "values": ticks, "labelExpr": "round(pow(2, datum.value))"}
    ends = ends_of([0.5, *(datum[name] for datum in data for name in ("auc", "auc_low", "auc_high") if name in datum)])
    return across, axis("auc", "AUC", ends)
