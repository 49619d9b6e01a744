"""Reads a user's membership, and puts it into the order of the files of weights.

| key | shape | |
|---|---|---|
| `member` | (R, N) bool | one row per model; or (N,), one row for all. NaN or -1 where unknown |
| `model_ids` | (R,) texts | names the files, by stem or by the end of the path, or their folders |
| `eligible`, `is_victim`, `group` | (R, N), (R,), (R,) | optional, as in `Signals` |
| `canary`, `ids`, `holdout`, `placebo` | (N,) each | optional, as in `Signals` |

With `model_ids`, rows can be in any order, and there can be more rows than files. Without, row 0 is the first file's.

The membership of one model can also be a `.txt` or `.csv`, as for a target (`data/target_members.py`).
"""

# R rows, M models (files), N samples

from __future__ import annotations

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest
from pruneaudit.core.unpacking import array_of, check_zip
from pruneaudit.data.target_members import read_members
from pruneaudit.data.unknown_members import split_unknown
from pruneaudit.external.weight_files import model_names, rows_named_after
from pruneaudit.signals.arrays import as_array

PER_MODEL = ("member", "eligible", "is_victim", "group")
PER_SAMPLE = ("canary", "ids", "holdout", "unknown", "placebo")
LISTS = (".txt", ".csv")
"""Suffixes of files with the membership of one model."""
KEYS = (*PER_MODEL, *PER_SAMPLE, "model_ids")

Given = str | Path | Mapping[str, Any] | np.ndarray


def membership_of(given: Given, files: Sequence[Path], num_samples: int) -> dict[str, np.ndarray]:
    """The membership keys of `Signals`: rows are files, columns are samples.

    Args:
        given: an `.npz`, or its arrays by key, or only `member`; for one model also a `.txt` or `.csv`.
        files: the M files of weights, in the order of the models.
        num_samples: N.

    Returns:
        `member` (M, N), `model_ids` (M,), and the other given keys; `unknown` (N,) if a membership of these files is.

    Raises:
        UserError: keys or shapes are wrong, or rows and files do not match.
    """
    name = str(given) if isinstance(given, str | Path) else "membership"
    if isinstance(given, str | Path) and Path(given).suffix.lower() in LISTS:
        given = {"member": read_members(Path(given).expanduser(), num_samples, "").astype(float)}
    try:
        arrays = _arrays(given)
        _check(arrays, num_samples)
        rows, names = _rows(arrays, files)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    taken = {key: arrays[key][rows] for key in PER_MODEL if key in arrays}
    taken |= _without_unknown(taken["member"], arrays.get("unknown"), name)
    return (
        taken
        | {key: arrays[key] for key in PER_SAMPLE if key in arrays and key not in taken}
        | {"model_ids": np.array(names)}
    )


def _without_unknown(member: np.ndarray, given: np.ndarray | None, name: str) -> dict[str, np.ndarray]:
    """`member` (M, N) of the files without its unknown entries, and `unknown` (N,) if there are any."""
    try:
        known, cells = split_unknown(member)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None
    of_all = cells.any(axis=0)  # (N,)
    unknown = np.asarray(of_all if given is None else of_all | (given != 0))
    return {"member": known, "unknown": unknown} if unknown.any() else {"member": known}


def _arrays(given: Given) -> dict[str, np.ndarray]:
    """The arrays by key; `member` and `eligible` get a row axis."""
    if isinstance(given, str | Path):
        arrays = _read(Path(given).expanduser())
    else:
        parts = given if isinstance(given, Mapping) else {"member": given}
        arrays = {str(key): as_array(str(key), value, may_lack=key == "member") for key, value in parts.items()}
    unknown = [key for key in arrays if key not in KEYS]
    if unknown:
        raise UserError(f"unknown key '{unknown[0]}'{nearest(unknown[0], KEYS)}; known keys: {', '.join(KEYS)}")
    if "member" not in arrays:
        raise UserError("key 'member' is missing; expected (models, samples) bool: which samples trained each model")
    if arrays["member"].ndim == 1:
        arrays |= {key: arrays[key][None] for key in ("member", "eligible") if key in arrays}
    return arrays


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise UserError("no such file; expected an .npz with key 'member', written with numpy.savez")
    if not zipfile.is_zipfile(path):
        raise UserError("not an .npz file; write it with numpy.savez(path, member=...)")
    check_zip(path)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {key: np.asarray(array_of(archive, key)) for key in archive.files}
    except UserError:
        raise
    except Exception as error:  # a damaged archive raises anything from zlib.error to NotImplementedError
        reason = str(error) or type(error).__name__
        raise UserError(f"not a usable .npz ({reason}); write it with numpy.savez(path, member=...)") from None


def _check(arrays: Mapping[str, np.ndarray], num_samples: int) -> None:
    member = arrays["member"]
    if member.ndim != 2 or member.shape[1] != num_samples or not len(member):
        raise UserError(
            f"member: got shape {member.shape}, expected (models, {num_samples}): one column for each of the"
            f" {num_samples:,} samples of the data, in their order"
        )
    rows = len(member)
    expected = {"eligible": (rows, num_samples), "is_victim": (rows,), "group": (rows,), "model_ids": (rows,)}
    for key, shape in {**expected, **dict.fromkeys(PER_SAMPLE, (num_samples,))}.items():
        if key in arrays and arrays[key].shape != shape:
            raise UserError(f"{key}: got shape {arrays[key].shape}, expected {shape} to fit member {member.shape}")


def _rows(arrays: Mapping[str, np.ndarray], files: Sequence[Path]) -> tuple[np.ndarray, list[str]]:
    """The row of each file, (M,) int, and the names of the models."""
    names, num_rows = model_names(files), len(arrays["member"])
    if "model_ids" in arrays:
        return _rows_by_name([str(value) for value in arrays["model_ids"]], files)
    if num_rows == len(files):
        return np.arange(num_rows), names
    are_alike = all(_are_equal(arrays[key]) for key in PER_MODEL if key in arrays)
    if are_alike and 1 in (num_rows, len(files)):
        return np.zeros(len(files), dtype=int), names
    raise UserError(
        f"member has {num_rows} rows for {len(files)} files ({_listed(names)}); give one row per file in this order,"
        " or name the rows with model_ids"
    )


def _are_equal(rows: np.ndarray) -> bool:
    """Whether all rows are equal; two NaN are."""
    return bool(((rows == rows[:1]) | ((rows != rows) & (rows[:1] != rows[:1]))).all())


def _rows_by_name(ids: Sequence[str], files: Sequence[Path]) -> tuple[np.ndarray, list[str]]:
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise UserError(f"model_ids: '{twice}' appears twice; give every row a different name")
    rows = []
    for file, name in zip(files, model_names(files), strict=True):
        found = rows_named_after(file, ids)
        if len(found) != 1:
            what = "no row is" if not found else f"rows {', '.join(ids[row] for row in found)} are all"
            raise UserError(
                f"model_ids: {what} named after {file}; expected '{name}' (got {_listed(ids)}); call the file or its"
                f" folder by its row, such as {file.parent / ids[0] / file.name}"
            )
        rows += found
    taken = [ids[row] for row in rows]
    if len(set(rows)) < len(rows):
        twice = next(name for name in taken if taken.count(name) > 1)
        raise UserError(f"model_ids: '{twice}' names several files; add folders to it, such as run-1/{twice}")
    return np.array(rows), taken


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 6 else [*names[:5], "...", names[-1]])
