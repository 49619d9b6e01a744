"""AUC of every attack on every release."""

from __future__ import annotations

from pruneaudit.evaluation.columns import MEAN
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
from pruneaudit.report.figures.look import PAGE, Theme, colour_and_shape, cut_all, isolated, labels, series
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import attack_order, primary_references, references_named, release_names
from pruneaudit.report.sentences.networks import mean_of
from pruneaudit.report.words import attack_name

_ROW_PIXELS = 19
_AROUND_PIXELS = 80
_NAME_PIXELS = 200


def leakage_by_release(results: Results, theme: Theme = PAGE) -> Figure | None:
    """AUC with its interval: a line of the figure per release and attack, top to bottom.

    One kind of references at a time, the primary one first.
    """
    first = primary_references(results)
    names = dict.fromkeys([first, *results.findings["references"]])
    found = [(name, spec) for name in names if (spec := _leakage(results, name, theme)) is not None]
    if not found:
        return None
    return Figure(
        key="leakage-by-release",
        title="Leakage by release",
        caption=f"{mean_of(results, 'AUC')} with its 95% interval. The dashed line is guessing (0.5). "
        f"References: {references_named(results, first)}" + (", or those that you choose." if len(found) > 1 else "."),
        # As high as the choice with the most lines needs it.
        height=max(_AROUND_PIXELS + spec["height"] for _, spec in found),
        spec=found[0][1],
        choices=tuple(Choice(name, spec) for name, spec in found),
        choose="References",
    )


def _leakage(results: Results, references: str, theme: Theme) -> Spec | None:
    table = results.findings
    rows = table[(table["victim"] == MEAN) & (table["references"] == references) & table["auc"].notna()]
    releases = [name for name in release_names(results) if name in set(rows["release"])]
    attacks = [name for name in attack_order(results) if name in set(rows["attack"])]
    if not releases:
        return None
    release_labels = dict(zip(releases, cut_all(releases, _NAME_PIXELS, theme.font_size), strict=True))
    shown = dict(zip(attacks, labels(map(attack_name, attacks), theme), strict=True))
    data = [
        known(
            {
                "release": release_labels[row["release"]],
                "series": shown[row["attack"]],
                **{name: float(row[name]) for name in ("auc", "auc_low", "auc_high")},
                "tooltip": f"{isolated(row['release'])}, {isolated(attack_name(row['attack']))}: "
                f"AUC {AUC.value(row['auc'])} {AUC.interval(row['auc_low'], row['auc_high'])}",
            }
        )
        for _, row in rows.iterrows()
    ]
    across = axis(
        "auc",
        "AUC",
        ends_of([0.5, *(datum.get(name, 0.5) for datum in data for name in ("auc", "auc_low", "auc_high"))]),
    )
    positions = {
        "x": across,
        "y": {
            "field": "release",
            "type": "nominal",
            "sort": list(release_labels.values()),
            "scale": {"paddingInner": 1 / (len(attacks) + 1), "paddingOuter": 0.1},
            # On a phone names leave room for the figure.
            "axis": {"title": None, "ticks": False, "domain": False,
                     "labelLimit": {"expr": f"containerSize()[0] < 600 ? 140 : {_NAME_PIXELS + 20}"}},
        },
        "yOffset": {"field": "series", "type": "nominal", "sort": list(shown.values())},
        **colour_and_shape([series(label, index) for index, label in enumerate(shown.values())], theme, _NAME_PIXELS),
        **faded(theme),
    }  # fmt: skip
    layers = [
        guessing_line("x", 0.5, across, theme),
        error_bar("x", "auc", positions, theme),
        {
            **choosing(theme, zoom=False),
            "mark": {"type": "point", "filled": True, "size": theme.point_area},
            "encoding": positions | {"tooltip": HOVER},
        },
    ]
    return assembled(layers, data, theme, _ROW_PIXELS * (len(attacks) + 1) * len(releases))
