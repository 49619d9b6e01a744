"""A finished run that is asked for again: the same results without evaluating, and anew where anything has changed."""

import subprocess
import sys

import numpy as np
import pytest

from pruneaudit.api import Runtime, attack, run
from pruneaudit.attacks import ATTACKS
from pruneaudit.runs import RunFolder
from pruneaudit.runs.names import EVALUATED_FILE
from run_bytes import all_bytes

SERIAL = Runtime("serial")


def when_made(folder):
    return (folder / "about.json").stat().st_mtime_ns


def test_the_same_study_gives_what_is_there(tiny_study, tiny_run, tiny_copy):
    before = all_bytes(tiny_copy)
    again = run(tiny_study(), tiny_copy.parent, SERIAL)
    assert again.num_tasks_done == 0
    assert all_bytes(tiny_copy) | {"run.log": before["run.log"]} == before
    assert again.results.findings.equals(tiny_run.results.findings)
    assert again.audit.scores.keys() == tiny_run.audit.scores.keys()
    for name, scores in tiny_run.audit.scores.items():
        np.testing.assert_array_equal(again.audit.scores[name], scores)


@pytest.mark.slow
def test_it_needs_no_torch(tiny_copy):
    program = (
        "import sys, pruneaudit\n"
        f"study = pruneaudit.Study.load({str(tiny_copy / 'study.json')!r})\n"
        f"pruneaudit.run(study, {str(tiny_copy.parent)!r})\n"
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
def test_another_setting_is_evaluated(tiny_study, tiny_copy, changes):
    before = when_made(tiny_copy)
    run(tiny_study(**changes), tiny_copy.parent, SERIAL)
    assert when_made(tiny_copy) != before


def test_another_version_of_an_attack_is_evaluated(tiny_study, tiny_copy, monkeypatch):
    before = when_made(tiny_copy)
    monkeypatch.setattr(ATTACKS.get("loss"), "semantics_version", 99)
    run(tiny_study(), tiny_copy.parent, SERIAL)
    assert when_made(tiny_copy) != before


@pytest.mark.parametrize("name", ["findings.csv", "report.html", "scores.parquet", "membership.npz", EVALUATED_FILE])
@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_what_is_damaged_is_made_again(tiny_study, tiny_copy, name, harm):
    file = tiny_copy / name
    before = (tiny_copy / "findings.csv").read_bytes()
    if harm == "changed":
        file.write_bytes(file.read_bytes() + b" ")
    else:
        file.unlink()
    run(tiny_study(), tiny_copy.parent, SERIAL)
    assert (tiny_copy / "findings.csv").read_bytes() == before
    assert (tiny_copy / "report.html").is_file()
    seals = dict(line.split("  ")[::-1] for line in (tiny_copy / "SHA256SUMS").read_text().splitlines())
    assert {name, "findings.csv", "report.html"} <= seals.keys()
    assert set(RunFolder(tiny_copy).problems().values()) == {""}


def test_other_attacks_and_another_page_in_the_folder_are_not_taken_for_the_runs_own(tiny_study, tiny_copy):
    attack(tiny_copy, ["entropy"], runtime=SERIAL)
    assert set(run(tiny_study(), tiny_copy.parent, SERIAL).results.findings["attack"]) == {"loss", "lira"}
    page = tiny_copy / "report.html"
    page.write_text("another page, as `report` may write one and seal it")
    RunFolder(tiny_copy).seal()
    run(tiny_study(), tiny_copy.parent, SERIAL)
    assert "another page" not in page.read_text()
    assert page.read_text().startswith("<!doctype html>")
