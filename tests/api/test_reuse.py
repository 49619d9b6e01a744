"""A finished run that is asked for again: the same results without evaluating, and anew where anything has changed."""

import json
import subprocess
import sys

import numpy as np
import pytest

import pruneaudit
from pruneaudit.api import Runtime, attack_again, run
from pruneaudit.attacks import ATTACKS
from pruneaudit.runs import RunFolder
from pruneaudit.runs.names import EVALUATED_FILE

SETTINGS = {
    "name": "tiny",
    "data": {"source": "digits", "num_samples": 160},
    "membership": {"num_models": 4},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "training": {"epochs": 1, "batch_size": 32},
    "releases": [{"pruner": "l1unstructured", "sparsity": 0.5}],
    "audit": {"attacks": ["loss", "lira"], "fpr_levels": [0.2]},
}
SERIAL = Runtime("serial")


def study(**changes):
    return pruneaudit.Study.model_validate({**SETTINGS, **changes})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".log"}


def when_made(folder):
    return json.loads((folder / "about.json").read_text())["created"], (folder / "about.json").stat().st_mtime_ns


@pytest.fixture
def made(tmp_path):
    return run(study(), tmp_path, SERIAL)


def test_the_same_study_gives_what_is_there(made, tmp_path):
    before = contents(made.folder)
    again = run(study(), tmp_path, SERIAL)
    assert again.num_tasks_done == 0
    assert contents(made.folder) == before
    assert again.results.findings.equals(made.results.findings)
    assert again.audit.scores.keys() == made.audit.scores.keys()
    for name, scores in made.audit.scores.items():
        np.testing.assert_array_equal(again.audit.scores[name], scores)


def test_it_needs_no_torch(made, tmp_path):
    program = (
        "import sys, pruneaudit\n"
        f"study = pruneaudit.Study.load({str(made.folder / 'study.json')!r})\n"
        f"pruneaudit.run(study, {str(tmp_path)!r})\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"audit": {"attacks": ["loss", "lira"], "fpr_levels": [0.1]}},
        {"audit": {"attacks": ["loss", "lira:mode=offline"], "fpr_levels": [0.2]}},
        {"releases": []},
        {"description": "another"},
    ],
)
def test_another_setting_is_evaluated(made, tmp_path, changes):
    before = when_made(made.folder)
    run(study(**changes), tmp_path, SERIAL)
    assert when_made(made.folder)[1] != before[1]


def test_another_version_of_an_attack_is_evaluated(made, tmp_path, monkeypatch):
    before = when_made(made.folder)
    monkeypatch.setattr(ATTACKS.get("loss"), "semantics_version", 99)
    run(study(), tmp_path, SERIAL)
    assert when_made(made.folder)[1] != before[1]


@pytest.mark.parametrize("name", ["findings.csv", "report.html", "scores.parquet", "membership.npz", EVALUATED_FILE])
@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_what_is_damaged_is_made_again(made, tmp_path, name, harm):
    file = made.folder / name
    before = (made.folder / "findings.csv").read_bytes()
    if harm == "changed":
        file.write_bytes(file.read_bytes() + b" ")
    else:
        file.unlink()
    run(study(), tmp_path, SERIAL)
    assert (made.folder / "findings.csv").read_bytes() == before
    assert (made.folder / "report.html").is_file()
    seals = dict(line.split("  ")[::-1] for line in (made.folder / "SHA256SUMS").read_text().splitlines())
    assert {name, "findings.csv", "report.html"} <= seals.keys()
    assert set(RunFolder(made.folder).problems().values()) == {""}


def test_other_attacks_and_another_page_in_the_folder_are_not_taken_for_the_runs_own(made, tmp_path):
    attack_again(made.folder, ["entropy"], runtime=SERIAL)
    assert set(run(study(), tmp_path, SERIAL).results.findings["attack"]) == {"loss", "lira"}
    page = made.folder / "report.html"
    page.write_text("another page, as `report` may write one and seal it")
    RunFolder(made.folder).seal()
    run(study(), tmp_path, SERIAL)
    assert "another page" not in page.read_text()
    assert page.read_text().startswith("<!doctype html>")
