"""Leakage of all ways of compressing in one figure: against effective bits or against test accuracy.

A point per release, a colour per way of compressing. Releases that differ only in the degree of compression are joined.
The page has both axes to choose from; a paper has one file for each.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import WAYS, effective_bits
from pruneaudit.report.figures.figure import Choice, Figure, Spec
from pruneaudit.report.figures.layers import (
    HOVER,
    Data,
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
from pruneaudit.report.figures.look import (
    COLOURS,
    NEUTRAL,
    PAGE,
    SHAPES,
    Series,
    Theme,
    colour_and_shape,
    cut,
    guessing_series,
    isolated,
)
from pruneaudit.report.figures.points import Point, accuracy, leakage, methods
from pruneaudit.report.quantities import AUC, TEST_ACCURACY
from pruneaudit.report.selection import primary_attack, references_shown
from pruneaudit.report.sentences.networks import means_words
from pruneaudit.report.tables.ways import by_way
from pruneaudit.report.words import attack_name

Across = Literal["bits", "accuracy"]
"""What releases are placed by."""
TITLES: dict[Across, str] = {"bits": "Effective bits per weight", "accuracy": TEST_ACCURACY.title}
_HEIGHT, _HEIGHT_POINTS = 380, 130
_AROUND_PIXELS = 75
_BIT_TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32)
_BITS_ROOM = 1.15
"""Room beside the points, as a factor of bits."""


def leakage_by_method(results: Results, theme: Theme = PAGE, first: Across = "bits") -> Figure | None:
    """The primary attack's AUC of all releases; None with few of them, or without figures.

    Args:
        results: of a study.
        theme: page or paper.
        first: the axis that is drawn at first; a paper has it alone.
    """
    drawn = {across: _spec(results, across, theme) for across in ([first] if theme.is_paper else TITLES)}
    choices = tuple(Choice(TITLES[across], spec) for across, spec in drawn.items() if spec is not None)
    if not choices:
        return None
    attack, kind = attack_name(primary_attack(results)), references_shown(results)
    against = f" against {TITLES[first].lower()}" if theme.is_paper else ""
    return Figure(
        key=f"methods-{first}" if theme.is_paper else "methods",
        title=f"Leakage of all ways of compressing{against}, under {attack}",
        caption=f"Under {attack} (references: {kind}), a point per release, {means_words(results)} with 95% intervals. "
        "Lines join releases that differ only in the degree of compression. Effective bits: the entropy bound of the "
        "weight matrices, per weight of the dense network, on a logarithmic axis. A release of fewer bits is often "
        "less accurate too, and this alone can lower leakage. The dashed line is guessing.",
        height=_HEIGHT + _AROUND_PIXELS,
        spec=choices[0].spec,
        choices=choices,
        choose="Against",
    )


def _spec(results: Results, across: Across, theme: Theme) -> Spec | None:
    """The points along one axis; None where no compressed release has both numbers."""
    looks, data = _looked_at(results, across, theme)
    if not data:
        return None
    ends = [datum[f"at{end}"] for datum in data for end in ("", "_low", "_high") if f"at{end}" in datum]
    if across == "bits":
        domain = min(ends) / _BITS_ROOM, max(ends) * _BITS_ROOM
        place = axis("at", TITLES[across], domain, log=True, values=list(_BIT_TICKS), format="~g")
    else:
        place = axis("at", TITLES[across], ends_of(ends), percent=True)
    heights = [datum[f"auc{end}"] for datum in data for end in ("", "_low", "_high") if f"auc{end}" in datum]
    up = axis("auc", AUC.title, ends_of([0.5, *heights]))
    shown = [*looks, *([guessing_series()] if theme.is_paper else [])]
    positions = {"x": place, "y": up, **colour_and_shape(shown, theme), **faded(theme)}
    line = {"type": "line", "strokeWidth": 0.6 * theme.line_width}
    attack = f"{attack_name(primary_attack(results))}; references: {references_shown(results)}"
    return assembled(
        [
            guessing_line("y", 0.5, up, theme),
            {
                "mark": line,
                "encoding": without_marks(positions)
                | {"detail": {"field": "method"}, "order": {"field": "at", "type": "quantitative"}},
            },
            error_bar("x", "at", positions, theme) if across == "accuracy" else {},
            error_bar("y", "auc", positions, theme),
            {
                **choosing(theme),
                "mark": {"type": "point", "filled": True, "size": theme.point_area},
                "encoding": positions | {"tooltip": HOVER},
            },
        ],
        data,
        theme,
        _HEIGHT_POINTS if theme.is_paper else _HEIGHT,
        [cut(attack, theme.line, theme.font_size)],
    )


def _looked_at(results: Results, across: Across, theme: Theme) -> tuple[list[Series], Data]:
    """The ways with a point, and the points of their releases."""
    joined = {name: method.label for method in methods(results, effective_bits) for name in method.releases}
    looks: list[Series] = []
    data: Data = []
    for index, (way, names) in enumerate(by_way(results).items()):
        title = WAYS[way]
        drawn = [
            datum for name in names if (datum := _datum(results, name, across, joined.get(name, name))) is not None
        ]
        if drawn:
            colour = theme.ink if index == 0 else COLOURS[(index - 1) % len(COLOURS)] if index < 7 else NEUTRAL
            looks.append(Series(title, colour, SHAPES[index % len(SHAPES)]))
            data += [datum | {"series": title} for datum in drawn]
    return looks, data


def _datum(results: Results, release: str, across: Across, method: str) -> dict[str, Any] | None:
    """A release's point; None where one of its numbers is missing."""
    right, bits, up = accuracy(results, release), effective_bits(results, release), leakage(results, release, AUC)
    if up is None or (right is None if across == "accuracy" else not bits > 0):
        return None
    place = right if across == "accuracy" and right is not None else Point(bits, math.nan, math.nan)
    parts = [f"{bits:.2f} bits per weight"] if bits > 0 else []
    parts += [] if right is None else [right.text(TEST_ACCURACY.title.lower(), TEST_ACCURACY)]
    said = f"{isolated(release)}: {', '.join([up.text(AUC.title, AUC), *parts])}"
    return known({"method": method, "tooltip": said, **place.fields("at"), **up.fields("auc")})
