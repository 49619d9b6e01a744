"""Banking77: 13,083 questions of bank customers, in 77 intents (10,003 train, then 3,080 test).

Casanueva, Temčinas, Gerz, Henderson, Vulić 2020 (arXiv:2003.04807), CC BY 4.0. Between 75 and 227 texts of an intent,
half of them of 10 words or fewer.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_bytes
from pruneaudit.data.download import RemoteFile
from pruneaudit.data.source import Source
from pruneaudit.data.text_files import TextFiles
from pruneaudit.data.texts import RawTexts, TextOptions

# R rows

_AT = "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/57ec275d8078af65b7731c2a98be812d844a6d6b/"
FILES = (
    RemoteFile(
        "train.csv",
        (f"{_AT}banking_data/train.csv",),
        839_073,
        "sha256:b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
    ),
    RemoteFile(
        "test.csv",
        (f"{_AT}banking_data/test.csv",),
        239_961,
        "sha256:d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
    ),
)
"""The published files, at one commit."""
_HEADER = ["text", "category"]


class Banking77Options(TextOptions):
    """The part, and the tokenizer."""

    path: Path | None = None
    """The folder of the two files; default: the folder of the source among the data sets."""
    split: Literal["all", "train", "test"] = "all"
    """The official part to use; all: the training part, then the test part (membership is drawn independently)."""


class Banking77(Source[Banking77Options]):
    """The questions of bank customers."""

    is_public = True

    def __init__(self, files: Sequence[RemoteFile] = FILES) -> None:
        """Sets the files of the training and test part; default: as published."""
        page = "https://github.com/PolyAI-LDN/task-specific-datasets"
        self._files = TextFiles("banking77", "Banking77", page, files)

    def load(self, options: Banking77Options, data_root: Path | None) -> RawTexts:
        """Loads training texts, then test texts."""
        train, test = self._files.found(options.path, data_root)
        places = {"all": (train, test), "train": (train,), "test": (test,)}[options.split]
        rows = [row for place in places for row in _rows(place)]
        classes = sorted({row[1] for place in (train, test) for row in _rows(place)})
        number = {name: label for label, name in enumerate(classes)}
        y = np.array([number[row[1]] for row in rows], np.int64)
        return RawTexts(tuple(row[0] for row in rows), y, tuple(classes), options)

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page of the data set, the size of its files, and the folder of a local copy."""
        return self._files.whereabouts(data_root)


def _rows(path: Path) -> list[list[str]]:
    """Returns text and intent of each row."""
    rows = list(csv.reader(io.StringIO(read_bytes(path).decode("utf-8"), newline="")))
    if rows[:1] != [_HEADER] or not all(len(row) == len(_HEADER) for row in rows):
        raise UserError(f"{path}: expected rows of {' and '.join(_HEADER)}: download it again")
    return rows[1:]


SOURCE = Banking77()
