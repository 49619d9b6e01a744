"""Power against the number of references: measures attacks with fewer references, and extrapolates LiRA to more.

Every victim takes its references in a random order, several times: the first n are its subset of n references, so the
subset of 4 is part of the subset of 8. Subsets are drawn without replacement, because a reference that counts twice
would count as more evidence. The order depends on the seed, the victim and the number of the draw, and on neither
release nor attack.

The mean over subsets is unbiased for a bank of n references. Its interval is that of findings, from influence values
(or replicates) averaged over subsets. The spread over subsets of one bank is not the error: it is 0 where n reaches all
references.
"""

# V victims, K references, N samples, S subsets, B replicates

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.lira import POOL_BELOW, Lira
from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.averaged import Mean, Side, Sums, figures
from pruneaudit.evaluation.extrapolation import FURTHEST, Extrapolated, extrapolated
from pruneaudit.evaluation.measure import play
from pruneaudit.metrics import (
    METRICS,
    Estimate,
    Measurement,
    Metric,
    PerVictim,
    Quantity,
    auc_influence,
    difference_of,
    mean_of,
)
from pruneaudit.metrics.arrays import Bools

SCORED, COMMON = "scored", "common"
"""Values of the column `samples`: all that can be scored with n references; those that can be with the fewest."""
MEASURED, EXTRAPOLATED = "measured", "extrapolated"
"""Values of the column `kind`."""
ENOUGH_DRAWS, FEWEST_SUBSETS = 100, 5
"""By default: number of draws over all victims together, and smallest number of subsets for each victim."""
_NOTHING = Estimate(np.nan, np.nan, np.nan, np.nan, "none")
_AUC = "auc"
_NOT_POOLED = "the law holds for LiRA with pooled variance: play lira:variance=pooled"

Row = dict[str, Any]
Begin = Callable[[str, str], None]
"""Called with the release and the attack before each curve."""


@dataclass(frozen=True)
class Drawing:
    """How curves are drawn."""

    levels: Sequence[float]
    """False-positive rates at which the true-positive rate is measured."""
    seed: int
    """The study's."""
    num_subsets: int | None = None
    """Subsets of each size for each victim; None: see `ENOUGH_DRAWS`."""
    at: Sequence[int] | None = None
    """Numbers of references for which LiRA's AUC is extrapolated; None: powers of two up to 8 times the largest."""


def power_rows(
    settings: Sequence[AttackSetting],
    attacks: Mapping[str, Attack],
    drawing: Drawing,
    begin: Begin = lambda release, attack: None,
) -> list[Row]:
    """The curve of every attack in every attack setting, as rows of the table `power`.

    Args:
        settings: the attacked releases and their references.
        attacks: attacks that use references, by label.
        drawing: how the curves are drawn.
        begin: called before each curve.
    """
    rows: list[Row] = []
    with one_blas_thread():  # as in `evaluate`, so that figures with all references are those of findings
        for setting in settings:
            places = nested_places(setting.attack_input, drawing)
            for label, attack in attacks.items():
                if attack.lacks(setting.attack_input):
                    continue  # an attack on pairs of releases, or on structure, in an attack setting without
                begin(setting.release, label)
                curve = list(_points(setting, label, attack, drawing, places))
                spread = _spread(setting, label, attack, drawing, curve)
                which = {"release": setting.release, "references": setting.references, "attack": label}
                rows += [which | row for row in _rows(curve, spread, drawing)]
                rows += [which | row for row in _further(attack, curve, drawing)]
    return rows


def subset_sizes(num_references: int) -> tuple[int, ...]:
    """1, 2, 4, ... and all."""
    powers = [2**power for power in range(num_references.bit_length()) if 2**power < num_references]
    return (*powers, num_references)


def nested_places(attack_input: AttackInput, drawing: Drawing) -> np.ndarray:
    """The place of each reference in the order in which a victim takes them, for each draw, (S, V, K) int.

    References that a victim may not use have place K. `places[s] < n` is a mask like `AttackInput.allowed`.
    """
    names = attack_input.attacked.model_names[attack_input.victims].tolist()
    num_victims, num_references = attack_input.allowed.shape
    num_subsets = drawing.num_subsets or max(FEWEST_SUBSETS, math.ceil(ENOUGH_DRAWS / num_victims))
    by_id = np.argsort(attack_input.reference.model_names)  # the order for draws
    places = np.full((num_subsets, num_victims, num_references), num_references)
    for v, name in enumerate(names):
        mine = by_id[attack_input.allowed[v, by_id]]
        for s in range(num_subsets):
            generator = numpy_generator(drawing.seed, seeds.POWER_SUBSETS, name, s)
            places[s, v, generator.permutation(mine)] = np.arange(len(mine))
    return places


@dataclass(frozen=True, eq=False)
class _Point:
    """One number of references."""

    num_references: int
    num_subsets: int
    share_scored: float
    """Share of the eligible samples that can be scored, mean over victims and subsets."""
    scored: Side
    common: Side
    before: PerVictim | None
    """The AUC on the samples that are scored with the next smaller number of references; None at the smallest."""


def _points(
    setting: AttackSetting, label: str, attack: Attack, drawing: Drawing, places: np.ndarray
) -> Iterator[_Point]:
    """The curve of one attack in one attack setting, from the fewest references to all."""
    attack_input = setting.attack_input
    rows, num_all = attack_input.victims, int(attack_input.allowed.sum(axis=1).min())
    ordinary, member = attack_input.attacked.ordinary[rows], attack_input.attacked.member[rows]  # (V, N)
    eligible = np.maximum(ordinary.sum(axis=1), 1)
    first: list[Bools] | None = None  # for each subset, the samples that are scored with the fewest references
    last: list[Bools] | None = None
    for count in subset_sizes(num_all):
        is_all = count == num_all
        scored, common, before = (*(Sums(drawing.levels, drawing.seed) for _ in range(2)), Mean())
        masks: list[Bools] = []
        for s, place in enumerate(places):
            if s == 0 or not is_all:
                allowed = attack_input.allowed if is_all else place < count
                limited = replace(setting, attack_input=replace(attack_input, allowed=allowed))
                with np.errstate(invalid="ignore", divide="ignore"):  # few references: no variance, no mean
                    scores = play(attack, label, limited, drawing.seed).victims
                counted = np.where(ordinary, scores, np.nan)
                scored.add(counted, member)
            masks.append(~np.isnan(counted))
            if first is not None and last is not None:
                common.add(np.where(first[s], counted, np.nan), member)
                before.add(auc_influence(np.where(last[s], counted, np.nan), member))
        shares = [(mask.sum(axis=1) / eligible).mean() for mask in masks]
        found = scored.side()
        yield _Point(
            num_references=count,
            num_subsets=1 if is_all else len(places),
            share_scored=float(np.mean(shares)),
            scored=found,
            common=found if first is None else common.side(),
            before=None if first is None else before.mean(),  # type: ignore[arg-type]
        )
        if any(mask.any() for mask in masks):
            first, last = masks if first is None else first, masks


def _spread(
    setting: AttackSetting, label: str, attack: Attack, drawing: Drawing, curve: Sequence[_Point]
) -> dict[tuple[int, str], tuple[float, float]]:
    """The lowest and highest value of any victim, by number of references and column.

    With one victim, its references play the victim instead, each with at most all others as references.
    """
    sizes = {point.num_references: point.num_references for point in curve}
    if len(setting.attack_input.victims) == 1:
        rows = np.flatnonzero(setting.attack_input.allowed[0])
        if len(rows) < 2:
            return {}
        among = replace(setting, attack_input=setting.attack_input.among_references(rows))
        if attack.lacks(among.attack_input):
            return {}
        curve = list(_points(among, label, attack, drawing, nested_places(among.attack_input, drawing)))
        sizes = {size: min(size, len(rows) - 1) for size in sizes}
    by_size = {point.num_references: point.scored for point in curve}
    found = {}
    for size, used in sizes.items():
        for column, measured in by_size[used].by_column.items():
            known = measured.values[~np.isnan(measured.values)]
            if len(known):
                found[size, column] = float(known.min()), float(known.max())
    return found


def _rows(
    curve: Sequence[_Point], spread: Mapping[tuple[int, str], tuple[float, float]], drawing: Drawing
) -> Iterator[Row]:
    """The measured rows of one curve."""
    previous: _Point | None = None
    for point in curve:
        for samples, side in ((SCORED, point.scored), (COMMON, point.common)):
            for metric, quantities in figures(drawing.levels):
                for one in quantities:
                    why = _suppressed(metric, one, side)
                    row = _row(point, samples, one, why)
                    if not why:
                        row |= _value(side.by_column[one.column], metric, side)
                        row |= _change(point, previous, samples, metric, one)
                    if not why and samples == SCORED and (point.num_references, one.column) in spread:
                        row |= dict(zip(("lowest", "highest"), spread[point.num_references, one.column], strict=True))
                    yield row
        previous = point if point.share_scored else None


def _row(point: _Point, samples: str, quantity: Quantity, why: str) -> Row:
    missing = ("value", "low", "high", "difference", "difference_low", "difference_high", "lowest", "highest")
    return {
        **{"kind": MEASURED, "num_references": point.num_references, "samples": samples, "metric": quantity.column},
        **dict.fromkeys(missing, np.nan),
        **{"share_scored": point.share_scored, "num_subsets": point.num_subsets},
        **{"num_victims": len(next(iter(point.scored.by_column.values())).values), "suppressed": why},
    }


def _suppressed(metric: Metric, quantity: Quantity, side: Side) -> str:
    if np.isnan(side.by_column[_AUC].values).all():
        return f"{quantity.title}: no member or no non-member has the references that the attack needs"
    reason = metric.suppressed(quantity, *side.fewest)
    return "" if reason is None else f"{quantity.title}: {reason}"


def _value(found: Measurement, metric: Metric, side: Side) -> Row:
    mean = mean_of(found, metric.bounds, metric.num_trials(*side.fewest))
    return {"value": mean.value, "low": mean.low, "high": mean.high}


def _change(point: _Point, previous: _Point | None, samples: str, metric: Metric, quantity: Quantity) -> Row:
    """The difference from the next smaller number of references, on the same samples."""
    change = _NOTHING
    if previous is not None:
        column = quantity.column
        if samples == COMMON and column in previous.common.by_column:
            change = difference_of(point.common.by_column[column], previous.common.by_column[column], metric.bounds)
        elif samples == SCORED and column == _AUC and point.before is not None:
            change = difference_of(point.before, previous.scored.by_column[column], metric.bounds)
    return {"difference": change.value, "difference_low": change.low, "difference_high": change.high}


def _further(attack: Attack, curve: Sequence[_Point], drawing: Drawing) -> Iterator[Row]:
    """The extrapolated rows of LiRA's curve; none for other attacks."""
    if not isinstance(attack, Lira) or attack.options.mode != "online":
        return
    last = curve[-1]
    at = _default_at(last.num_references) if drawing.at is None else drawing.at
    measured = {
        point.num_references: found
        for point in curve
        if isinstance(found := point.scored.by_column[_AUC], PerVictim) and not np.isnan(found.values).any()
    }
    is_pooled = attack.options.variance == "pooled" or (
        attack.options.variance == "auto" and last.num_references < POOL_BELOW
    )
    further = extrapolated(measured, at, drawing.seed) if is_pooled else []
    for place, count in enumerate(at):
        one = further[place] if is_pooled else Extrapolated(np.nan, np.nan, np.nan, _NOT_POOLED)
        row = _row(last, SCORED, METRICS.get(_AUC).quantity, one.suppressed)
        row |= {"kind": EXTRAPOLATED, "num_references": count, "share_scored": np.nan, "num_subsets": 0}
        yield row | {"value": one.value, "low": one.low, "high": one.high}


def _default_at(num_references: int) -> tuple[int, ...]:
    """Powers of two above the number of references, up to 8 times it."""
    return tuple(
        2**power
        for power in range((FURTHEST * num_references).bit_length())
        if num_references < 2**power <= FURTHEST * num_references
    )
