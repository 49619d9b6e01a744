"""`pruneaudit check` as a user and a CI job meet it: exit codes, the summary, and nothing half-done."""

import json
from functools import partial

import pytest

from pruneaudit.core.files import SEALED_FILES, seal_files
from pruneaudit.evaluation.results import RESULT_FILES


@pytest.fixture
def call(call, monkeypatch):
    """Runs `pruneaudit check`."""
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return partial(call, "check")


@pytest.fixture
def finished(results, tmp_path):
    """A folder as a run leaves it; LiRA's AUC on the dense networks is 0.720 [0.708, 0.732]."""
    results.save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("budget", "code", "title"), [("0.75", 0, "within budget"), ("0.7", 1, "not shown to be within budget")]
)
def test_the_exit_code_and_the_summary_say_the_same(call, finished, tmp_path, budget, code, title):
    found, printed, complaints = call(
        finished, "--max-auc", budget, "--attack", "lira", "--out", tmp_path / "a" / "s.md"
    )
    assert (found, complaints) == (code, "")
    assert printed.startswith(f"## pruneaudit check: {title}\n")
    assert (tmp_path / "a" / "s.md").read_text() == printed
    assert "| `dense` | `lira` | `matched` | AUC | 0.720 | [0.708, 0.732] | at most" in printed


def test_a_refused_figure_is_exit_2_with_a_whole_summary(call, finished, tmp_path):
    code, printed, complaints = call(finished, "--max-tpr", "0.1%:5%", "--max-auc", "0.5", "--out", tmp_path / "s.md")
    assert (code, complaints) == (2, "")
    assert "1,000 non-members give 1 false positive" in printed
    assert (tmp_path / "s.md").read_text() == printed


def test_json_is_for_programs(call, finished):
    code, printed, _ = call(
        finished, "--max-tpr", "1%:0.05", "--release", "dense", "--attack", "lira", "--references", "matched", "--json"
    )
    told = json.loads(printed)
    assert code == told["exit_code"] == 0
    (row,) = told["verdicts"]
    assert (row["metric"], row["budget"], row["outcome"]) == ("tpr_at_1%_fpr", 0.05, "within")


def test_the_job_summary_gets_the_summary_too(call, finished, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    _, printed, _ = call(finished, "--max-auc", "0.8")
    assert page.read_text() == f"before\n{printed}\n"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "absent" / "page.md"))
    code, again, complaints = call(finished, "--max-auc", "0.8")
    assert (code, again) == (0, printed)
    assert complaints.startswith("warning: GITHUB_STEP_SUMMARY: cannot write")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "such as: --max-tpr 1%:0.05"),
        (["--max-tpr", "2%:0.5"], "expected one that the run reports: 10%, 1%, 0.1%"),
        (["--max-auc", "0.6", "--attack", "lirra"], "did you mean 'lira'?"),
        (["--max-auc", "0.6", "--out", "findings.csv"], "ends in .md"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(call, finished, tmp_path, monkeypatch, arguments, words):
    page = tmp_path / "page.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    code, printed, complaints = call(finished, *arguments)
    assert (code, printed) == (2, "")
    assert complaints.startswith("error: ")
    assert complaints.count("\n") == 1
    assert words in complaints
    assert not page.exists()


def damaged(folder):
    (folder / "findings.csv").write_text((folder / "findings.csv").read_text().replace("0.7", "0.5"))


def unsealed(folder):
    (folder / SEALED_FILES).unlink()


def partly_sealed(folder):
    seal_files(folder, [name for name in RESULT_FILES if name != "findings.csv"])


def cut_short(folder):
    (folder / SEALED_FILES).write_text((folder / SEALED_FILES).read_text()[:100])


@pytest.mark.parametrize("harm", [damaged, unsealed, partly_sealed, cut_short])
def test_results_that_are_not_as_the_run_left_them_are_refused(call, finished, tmp_path, harm):
    harm(finished)
    code, printed, complaints = call(finished, "--max-auc", "0.99", "--out", tmp_path / "s.md")
    assert (code, printed) == (2, "")
    assert "expected a finished run" in complaints
    assert not (tmp_path / "s.md").exists()


def test_no_run_at_all(call, tmp_path):
    code, _, complaints = call(tmp_path / "absent", "--max-auc", "0.99")
    assert code == 2
    assert complaints.count("\n") == 1


def test_a_folder_in_the_place_of_the_summary(call, finished, tmp_path):
    (tmp_path / "s.md").mkdir()
    code, printed, complaints = call(finished, "--max-auc", "0.99", "--out", tmp_path / "s.md")
    assert (code, printed) == (2, "")
    assert "cannot write there" in complaints
