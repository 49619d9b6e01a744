"""`pruneaudit frontier` as a user meets it: a study is run, a finished run is read."""

import json
import re
from functools import partial

import pytest

from pruneaudit.core.files import seal_files
from pruneaudit.evaluation.results import RESULT_FILES

STUDY = """
name = "tiny"
[data]
source = "digits"
num_samples = 200
[membership]
num_models = 4
[model]
name = "mlp"
options = { hidden = [8] }
[training]
epochs = 2
batch_size = 32
[[releases]]
name = "early"
parent = "init"
finetune = { epochs = 1 }
[[releases]]
compress = "l1unstructured"
sparsity = 0.5
[audit]
attacks = ["loss", "lira"]
"""


@pytest.fixture(scope="module")
def study_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "study.toml"
    path.write_text(STUDY)
    return path


@pytest.fixture
def call(call):
    """Runs `pruneaudit frontier`."""
    return partial(call, "frontier")


def run_folder(call, study_file):
    """The study's run, made once, and what was printed."""
    printed = study_file.with_suffix(".txt")
    if printed.exists():
        return study_file.parent / "tiny", printed.read_text()
    code, out, err = call(study_file, "--out", study_file.parent, "--executor", "serial", "--quiet")
    assert code == 0, err
    printed.write_text(out)
    return study_file.parent / "tiny", out


def test_a_study_is_run_and_its_run_read_alike(call, study_file):
    folder, first = run_folder(call, study_file)
    code, again, err = call(folder)
    assert (code, err) == (0, "")
    assert again == first
    assert "Attack: lira; references: matched" in first
    for name in ("dense", "early", "l1unstructured"):
        assert name in first
    text = " ".join(first.split())
    assert "do not generalise beyond this study" in text
    assert "conditional on this bank" in text
    assert re.search(r"\b0\.\d{3}\b", first)
    assert len(re.findall(r"^\d+\.\d kB ", first, re.MULTILINE)) == 3  # a size below each name


def test_json_holds_the_rows_of_the_table(call, study_file):
    folder, _ = run_folder(call, study_file)
    code, out, _ = call(folder, "--json")
    assert code == 0
    rows = json.loads(out)
    assert [row["release"] for row in rows] == ["dense", "early", "l1unstructured-0.5"]
    assert [row["is_baseline"] for row in rows] == [1, 1, 0]
    assert {row["metric"] for row in rows} == {"auc"}
    assert all(row["difference_low"] is None for row in rows[:2])
    table = (folder / "frontier.csv").read_text()
    assert repr(rows[2]["leakage"]) in table


def refused(outcome, *words):
    code, out, err = outcome
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_what_cannot_be_shown_is_refused(call, study_file, tmp_path):
    folder, _ = run_folder(call, study_file)
    refused(call(folder, "--metric", "tpr"), "no release has a figure", "TPR at 1% FPR", "use --metric auc")
    refused(call(folder, "--metric", "accuracy"), "got 'accuracy'", "auc, tpr")
    refused(call(folder, "--set", "seed=1"), "finished run")
    refused(call(tmp_path), "expected the folder of a finished run")
    refused(call("no-such-study"), "no study file or recipe")


def test_a_run_that_was_changed_is_refused(call, study_file, tmp_path):
    folder, _ = run_folder(call, study_file)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    (copy / "frontier.csv").write_text((copy / "frontier.csv").read_text().replace("early", "later"))
    refused(call(copy), "frontier.csv", "run the study again")


def test_results_without_a_point_are_refused(call, results, tmp_path):
    results.save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    refused(call(tmp_path / "run"), "test accuracy", "AUC", "references 'matched'")


def test_an_escape_code_in_a_name_does_not_reach_the_terminal(call, make_results, study_file, tmp_path):
    from pruneaudit.evaluation.results import Results

    folder, _ = run_folder(call, study_file)
    found = Results.load(folder)
    found.frontier["release"] = found.frontier["release"].replace("early", "\x1b[31mred")
    found.save(tmp_path / "run")
    seal_files(tmp_path / "run", RESULT_FILES)
    code, out, _ = call(tmp_path / "run")
    assert code == 0
    assert "\x1b" not in out
    assert "\\x1b[31m" in "".join(out.split())
