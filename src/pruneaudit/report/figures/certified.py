"""A choice in pictures: sizes against leakage and accuracy, with the limits, and the rungs of the search."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple

from pruneaudit.evaluation.certificate import Candidate, Certificate
from pruneaudit.evaluation.limits import ACCURACY, Limits
from pruneaudit.evaluation.search_path import Rung, SearchPath
from pruneaudit.report.conclusions.certificate import worst
from pruneaudit.report.figures.figure import Choice, Figure, Spec
from pruneaudit.report.figures.labels import text_positions
from pruneaudit.report.figures.layers import HOVER, Data, assembled, axis, choosing, ends_of, error_bar, faded, known
from pruneaudit.report.figures.layers import guessing_line as limit_line
from pruneaudit.report.figures.look import COLOURS, NEUTRAL, PAGE, Series, Theme, colour_and_shape, cut, isolated
from pruneaudit.report.sentences.certificate import quantity_of, size_text, statement_words

Across = Literal["bytes", "macs"]
TITLES: dict[Across, str] = {"bytes": "Compressed bytes", "macs": "Multiply-accumulates"}
CHOSEN = Series("chosen", COLOURS[2], "diamond")
CERTIFIED = Series("certified", COLOURS[0], "circle")
FAILED = Series("not shown to keep the limits", COLOURS[1], "triangle-up")
SEARCHED = Series("only searched", NEUTRAL, "square")
WENT_ON = Series("went on", COLOURS[0], "circle")
STOPPED = Series("stopped", NEUTRAL, "square")
_OUTCOMES = {"chosen": CHOSEN, "certified": CERTIFIED, "failed": FAILED}
_HEIGHT, _AROUND = 320, 80
_ROOM = 1.25
"""Sizes have a logarithmic axis; it reaches further than the data by this factor."""
_REGION = 0.1
_NAME_SIZE, _NAME_PIXELS, _MOST_NAMED = 12, 190, 8


class _Point(NamedTuple):
    look: Series
    candidate: Candidate
    is_named: bool


def certified_front(certificate: Certificate, path: SearchPath, figure: str, theme: Theme = PAGE) -> Figure | None:
    """Candidates by size and one figure, with its limit and the region within all limits of this picture.

    Args:
        certificate: its list has figures of the models that confirm.
        path: the last rung has figures of as many models of the search.
        figure: a column of leakage, or `test_accuracy`.
        theme: page or paper.
    """
    points = [_Point(look, one, False) for look, one in _searched(certificate, path)]
    points += [_Point(_OUTCOMES[o.outcome], o.candidate, True) for o in certificate.judged if o.outcome in _OUTCOMES]
    across = across_of(certificate.limits)
    spec = _spec(points, certificate.limits, across, figure, theme)
    if spec is None:
        return None
    quantity = quantity_of(figure)
    is_accuracy = figure == ACCURACY
    way = "above" if is_accuracy else "below"
    return Figure(
        key="certified-accuracy" if is_accuracy else "certified-leakage",
        title=f"{quantity.title} against size",
        caption=f"A point per candidate, with its one-sided {100 * (1 - certificate.limits.alpha):g}% bound; of"
        " several attacks, the one with the highest bound. Coloured: confirmed. Grey: the last rung of the search,"
        f" which has other models and references. Shaded: within the limits, {way} the dashed line.",
        height=_HEIGHT + _AROUND,
        spec=spec,
    )


def rungs_figure(path: SearchPath, limits: Limits, theme: Theme = PAGE) -> Figure | None:
    """The candidates of each rung of the search by size and leakage, and which of them went on."""
    across, figure = across_of(limits), limits.ranked_by
    choices = []
    for rung in path.rungs:
        spec = _spec(_of_rung(rung), limits, across, figure, theme)
        if spec is not None:
            choices.append(Choice(f"rung {rung.number + 1} ({len(rung.model_ids)} models)", spec))
    if not choices:
        return None
    return Figure(
        key="search-rungs",
        title=f"The path of the search: {quantity_of(figure).title} against size",
        caption="The candidates that were attacked in a rung; the others stopped earlier, by their size or accuracy. "
        "All points of a rung have the same models and references. Other rungs have other models, so their "
        "figures are not comparable.",
        height=_HEIGHT + _AROUND,
        spec=choices[0].spec,
        choices=tuple(choices),
        choose="Rung",
    )


def across_of(limits: Limits) -> Across:
    """The size on the axis: the one that is to be small, or bytes."""
    return "macs" if limits.minimize == "macs" else "bytes"


def _searched(certificate: Certificate, path: SearchPath) -> Iterable[tuple[Series, Candidate]]:
    confirmed = {one.candidate.name for one in certificate.judged if one.outcome in _OUTCOMES}
    last = path.rungs[-1].candidates if path.rungs else ()
    return ((SEARCHED, one) for one in last if one.name not in confirmed)


def _of_rung(rung: Rung) -> list[_Point]:
    stopped = {one.name for one in rung.passed_over}
    return [_Point(STOPPED if one.name in stopped else WENT_ON, one, False) for one in rung.candidates]


def _spec(points: Sequence[_Point], limits: Limits, across: Across, figure: str, theme: Theme) -> Spec | None:
    """The picture of some candidates; None if none has both numbers."""
    data = [datum for point in points if (datum := _datum(point, across, figure)) is not None]
    if not data:
        return None
    shown = {look.label: look for look in (point.look for point in points)}
    looks = [look for label, look in shown.items() if any(datum["series"] == label for datum in data)]
    limit = limits.min_accuracy if figure == ACCURACY else limits.leakage.get(figure)
    most = limits.sizes.get(across)
    sizes = [datum["at"] for datum in data] + ([] if most is None else [float(most)])
    domain = min(sizes) / _ROOM, max(sizes) * _ROOM
    quantity = quantity_of(figure)
    heights = [datum[f"value{end}"] for datum in data for end in ("", "_low", "_high") if f"value{end}" in datum]
    ends = ends_of([*heights, *([] if limit is None else [limit])])
    place = axis("at", TITLES[across], domain, log=True, format="~s")
    up = axis("value", quantity.title, ends, percent=quantity.is_percent)
    positions = {"x": place, "y": up, **colour_and_shape(looks, theme), **faded(theme)}
    return assembled(
        [
            _region(limit, most, domain, ends, figure, place, up),
            {} if limit is None else limit_line("y", limit, up, theme),
            {} if most is None else limit_line("x", float(most), place, theme),
            error_bar("y", "value", positions, theme),
            {
                **choosing(theme),
                "mark": {"type": "point", "filled": True, "size": theme.point_area},
                "encoding": positions | {"tooltip": HOVER},
            },
            _names(data, domain, ends, place, up, theme),
        ],
        data,
        theme,
        _HEIGHT,
    )


def _datum(point: _Point, across: Across, figure: str) -> dict[str, Any] | None:
    candidate, size, test = point.candidate, getattr(point.candidate, across), worst(point.candidate, figure)
    if size is None or size <= 0 or test is None or test.value is None:
        return None
    bound = math.nan if test.bound is None else test.bound
    low, high = (test.value, bound) if test.is_upper else (bound, test.value)
    said = f"{isolated(candidate.name)}: {statement_words(test)}; {size_text(across, size)}"
    name = {"name": cut(candidate.name, _NAME_PIXELS, _NAME_SIZE)} if point.is_named else {}
    place = {"at": float(size), "value": test.value, "value_low": low, "value_high": high}
    return known({"series": point.look.label, "tooltip": said, **place, **name})


def _region(
    limit: float | None,
    most: int | None,
    domain: tuple[float, float],
    ends: tuple[float, float],
    figure: str,
    place: Spec,
    up: Spec,
) -> Spec:
    """A shade over all that keeps the limits of this picture; empty without a limit."""
    if limit is None:
        return {}
    low, high = (limit, ends[1]) if figure == ACCURACY else (ends[0], limit)
    corner = {"left": domain[0], "right": float(most or domain[1]), "low": low, "high": high}
    return {
        "data": {"values": [corner]},
        "mark": {"type": "rect", "color": COLOURS[2], "opacity": _REGION, "clip": True},
        "encoding": {
            "x": place | {"field": "left"},
            "x2": {"field": "right"},
            "y": up | {"field": "low"},
            "y2": {"field": "high"},
        },
    }


def _names(
    data: Data, domain: tuple[float, float], ends: tuple[float, float], place: Spec, up: Spec, theme: Theme
) -> Spec:
    """Names beside the candidates that were confirmed, where there is room for them."""
    named = [datum for datum in data if "name" in datum]
    if not theme.interactive or not 0 < len(named) <= _MOST_NAMED:
        return {}
    logs = [math.log(datum["at"]) for datum in named]
    values, names = [datum["value"] for datum in named], [datum["name"] for datum in named]
    ends_at = math.log(domain[0]), math.log(domain[1])
    for datum, where in zip(named, text_positions(logs, values, names, ends_at, ends), strict=True):
        datum |= where  # none of them: no room
    beside: dict[str, Any] = {name: {"expr": f"datum.{name}"} for name in ("dx", "dy", "align")}
    return {
        "transform": [{"filter": "isValid(datum.name) && isValid(datum.dx)"}],
        "mark": {"type": "text", "baseline": "middle", "fontSize": _NAME_SIZE, "color": theme.ink, **beside},
        "encoding": {
            "x": place,
            "y": up,
            "text": {"field": "name"},
            "opacity": {"condition": {"test": "width < 420", "value": 0}, "value": 1},
        },
    }
