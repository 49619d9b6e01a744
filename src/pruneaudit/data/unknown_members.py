"""Handles unknown membership: entries that say neither member nor non-member.

In a membership, NaN, -1 and missing values (None, pandas' NA, masked entries) mean unknown. Attacks compare the models
that were trained on a sample (IN) with those that were not (OUT). A model of unknown membership is neither, and no
attack here has a third side. So a sample is left out of the whole audit if its membership is unknown for any model.
"""

# M models, N samples

from __future__ import annotations

import numpy as np

from pruneaudit.core.errors import UserError

UNKNOWN = -1
"""Stands for unknown in a membership of integers; NaN does in one of floats."""


def split_unknown(member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The known part of a membership, and where it is unknown.

    Args:
        member: numbers or bool, any shape; NaN or -1 where unknown.

    Returns:
        `member` with False or 0 where it is unknown, and bool of the same shape: unknown.

    Raises:
        UserError: 1 and -1 without 0, which probably mean member and non-member.

    Example:
        >>> known, unknown = split_unknown(np.array([1.0, 0.0, np.nan]))
        >>> known.tolist(), unknown.tolist()
        ([1.0, 0.0, 0.0], [False, False, True])
    """
    if member.dtype.kind not in "if":
        return member, np.zeros(member.shape, dtype=bool)
    unknown = np.isnan(member) | (member == UNKNOWN)
    if (member == UNKNOWN).any() and not (member == 0).any():
        raise UserError(
            f"member: got {UNKNOWN} and no 0, expected 0 for non-members ({UNKNOWN} means unknown); if {UNKNOWN} stands"
            " for non-members, give member == 1"
        )
    return (np.where(unknown, 0, member), unknown) if unknown.any() else (member, unknown)
