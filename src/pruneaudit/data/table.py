"""Your own table: `table:FILE`, a CSV or Parquet file with one row per sample, numeric columns and a label column.

Every column except the label is a feature, in the order of the file: numbers or booleans, used unchanged. Labels are
texts or whole numbers; the classes are the distinct labels, sorted. Texts such as `NA`, `null` and `None`, which pandas
treats as missing, are ordinary labels; in a feature they are missing values.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.core.registry import nearest
from pruneaudit.data.frames import Layout, column_of, labels_in, read_frame
from pruneaudit.data.row_numbers import is_nameless, numbering
from pruneaudit.data.source import RawData, Source

if TYPE_CHECKING:
    import pandas as pd

# N samples, F features


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
    """Columns to accept as features although they have no name, or number the rows. Other such columns are refused."""


class Table(Source[TableOptions]):
    """Samples from a user's table."""

    def load(self, options: TableOptions, data_root: Path | None) -> RawData:
        """Loads all rows, in the order of the file; x is (N, F) float32."""
        path = options.path.expanduser()
        # Missing values are those of features: as a label, such a text is ordinary.
        frame = read_frame(path, Layout(options.sep, options.header, ordinary=(options.label,)))
        try:
            name = column_of(frame, options.label, "the labels", "label")
            y, classes = labels_in(frame[name], name)
            features = frame.drop(columns=name)
            _check_known("drop", options.drop, features, name)
            _check_known("keep", options.keep, features, name)
            return RawData(_features(features.drop(columns=list(options.drop)), options.keep), y, classes)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


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
