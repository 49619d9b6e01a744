"""Users' own tables: what is a feature, what is a label, and every mistake in one line."""

from __future__ import annotations

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.data.source import RawData
from pruneaudit.data.table import TableOptions

FRAME = pd.DataFrame(
    {
        "age": [31, 53, 42, 64],
        "label": ["yes", "no", "no", "yes"],
        "height": [1.5, 1.25, 2.0, 1.75],
        "member": [True, False, False, True],
    }
)
X = [[31, 1.5, 1], [53, 1.25, 0], [42, 2, 0], [64, 1.75, 1]]


def load(path: Path, **options: Any) -> RawData:
    return SOURCES.get("table").load(TableOptions(path=path, **options), None)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.txt", "t.parquet", "t.CSV", "t.csv.gz"])
def test_every_format_says_the_same(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.endswith("parquet"):
        FRAME.to_parquet(path)
    else:
        text = FRAME.to_csv(index=False, sep="\t" if "tsv" in name else ",").encode()
        path.write_bytes(gzip.compress(text) if name.endswith("gz") else text)
    raw = load(path)
    assert raw.x.dtype == np.float32
    assert raw.x.tolist() == X
    assert raw.y.tolist() == [1, 0, 0, 1]
    assert raw.classes == ("no", "yes")
    assert raw.mean is raw.std is None


def text(tmp_path: Path, content: str, name: str = "t.csv") -> Path:
    (tmp_path / name).write_text(content)
    return tmp_path / name


@pytest.mark.parametrize("quoted", [False, True])
def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path, quoted: bool) -> None:
    content = FRAME.to_csv(index=False, columns=["label", "age"])
    content = content.replace("label", '"label"') if quoted else content
    (tmp_path / "t.csv").write_text(content, encoding="utf-8-sig")
    assert load(tmp_path / "t.csv").y.tolist() == [1, 0, 0, 1]
    (tmp_path / "bare.csv").write_text("31,a\n53,b\n42,a\n64,b\n", encoding="utf-8-sig")
    assert load(tmp_path / "bare.csv", header=False, label=1).x.tolist() == [[31], [53], [42], [64]]


def test_label_separator_header_and_dropped_columns(tmp_path: Path) -> None:
    rows = "7;0.5;10\n8;1.5;9\n7;2.5;10\n9;3.5;9\n"
    raw = load(text(tmp_path, rows), sep=";", header=False, label=-1, drop=("0",))
    assert raw.x.tolist() == [[0.5], [1.5], [2.5], [3.5]]
    assert raw.y.tolist() == [1, 0, 1, 0]
    assert raw.classes == ("9", "10")  # by number, not as texts
    assert load(text(tmp_path, "id;a;kind\n" + rows), sep=";", label="kind").x.shape == (4, 2)
    assert load(text(tmp_path, "id;a;kind\n" + rows), sep=";", label=2).x.shape == (4, 2)


@pytest.mark.parametrize(
    ("labels", "y", "classes"),
    [
        (["1.0", "3.0", "1.0", "3.0"], [0, 1, 0, 1], ("1", "3")),
        (["True", "False", "False", "True"], [1, 0, 0, 1], ("False", "True")),
        (["-1", "1", "-1", "1"], [0, 1, 0, 1], ("-1", "1")),
        (["a", "2", "2", "a"], [1, 0, 0, 1], ("2", "a")),
    ],
)
def test_labels(tmp_path: Path, labels: list[str], y: list[int], classes: tuple[str, ...]) -> None:
    raw = load(text(tmp_path, "a,label\n" + "".join(f"0.5,{label}\n" for label in labels)))
    assert raw.y.tolist() == y
    assert raw.classes == classes


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        (
            "a,city,label\n1,2,x\n2,Paris,y\n1,3,x\n2,4,y\n",
            {},
            r"column 'city': got 'Paris' in row 2, .*drop = \['city'\]",
        ),
        ("a,label\n1,x\n,y\n3,x\n4,y\n", {}, "column 'a': got nan in row 2, expected a finite number"),
        ("a,label\n1,x\ninf,y\n3,x\n4,y\n", {}, "column 'a': got inf in row 2"),
        ("a,label\n1,x\n1e300,y\n3,x\n4,y\n", {}, "column 'a': got 1e.300 in row 2"),
        ("a,label\n1,x\n2,y\n3,x\n", {}, "column 'label': one row has label 'y', expected 2 or more"),
        ("a,label\n1,x\n2,\n3,x\n", {}, "column 'label': no label in row 2"),
        ("a,label\n1,0.5\n2,1\n3,1\n", {}, "column 'label': got label 0.5, expected whole numbers or texts"),
        ("a,label\n1,x\n1,x\n", {}, "classes: all samples have the label 'x', expected 2 or more"),
        ("a,Label\n1,x\n2,y\n", {}, r"no column 'label' \(did you mean 'Label'\?\) among a, Label"),
        ("a,b\n1,x\n2,y\n", {"label": 2}, "no column '2' among a, b"),
        ("label\nx\ny\nx\ny\n", {}, "is empty"),
        ("a,label\n1,x\n2,y\n3,x\n4,y\n", {"drop": ("b",)}, "drop: 'b' is not a column"),
        ("a,label\n1,x\n2,y\n3,x\n4,y\n", {"drop": ("label",)}, "drop: 'label' is the label"),
        ("a,label\n", {}, "has no rows"),
        ("", {}, "cannot be read as csv"),
        ('a,label\n"1,x\n', {}, "cannot be read as csv"),
        ("a,label\n1,x\n1,2,3,4\n", {}, "cannot be read as csv"),
        ("a,label\n1,x,\n1,x,5\n", {}, "cannot be read as csv"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, content: str, options: dict[str, Any], message: str) -> None:
    path = text(tmp_path, content)
    with pytest.raises(UserError, match=message) as caught:
        load(path, **options)
    assert str(caught.value).startswith(str(path))


def test_wrong_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none.csv: no such file"):
        load(tmp_path / "none.csv")
    with pytest.raises(UserError, match=r"t.xlsx: got '.xlsx', expected the name of a table to end with"):
        load(text(tmp_path, "x", "t.xlsx"))
    with pytest.raises(UserError, match=r"t.parquet: cannot be read as parquet"):
        load(text(tmp_path, "PAR1 no table PAR1", "t.parquet"))
    (tmp_path / "latin.csv").write_bytes("a,label\n1,ü\n".encode("latin1"))
    with pytest.raises(UserError, match=r"latin.csv: cannot be read as csv"):
        load(tmp_path / "latin.csv")


def test_dates_and_nested_columns_of_parquet_are_refused(tmp_path: Path) -> None:
    for column in (pd.to_datetime(["2020-01-01"] * 4), [[1], [2], [3], [4]], [1j] * 4):
        content = io.BytesIO()
        try:
            FRAME.assign(odd=column).to_parquet(content)
        except pa.ArrowException:  # what parquet itself cannot hold
            continue
        (tmp_path / "t.parquet").write_bytes(content.getvalue())
        with pytest.raises(UserError, match=r"column 'odd': got .* in row 1, expected numbers"):
            load(tmp_path / "t.parquet")
