"""The canaries that the owner of a target planted, as samples of a study.

The target's membership of a canary is its coin in the file. Every reference draws coins of its own, as for audited
samples. Rows of the source with the x of a canary are not used: the canary stands for them.
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
from pruneaudit.data.source import RawData
from pruneaudit.data.target_members import MEMBER, UNKNOWN


def settled_canaries(file: str, raw: RawData, status: np.ndarray) -> tuple[Canaries, np.ndarray]:
    """Reads canaries, and checks them against the members of a target.

    Args:
        file: the path of the canaries.
        raw: all samples of the source.
        status: (R,) int8, from `read_members`.

    Returns:
        The canaries; and the status (R,), unknown for rows with the x of a canary, so that they are not used.

    Raises:
        UserError: the file is unusable, does not fit the data, or the members contradict its coins.
    """
    path = Path(file).expanduser()
    try:
        canaries = read_canaries(path)
    except UserError as error:
        raise UserError(f"target.canaries: {error}") from None
    try:
        canary_of = canary_of_rows(canaries, raw.x)
        highest = int(canaries.y.max())
        if highest >= len(raw.classes):
            raise UserError(
                f"got label {highest}, but the data have {len(raw.classes)} classes, numbered from 0; name all classes"
                " in the data: numpy.savez(path, x=x, y=y, classes=[...])"
            )
        check_coins(canaries, status == MEMBER, raw.y, canary_of)
        if (open_rows := np.flatnonzero((canary_of >= 0) & (status == UNKNOWN))).size:
            raise UserError(
                f"{len(open_rows):,} rows with the x of a canary are of unknown status in target.member, the first row"
                f" {open_rows[0]}; expected 0, since no other row with a canary's x may be in the training set"
            )
    except UserError as error:
        raise UserError(f"target.canaries: {path}: {error}") from None
    return canaries, np.where(canary_of >= 0, UNKNOWN, status).astype(status.dtype)


def planted(audit_data: AuditData, canaries: Canaries, num_rows: int) -> AuditData:
    """Puts canaries after the audited samples of the audit data of a target.

    Args:
        audit_data: N samples, from `draw_around`.
        canaries: n of them, from `settled_canaries`.
        num_rows: R; the ids of canaries begin there.

    Returns:
        n + N samples.
    """
    num = len(canaries.y)
    place = int((audit_data.coined & ~audit_data.is_copy).sum())
    none = np.zeros(num, dtype=bool)
    rows: dict[str, np.ndarray] = {
        **{"x": canaries.x, "y": canaries.y, "ids": num_rows + np.arange(num), "canary": ~none},
        **{"holdout": none, "public": none, "kept": none, "target_member": canaries.member},
    }
    joined: dict[str, Any] = {key: _inserted(getattr(audit_data, key), place, part) for key, part in rows.items()}
    if (copy_of := audit_data.copy_of) is not None:
        shifted = np.where(copy_of < place, copy_of, copy_of + num)  # originals are audited: before the place
        joined["copy_of"] = _inserted(shifted, place, place + np.arange(num))
    return dataclasses.replace(audit_data, **joined)


def _inserted(array: np.ndarray, place: int, part: np.ndarray) -> np.ndarray:
    return np.concatenate([array[:place], part, array[place:]])
