"""Your own table: `table:FILE`, a CSV or Parquet file with one row per sample, numeric columns and a label column.

Every column except the label is a feature, in the order of the file: numbers or booleans, used unchanged. Labels are
texts or whole numbers; the classes are the distinct labels, sorted. Texts such as `NA`, `null` and `None`, which pandas
treats as missing, are ordinary labels; in a feature they are missing values.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.core.registry import nearest
from pruneaudit.core.unpacking import check_gzip, check_unpacked
from pruneaudit.data.row_numbers import is_nameless, numbering
from pruneaudit.data.source import RawData, Source

if TYPE_CHECKING:
    import pandas as pd

# N samples, F features

SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": ","}
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
)
"""Texts that pandas treats as missing in a text file."""
MIN_PER_CLASS = 2
NUM_COLUMNS_SHOWN = 10
VALUE_BYTES = 8
"""Minimum memory of a value."""


class TableOptions(Options):
    """The file, and the roles of its columns."""

    path: Path
    """The file: .csv, .tsv, .txt (also .gz of them) or .parquet."""
    label: str | int = "label"
    """The column of labels: its name, or its number from 0 (-1: the last)."""
    sep: str | None = Field(default=None, min_length=1, max_length=1)
    """The character between values of a text file; default: a comma, in .tsv a tab."""
    header: bool = True
    """Whether the first line of a text file names the columns; if not, name the label by its number."""
    drop: tuple[str, ...] = ()
    """Columns to leave out, such as an id."""
    keep: tuple[str, ...] = ()
    """Columns to accept as features although they have no name or number the rows; other such columns are refused."""


class Table(Source[TableOptions]):
    """Samples from a user's table."""

    def load(self, options: TableOptions, data_root: Path | None) -> RawData:
        """Loads all rows, in the order of the file; x is (N, F) float32."""
        path = options.path.expanduser()
        frame = _read(path, options)
        try:
            name = _label_column(frame, options.label)
            y, classes = _labels(frame[name], name)
            features = frame.drop(columns=name)
            _check_known("drop", options.drop, features, name)
            _check_known("keep", options.keep, features, name)
            return RawData(_features(features.drop(columns=list(options.drop)), options.keep), y, classes)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _read(path: Path, options: TableOptions) -> pd.DataFrame:
    """Reads the table, with texts as names of columns."""
    import pandas as pd

    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a table in .csv, .tsv or .parquet")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind != ".parquet" and kind not in SEPARATORS:
        raise UserError(f"{path}: got '{path.suffix}', expected the name of a table to end with .csv, .tsv or .parquet")
    try:
        if kind == ".parquet":
            _check_parquet(path)
        elif suffixes[-1:] == [".gz"]:
            check_gzip(path)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # about values that it would drop
            frame = pd.read_parquet(path) if kind == ".parquet" else _read_text(path, kind, options)
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


def _check_parquet(path: Path) -> None:
    """Refuses a table that needs more memory than the limit, because a column can store equal values once."""
    import pyarrow.parquet as pq

    about = pq.read_metadata(path)
    packed = sum(about.row_group(number).total_byte_size for number in range(about.num_row_groups))
    check_unpacked(str(path), max(packed, about.num_rows * about.num_columns * VALUE_BYTES))


def _read_text(path: Path, kind: str, options: TableOptions) -> pd.DataFrame:
    """Reads a text file; texts that pandas treats as missing are missing in features, and ordinary in labels."""
    import pandas as pd

    how: dict[str, Any] = {
        "encoding": "utf-8-sig",  # ignores a byte-order mark before the first column's name
        "sep": options.sep or SEPARATORS[kind],
        "header": 0 if options.header else None,
        "index_col": False,
        "skipinitialspace": True,
    }
    columns = list(pd.read_csv(path, nrows=1, **how).columns)
    place = _label_place([str(column) for column in columns], options.label)
    missing = {column: MISSING for number, column in enumerate(columns) if number != place}
    # low_memory=False: one type per column, not one per block of rows.
    return pd.read_csv(path, na_values=missing, keep_default_na=False, low_memory=False, **how)


def _label_place(columns: list[str], label: str | int) -> int | None:
    """Returns the number of the label column; None if there is none."""
    if label in columns:
        return columns.index(str(label))
    if isinstance(label, int) and -len(columns) <= label < len(columns):
        return label % len(columns)
    return None


def _label_column(frame: pd.DataFrame, label: str | int) -> str:
    columns = list(frame.columns)
    place = _label_place(columns, label)
    if place is not None:
        return str(columns[place])
    more = ", ..." if len(columns) > NUM_COLUMNS_SHOWN else ""
    raise UserError(
        f"no column '{label}'{nearest(str(label), columns)} among {', '.join(columns[:NUM_COLUMNS_SHOWN])}{more}; say "
        "which holds the labels: option label, a name or a number from 0"
    )


def _labels(column: pd.Series[Any], name: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns (N,) int64 labels in 0..C-1, and the C class names."""
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


def _check_known(option: str, asked: tuple[str, ...], features: pd.DataFrame, label: str) -> None:
    """Refuses names that are not feature columns."""
    unknown = [column for column in asked if column not in features]
    if unknown:
        why = "is the label" if unknown[0] == label else f"is not a column{nearest(unknown[0], features.columns)}"
        raise UserError(f"{option}: '{unknown[0]}' {why}, expected feature columns")


def _check_no_row_number(name: str, values: np.ndarray | None) -> None:
    """Refuses a column that has no name, or whose values (N,) number the rows."""
    found = "a column without a name" if is_nameless(name) else ""
    if values is not None and not found:
        found = numbering(values, name)
    if found:
        raise UserError(
            f"column '{name}': got {found}, expected a feature: a row number identifies every sample; save the table"
            f" without its index (pandas: index=False), leave the column out with drop = ['{name}'], or allow it with"
            f" keep = ['{name}']"
        )


def _features(frame: pd.DataFrame, keep: tuple[str, ...] = ()) -> np.ndarray:
    """Returns (N, F) float32; columns that look like row numbers must be in `keep`."""
    from pandas.api import types

    for name in frame.columns:
        column, is_asked_for = frame[name], name in keep
        if not is_asked_for:
            _check_no_row_number(name, None)
        if not (types.is_numeric_dtype(column) or types.is_bool_dtype(column)) or types.is_complex_dtype(column):
            row = _first_text(column)
            raise UserError(
                f"column '{name}': got {column.iloc[row]!r} in row {row + 1}, expected numbers: encode it as numbers, "
                f"or leave it out with drop = ['{name}']"
            )
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        limit = np.finfo(np.float32).max
        wrong = np.flatnonzero(~(np.abs(values) <= limit))
        if wrong.size:
            raise UserError(
                f"column '{name}': got {values[wrong[0]]} in row {wrong[0] + 1}, expected a finite number: fill it in, "
                "or remove the row"
            )
        if not is_asked_for and not types.is_bool_dtype(column):
            _check_no_row_number(name, values)
    return np.ascontiguousarray(frame.to_numpy(dtype=np.float32))


def _first_text(column: pd.Series[Any]) -> int:
    """Returns the first row whose value is not a number."""
    import pandas as pd

    numbers = pd.to_numeric(column.astype(str), errors="coerce")
    return int(np.argmax(numbers.isna().to_numpy()))


SOURCE = Table()
