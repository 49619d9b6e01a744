"""A study with families: its run has their tables and its page their section; what failed is left out with a note."""

import numpy as np
import pandas as pd
import pytest

import pruneaudit
from pruneaudit.api import Runtime, run
from pruneaudit.engine.family_audit import audit_families, families_there
from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.signals.signals import Signals

RELEASES = [
    {"compress": "rtn:bits=4"},
    {"name": "longer", "finetune": {"epochs": 1}},
    {"name": "again", "finetune": {"epochs": 1}, "finetune_seed": 1},
]
ASKED = {"attacks": ["lira"], "fpr_levels": [0.2], "families": [["dense", "rtn-4", "longer", "again"]]}


@pytest.fixture(scope="module")
def finished(tiny_study, tmp_path_factory):
    study = tiny_study(releases=RELEASES, audit=ASKED, membership={"num_models": 6})
    return run(study, tmp_path_factory.mktemp("families"), Runtime("serial"))


def test_the_run_has_tables_section_and_labels(finished):
    table = pd.read_csv(finished.folder / "families.csv")
    assert set(table["family"]) == {"dense; rtn-4; longer; again"}
    assert table["releases"].nunique() == 15
    added = pd.read_csv(finished.folder / "marginal_leakage.csv", keep_default_na=False)
    beside = added[(added["given"] == "dense") & (added["added"] == "rtn-4")]
    assert set(beside["post_processing_of"]) == {"dense"}
    assert set(added[(added["given"] == "longer") & (added["added"] == "again")]["repeats"]) == {"longer"}
    page = (finished.folder / "report.html").read_text()
    assert 'id="families-heading"' in page and "post-processing of dense" in page
    assert {part.state for part in pruneaudit.verify(finished.folder)} == {"whole"}


def test_another_attack_keeps_them_and_trains_nothing(finished, tmp_path):
    again = pruneaudit.attack(finished.folder, ["loss"], tmp_path / "again")
    pd.testing.assert_frame_equal(again.results.families, finished.results.families)
    pd.testing.assert_frame_equal(again.results.marginal_leakage, finished.results.marginal_leakage)


def signals(seed, num_models):
    rng = np.random.default_rng(seed)
    member = np.random.default_rng(9).random((num_models, 80)) < 0.5
    return Signals(rng.normal(size=(num_models, 80, 3)), np.random.default_rng(8).integers(3, size=80), member)


def test_releases_and_families_that_failed_are_left_out_with_a_note(tiny_study):
    families = [["dense", "rtn-4", "longer"], ["longer", "again"], ["dense", "rtn-4"]]
    study = tiny_study(releases=RELEASES, audit=ASKED | {"families": families}).with_named_families()
    there = ["dense", "rtn-4", "again"]
    settings = bank_settings({name: signals(seed, 6) for seed, name in enumerate(there)}, ["matched"])
    found, notes = families_there(study, there)
    tables, none = audit_families(study, settings, found)
    assert none == []
    assert set(tables["families"]["family"]) == {"dense; rtn-4"}
    assert len(notes) == 3
    assert "dense; rtn-4; longer" in notes[0] and "longer left out" in notes[0]
    assert all("longer; again" in note for note in notes[1:])


def test_a_family_that_cannot_be_attacked_does_not_end_a_finished_run(tiny_study):
    study = tiny_study(releases=RELEASES, audit=ASKED | {"families": [["dense", "rtn-4"]]}).with_named_families()
    settings = bank_settings({name: signals(seed, 2) for seed, name in enumerate(("dense", "rtn-4"))}, ["matched"])
    tables, (note,) = audit_families(study, settings, [("dense", "rtn-4")])
    assert tables == {}
    assert "dense; rtn-4" in note and "references" in note
