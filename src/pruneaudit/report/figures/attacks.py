"""All attacks on one release: AUC with its interval."""

from __future__ import annotations

from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.figure import Figure
from pruneaudit.report.figures.layers import HOVER, assembled, axis, ends_of, error_bar, guessing_line, known
from pruneaudit.report.figures.look import PAPER, Theme, colour_and_shape, cut, cut_all, isolated, series
from pruneaudit.report.figures.points import point
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import attack_order, base_release, finding, is_one_network, references_shown
from pruneaudit.report.words import attack_name

_ROW = 1.8
_LABEL = 13
"""Height of a row and width of a name, in heights of a letter."""


def attacks(results: Results, theme: Theme = PAPER) -> Figure | None:
    """A dot per attack on the base release, in declared order; None where none has an AUC."""
    release = base_release(results)
    points = {attack: point(finding(results, release, attack), AUC) for attack in attack_order(results)}
    drawn = [(index, attack, found) for index, (attack, found) in enumerate(points.items()) if found is not None]
    if not drawn:
        return None
    size = theme.font_size
    names = cut_all((attack_name(attack) for _, attack, _ in drawn), _LABEL * size, size)
    data = [
        known({"series": name, **found.fields("auc"), "tooltip": f"{isolated(name)}: {found.text('AUC', AUC)}"})
        for name, (_, _, found) in zip(names, drawn, strict=True)
    ]
    across = axis(
        "auc", "AUC (dashed: guessing)", ends_of([0.5, *(end for _, _, found in drawn for end in found)]), tickCount=5
    )
    looks = colour_and_shape([series(name, index) for name, (index, _, _) in zip(names, drawn, strict=True)], theme)
    looks["color"]["legend"] = None
    looks["shape"]["legend"] = None
    positions = {
        "x": across,
        "y": {
            "field": "series",
            "type": "nominal",
            "sort": names,
            "axis": {"title": None, "ticks": False, "domain": False},
        },
        **looks,
    }
    layers = [
        guessing_line("x", 0.5, across, theme),
        error_bar("x", "auc", positions, theme),
        {
            "mark": {"type": "point", "filled": True, "size": theme.point_area},
            "encoding": positions | {"tooltip": HOVER},
        },
    ]
    references = references_shown(results)
    title = [cut(text, theme.line, size) for text in (release, f"references: {references}")]
    over = "" if is_one_network(results) else "mean over victims "
    height = _ROW * size * len(drawn)
    return Figure(
        key="attacks",
        title=f"AUC of every attack on {release}",
        caption=f"AUC of every attack on {release} (references: {references}), {over}with 95% intervals; "
        "attacks in the order in which the study declares them.",
        height=round(height),
        spec=assembled(layers, data, theme, height, title),
    )  # fmt: skip
