"""Leakage against sparsity and against bits: one curve per method, and lines for uncompressed releases."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import effective_bits, shows_sizes
from pruneaudit.report.figures.figure import Figure, Spec
from pruneaudit.report.figures.layers import (
    DASH_OF_DATUM,
    HOVER,
    axis,
    choosing,
    ends_of,
    error_bar,
    faded,
    guessing_line,
    known,
    stacked,
    without_marks,
)
from pruneaudit.report.figures.look import (
    DASHES,
    NEUTRAL,
    PAGE,
    Series,
    Theme,
    colour_and_shape,
    cut,
    guessing_series,
    isolated,
    labels,
    series,
)
from pruneaudit.report.figures.points import Method, Point, accuracy, leakage, methods, references, sparsity_of
from pruneaudit.report.quantities import AUC, TEST_ACCURACY, Quantity, headline_quantities, sparsity_text
from pruneaudit.report.selection import primary_attack, references_shown
from pruneaudit.report.sentences.networks import means_words
from pruneaudit.report.words import attack_name

_HEIGHT = 340
_AROUND_PIXELS = 80
_PANEL_POINTS = 72
_MOST_LEVELS = 3
"""Lines across the page's figure; more would hide the curves."""
_STEP, _SPREAD = 0.014, 0.06
"""Methods are moved sideways, so that intervals at one place do not lie on each other: by how much from one to the
next, and the most from the first to the last, as fractions of how far places reach."""
_LABEL = 5.2
"""What the label of a tick takes, in heights of a letter."""
_LEVEL_DASHES = (DASHES[2], DASHES[3], DASHES[4])
_BIT_TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32)


@dataclass(frozen=True)
class _Degree:
    """What compressed releases are placed by."""

    key: str
    title: str
    at: Callable[[Results, str], float]
    """The number of a release, above 0."""
    text: Callable[[float], str]
    place: Callable[[float], float]
    """The place of a number on the axis."""
    least_reach: float
    """How far the axis reaches at least."""
    caption: str


@dataclass(frozen=True)
class _Panel:
    """One quantity above the axis."""

    quantity: Quantity
    point: Callable[[str], Point | None]
    """The point of a release."""


_SPARSITY = _Degree(
    "sparsity",
    "Sparsity",
    sparsity_of,
    lambda sparsity: f"{sparsity_text(sparsity)} sparsity",
    lambda sparsity: sparsity,
    0.1,
    "Grey lines: the releases that pruned ones are compared with. A sparser release is often less accurate too, and "
    "this alone can lower leakage.",
)
_BITS = _Degree(
    "bits",
    "Effective bits per weight",
    effective_bits,
    lambda bits: f"{bits:.2f} bits per weight",
    math.log2,
    1.0,
    "Effective bits: the entropy bound of the compressed weight matrices, per weight of the dense network, on a "
    "logarithmic axis; an uncompressed weight has 32. Grey lines: the releases that compressed ones are compared "
    "with. A release of fewer bits is often less accurate too, and this alone can lower leakage.",
)


def leakage_by_sparsity(results: Results, theme: Theme = PAGE) -> Figure | None:
    """Leakage of pruned releases under the primary attack; None where no release is pruned or none has a figure.

    The page has the AUC. A paper also has panels of the TPR, other figures of the ranking and test accuracy.
    """
    return _leakage_by(results, _SPARSITY, _panels(results) if theme.is_paper else _panels(results)[:1], theme)


def leakage_by_bits(results: Results, theme: Theme = PAGE) -> Figure | None:
    """The primary attack's AUC on compressed releases against their effective bits per weight.

    None where no release has fewer than 32, or none of them has a figure.
    """
    return _leakage_by(results, _BITS, _panels(results)[:1], theme) if shows_sizes(results) else None


def _panels(results: Results) -> list[_Panel]:
    """The AUC first, test accuracy last."""
    quantities = headline_quantities(results.findings.columns)
    ordered = [AUC, *(quantity for quantity in quantities if quantity != AUC)]
    panels = [_Panel(quantity, partial(leakage, results, quantity=quantity)) for quantity in ordered]
    return [*panels, _Panel(TEST_ACCURACY, partial(accuracy, results))]


def _leakage_by(results: Results, degree: _Degree, panels: Sequence[_Panel], theme: Theme) -> Figure | None:
    found = methods(results, degree.at)
    releases = [release for method in found for release in method.releases]
    panels = [panel for panel in panels if any(panel.point(release) is not None for release in releases)]
    # Test accuracy alone says nothing of leakage.
    if all(panel.quantity == TEST_ACCURACY for panel in panels):
        return None
    places = [degree.place(degree.at(results, release)) for release in releases]
    margin = max(degree.least_reach / 2, 0.1 * (max(places) - min(places)))
    across = axis("at", degree.title, (min(places) - margin, max(places) + margin)) | _ticks(degree, places, theme)
    compared = references(results, found)
    levels = [name for name in compared if any(panel.point(name) is not None for panel in panels)]
    levels = levels if theme.is_paper else levels[:_MOST_LEVELS]
    looks = _looks(found, levels, theme)
    drawn = [
        (
            _panel(panel, across, looks, found, levels, theme),
            _data(results, degree, panel, found, looks),
        )
        for panel in panels
    ]
    attack, kind = attack_name(primary_attack(results)), references_shown(results)
    title = [cut(f"{attack}; references: {kind}", theme.line, theme.font_size)]
    return Figure(
        key=degree.key,
        title=f"Leakage against {degree.title.lower()}, under {attack}",
        caption=f"Under {attack} (references: {kind}), one curve per method, {means_words(results)} with 95% "
        "intervals. Methods are moved sideways a little, so that their intervals stay readable. "
        f"{degree.caption} The dashed line is guessing.",
        height=_HEIGHT + _AROUND_PIXELS,
        spec=stacked(drawn, theme, _PANEL_POINTS if theme.is_paper else _HEIGHT, title),
    )


def _looks(found: Sequence[Method], levels: Sequence[str], theme: Theme) -> dict[str, Series]:
    """By number of the method, or by release that is a level: how it is drawn."""
    names = labels([*levels, *(method.label for method in found), "guessing"], theme)
    lines = [
        Series(name, theme.ink if index == 0 else NEUTRAL, dash=_LEVEL_DASHES[index % len(_LEVEL_DASHES)])
        for index, name in enumerate(names[: len(levels)])
    ]
    curves = [series(name, index) for index, name in enumerate(names[len(levels) : -1])]
    keys = [*(f"level {name}" for name in levels), *(f"method {index}" for index in range(len(found))), "guessing"]
    return dict(zip(keys, [*lines, *curves, guessing_series(names[-1])], strict=True))


def _panel(
    panel: _Panel, across: Spec, looks: dict[str, Series], found: Sequence[Method], levels: Sequence[str], theme: Theme
) -> list[Spec]:
    """The layers of one panel."""
    quantity = panel.quantity
    points = [point for method in found for name in method.releases if (point := panel.point(name)) is not None]
    flat = [(name, point) for name in levels if (point := panel.point(name)) is not None]
    guessing = [] if quantity.guessing is None else [quantity.guessing]
    ends = ends_of([*guessing, *(end for point in [*points, *(point for _, point in flat)] for end in point)])
    up = axis("value", quantity.title, ends, percent=quantity.is_percent, tickCount=5 if theme.is_paper else 8)
    encoded = colour_and_shape(list(looks.values()), theme)
    positions = {"x": across, "y": up, **encoded, **faded(theme)}
    return [
        guessing_line("y", guessing[0], up, theme) if guessing else {},
        *(_level(name, point, quantity, up, looks[f"level {name}"], encoded, theme) for name, point in flat),
        {
            "mark": {"type": "line", "clip": True, "strokeDash": DASH_OF_DATUM, "strokeWidth": theme.line_width},
            "encoding": without_marks(positions),
        },
        error_bar("y", "value", positions, theme),
        {
            **choosing(theme),
            "mark": {"type": "point", "filled": True, "size": theme.point_area, "clip": True},
            "encoding": positions | {"tooltip": HOVER},
        },
    ]


def _level(
    name: str, point: Point, quantity: Quantity, up: Spec, look: Series, encoded: dict[str, Any], theme: Theme
) -> Spec:
    """What an uncompressed release leaks, as a line across with its interval as a band."""
    said = f"{isolated(name)}: {point.text(quantity.title, quantity)}"
    datum = known({"series": look.label, "tooltip": said, **point.fields("value")})
    along = {"color": encoded["color"], "strokeDash": encoded["strokeDash"], **faded(theme)}
    line = {"type": "rule", "strokeWidth": 0.8 * theme.line_width}
    band = {"type": "rect", "clip": True, "fill": NEUTRAL, "fillOpacity": 0.13}
    return {
        "data": {"values": [datum]},
        "layer": [
            *(
                [{"mark": band, "encoding": {"y": up | {"field": "value_low"}, "y2": {"field": "value_high"}}}]
                if "value_low" in datum and "value_high" in datum
                else []
            ),
            {"mark": line, "encoding": {"y": up, "tooltip": HOVER, **along}},
        ],
    }


def _data(
    results: Results, degree: _Degree, panel: _Panel, found: Sequence[Method], looks: dict[str, Series]
) -> list[dict[str, Any]]:
    places = [degree.place(degree.at(results, release)) for method in found for release in method.releases]
    step = max(max(places) - min(places), degree.least_reach) * min(_STEP, _SPREAD / len(found))
    data = []
    for index, method in enumerate(found):
        look = looks[f"method {index}"]
        for release in method.releases:
            point, number = panel.point(release), degree.at(results, release)
            if point is None:
                continue
            said = f"{isolated(release)}: {degree.text(number)}, {point.text(panel.quantity.title, panel.quantity)}"
            at = degree.place(number) + step * (index - (len(found) - 1) / 2)
            data.append(
                known(
                    {"series": look.label, "at": at, "dash": list(look.dash), "tooltip": said, **point.fields("value")}
                )
            )
    return data


def _ticks(degree: _Degree, places: Sequence[float], theme: Theme) -> Spec:
    """Ticks of the axis: powers of 2; the sparsities themselves where their labels do not meet; else round numbers."""
    if degree is _BITS:
        shown: dict[str, Any] = {"values": [math.log2(bits) for bits in _BIT_TICKS], "labelExpr": "pow(2, datum.value)"}
    else:
        apart = sorted(set(places))
        width = theme.width if isinstance(theme.width, float) else 300
        room = _LABEL * theme.font_size / width * max(max(places) - min(places), degree.least_reach)
        close = any(right - left < room for left, right in pairwise(apart))
        shown = {"format": "~%"} | ({"tickCount": 7} if close else {"values": apart})
    return {"axis": {"title": degree.title, **shown}}
