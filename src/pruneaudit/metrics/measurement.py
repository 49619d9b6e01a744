"""A figure of every victim, with the data for its intervals.

`PerVictim` holds influence values, `Replicated` bootstrap replicates. The functions here compute intervals of both.
"""

# V victims, N samples, B replicates

from __future__ import annotations

from typing import NamedTuple

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.arrays import Floats, PerVictim
from pruneaudit.metrics.intervals import (
    Estimate,
    per_victim,
    per_victim_replicates,
    two_way,
    two_way_replicates,
)


class Replicated(NamedTuple):
    """A figure of every victim, with its bootstrap replicates."""

    values: Floats
    """(V,) the figure; NaN if the victim has none."""
    replicates: Floats
    """(B, V), with one weight per sample for all victims. Equally seeded generators pair two of them."""


Measurement = PerVictim | Replicated


def mean_of(found: Measurement, bounds: tuple[float, float] = (0.0, 1.0), num_trials: int | None = None) -> Estimate:
    """The mean over victims, with an interval over the draw of both samples and models.

    Args:
        found: the figure of every victim.
        bounds: smallest and largest possible value.
        num_trials: see `intervals.two_way`.
    """
    if isinstance(found, Replicated):
        return two_way_replicates(*found, bounds=bounds, num_trials=num_trials)
    return two_way(*found, bounds=bounds, num_trials=num_trials)


def each_of(found: Measurement, bounds: tuple[float, float] = (0.0, 1.0)) -> tuple[Estimate, ...]:
    """The figure of each single victim (V,), with an interval over the draw of its samples."""
    if isinstance(found, Replicated):
        return per_victim_replicates(*found, bounds=bounds)
    return per_victim(*found, bounds=bounds)


def difference_of(first: Measurement, second: Measurement, bounds: tuple[float, float] = (0.0, 1.0)) -> Estimate:
    """The mean paired difference first - second, on the same victims and samples; common errors cancel.

    Args:
        first: a figure of every victim.
        second: the same figure of the same victims, for another attack or release.
        bounds: smallest and largest possible value of the figure itself.

    Raises:
        UserError: one has influence values, the other replicates.
    """
    reach = bounds[1] - bounds[0]
    values = first.values - second.values
    if isinstance(first, Replicated) and isinstance(second, Replicated):
        return two_way_replicates(values, first.replicates - second.replicates, bounds=(-reach, reach))
    if isinstance(first, PerVictim) and isinstance(second, PerVictim):
        return two_way(values, first.influence - second.influence, bounds=(-reach, reach))
    raise UserError(
        f"got a {type(first).__name__} and a {type(second).__name__}, expected two of a kind: a metric must return the"
        " same kind of measurement for all scores"
    )
