"""Reads users' files of rows and named columns: CSV, TSV, Parquet and JSON lines, and finds labels in them.

Texts such as `NA`, `null` and `None`, which pandas treats as missing, are ordinary texts in the columns that a source
asks for.
"""

# N rows, C classes

from __future__ import annotations

import gzip
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import check_file, parse_json
from pruneaudit.core.registry import nearest
from pruneaudit.core.unpacking import check_gzip, check_unpacked

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ","}
PARQUET = ".parquet"
JSON_LINES = (".jsonl", ".ndjson")
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""Texts that pandas treats as missing in a text file."""
MIN_PER_CLASS = 2
NUM_COLUMNS_SHOWN = 10
VALUE_BYTES = 8
"""Minimum memory of a value."""


@dataclass(frozen=True)
class Layout:
    """How a file of rows is written."""

    sep: str | None = None
    """The character between values of a text file; None: a comma, in .tsv a tab."""
    header: bool = True
    """Whether the first line of a text file names the columns."""
    ordinary: tuple[str | int, ...] | None = None
    """Columns of a text file, by name or number, where texts such as `NA` are ordinary; None: all."""
    json_lines: bool = False
    """Whether JSON lines are accepted."""

    @property
    def endings(self) -> str:
        """The endings of file names, for messages."""
        return f".csv, .tsv{', .jsonl' if self.json_lines else ''} or .parquet"


def read_frame(path: Path, layout: Layout) -> pd.DataFrame:
    """Reads all rows of a file, with texts as names of columns.

    Args:
        path: .csv, .tsv, .txt, or .jsonl and .ndjson, each also .gz; or .parquet.
        layout: how it is written.

    Raises:
        UserError: it is missing, unreadable, empty or too large, or has two columns of one name.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a table in {layout.endings}")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_packed = suffixes[-1:] == [".gz"]
    kind = suffixes[-2] if is_packed and len(suffixes) > 1 else (suffixes or [""])[-1]
    known = (PARQUET, *SEPARATORS, *(JSON_LINES if layout.json_lines else ()))
    if kind not in known:
        raise UserError(f"{path}: got '{path.suffix}', expected the name of a table to end with {layout.endings}")
    try:
        frame = _read(path, kind, is_packed, layout)
    except UserError:
        raise
    except Exception as error:  # pandas and pyarrow raise anything
        raise UserError(
            f"{path}: cannot be read as {kind.removeprefix('.')} ({error or type(error).__name__})"
        ) from None
    if not len(frame):
        raise UserError(f"{path}: has no rows, expected one per sample")
    frame.columns = [str(column) for column in frame.columns]
    if not frame.columns.is_unique:
        raise UserError(f"{path}: has two columns '{frame.columns[frame.columns.duplicated()][0]}': rename one")
    return frame


def column_of(frame: pd.DataFrame, asked: str | int, holds: str, option: str) -> str:
    """Returns the name of a column.

    Args:
        frame: the table.
        asked: its name, or its number from 0 (-1: the last).
        holds: what it holds, for the message, such as "the labels".
        option: the option that names it, for the message.

    Raises:
        UserError: there is none.
    """
    columns = list(frame.columns)
    place = _place(columns, asked)
    if place is not None:
        return str(columns[place])
    more = ", ..." if len(columns) > NUM_COLUMNS_SHOWN else ""
    raise UserError(
        f"no column '{asked}'{nearest(str(asked), columns)} among {', '.join(columns[:NUM_COLUMNS_SHOWN])}{more}; say "
        f"which column has {holds}: set the option {option} to its name, or to its number from 0"
    )


def labels_in(column: pd.Series[Any], name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers the labels of a column: texts or whole numbers, sorted.

    Args:
        column: (N,) the labels.
        name: of the column, for messages.

    Returns:
        (N,) int64 labels in 0..C-1, and the C class names.

    Raises:
        UserError: a row has no label, a label is no whole number, or only one row has it.
    """
    empty = np.flatnonzero((column.isna() | (column == "")).to_numpy())
    if empty.size:
        raise UserError(f"column '{name}': no label in row {empty[0] + 1}, expected one in every row")
    values: list[Any] = column.tolist()
    if all(isinstance(value, float) for value in values):
        broken = [value for value in values if not value.is_integer()]
        if broken:
            raise UserError(f"column '{name}': got label {broken[0]}, expected whole numbers or texts, one per class")
        values = [int(value) for value in values]
    if not all(isinstance(value, int) for value in values):  # bool is an int
        values = [str(value) for value in values]
    different = sorted(set(values))
    number = {value: label for label, value in enumerate(different)}
    y = np.array([number[value] for value in values], np.int64)
    rare = np.flatnonzero(np.bincount(y) < MIN_PER_CLASS)
    if rare.size:
        others = f", and {rare.size - 1} more" if rare.size > 1 else ""
        raise UserError(
            f"column '{name}': one row has label '{different[rare[0]]}'{others}, expected {MIN_PER_CLASS} or more of "
            "each"
        )
    return y, tuple(str(value) for value in different)


def _read(path: Path, kind: str, is_packed: bool, layout: Layout) -> pd.DataFrame:
    import pandas as pd

    if kind == PARQUET:
        _check_parquet(path)
        return pd.read_parquet(path)
    if is_packed:
        check_gzip(path)
    else:
        check_file(path)
    if kind in JSON_LINES:
        return pd.DataFrame(_json_rows(path, is_packed), dtype=object)  # texts as they are, also broken ones
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # about values that it would drop
        return _read_text(path, kind, layout)


def _check_parquet(path: Path) -> None:
    """Refuses a table that needs more memory than the limit, because a column can store equal values once."""
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    packed = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    check_unpacked(str(path), max(packed, about.num_rows * about.num_columns * VALUE_BYTES))


def _json_rows(path: Path, is_packed: bool) -> list[dict[str, Any]]:
    """Returns the rows of JSON lines: an object per line; empty lines are left out."""
    rows = []
    with gzip.open(path, "rb") if is_packed else path.open("rb") as file:
        for number, line in enumerate(file, 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            if not text:
                continue
            try:
                row = parse_json(text)
            except ValueError as error:
                raise UserError(f"{path}: line {number} is not JSON ({error})") from None
            if not isinstance(row, dict):
                raise UserError(
                    f"{path}: line {number} has a value of type {type(row).__name__}, expected an object "
                    f"with named keys"
                )
            rows.append(row)
    return rows


def _read_text(path: Path, kind: str, layout: Layout) -> pd.DataFrame:
    import pandas as pd

    how: dict[str, Any] = {
        "encoding": "utf-8-sig",  # ignores a byte-order mark before the first column's name
        "sep": layout.sep or SEPARATORS[kind],
        "header": 0 if layout.header else None,
        "index_col": False,
        "skipinitialspace": True,
    }
    columns = list(pd.read_csv(path, nrows=1, **how).columns)
    missing = {
        column: MISSING for number, column in enumerate(columns) if not _is_ordinary(columns, number, layout.ordinary)
    }
    # low_memory=False: one type per column, not one per block of rows.
    return pd.read_csv(path, na_values=missing, keep_default_na=False, low_memory=False, **how)


def _is_ordinary(columns: Sequence[Any], number: int, ordinary: tuple[str | int, ...] | None) -> bool:
    names = [str(column) for column in columns]
    return ordinary is None or number in [_place(names, asked) for asked in ordinary]


def _place(columns: list[str], asked: str | int) -> int | None:
    """Returns the number of a column; None if there is none."""
    if asked in columns:
        return columns.index(str(asked))
    if isinstance(asked, int) and -len(columns) <= asked < len(columns):
        return asked % len(columns)
    return None
