"""Leakage against test accuracy, a point per release.

If the study has undefended dense networks to compare with at equal accuracy, a step line shows their lower envelope,
and releases that another one dominates are hollow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.figure import Figure, Spec
from pruneaudit.report.figures.labels import text_positions
from pruneaudit.report.figures.layers import (
    DASH_OF_DATUM,
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
from pruneaudit.report.figures.look import (
    COLOURS,
    DASHES,
    NEUTRAL,
    PAGE,
    SHAPES,
    Series,
    Theme,
    colour_and_shape,
    cut,
    guessing_series,
    isolated,
    labels,
    series,
)
from pruneaudit.report.figures.points import Point, accuracy, leakage, methods
from pruneaudit.report.quantities import AUC, TEST_ACCURACY
from pruneaudit.report.selection import base_release, primary_attack, references_shown, release_names
from pruneaudit.report.tables.equal_accuracy import KINDS, kind_of
from pruneaudit.report.words import attack_name

_HEIGHT = 380
_HEIGHT_POINTS = 130
_AROUND_PIXELS = 75
_MOST_NAMED = 12
"""Points that are named in the figure itself; more would hide each other."""
_NAME_PIXELS, _NAME_SIZE = 150, 11
_SMALLEST, _LARGEST = 0.5, 2.0
"""Areas of the least and the most compressed release of a method, in those of an ordinary point."""
ENVELOPE = "envelope (undefended)"


@dataclass(frozen=True)
class _Placed:
    """The point of a release."""

    release: str
    accuracy: Point
    leakage: Point
    dominated: bool = False


_Group = tuple[Series, tuple[str, ...]]
"""How some releases are drawn, and these, the least compressed first."""


def leakage_against_accuracy(results: Results, theme: Theme = PAGE) -> Figure | None:
    """The primary attack's AUC against test accuracy, a point per release; None where no release has both."""
    frontier = results.frontier
    rows = frontier[
        (frontier["metric"] == AUC.column) & frontier["leakage"].notna() & frontier["test_accuracy"].notna()
    ]
    placed = _from_frontier(rows) if len(rows) else _from_findings(results)
    if not placed:
        return None
    steps = _envelope(rows) if (rows["is_baseline"] == 1).any() else []
    # Names beside the points tell releases apart: colours are free to say what was done to them.
    by_kind = bool(len(rows)) and not theme.is_paper
    groups = _by_kind(results, placed) if by_kind else _by_method(results, placed, theme)
    grows = not by_kind and any(len(releases) > 1 for _, releases in groups)
    attack, references = attack_name(primary_attack(results)), references_shown(results)
    return Figure(
        key="frontier" if len(rows) else "tradeoff",
        title=f"Leakage against test accuracy, under {attack}",
        caption=_caption(
            attack, references, bool(steps), grows, any(point.dominated for point in placed.values()), theme
        ),
        height=_HEIGHT + _AROUND_PIXELS,
        spec=_spec(placed, groups, steps, grows, _title(attack, references, grows, theme), theme),
    )


def _from_frontier(rows: pd.DataFrame) -> dict[str, _Placed]:
    def point(row: pd.Series, column: str) -> Point:
        return Point(*(float(row[f"{column}{end}"]) for end in ("", "_low", "_high")))

    return {
        row["release"]: _Placed(
            row["release"], point(row, "test_accuracy"), point(row, "leakage"), row["dominated"] == 1
        )
        for _, row in rows.iterrows()
    }


def _from_findings(results: Results) -> dict[str, _Placed]:
    return {
        release: _Placed(release, across, up)
        for release in release_names(results)
        if (across := accuracy(results, release)) is not None and (up := leakage(results, release, AUC)) is not None
    }


def _by_kind(results: Results, placed: dict[str, _Placed]) -> list[_Group]:
    """Groups by what was done to releases; dominated releases are grey and come after the others."""
    kinds = {release: kind_of(results, release) for release in placed}
    groups = []
    for index, kind in enumerate(KINDS.values()):
        for beaten in (False, True):
            releases = tuple(name for name in placed if kinds[name] == kind and placed[name].dominated == beaten)
            label = f"{kind}, dominated" if beaten else kind
            look = Series(label, NEUTRAL if beaten else COLOURS[index], SHAPES[index])
            groups += [(look, releases)] if releases else []
    return groups


def _by_method(results: Results, placed: dict[str, _Placed], theme: Theme) -> list[_Group]:
    """What is not compressed first, each on its own, the base before all; then the methods of compression."""
    found = methods(results)
    compressed = {release for method in found for release in method.releases}
    others = sorted((name for name in placed if name not in compressed), key=base_release(results).__ne__)
    kept = [(method.label, tuple(name for name in method.releases if name in placed)) for method in found]
    groups = [(name, (name,)) for name in others] + [(label, releases) for label, releases in kept if releases]
    names = labels([name for name, _ in groups], theme)
    drawn = []
    for index, (name, (_, releases)) in enumerate(zip(names, groups, strict=True)):
        # Ink and grey are for the dense networks and their baseline; a further release needs another colour.
        if index < min(2, len(others)):
            look = Series(name, (theme.ink, NEUTRAL)[index], ("circle", "triangle-right")[index])
        else:
            look = series(name, index - min(2, len(others)))
        drawn.append((look, releases))
    return drawn


def _envelope(rows: pd.DataFrame) -> list[tuple[float, float]]:
    """The baseline's lower envelope, as corners, from the least accurate point of all to the best baseline."""
    baseline = rows[rows["is_baseline"] == 1].sort_values(["test_accuracy", "leakage"], ascending=False)
    steps: list[tuple[float, float]] = []
    for across, up in zip(baseline["test_accuracy"], baseline["leakage"], strict=True):
        if not steps or up < steps[-1][1]:
            steps.append((float(across), float(up)))
    start = min(float(rows["test_accuracy"].min()), steps[-1][0])
    return [(start, steps[-1][1]), *reversed(steps)]


def _spec(
    placed: dict[str, _Placed], groups: Sequence[_Group], steps: Sequence[tuple[float, float]], grows: bool,
    title: list[str], theme: Theme,
) -> Spec:  # fmt: skip
    points = list(placed.values())
    x_ends, y_ends = _ends(points)
    across, up = axis("accuracy", TEST_ACCURACY.title, x_ends, percent=True), axis("auc", AUC.title, y_ends)
    across["axis"]["tickCount"] = up["axis"]["tickCount"] = 6 if theme.is_paper else 8
    shown = [look for look, _ in groups]
    shown += [Series(ENVELOPE, COLOURS[0], dash=DASHES[2])] if steps else []
    looks = colour_and_shape([*shown, *([guessing_series()] if theme.is_paper else [])], theme)
    positions = {"x": across, "y": up, **looks, **faded(theme)}
    told = {"size": {"field": "size", "type": "quantitative", "scale": None}, "tooltip": HOVER}
    layers = [
        guessing_line("y", 0.5, up, theme),
        _step_line(steps, positions, theme) if steps else {},
        {
            "transform": [{"filter": "datum.joined"}],
            "mark": {"type": "line", "strokeWidth": 0.6 * theme.line_width, "strokeDash": DASH_OF_DATUM},
            "encoding": without_marks(positions) | {"order": {"field": "place", "type": "quantitative"}},
        } if grows else {},
        error_bar("x", "accuracy", positions, theme),
        error_bar("y", "auc", positions, theme),
        {
            **choosing(theme),
            "transform": [{"filter": "!datum.dominated"}],
            "mark": {"type": "point", "filled": True},
            "encoding": positions | told,
        },
        {
            "transform": [{"filter": "datum.dominated"}],
            # Filled with nothing, so that the mouse finds its middle too.
            "mark": {"type": "point", "filled": False, "fill": "transparent", "strokeWidth": 0.75 * theme.line_width},
            "encoding": positions | told,
        },
        _names(across, up, theme) if _are_named(placed, theme) else {},
    ]  # fmt: skip
    height = _HEIGHT_POINTS if theme.is_paper else _HEIGHT
    return assembled(layers, _data(placed, groups, grows, theme), theme, height, title)


def _step_line(steps: Sequence[tuple[float, float]], positions: Spec, theme: Theme) -> Spec:
    """The envelope: up at a point's accuracy, then on to the next."""
    return {
        "data": {"values": [{"accuracy": at, "auc": value, "series": ENVELOPE} for at, value in steps]},
        "mark": {"type": "line", "interpolate": "step-before", "strokeWidth": theme.line_width},
        "encoding": without_marks(positions) | {"strokeDash": positions["strokeDash"]},
    }


def _are_named(placed: dict[str, _Placed], theme: Theme) -> bool:
    return theme.interactive and len(placed) <= _MOST_NAMED


def _names(across: Spec, up: Spec, theme: Theme) -> Spec:
    """Names beside points, where there is room for them: hovering shows the others, and all of them on a phone."""
    beside: dict[str, Any] = {name: {"expr": f"datum.{name}"} for name in ("dx", "dy", "align")}
    return {
        "transform": [{"filter": "isValid(datum.name)"}],
        "mark": {"type": "text", "baseline": "middle", "fontSize": _NAME_SIZE, "color": theme.ink, **beside},
        "encoding": {
            "x": across,
            "y": up,
            "text": {"field": "name"},
            "opacity": {"condition": {"test": "width < 420", "value": 0}, "value": 1},
        },
    }


def _data(placed: dict[str, _Placed], groups: Sequence[_Group], grows: bool, theme: Theme) -> list[dict[str, Any]]:
    named = _beside(placed) if _are_named(placed, theme) else {}
    data = []
    for look, releases in groups:
        for index, release in enumerate(releases):
            one, last = placed[release], len(releases) - 1
            size = _SMALLEST + index / last * (_LARGEST - _SMALLEST) if grows and last else 1.0
            at = one.accuracy.text(TEST_ACCURACY.title.lower(), TEST_ACCURACY)
            said = f"{isolated(release)}: {one.leakage.text(AUC.title, AUC)} at {at}"
            datum = {
                **{"series": look.label, "tooltip": said, "dominated": one.dominated, "size": size * theme.point_area},
                **{"place": index, "joined": bool(last), "dash": list(look.dash)},
                **one.accuracy.fields("accuracy"), **one.leakage.fields("auc"), **named.get(release, {}),
            }  # fmt: skip
            data.append(known(datum))
    return data


def _beside(placed: dict[str, _Placed]) -> dict[str, dict[str, Any]]:
    """The name and its side of the point, for each release with room for a name."""
    names = [cut(release, _NAME_PIXELS, _NAME_SIZE) for release in placed]
    across, up = ([getattr(one, axis).value for one in placed.values()] for axis in ("accuracy", "leakage"))
    places = zip(placed, text_positions(across, up, names, *_ends(placed.values())), names, strict=True)
    return {release: place | {"name": name} for release, place, name in places if place}


def _ends(points: Iterable[_Placed]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ends of both axes: intervals, and the line of guessing, have room."""
    shown = list(points)
    across = ends_of(end for one in shown for end in one.accuracy)
    return across, ends_of([0.5, *(end for one in shown for end in one.leakage)])


def _title(attack: str, references: str, grows: bool, theme: Theme) -> list[str]:
    first = cut(f"{attack}; references: {references}", theme.line, theme.font_size)
    return [first, *(["larger: more compressed"] if grows else [])]


def _caption(attack: str, references: str, has_envelope: bool, grows: bool, has_dominated: bool, theme: Theme) -> str:
    envelope = (
        "The dotted line is the lowest leakage of the undefended dense networks that are at least as accurate. It ends "
        "at the most accurate one. "
    ) * has_envelope
    larger = "Larger points: releases of the same method that are compressed more. " * grows
    hollow = "Hollow: dominated by another release. " * has_dominated
    if theme.is_paper:
        return (
            f"Leakage under {attack} (references: {references}) against test accuracy, one marker per release, means "
            f"with 95% intervals. {larger}{envelope}{hollow}"
        ).strip()
    return (
        "One point per release with its own 95% intervals; the table has the differences. Further down leaks less, "
        "further right is more accurate. "
        f"{larger}{envelope}{hollow}The dashed line is guessing."
    )
