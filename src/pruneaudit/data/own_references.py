"""Draws training sets for references that users train themselves, in any library or language."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.around_target import draw_around
from pruneaudit.data.source import RawData
from pruneaudit.data.splits import splits_of
from pruneaudit.data.target_members import MEMBER, NON_MEMBER, UNKNOWN
from pruneaudit.data.unknown_members import split_unknown
from pruneaudit.study import Data, Membership

# R samples, n references

MAX_REFERENCES = 256


def draw_references(
    x: np.ndarray, member: Sequence[bool] | np.ndarray, num_references: int = 4, seed: int = 0
) -> dict[str, np.ndarray]:
    """Draws the training set of each reference for your own model.

    As in a study with a target: as many members as non-members are audited, a fair coin decides for each reference and
    audited sample, and your model's other members are in every training set. A third of the non-members is held out.
    Samples with equal x are in the same training sets.

    Args:
        x: all samples, members of your model and others, (R, F) or (R, C, H, W).
        member: (R,) 1 or true for members, 0 or false for non-members, -1 or NaN if unknown.
        num_references: n, from 1 to 256.
        seed: seed of the draws.

    Returns:
        Arrays of `Signals`, your model first: `member` and `eligible` (1 + n, R), `is_victim` (1 + n,), `holdout` (R,).
        Train reference k on the rows where `member[k] == 1`.

    Raises:
        UserError: a shape does not fit, or there are too few members or others.

    Example:
        >>> x, member = np.arange(400.0).reshape(200, 2), np.arange(200) < 100
        >>> drawn = pruneaudit.draw_references(x, member, num_references=2)
        >>> drawn["member"].shape, int(drawn["member"].max())
        ((3, 200), 1)
    """
    status = _status(np.asarray(member), len(x))
    if not 1 <= num_references <= MAX_REFERENCES:
        raise UserError(f"num_references: got {num_references}, expected 1 to {MAX_REFERENCES}")
    given = np.asarray(x)
    samples = given if given.dtype == np.uint8 and given.ndim == 4 else given.astype(np.float32)
    raw = RawData(samples, np.arange(len(samples)) % 2, classes=("0", "1"))  # labels take no part in the draw
    drawn = draw_around(raw, Data(), None, status, seed)
    size = 1 + num_references
    splits = splits_of(Membership(protocol="target", num_models=size), seed, range(size), drawn)
    found = {"member": np.zeros((size, len(status)), np.int8), "eligible": np.zeros((size, len(status)), bool)}
    found["member"][:, drawn.ids] = splits.member
    found["member"][0, status == UNKNOWN] = UNKNOWN
    found["eligible"][:, drawn.ids] = splits.eligible
    holdout = np.zeros(len(status), bool)
    holdout[drawn.ids] = drawn.holdout
    return found | {"is_victim": np.arange(size) == 0, "holdout": holdout}


def _status(member: np.ndarray, num_samples: int) -> np.ndarray:
    """(R,) int8: 1 for members, 0 for others, -1 for unknown."""
    if member.shape != (num_samples,) or member.dtype.kind not in "bif":
        raise UserError(f"member: got {member.dtype} {member.shape}, expected {num_samples} values 0, 1 or -1")
    known, unknown = split_unknown(member)
    if wrong := set(np.unique(known)) - {MEMBER, NON_MEMBER}:
        raise UserError(f"member: got {next(iter(wrong))}, expected 1 for members, 0 for others or -1 for unknown")
    return np.where(unknown, UNKNOWN, known).astype(np.int8)
