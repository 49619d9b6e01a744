"""AUC of every attack by what the attacker sees of the outputs."""

from __future__ import annotations

import pandas as pd

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
)
from pruneaudit.report.figures.look import PAGE, Theme, colour_and_shape, isolated, labels, series
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import attack_order, primary_references, references_named, release_names
from pruneaudit.report.sentences.networks import mean_of
from pruneaudit.report.words import attack_name

_ROW_PIXELS = 19
_AROUND_PIXELS = 80
_NAME_PIXELS = 200


def leakage_by_outputs(results: Results, theme: Theme = PAGE) -> Figure | None:
    """AUC with its interval: a line of the figure per kind of outputs and attack, one release at a time.

    Under the primary references. None where no audit of fewer outputs was asked for.
    """
    references = primary_references(results)
    rows = results.outputs[(results.outputs["references"] == references) & (results.outputs["metric"] == AUC.column)]
    rows = rows[rows["value"].notna()]
    found = [
        (name, _of_release(results, rows[rows["release"] == name], theme))
        for name in release_names(results)
        if name in set(rows["release"])
    ]
    if not found:
        return None
    return Figure(
        key="leakage-by-outputs",
        title="Leakage by what the attacker sees",
        caption=f"{mean_of(results, 'AUC')} with its 95% interval, release {found[0][0]}"
        + (" or the one that you choose" if len(found) > 1 else "")
        + ". From top to bottom: what the attacker sees of the outputs, all that is stored first. The dashed line is "
        f"guessing (0.5). References: {references_named(results, references)}.",
        height=max(_AROUND_PIXELS + spec["height"] for _, spec in found),
        spec=found[0][1],
        choices=tuple(Choice(name, spec) for name, spec in found),
        choose="Release",
    )


def _of_release(results: Results, rows: pd.DataFrame, theme: Theme) -> Spec:
    attacks = [name for name in attack_order(results) if name in set(rows["attack"])]
    outputs = list(dict.fromkeys(rows["outputs"]))
    shown = dict(zip(attacks, labels(map(attack_name, attacks), theme), strict=True))
    data = [
        known(
            {
                "outputs": row["outputs"],
                "series": shown[row["attack"]],
                "auc": float(row["value"]),
                "auc_low": float(row["low"]),
                "auc_high": float(row["high"]),
                "tooltip": f"{row['outputs']}, {isolated(attack_name(row['attack']))}: "
                f"AUC {AUC.value(row['value'])} {AUC.interval(row['low'], row['high'])}",
            }
        )
        for _, row in rows.iterrows()
    ]
    ends = ends_of([0.5, *(datum.get(name, 0.5) for datum in data for name in ("auc", "auc_low", "auc_high"))])
    across = axis("auc", "AUC", ends)
    positions = {
        "x": across,
        "y": {
            "field": "outputs",
            "type": "nominal",
            "sort": outputs,
            "scale": {"paddingInner": 1 / (len(attacks) + 1), "paddingOuter": 0.1},
            "axis": {"title": None, "ticks": False, "domain": False},
        },
        "yOffset": {"field": "series", "type": "nominal", "sort": list(shown.values())},
        **colour_and_shape([series(label, index) for index, label in enumerate(shown.values())], theme, _NAME_PIXELS),
        **faded(theme),
    }
    layers = [
        guessing_line("x", 0.5, across, theme),
        error_bar("x", "auc", positions, theme),
        {
            **choosing(theme, zoom=False),
            "mark": {"type": "point", "filled": True, "size": theme.point_area},
            "encoding": positions | {"tooltip": HOVER},
        },
    ]
    return assembled(layers, data, theme, _ROW_PIXELS * (len(attacks) + 1) * len(outputs))
