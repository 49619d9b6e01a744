"""The point of a release in a figure, and the releases of one curve.

Attack, references, order and baselines are those of the page (`report/selection.py`): fixed before any
result is known.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import TEST_ACCURACY, Quantity
from pruneaudit.report.selection import (
    base_release,
    baseline_of,
    finding,
    primary_attack,
    release_names,
    release_row,
    study_of,
)


class Point(NamedTuple):
    """A number with the limits of its 95% interval (NaN where there is none)."""

    value: float
    low: float
    high: float

    @property
    def lengths(self) -> tuple[float, float]:
        """How far the interval reaches below and above the value; NaN where a limit is missing."""
        return _length(self.value - self.low), _length(self.high - self.value)

    def fields(self, name: str) -> dict[str, float]:
        """As parts of a figure's datum: `name`, `name`_low and `name`_high."""
        below, above = self.lengths
        return {name: self.value, f"{name}_low": self.value - below, f"{name}_high": self.value + above}

    def text(self, title: str, quantity: Quantity) -> str:
        """`AUC 0.630 [0.618, 0.642]`; without an interval where there is none."""
        return f"{title} {quantity.value(self.value)} {quantity.interval(self.low, self.high)}".rstrip()


@dataclass(frozen=True)
class Method:
    """Releases that differ only in the degree of compression."""

    label: str
    releases: tuple[str, ...]
    """By ascending sparsity, or another number."""


def leakage(results: Results, release: str, quantity: Quantity) -> Point | None:
    """What the primary attack reaches on a release, mean over victims; None where there is no figure."""
    return point(finding(results, release, primary_attack(results)), quantity)


def accuracy(results: Results, release: str) -> Point | None:
    """Test accuracy of a release, mean over the bank; None where it was not measured."""
    return point(release_row(results, release), TEST_ACCURACY)


def point(row: pd.Series | None, quantity: Quantity) -> Point | None:
    """One quantity of a row of findings or releases; None where it is refused or missing."""
    column = quantity.column
    if row is None or math.isnan(row.get(column, math.nan)):
        return None
    return Point(*(float(row.get(name, math.nan)) for name in (column, f"{column}_low", f"{column}_high")))


def sparsity_of(results: Results, release: str) -> float:
    """The sparsity that was reached (0..1), NaN where it was not recorded."""
    row = release_row(results, release)
    return math.nan if row is None else float(row["sparsity"])


def methods(results: Results, at: Callable[[Results, str], float] = sparsity_of) -> tuple[Method, ...]:
    """The compressed releases of which some number is known, in groups, in the order of the study.

    What the study says of a release, but for its name and degrees, decides which group it is in;
    without a study, compressors, defence and origin do. A release on its own is shown by its name.

    Args:
        results: of a study.
        at: that number, above 0; releases of a group are ordered by it. Default: the sparsity.
    """
    declared = _declared(results)
    groups: dict[tuple[str, ...], list[str]] = {}
    for release in release_names(results):
        row = release_row(results, release)
        if row is not None and row["compress"] and at(results, release) > 0:
            key = (*(str(row[column]) for column in ("compress", "defense", "origin")), declared.get(release, ""))
            groups.setdefault(key, []).append(release)
    named = Counter(_made_by(key) for key, releases in groups.items() if len(releases) > 1)
    found = []
    for key, releases in groups.items():
        label = _made_by(key)
        if len(releases) == 1:
            label = releases[0]
        elif named[label] > 1:  # they differ in something else, such as epochs: their first releases tell them apart
            label = f"{label} ({releases[0]}, ...)"
        found.append(Method(label, tuple(sorted(releases, key=lambda name: at(results, name)))))
    return tuple(found)


def _made_by(key: tuple[str, ...]) -> str:
    """Compressors and defence, as a label."""
    return " + ".join(part for part in key[:2] if part)


def references(results: Results, found: tuple[Method, ...]) -> tuple[str, ...]:
    """What compressed releases are compared with: the base release, then their baselines that are not compressed."""
    compared = [baseline_of(results, release) for method in found for release in method.releases]
    shown = {release for method in found for release in method.releases}
    return tuple(dict.fromkeys([base_release(results), *(name for name in compared if name not in shown)]))


def _declared(results: Results) -> dict[str, str]:
    """By release: all that the study says of it, but for name and degrees, as a text."""
    study = study_of(results)
    releases = study.releases if study else ()
    return {release.name: release.but_for_degrees() for release in releases}


def _length(length: float) -> float:
    # An interval that was cut at 0 or 1 may end a rounding error inside the value; bars have no negative length.
    return length if math.isnan(length) else max(length, 0.0)
