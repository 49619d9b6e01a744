"""Columns that number the rows are refused or asked for; class names that pandas takes for missing stay texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.data import SOURCES
from pruneaudit.data.frames import MISSING
from pruneaudit.data.npz import NpzOptions
from pruneaudit.data.row_numbers import is_row_number, numbering
from pruneaudit.data.source import RawData
from pruneaudit.data.table import TableOptions

NUM_ROWS = 40
FEATURES = np.random.default_rng(0).normal(size=(NUM_ROWS, 3))
FRAME = pd.DataFrame(FEATURES, columns=list("abc")).assign(label=np.arange(NUM_ROWS) % 4)
SHUFFLED = np.random.default_rng(1).permutation(NUM_ROWS)
COUNTS = np.random.default_rng(2).integers(0, 30, NUM_ROWS)  # some of them twice


def load(path: Path, **options: Any) -> RawData:
    return SOURCES.get("table").load(TableOptions(path=path, **options), None)


def written(tmp_path: Path, frame: pd.DataFrame, **how: Any) -> Path:
    frame.to_csv(tmp_path / "t.csv", **how)
    return tmp_path / "t.csv"


def refused(path: Path, column: str, **options: Any) -> str:
    """The line with which a table is refused for one of its columns."""
    with pytest.raises(UserError) as caught:
        load(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(path), f"column '{column}'", "index=False", f"drop = ['{column}']", f"keep = ['{column}']"):
        assert part in message
    return message


def test_the_row_number_that_pandas_writes_is_refused_and_following_the_advice_works(tmp_path: Path) -> None:
    path = written(tmp_path, FRAME)
    refused(path, "Unnamed: 0")
    assert load(path, drop=("Unnamed: 0",)).x.shape == (NUM_ROWS, 3)
    kept = load(path, keep=("Unnamed: 0",))
    assert kept.x.shape == (NUM_ROWS, 4)
    np.testing.assert_array_equal(kept.x[:, 0], np.arange(NUM_ROWS))
    plain = load(written(tmp_path, FRAME, index=False))
    np.testing.assert_array_equal(plain.x, FEATURES.astype(np.float32))


def test_a_table_that_was_saved_and_read_twice_names_both_columns(tmp_path: Path) -> None:
    path = written(tmp_path, pd.read_csv(written(tmp_path, FRAME)))
    assert "without a name" in refused(path, "Unnamed: 0.1")
    assert "without a name" in refused(path, "Unnamed: 0", drop=("Unnamed: 0.1",))
    assert load(path, drop=("Unnamed: 0", "Unnamed: 0.1")).x.shape == (NUM_ROWS, 3)


def test_without_a_header_the_numbers_themselves_tell(tmp_path: Path) -> None:
    path = written(tmp_path, FRAME, header=False)
    refused(path, "0", header=False, label=-1)
    assert load(path, header=False, label=-1, drop=("0",)).x.shape == (NUM_ROWS, 3)


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("visit", np.arange(NUM_ROWS), "rise"),
        ("visit", np.arange(NUM_ROWS) + 1, "rise"),
        ("visit", np.arange(NUM_ROWS)[::-1], "fall"),
        ("visit", np.arange(NUM_ROWS) ** 2 + 1000, "rise"),
        ("visit", np.arange(NUM_ROWS) * 1.0, "rise"),
        ("visit", SHUFFLED, "from 0 to 39"),
        ("visit", SHUFFLED + 7, "from 7 to 46"),
        ("patient_id", SHUFFLED * 1009, "every row"),
        ("patientId", SHUFFLED * 1009, "every row"),
        ("ID", SHUFFLED * 1009, "every row"),
        ("index", SHUFFLED * 1009, "every row"),
    ],
)
def test_numbers_of_rows_are_refused_whatever_their_column_is_called(
    tmp_path: Path, name: str, values: np.ndarray, words: str
) -> None:
    frame = FRAME.assign(**{name: values})
    message = refused(written(tmp_path, frame, index=False), name)
    assert words in message
    frame.to_parquet(tmp_path / "t.parquet")
    assert words in refused(tmp_path / "t.parquet", name)
    assert load(tmp_path / "t.parquet", keep=(name,)).x.shape == (NUM_ROWS, 4)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("paid", SHUFFLED * 1009),  # ends with the letters of an id
        ("income", SHUFFLED * 1009),
        ("time", np.arange(NUM_ROWS) + 0.5),
        ("id", COUNTS),
        ("flag", np.arange(NUM_ROWS) >= 20),
        ("constant", np.ones(NUM_ROWS)),
    ],
)
def test_features_are_features(tmp_path: Path, name: str, values: np.ndarray) -> None:
    raw = load(written(tmp_path, FRAME.assign(**{name: values}), index=False))
    np.testing.assert_array_equal(raw.x[:, 3], values.astype(np.float32))


def test_the_index_of_parquet_is_no_feature(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    FRAME.to_parquet(tmp_path / "pandas.parquet", index=True)  # pandas knows its own index
    assert load(tmp_path / "pandas.parquet").x.shape == (NUM_ROWS, 3)
    odd = FRAME.set_index(pd.Index(COUNTS))  # no running number, so that the values do not tell
    pq.write_table(pa.Table.from_pandas(odd).replace_schema_metadata(None), tmp_path / "bare.parquet")
    refused(tmp_path / "bare.parquet", "__index_level_0__")


def test_keep_names_columns_that_are_there(tmp_path: Path) -> None:
    path = written(tmp_path, FRAME, index=False)
    with pytest.raises(UserError, match=r"keep: 'aa' is not a column.*'a'"):
        load(path, keep=("aa",))
    with pytest.raises(UserError, match="keep: 'label' is the label"):
        load(path, keep=("label",))


@given(start=st.integers(-50, 50), length=st.integers(2, 30), seed=st.integers(0, 99))
def test_a_run_of_whole_numbers_in_any_order_is_a_row_number(start: int, length: int, seed: int) -> None:
    values = np.random.default_rng(seed).permutation(length) + start
    assert is_row_number(values.astype(np.float64)) and numbering(values.astype(np.float64))
    values[0] = values[1]
    assert not is_row_number(values.astype(np.float64))


def test_a_table_in_npz_with_its_row_numbers_is_refused(tmp_path: Path) -> None:
    y = np.arange(NUM_ROWS) % 4
    for numbers in (np.arange(NUM_ROWS), SHUFFLED + 1):
        np.savez(tmp_path / "t.npz", x=np.column_stack([FEATURES, numbers]), y=y)
        with pytest.raises(UserError, match=r"t\.npz: x: column 3 numbers the rows.*keep = \[3\]"):
            SOURCES.get("npz").load(NpzOptions(path=tmp_path / "t.npz"), None)
        assert SOURCES.get("npz").load(NpzOptions(path=tmp_path / "t.npz", keep=(3,)), None).x.shape[1] == 4
    np.savez(tmp_path / "t.npz", x=np.column_stack([FEATURES, COUNTS]), y=y)
    assert SOURCES.get("npz").load(NpzOptions(path=tmp_path / "t.npz"), None).x.shape[1] == 4


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.csv.gz"])
def test_every_word_for_missing_is_a_class_name_like_others(tmp_path: Path, name: str) -> None:
    words = [word for word in MISSING if word] + ["other"]
    labels = words * 2
    frame = pd.DataFrame({"a": FEATURES[: len(labels), 0], "label": labels})
    frame.to_csv(tmp_path / name, index=False, sep="\t" if "tsv" in name else ",")
    raw = load(tmp_path / name)
    assert raw.classes == tuple(sorted(words))
    assert [raw.classes[label] for label in raw.y] == labels
    for label in ("label", 1, -1):
        assert load(tmp_path / name, label=label).classes == raw.classes


def test_missing_words_beside_numbers_and_without_a_header(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("0.5,NA\n1.5,2\n2.5,NA\n3.5,2\n")
    raw = load(path, header=False, label=1)
    assert (raw.classes, raw.y.tolist()) == (("2", "NA"), [1, 0, 1, 0])


@pytest.mark.parametrize("labels", [["x", "y", "", "x", "y"], ["1", "2", "", "1", "2"], ["NA", "", "NA", "y", "y"]])
def test_an_empty_label_stays_an_error(tmp_path: Path, labels: list[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a,label\n" + "".join(f"0.5,{label}\n" for label in labels))
    with pytest.raises(UserError, match=f"no label in row {labels.index('') + 1}"):
        load(path)


@pytest.mark.parametrize("missing", [None, float("nan"), ""])
def test_a_missing_label_of_parquet_stays_an_error(tmp_path: Path, missing: Any) -> None:
    pd.DataFrame({"a": FEATURES[:5, 0], "label": ["NA", missing, "NA", "y", "y"]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="no label in row 2"):
        load(tmp_path / "t.parquet")


@pytest.mark.parametrize("word", [word for word in MISSING if word])
def test_a_missing_feature_stays_an_error(tmp_path: Path, word: str) -> None:
    (tmp_path / "t.csv").write_text(f"a,label\n0.5,x\n{word},y\n0.5,x\n0.5,y\n")
    with pytest.raises(UserError, match="column 'a': got nan in row 2"):
        load(tmp_path / "t.csv")
