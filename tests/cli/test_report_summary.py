"""`pruneaudit report --summary` and `--card` as a user meets them."""

import sys

import pytest

from pruneaudit.core.files import seal_files
from pruneaudit.evaluation.results import RESULT_FILES


@pytest.fixture
def finished(make_results, tmp_path):
    make_results().save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    return tmp_path / "run"


def held(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["page.md", "page.pdf", "PAGE.PDF"])
def test_the_file_is_written_and_the_run_is_not_touched(call, finished, tmp_path, name):
    before, out = held(finished), tmp_path / "new" / name
    code, printed, complaints = call("report", finished, "--summary", out)
    assert (code, printed, complaints) == (0, f"written: {out}\n", "")
    assert [path.name for path in out.parent.iterdir()] == [name]
    assert held(finished) == before


def test_the_card_is_printed_and_can_be_pasted(call, finished):
    code, printed, complaints = call("report", finished, "--card")
    assert (code, complaints) == (0, "")
    assert printed.startswith("## Membership-inference audit")
    assert "\n---\n" not in printed


@pytest.mark.parametrize("name", ["page", "page.html", "page.md.gz"])
def test_another_suffix_is_refused_in_one_line(call, finished, tmp_path, name):
    code, printed, complaints = call("report", finished, "--summary", tmp_path / name)
    assert (code, printed) == (2, "")
    assert complaints.count("\n") == 1
    assert all(word in complaints for word in (name, ".md", ".pdf"))
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("options", [["--summary", "page.md"], ["--summary", "page.pdf"], ["--card"]])
def test_a_folder_without_results_is_one_line(call, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "absent"):
        code, printed, complaints = call("report", folder, *options)
        assert (code, printed) == (2, "")
        assert complaints.count("\n") == 1
        assert folder in complaints
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_results_that_were_edited_are_refused(call, finished, tmp_path):
    (finished / "findings.csv").write_text("edited")
    code, _, complaints = call("report", finished, "--summary", tmp_path / "page.md")
    assert code == 2
    assert "findings.csv" in complaints
    assert not (tmp_path / "page.md").exists()


def test_without_the_extra_the_message_says_what_to_install_or_to_write(call, finished, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "fpdf", None)
    code, _, complaints = call("report", finished, "--summary", tmp_path / "page.pdf")
    assert code == 2
    assert complaints.count("\n") == 1
    assert "pruneaudit[pdf]" in complaints
    assert call("report", finished, "--summary", tmp_path / "page.md")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["page.md", "run"]


def test_a_place_that_cannot_be_written_is_one_line(call, finished, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.md").mkdir()
    for out in (tmp_path / "file" / "page.md", tmp_path / "folder.md"):
        code, _, complaints = call("report", finished, "--summary", out)
        assert code == 2
        assert complaints.count("\n") == 1
        assert "choose another file" in complaints
    assert list((tmp_path / "folder.md").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.md", "run"]


@pytest.mark.parametrize(
    "options",
    [
        ["--card", "--summary", "page.md"],
        ["--card", "--compare", "other"],
        ["--card", "--json"],
        ["--summary", "page.md", "--show-records"],
        ["--summary", "page.md", "--out", "page.md"],
    ],
)
def test_options_for_different_jobs_are_refused_together(call, finished, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    code, printed, complaints = call("report", finished, *options)
    assert (code, printed) == (2, "")
    assert complaints.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
