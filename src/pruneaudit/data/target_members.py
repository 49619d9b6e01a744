"""Reads the members of a target, the samples that it was trained on, from a file of the user.

| form | meaning |
|---|---|
| one value per row of the source | 1, true: member; 0, false: not a member; -1, NaN, none, `unknown`: unknown |
| row numbers | members, from 0; all other rows are non-members |

A `.csv` can have a header, and a column of row numbers (`id` or `row`) in addition to the column `member`; rows that
are not listed are unknown.
"""

# R rows of the source

from __future__ import annotations

import csv
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.unpacking import array_of, check_zip

MEMBER, NON_MEMBER, UNKNOWN = 1, 0, -1
SUFFIXES = (".npy", ".npz", ".csv", ".txt")
_VALUES = {
    **dict.fromkeys(("1", "1.0", "true", "t", "yes"), MEMBER),
    **dict.fromkeys(("0", "0.0", "false", "f", "no"), NON_MEMBER),
    **dict.fromkeys(("-1", "-1.0", "", "nan", "na", "none", "null", "unknown", "?"), UNKNOWN),
}
_ROW_COLUMNS = ("id", "ids", "row", "index")
_MEMBER_COLUMN = "member"


def read_members(path: Path, num_rows: int, where: str = "target.member: ") -> np.ndarray:
    """Reads the file of a target's members; no code in it is run.

    Args:
        path: the file.
        num_rows: R.
        where: what stands before its path in messages.

    Returns:
        (R,) int8: 1 for members, 0 for non-members, -1 where neither is known.

    Raises:
        UserError: the file cannot be read, or its values are neither of the two forms.
    """
    where = f"{where}{path}"
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{where}: got a '{path.suffix}' file, expected one of {', '.join(SUFFIXES)}")
    if not path.is_file():
        raise UserError(f"{where}: no such file; expected the members of the target, one value per row of the source")
    try:
        if suffix in (".npy", ".npz"):
            status = _of_values(_texts(_array(path)), num_rows)
        else:
            status = _of_table(_lines(path), num_rows)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    for side, what in ((MEMBER, "members"), (NON_MEMBER, "non-members")):
        if not (status == side).any():
            raise UserError(f"{where}: no {what} among its {num_rows:,} rows, expected both members and others")
    return status


def _array(path: Path) -> np.ndarray:
    """The array of a file, one row per sample."""
    try:
        found = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _of_archive(path)
    except UserError:
        raise
    except Exception as error:  # a damaged file raises anything
        reason = in_one_line(error)
        raise UserError(f"cannot be read ({reason}); write it with numpy.save(path, member)") from None
    array = np.asarray(found)
    if array.ndim == 2 and len(array) == 1:  # one model, as `collect` reads it
        array = array[0]
    if array.ndim != 1 or array.dtype.kind not in "bifuUS":
        raise UserError(f"got an array of shape {array.shape} and type {array.dtype}, expected one value per row")
    return array


def _of_archive(path: Path) -> np.ndarray:
    if not zipfile.is_zipfile(path):
        raise UserError("not an .npz file; write it with numpy.savez(path, member=member)")
    check_zip(path)
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        names = list(archive.files)
        if _MEMBER_COLUMN not in names and len(names) != 1:
            raise UserError(f"got arrays {', '.join(names) or 'none'}, expected one called '{_MEMBER_COLUMN}'")
        return np.asarray(array_of(archive, _MEMBER_COLUMN if _MEMBER_COLUMN in names else names[0]))


def _texts(array: np.ndarray) -> list[str]:
    if array.dtype.kind == "f":
        whole = np.isfinite(array) & (array == np.round(array))
        return [str(int(v)) if ok else str(v) for v, ok in zip(array.tolist(), whole, strict=True)]
    if array.dtype.kind == "S":
        array = array.astype("U")
    return [str(value) for value in array.tolist()]


def _lines(path: Path) -> list[list[str]]:
    """The cells of each line of a text, without empty lines at the end."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines())]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"cannot be read ({in_one_line(error)}); expected lines of text") from None
    return rows


def _of_table(rows: Sequence[Sequence[str]], num_rows: int) -> np.ndarray:
    """The status of every row of the source, from lines of cells."""
    cells = [list(row) or [""] for row in rows]
    header = [cell.lower() for cell in cells[0]] if cells else []
    is_named = any(name in (*_ROW_COLUMNS, _MEMBER_COLUMN) for name in header)
    if is_named and _MEMBER_COLUMN in header and len(header) > 1:
        return _of_pairs(header, cells[1:], num_rows)
    wide = next((number for number, row in enumerate(cells, 1) if len(row) > 1), 0)
    if wide:
        raise UserError(
            f"line {wide}: got {len(cells[wide - 1])} columns, expected one, or a header with the columns id and"
            f" {_MEMBER_COLUMN}"
        )
    values = [row[0] for row in cells[1 if is_named else 0 :]]
    while values and not values[-1] and len(values) > num_rows:
        values.pop()
    if header[:1] and header[0] in _ROW_COLUMNS:
        return _of_row_numbers([value for value in values if value], num_rows)
    return _of_values(values, num_rows)


def _of_pairs(header: Sequence[str], rows: Sequence[Sequence[str]], num_rows: int) -> np.ndarray:
    """The status from a column of row numbers and one of values; rows that are not listed are unknown."""
    at = next((place for place, name in enumerate(header) if name in _ROW_COLUMNS), None)
    column = header.index(_MEMBER_COLUMN)
    listed = [row for row in rows if any(row)]
    if any(len(row) != len(header) for row in listed):
        raise UserError(f"got a line with another number of columns than the header, expected {len(header)} in each")
    if at is None:
        return _of_values([row[column] for row in listed], num_rows)
    places = _row_numbers([row[at] for row in listed], num_rows)
    status = np.full(num_rows, UNKNOWN, np.int8)
    status[places] = [_value_of(row[column]) for row in listed]
    return status


def _of_values(values: Sequence[str], num_rows: int) -> np.ndarray:
    """The status from one value per row, or from row numbers."""
    if len(values) == num_rows and all(value.strip().lower() in _VALUES for value in values):
        return np.array([_value_of(value) for value in values], np.int8)
    given = [value for value in values if value.strip()]
    if given and len({*given}) < len(given) and all(value.strip().lower() in _VALUES for value in given):
        raise UserError(f"got {len(values):,} values, expected one for each of the {num_rows:,} rows of the source")
    return _of_row_numbers(given, num_rows)


def _of_row_numbers(values: Sequence[str], num_rows: int) -> np.ndarray:
    status = np.full(num_rows, NON_MEMBER, np.int8)
    status[_row_numbers(values, num_rows)] = MEMBER
    return status


def _row_numbers(values: Sequence[str], num_rows: int) -> np.ndarray:
    """Different row numbers in 0..R-1."""
    numbers = [_number(value) for value in values]
    wrong = next((value for value, number in zip(values, numbers, strict=True) if not 0 <= number < num_rows), None)
    if wrong is not None:
        raise UserError(
            f"got '{wrong}', expected row numbers from 0 to {num_rows - 1}, or one value (1, 0, unknown) for each of"
            f" the {num_rows:,} rows of the source"
        )
    if len(set(numbers)) < len(numbers):
        twice = next(number for place, number in enumerate(numbers) if number in numbers[:place])
        raise UserError(f"row {twice} is listed twice; list every row once")
    return np.array(numbers, np.int64)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        return -1


def _value_of(text: str) -> int:
    key = text.strip().lower()
    if key not in _VALUES:
        raise UserError(f"got '{text}', expected 1 (member), 0 (not a member) or unknown")
    return _VALUES[key]
