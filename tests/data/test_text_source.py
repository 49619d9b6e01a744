"""Users' own texts: every format says the same, and every mistake is one line."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.text import OwnTextOptions
from pruneaudit.data.texts import RawTexts
from pruneaudit.study import Data

TEXTS = ('where is "my" card', "NA", "null, or None", "two\nlines", "naïve 東京", "None")
LABELS = ("lost", "NA", "lost", "None", "NA", "None")
FRAME = pd.DataFrame({"id": range(6), "text": TEXTS, "label": LABELS})


def load(path: Path, **options: Any) -> RawTexts:
    return SOURCES.get("text").load(OwnTextOptions(path=path, **options), None)


def written(folder: Path, name: str, frame: pd.DataFrame = FRAME) -> Path:
    path = folder / name
    if name.endswith(".parquet"):
        frame.to_parquet(path)
        return path
    if ".csv" in name or ".tsv" in name:
        content = frame.to_csv(index=False, sep="\t" if "tsv" in name else ",")
    else:
        content = "\n".join(json.dumps(row, ensure_ascii=False) for row in frame.to_dict("records")) + "\n\n"
    path.write_bytes(gzip.compress(content.encode()) if name.endswith(".gz") else content.encode())
    return path


@pytest.mark.parametrize(
    "name", ["t.csv", "t.tsv", "t.csv.gz", "t.parquet", "t.jsonl", "t.ndjson", "t.jsonl.gz", "t.JSONL"]
)
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    raw = load(written(tmp_path, name))
    assert raw.texts == TEXTS
    assert raw.classes == ("NA", "None", "lost")
    assert raw.y.tolist() == [2, 0, 2, 1, 0, 1]


def test_columns_have_names_or_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("8;first;x\n9;second;y\n8;third;x\n9;fourth;y\n")
    raw = load(path, sep=";", header=False, text=1, label=0)
    assert raw.texts == ("first", "second", "third", "fourth") and raw.classes == ("8", "9")
    named = FRAME.rename(columns={"text": "question", "label": "intent"})
    assert load(written(tmp_path, "n.jsonl", named), text="question", label="intent").texts == TEXTS
    assert load(written(tmp_path, "n.parquet", named), text="question", label=-1).y.tolist() == [2, 0, 2, 1, 0, 1]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (FRAME.drop(columns="text"), r"no column 'text' among id, label; .*option text"),
        (FRAME.drop(columns="label"), r"no column 'label' among id, text; .*option label to"),
        (FRAME.assign(text=range(6)), r"column 'text': got 0 in row 1, expected texts"),
        (FRAME.assign(text=["a", "b", "  ", "c", "d", "e"]), r"row 3 is empty"),
        (FRAME.assign(label="one"), r"expected 2 or more"),
        (FRAME.assign(label=["a", "", "a", "b", "b", "b"]), r"'label': no label in row 2"),
        (FRAME.assign(label=["a", "a", "b", "b", "b", "c"]), r"one row has label 'c'"),
        (FRAME[:0], r"has no rows|no column 'text'"),
    ],
)
def test_mistakes_are_one_line_with_the_file(tmp_path: Path, name: str, frame: pd.DataFrame, words: str) -> None:
    path = written(tmp_path, name, frame)
    with pytest.raises(UserError, match=words) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("absent.csv", None, r"no such file.*\.jsonl"),
        ("t.docx", b"", r"'\.docx'.*\.jsonl"),
        ("t.jsonl", b'{"text": "a"}\n{', "line 2 is not JSON"),
        ("t.jsonl", b'["text"]\n', "line 1 has a value of type list"),
        ("t.jsonl", b"\xff\xfe\n", "cannot be read as jsonl"),
        ("t.jsonl", b'{"text": "a", "label": 1}\n' * 2 + b'{"label": 2}\n' * 2, "no text in row 3"),
        ("t.jsonl", b'{"text": "\\ud83d", "label": 1}\n{"text": "b", "label": 2}\n' * 2, "row 1 .*Unicode"),
        ("t.jsonl", b'{"text": ' + b"[" * 2000 + b"]" * 2000 + b', "label": 1}\n', "nested"),
        ("t.csv", b'text,label\n"a,1\n', "cannot be read as csv"),
    ],
)
def test_broken_files_are_one_line(tmp_path: Path, name: str, content: bytes | None, words: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        load(tmp_path / name)


def test_texts_and_labels_are_two_columns(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="texts and labels"):
        load(written(tmp_path, "t.csv"), label="text")


def test_a_study_names_the_file_and_its_columns(tmp_path: Path) -> None:
    rows = {
        "question": [f"{word} number {n}" for n in range(40) for word in ("card", "rain")],
        "label": ["a", "b"] * 40,
    }
    path = written(tmp_path, "t.csv", pd.DataFrame(rows))
    data = load_audit_data(
        Data(source=f"text:{path}:text=question:max_length=6", num_samples=20, num_public=30), seed=0
    )
    assert data.kind == "tokens" and data.x.shape == (50, 6) and data.classes == ("a", "b")
    assert np.array_equal(data.y, np.array([0, 1] * 40)[data.ids])
