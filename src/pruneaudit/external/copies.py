"""Duplicate samples in the data, with a user's membership.

A network was trained on x if any copy of x was in its training set. Its other copies are then not really non-members,
even if the membership says so. As a reference, the model counts as trained on x, and these copies are not scored for
that model.
"""

# M models, N samples

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from pruneaudit.core.errors import UserError


def with_copies_settled(
    membership: Mapping[str, np.ndarray], first: np.ndarray, warn: Callable[[str], None]
) -> Mapping[str, np.ndarray]:
    """The membership by x instead of by row: copies share it, and one of each is scored if all rows agree.

    If the membership of one copy is unknown, that of all is. Placebo rows may repeat each other.

    Args:
        membership: `member` and, if given, `eligible` (M, N), bool or 0 and 1; and other keys of `Signals`.
        first: (N,) int, for each sample the index of the first one that is equal, or its own.
        warn: called with the number of copies, and of what is left out.

    Raises:
        UserError: a placebo row repeats a sample that a model may have been trained on.

    Returns:
        The same membership if no two samples are equal; else with new `member` and `eligible`, and with `copy`.
    """
    first = _first_of_ordinary(first, membership)  # (N,)
    size = np.bincount(first, minlength=len(first))[first]  # (N,)
    rows = np.flatnonzero(size > 1)  # the samples that have copies
    if not rows.size:
        return membership
    _, group = np.unique(first[rows], return_inverse=True)
    member = membership["member"].astype(bool)
    eligible = membership.get("eligible", np.ones(member.shape)).astype(bool)
    num_in, num_eligible = _sums(member[:, rows], group), _sums(eligible[:, rows], group)  # (M, G)
    is_mixed = (num_in > 0) & (num_in < np.bincount(group))
    member[:, rows] = (num_in > 0)[:, group]
    eligible[:, rows] = ((num_eligible > 0) & ~is_mixed)[:, group]
    unknown = membership.get("unknown")
    if unknown is not None:
        membership = {**membership, "unknown": np.bincount(first, unknown, len(first))[first] > 0}
    copy = np.zeros(len(first), dtype=bool)
    copy[rows] = first[rows] != rows
    num_left_out, num_pairs = int((is_mixed & (num_eligible > 0)).sum()), is_mixed.size
    note = f"{copy.sum():,} of {len(first):,} samples repeat another (equal x, whatever the label): each is scored once"
    if num_left_out:
        note += (
            f"; of {num_pairs:,} pairs of a model and a repeated sample {num_left_out:,} are left out, because one copy"
            " was in the training set and another was not; draw the membership of copies together"
        )
    warn(note)
    return {**membership, "member": member, "eligible": eligible, "copy": copy}


def _first_of_ordinary(first: np.ndarray, membership: Mapping[str, np.ndarray]) -> np.ndarray:
    """The first equal sample (N,) among those that are no placebo rows; a placebo row is its own first."""
    placebo = membership.get("placebo")
    if placebo is None or not placebo.any():
        return first
    is_placebo = placebo != 0
    may_be_trained_on = membership["member"].astype(bool).any(axis=0) | (membership.get("unknown", np.zeros(1)) != 0)
    trained_on = np.isin(first, first[may_be_trained_on & ~is_placebo])
    if (trained_on & is_placebo).any():
        row = int(np.flatnonzero(trained_on & is_placebo)[0])
        equal = int(np.flatnonzero((first == first[row]) & may_be_trained_on & ~is_placebo)[0])
        raise UserError(
            f"placebo: sample {row} equals sample {equal}, which is or may be in a training set, expected samples that"
            " no model was trained on; take other samples as placebo rows"
        )
    rows = np.flatnonzero(~is_placebo)
    alone = np.arange(len(first))
    _, begins, group = np.unique(first[rows], return_index=True, return_inverse=True)
    alone[rows] = rows[begins[group]]
    return alone


def _sums(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Per model, the number of true values in each group: (M, n) bool, (n,) int to (M, G) int."""
    return np.stack([np.bincount(group[row], minlength=group.max() + 1) for row in values])
