import json
import math
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically
from pruneaudit.evaluation.columns import CURVE_COLUMNS, TABLES
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.standard import tpr_column, tpr_levels, tpr_title

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\t,\"'"), min_size=1, max_size=12)
FLOATS = st.floats(allow_infinity=False, width=64)


def assert_same(first: Results, second: Results) -> None:
    for name in TABLES:
        pd.testing.assert_frame_equal(getattr(first, name), getattr(second, name), check_exact=True)
    assert first.about == second.about


def test_a_saved_run_reads_back_exactly(results, tmp_path):
    results.save(tmp_path)
    assert_same(Results.load(tmp_path), results)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "about.json", "attack_comparisons.csv", "canaries.csv", "classes.csv", "comparisons.csv", "curves.csv",
        "detection_changes.csv", "findings.csv", "findings.json", "frontier.csv", "ppv.csv", "releases.csv",
        "sample_detection.csv",
    ]  # fmt: skip


@settings(max_examples=8, deadline=None)
@given(rows=st.lists(st.tuples(NAMES, FLOATS, FLOATS), max_size=5))
def test_any_name_and_any_number_survive_the_files(rows, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    curves = pd.DataFrame([(name, "matched", name, x, y) for name, x, y in rows], columns=list(CURVE_COLUMNS))
    empty = {name: pd.DataFrame(columns=list(columns)) for name, columns in TABLES.items()}
    results = Results(**(empty | {"curves": curves}), about={})
    results.save(folder)
    assert_same(Results.load(folder), results)


@pytest.mark.parametrize("name", ["NA", "nan", "null", "007", "1e5", "True", " padded ", 'a,"b"', "two\nlines"])
def test_a_name_that_looks_like_something_else_stays_a_name(make_results, tmp_path, name):
    def rename(parts):
        parts["findings"]["release"] = name
        parts["findings"]["victim"] = "007"

    make_results(rename).save(tmp_path)
    loaded = Results.load(tmp_path).findings
    assert set(loaded["release"]) == {name}
    assert set(loaded["victim"]) == {"007"}


def test_a_carriage_return_does_not_break_a_row(make_results, tmp_path):
    results = make_results(lambda parts: parts["findings"].update({"variant": ["a\rb"] * len(parts["findings"])}))
    results.save(tmp_path)
    assert_same(Results.load(tmp_path), results)
    assert set(results.findings["variant"]) == {"a b"}


def test_findings_files_do_not_depend_on_when_or_where(make_results, tmp_path):
    def later(parts):
        parts["about"] |= {"created": "2031-01-01T00:00:00+00:00", "device": "cuda", "versions": {}}

    make_results().save(tmp_path / "a")
    make_results(later).save(tmp_path / "b")
    Results.load(tmp_path / "a").save(tmp_path / "c")
    for name in ("findings.csv", "findings.json", "comparisons.csv", "releases.csv", "curves.csv"):
        first = (tmp_path / "a" / name).read_bytes()
        assert first == (tmp_path / "b" / name).read_bytes()
        assert first == (tmp_path / "c" / name).read_bytes(), "what was read back is written alike"
        assert b"\r" not in first
    assert (tmp_path / "a" / "about.json").read_bytes() != (tmp_path / "b" / "about.json").read_bytes()


def test_findings_json_holds_all_tables_with_null_for_missing(results, tmp_path):
    results.save(tmp_path)
    text = (tmp_path / "findings.json").read_text()
    records = json.loads(text)
    assert records.pop("format") == 2
    assert "NaN" not in text
    assert {name: len(rows) for name, rows in records.items()} == {name: len(getattr(results, name)) for name in TABLES}
    first, row = records["findings"][0], results.findings.iloc[0]
    assert first["auc"] == row["auc"]
    assert first[tpr_column(0.001)] is None
    assert math.isnan(row[tpr_column(0.001)])


def test_missing_texts_become_empty_and_missing_numbers_nan(make_results):
    def blank(parts):
        parts["releases"]["compress"] = None
        parts["releases"]["sparsity"] = [None, None, 0.9]

    releases = make_results(blank).releases
    assert releases["compress"].tolist() == ["", "", ""]
    assert releases["sparsity"].isna().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("level", "column"), [(0.1, "tpr_at_10%_fpr"), (0.01, "tpr_at_1%_fpr"), (0.001, "tpr_at_0.1%_fpr")]
)
def test_the_column_of_a_level(level, column):
    assert tpr_column(level) == column
    assert tpr_title(level) == f"TPR at {column.removeprefix('tpr_at_').removesuffix('_fpr')} FPR"
    assert tpr_levels(["auc", column, f"{column}_low", "learned_tpr", f"{column}_high"]) == {column: level}


def test_columns_of_levels_are_found_in_their_order_and_once():
    columns = [tpr_column(level) for level in (0.1, 1e-7, 0.025, 0.1)]
    assert list(tpr_levels(columns)) == columns[:3]
    assert list(tpr_levels(columns).values()) == pytest.approx([0.1, 1e-7, 0.025])


def test_a_table_without_a_column_is_refused(make_results):
    with pytest.raises(UserError, match="findings: got a table without the column 'auc'"):
        make_results(lambda parts: parts.update(findings=parts["findings"].drop(columns="auc")))


def test_a_number_that_is_none_is_refused(results, tmp_path):
    results.save(tmp_path)
    path = tmp_path / "curves.csv"
    path.write_text(path.read_text() + "dense,matched,lira,0.1,high\n")
    with pytest.raises(UserError, match=r"curves: column 'tpr' .*number"):
        Results.load(tmp_path)


def test_a_folder_that_is_no_run_is_refused(results, tmp_path):
    with pytest.raises(UserError, match=r"about\.json: not found; expected the folder of a finished run"):
        Results.load(tmp_path)
    results.save(tmp_path)
    (tmp_path / "about.json").write_text("{")
    with pytest.raises(UserError, match=r"about\.json: not JSON"):
        Results.load(tmp_path)
    (tmp_path / "about.json").write_text('{"format": 1}')
    with pytest.raises(UserError, match=r"format 1, expected 2"):
        Results.load(tmp_path)
    (tmp_path / "about.json").write_text('{"format": 2}')
    (tmp_path / "releases.csv").write_text("")
    with pytest.raises(UserError, match=r"releases\.csv: not a CSV table"):
        Results.load(tmp_path)


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        write_atomically(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
    path: Path = write_atomically(tmp_path / "new.txt", "zwölf\n")
    assert path.read_bytes() == "zwölf\n".encode()
