"""Your own texts: `text:FILE`, a CSV, Parquet or JSON lines file with a text and a label in each row.

Texts such as `NA`, `null` and `None`, which pandas treats as missing, are ordinary texts and labels. Labels are texts
or whole numbers; the classes are the distinct labels, sorted. Other columns are not read.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.data.frames import Layout, column_of, labels_in, read_frame
from pruneaudit.data.source import Source
from pruneaudit.data.texts import RawTexts, TextOptions

if TYPE_CHECKING:
    import pandas as pd

# R rows


class OwnTextOptions(TextOptions):
    """The file, the roles of its columns, and the tokenizer."""

    path: Path
    """The file: .csv, .tsv, .txt, .jsonl, .ndjson (also .gz of them) or .parquet."""
    text: str | int = "text"
    """The column of texts: its name, or its number from 0."""
    label: str | int = "label"
    """The column of labels: its name, or its number from 0 (-1: the last)."""
    sep: str | None = Field(default=None, min_length=1, max_length=1)
    """The character between values of a text file; default: a comma, in .tsv a tab."""
    header: bool = True
    """Whether the first line of a text file names the columns; if not, name the columns by number."""


class OwnTexts(Source[OwnTextOptions]):
    """Texts from a user's file."""

    def load(self, options: OwnTextOptions, data_root: Path | None) -> RawTexts:
        """Loads all rows, in the order of the file."""
        path = options.path.expanduser()
        frame = read_frame(path, Layout(options.sep, options.header, json_lines=True))
        try:
            of_texts = column_of(frame, options.text, "the texts", "text")
            of_labels = column_of(frame, options.label, "the labels", "label")
            if of_texts == of_labels:
                raise UserError(f"column '{of_texts}': got it for texts and labels, expected two columns")
            y, classes = labels_in(frame[of_labels], of_labels)
            return RawTexts(_texts(frame[of_texts], of_texts), y, classes, options)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None


def _texts(column: pd.Series[Any], name: str) -> tuple[str, ...]:
    """Returns the R texts of a column; other values are refused."""
    values = column.tolist()
    wrong = next((row for row, value in enumerate(values) if not isinstance(value, str)), None)
    if wrong is None:
        return tuple(values)
    if column.isna().iloc[wrong]:
        raise UserError(f"column '{name}': no text in row {wrong + 1}, expected one in every row: remove the row")
    raise UserError(
        f"column '{name}': got {values[wrong]!r} in row {wrong + 1}, expected texts: name their column with text = ..."
    )


SOURCE = OwnTexts()
