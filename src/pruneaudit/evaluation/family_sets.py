"""Chooses the sets of releases of a family to measure.

Up to `LATTICE_UP_TO` releases: every set. For more releases: each release alone; the sets of the greedy order, which
adds the release with the largest gain at each step, and all sets that it could have chosen; and all releases but one.
Also the sets that add a release to those that are public already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

LATTICE_UP_TO = 5
"""The most releases for which every set is measured: 31 sets."""

ReleaseSet = tuple[str, ...]
"""Releases in the order of the family."""


def ordered(family: Sequence[str], chosen: Sequence[str]) -> ReleaseSet:
    """The chosen releases in the order of the family."""
    return tuple(name for name in family if name in chosen)


def sets_of(family: Sequence[str], steps: Sequence[str], released: Sequence[str] = ()) -> list[ReleaseSet]:
    """The sets to measure, small ones first.

    Args:
        family: the releases.
        steps: the family in greedy order.
        released: what is public already.
    """
    if len(family) <= LATTICE_UP_TO:
        return [each for size in range(1, len(family) + 1) for each in combinations(family, size)]
    wanted: set[ReleaseSet] = {(name,) for name in family}
    for given in ([], *(steps[:size] for size in range(1, len(steps))), list(released)):
        wanted |= {ordered(family, [*given, name]) for name in family if name not in given}
    wanted |= {ordered(family, [name for name in family if name != left]) for left in family}
    wanted.add(ordered(family, released) or (family[0],))
    places = {name: place for place, name in enumerate(family)}
    return sorted(wanted, key=lambda each: (len(each), [places[name] for name in each]))


def greedy_order(family: Sequence[str], leakage: Callable[[ReleaseSet], float]) -> list[str]:
    """The releases, each the one that adds most to those before it; ties go to the earlier one in the family.

    Args:
        family: the releases.
        leakage: of a set, higher = leaks more; NaN counts as least.
    """
    steps: list[str] = []
    while len(steps) < len(family):
        rest = [name for name in family if name not in steps]
        found = {name: leakage(ordered(family, [*steps, name])) for name in rest}
        steps.append(max(rest, key=lambda name: -1.0 if found[name] != found[name] else found[name]))
    return steps


def edges_of(sets: Sequence[ReleaseSet], family: Sequence[str]) -> list[tuple[ReleaseSet, str]]:
    """Every set that was measured, or the empty one, with each release that leads to another measured set."""
    there = set(sets)
    return [
        (given, name)
        for given in [(), *sets]
        for name in family
        if name not in given and ordered(family, [*given, name]) in there
    ]
