"""Samples of the signals that an audit does not count: samples of unknown membership, and placebo rows.

Neither is in a known training set, and neither is scored for any model. But neither may serve as a null: a sample of
unknown membership may be a member, and placebo rows were sent on two paths.

| key | shape | |
|---|---|---|
| `unknown` | (N,) bool | the membership of the sample is unknown for at least one model |
| `placebo` | (N,) or (M, N) int | no model was trained on the sample, and it was sent like members (1) or like others
(2) |
"""

# M models, N samples

from __future__ import annotations

from copy import copy as shallow_copy
from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.unknown_members import split_unknown
from pruneaudit.signals.arrays import as_bool

if TYPE_CHECKING:
    from pruneaudit.signals.signals import Signals

AS_MEMBERS, AS_OTHERS = 1, 2
"""Paths of placebo rows."""


def settled(signals: Signals) -> dict[str, np.ndarray | None]:
    """The arrays that change because samples are left out: `member`, `unknown`, `eligible` and `placebo`.

    Raises:
        UserError: values are wrong, or a placebo row is in a training set.
    """
    member, cells = split_unknown(signals.member)
    unknown = as_bool("unknown", signals.unknown)
    if cells.any():
        of_all = cells.any(axis=0)
        unknown = np.asarray(of_all if unknown is None else unknown | of_all)
    placebo = None if signals.placebo is None else _checked(signals, member)
    eligible = as_bool("eligible", signals.eligible)
    for left_out in (unknown, None if placebo is None else placebo_rows(placebo)):
        if left_out is not None and left_out.any():
            eligible = ~np.broadcast_to(left_out, member.shape) if eligible is None else eligible & ~left_out
    return {"member": member, "unknown": unknown, "eligible": eligible, "placebo": placebo}


def placebo_rows(placebo: np.ndarray) -> np.ndarray:
    """Which samples are placebo rows, (N,) bool, from `placebo` (N,) or (M, N)."""
    return np.asarray((placebo > 0).any(axis=0) if placebo.ndim == 2 else placebo > 0)


def with_placebo_scored(signals: Signals) -> Signals:
    """The same signals in which placebo rows are scored; still no statistic counts them.

    Args:
        signals: with or without placebo rows.
    """
    if signals.placebo is None:
        return signals
    path = np.broadcast_to(signals.placebo, signals.member.shape)
    eligible = np.ones(path.shape, dtype=bool) if signals.eligible is None else signals.eligible
    return _changed(signals, "eligible", eligible | (path > 0))


def with_paths_as_membership(signals: Signals) -> Signals:
    """The same signals in which placebo rows sent as members count as members, if each model has paths of its own.

    Args:
        signals: with or without placebo rows.
    """
    if signals.placebo is None or signals.placebo.ndim == 1:
        return signals
    return _changed(signals, "member", signals.member | (signals.placebo == AS_MEMBERS))


def _changed(signals: Signals, name: str, value: np.ndarray) -> Signals:
    """A copy with another `eligible` or `member` in placebo rows, without checks."""
    other = shallow_copy(signals)
    for derived in ("scored", "ordinary"):
        other.__dict__.pop(derived, None)
    object.__setattr__(other, name, value)
    return other


def check_inputs_auc(given: np.ndarray | None) -> None:
    """Checks that it is an AUC with its interval.

    Raises:
        UserError: it is not.
    """
    is_fine = given is None or (given.shape == (3,) and given.dtype.kind == "f" and _is_interval(given))
    if not is_fine:
        raise UserError(
            "inputs_auc: expected an AUC with the lower and the upper end of its interval, each in [0, 1]; leave the"
            " key out, or collect the signals again"
        )


def _is_interval(given: np.ndarray) -> bool:
    value, low, high = given
    return bool(0 <= low <= value <= high <= 1)


def _checked(signals: Signals, member: np.ndarray) -> np.ndarray:
    """`placebo` as integers."""
    given = signals.placebo
    assert given is not None  # the caller has looked
    if given.shape not in (member.shape, member.shape[1:]):
        raise UserError(
            f"placebo: got shape {given.shape}, expected ({member.shape[1]},), or {member.shape} if models differ in"
            " how each row was sent"
        )
    if given.dtype.kind not in "iufb" or not np.isin(given, (0, AS_MEMBERS, AS_OTHERS)).all():
        raise UserError(
            f"placebo: got {given.dtype} with other values than 0, {AS_MEMBERS} and {AS_OTHERS}, expected 0 for"
            f" ordinary samples, {AS_MEMBERS} for rows sent as members and {AS_OTHERS} for rows sent as others"
        )
    trained = member.astype(bool) & placebo_rows(given)
    if trained.any():
        row, sample = np.argwhere(trained)[0]
        raise UserError(
            f"placebo: sample {signals.sample_ids[sample]} is in the training set of model {signals.model_names[row]},"
            " expected samples that no model was trained on; set its placebo to 0"
        )
    return given.astype(np.int8)
