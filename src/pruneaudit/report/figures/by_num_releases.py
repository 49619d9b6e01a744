"""AUC against the number of releases that are attacked together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.families import FamilyLeakage, SetOfReleases, families_of
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
from pruneaudit.report.figures.look import PAGE, Theme, colour_and_shape, cut, isolated, series
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import primary_references
from pruneaudit.report.sentences.families import family_title, set_words
from pruneaudit.report.sentences.networks import mean_of
from pruneaudit.report.words import counted

GREEDY, OTHERS = "largest addition first", "other sets"
_HEIGHT, _HEIGHT_POINTS = 300, 130
_AROUND_PIXELS = 90
_SPREAD = 0.35
"""Sets of one size are moved sideways by at most this part of a release."""


def leakage_by_num_releases(results: Results, theme: Theme = PAGE) -> Figure | None:
    """The AUC of every set of releases with its interval, one family at a time; None without a figure."""
    found = [family for family in families_of(results) if family.sets]
    if not found:
        return None
    usual = primary_references(results)
    choices = [Choice(family_title(family, usual), _spec(family, theme)) for family in found]
    return Figure(
        key="leakage-by-num-releases",
        title="Leakage against the number of releases",
        caption=f"{mean_of(results, 'AUC')} of the joint attack with its 95% interval, releases {choices[0].name}"
        + (" or the family that you choose" if len(choices) > 1 else "")
        + ". A point per set of releases; sets of one size are moved sideways. The line adds, at each step, the "
        "release that adds most. The dashed line is the release that leaks most alone. If a set lies below a part "
        "of itself, the joint attack is weak there; it does not mean that a release protects.",
        height=_HEIGHT + _AROUND_PIXELS,
        spec=choices[0].spec,
        choices=tuple(choices),
        choose="Family",
    )


def figures_by_family(results: Results, theme: Theme) -> dict[str, Figure]:
    """The same for a paper: a figure per family, by its releases."""
    whole = leakage_by_num_releases(results, theme)
    if whole is None:
        return {}
    return {
        choice.name: Figure(
            "family", f"{whole.title}: {choice.name}", whole.caption.replace(whole.choices[0].name, choice.name, 1),
            whole.height, choice.spec,
        )
        for choice in whole.choices
    }  # fmt: skip


def _spec(family: FamilyLeakage, theme: Theme) -> Spec:
    data = _data(family)
    sizes = sorted({len(one.releases) for one in family.sets})
    across = axis("at", "Releases that the attacker sees", (sizes[0] - 0.5, sizes[-1] + 0.5))
    across["axis"] |= {"values": sizes, "format": "d"}
    ends = ends_of(datum[name] for datum in data for name in ("auc", "auc_low", "auc_high") if name in datum)
    up = axis("auc", "AUC", ends)
    names = [name for name in (GREEDY, OTHERS) if any(datum["series"] == name for datum in data)]
    looks = [series(name, (GREEDY, OTHERS).index(name)) for name in names]
    positions = {"x": across, "y": up, **colour_and_shape(looks, theme), **faded(theme)}
    best = family.best_alone
    layers = [
        guessing_line("y", best.auc.value, up, theme) if best is not None else {},
        {
            "transform": [{"filter": "datum.greedy"}],
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
    title = [cut(set_words(family.releases, ()), theme.line, theme.font_size)]
    return assembled(layers, data, theme, _HEIGHT_POINTS if theme.is_paper else _HEIGHT, title)


def _data(family: FamilyLeakage) -> Data:
    """A datum per set: those on the greedy order in the middle of their column, the others beside them."""
    path = {frozenset((*step.given, step.added)) for step in family.greedy}
    found: Data = []
    for size in sorted({len(one.releases) for one in family.sets}):
        column = [one for one in family.sets if len(one.releases) == size]
        aside = [one for one in column if frozenset(one.releases) not in path]
        places = dict(zip(aside, _places(size, len(aside)), strict=True))
        found += [_datum(one, family.releases, places.get(one)) for one in column]
    return found


def _places(middle: float, number: int) -> Iterable[float]:
    """Places for points on both sides of the middle, which stays free."""
    step = _SPREAD / max(1, (number + 1) // 2)
    return [middle + step * (place // 2 + 1) * (1 if place % 2 else -1) for place in range(number)]


def _datum(one: SetOfReleases, family: Sequence[str], aside: float | None) -> Spec:
    """The datum of a set at a place aside; None: it is on the greedy order."""
    said = f"{counted(len(one.releases), 'release')}, {isolated(set_words(one.releases, family))}"
    value, low, high = one.auc.value, one.auc.low, one.auc.high
    return known(
        {
            "at": float(len(one.releases) if aside is None else aside),
            "series": GREEDY if aside is None else OTHERS,
            "greedy": aside is None,
            "auc": value,
            "auc_low": low,
            "auc_high": high,
            "tooltip": f"{said}: AUC {AUC.value(value)} {AUC.interval(low, high)}".rstrip(),
        }
    )
