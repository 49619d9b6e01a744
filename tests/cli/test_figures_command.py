"""`pruneaudit figures` as a user meets it."""

import sys
from functools import partial

import pytest

from pruneaudit.core.files import seal_files
from pruneaudit.evaluation.results import RESULT_FILES


@pytest.fixture
def call(call):
    """Runs `pruneaudit figures`."""
    return partial(call, "figures")


@pytest.fixture
def finished(make_results, tmp_path):
    """A folder as a run leaves it, of one release and one attack: figures of it are drawn fast."""

    def one(parts):
        for name in ("findings", "releases", "curves", "comparisons"):
            parts[name] = parts[name][parts[name]["release"] == "dense"]
        parts["findings"] = parts["findings"][parts["findings"]["attack"] == "lira"]

    make_results(one).save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    return tmp_path / "run"


@pytest.mark.slow
def test_each_file_that_was_written_is_named(call, finished, tmp_path):
    out = tmp_path / "paper"
    code, printed, complaints = call(finished, "--out", out, "--format", "svg", "--latex")
    assert code == 0
    assert complaints == "left out: sparsity-leakage: no pruned release has a figure of the primary attack\n"
    named = [line.removeprefix("written: ") for line in printed.splitlines()]
    assert sorted(named) == sorted(str(path) for path in out.iterdir())
    assert {path.suffix for path in out.iterdir()} == {".svg", ".tex"}


def test_pdf_is_what_comes_without_a_format(call, make_results, tmp_path):
    def no_accuracy(parts):
        parts["releases"]["test_accuracy"] = float("nan")
        parts["releases"]["sparsity"] = float("nan")
        parts["curves"] = parts["curves"].iloc[:0]

    make_results(no_accuracy).save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    code, _, complaints = call(tmp_path / "run", "--out", tmp_path / "out")
    assert code == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["attacks.pdf"]
    lines = complaints.splitlines()
    assert all(line.startswith("left out: ") for line in lines)
    assert [line.split()[2].removesuffix(":") for line in lines[:2]] == ["sparsity-leakage", "frontier"]


@pytest.mark.parametrize("format", ["jpeg", "", "pdf;png"])
def test_an_unknown_format_is_one_line(call, finished, tmp_path, format):
    code, printed, complaints = call(finished, "--out", tmp_path / "out", "--format", format)
    assert (code, printed) == (2, "")
    assert complaints.count("\n") == 1
    assert "expected one or more of: pdf, png, svg" in complaints


def test_a_folder_that_is_no_run_is_one_line(call, tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "absent"):
        code, _, complaints = call(folder, "--out", tmp_path / "out")
        assert code == 2
        assert complaints.startswith("error: ")
        assert "of a finished run" in complaints
    assert not (tmp_path / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_one_line(call, finished, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, complaints = call(finished, "--out", tmp_path / "out", "--format", "svg")
    assert code == 2
    assert "choose another folder with --out" in complaints
    assert (tmp_path / "out").read_text() == "mine"


def test_without_vl_convert_one_line_says_what_to_install(call, finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    code, _, complaints = call(finished, "--out", tmp_path / "out")
    assert code == 2
    assert complaints == (
        "error: figures: vl-convert-python is not installed; install it with: pip install 'pruneaudit[figures]'\n"
    )
