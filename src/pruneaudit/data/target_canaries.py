"""The canaries that the owner of a target planted, as samples of a study.

The target's membership of a canary is its coin in the file. Every reference draws coins of its own, as for audited
samples. Rows of the source with the x of a canary are not used; the canary takes their place.
"""

# n canaries, N samples, R rows of the source

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.canaries import Canaries, canary_of_rows, check_coins, read_canaries
from pruneaudit.data.source import RawSamples
from pruneaudit.data.target_members import MEMBER, UNKNOWN


def settled_canaries(file: str, raw: RawSamples, status: np.ndarray) -> tuple[Canaries, RawSamples, np.ndarray]:
    """Reads canaries, and checks them against the members of a target.

    Args:
        file: the path of the canaries.
        raw: all samples of the source.
        status: (R,) int8, from `read_members`.

    Returns:
        The canaries; the same as samples of the source; and the status (R,), unknown for rows with the x of a canary,
        so that they are not used.

    Raises:
        UserError: the file is unusable, does not fit the data, or the members contradict its coins.
    """
    path = Path(file).expanduser()
    try:
        canaries = read_canaries(path)
    except UserError as error:
        raise UserError(f"target.canaries: {error}") from None
    try:
        highest = int(canaries.y.max())
        if not canaries.are_texts and highest >= len(raw.classes):
            raise UserError(
                f"got label {highest}, but the data have {len(raw.classes)} classes, numbered from 0; name all classes"
                " in the data: numpy.savez(path, x=x, y=y, classes=[...])"
            )
        rows = canaries.rows_like(raw)
        canary_of = canary_of_rows(rows, raw)
        check_coins(rows.y, canaries.member, status == MEMBER, raw.y, canary_of)
        if (open_rows := np.flatnonzero((canary_of >= 0) & (status == UNKNOWN))).size:
            raise UserError(
                f"{len(open_rows):,} rows with the x of a canary are of unknown status in target.member, the first row"
                f" {open_rows[0]}; expected 0, since no other row with a canary's x may be in the training set"
            )
    except UserError as error:
        raise UserError(f"target.canaries: {path}: {error}") from None
    return canaries, rows, np.where(canary_of >= 0, UNKNOWN, status).astype(status.dtype)


def planted(audit_data: AuditData, member: np.ndarray) -> AuditData:
    """Moves canaries, the last samples, behind the audited samples of the audit data of a target.

    Args:
        audit_data: N samples and n canaries, from `draw_around`.
        member: (n,) bool, the coins of the canaries.

    Returns:
        N + n samples.
    """
    total = len(audit_data.y)
    start = total - len(member)
    canary = np.arange(total) >= start
    place = int((audit_data.coined & ~audit_data.is_copy & ~canary).sum())
    order = np.concatenate([np.arange(place), np.arange(start, total), np.arange(place, start)])
    assert audit_data.target_member is not None
    known = audit_data.target_member | np.concatenate([np.zeros(start, dtype=bool), member])
    whole = dataclasses.replace(audit_data, canary=canary, target_member=known)
    keys = ("x", "y", "ids", "canary", "holdout", "public", "kept", "target_member", "lengths")
    moved: dict[str, Any] = {key: array[order] for key in keys if (array := getattr(whole, key)) is not None}
    if audit_data.copy_of is not None:
        moved["copy_of"] = np.argsort(order)[audit_data.copy_of[order]]
    return dataclasses.replace(whole, **moved)
