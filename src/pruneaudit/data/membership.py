"""The membership file of a run folder: the training set of each model, drawn once at the start of a run.

Workers, evaluation and report read the file, or get rows of it; they never draw membership.
"""

# M models, N samples

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.files import write_atomically
from pruneaudit.core.unpacking import check_zip
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.splits import Splits, splits_of
from pruneaudit.study import Study

MEMBERSHIP_FILE = "membership.npz"


def draw_membership(study: Study, audit_data: AuditData) -> Splits:
    """Draws the splits of all models of a study from its seed; used at the start of a run, and for estimates before."""
    return splits_of(study.membership, study.seed, range(study.membership.num_models), audit_data)


def write_membership(folder: Path, splits: Splits, audit_data: AuditData) -> None:
    """Writes member, eligible (M, N), is_victim, group (M,), ids, holdout, public, canary (N,), as `membership.npz`.

    Also `copy_of` (N,), the column of the original, if the data have copies.
    """
    arrays = {field.name: getattr(splits, field.name) for field in fields(splits)}
    arrays |= {key: getattr(audit_data, key) for key in ("ids", "holdout", "public", "canary")}
    arrays |= {} if audit_data.copy_of is None else {"copy_of": audit_data.copy_of}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(folder / MEMBERSHIP_FILE, buffer.getvalue())


def read_membership(folder: Path, num_models: int, num_samples: int) -> Splits:
    """Reads the splits of all models of a run from its folder.

    Args:
        folder: the run's folder.
        num_models: M of the study.
        num_samples: N of its audit data.

    Raises:
        UserError: the file is missing or unreadable, or belongs to another study.
    """
    path = folder / MEMBERSHIP_FILE
    again = f"repair it with: pruneaudit run {folder / 'study.json'} --out {folder.parent}"
    try:
        facts = path.stat()
        splits = _read(path, facts.st_ino, facts.st_mtime_ns)
    except Exception as error:  # a damaged archive raises anything from zlib.error to NotImplementedError
        raise UserError(f"{path}: cannot be read ({in_one_line(error)}); {again}") from None
    if splits.member.shape[1] != num_samples or len(splits.member) < num_models:
        raise UserError(
            f"{path}: has {len(splits.member)} models and {splits.member.shape[1]} samples, expected {num_models} and"
            f" {num_samples}; {again}"
        )
    return splits


@lru_cache(maxsize=2)
def _read(path: Path, number: int, changed_ns: int) -> Splits:
    """Reads the arrays of a file; cached by inode and time, so that a rewritten file is read again."""
    check_zip(path)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return Splits(**{field.name: arrays[field.name] for field in fields(Splits)})


def to_text(splits: Splits, model_ids: Sequence[int]) -> str:
    """Encodes the rows of some models as a line of text, with packed bits, for a worker on any machine."""
    buffer = io.BytesIO()
    rows = {field.name: getattr(splits, field.name)[list(model_ids)] for field in fields(Splits)}
    num_samples = splits.member.shape[1]
    packed = {name: np.packbits(row, axis=1) if row.ndim == 2 else row for name, row in rows.items()}
    np.savez(buffer, allow_pickle=False, num_samples=num_samples, **packed)
    return base64.b64encode(buffer.getvalue()).decode()


def from_text(text: str) -> Splits:
    """Decodes the rows that `to_text` encoded, in the order of its model ids."""
    with np.load(io.BytesIO(base64.b64decode(text)), allow_pickle=False) as arrays:
        num_samples = int(arrays["num_samples"])
        rows = {name: arrays[name] for name in (field.name for field in fields(Splits))}
        unpacked = {
            name: np.unpackbits(row, axis=1, count=num_samples).astype(bool) if row.ndim == 2 else row
            for name, row in rows.items()
        }
        return Splits(**unpacked)
