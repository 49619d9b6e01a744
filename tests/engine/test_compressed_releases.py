"""A study with rounded, clustered and chained releases: what is stored rebuilds what is attacked, and travels on."""

import json

import pandas as pd
import pytest
import torch

from pruneaudit.api import Runtime, run
from pruneaudit.compression.state import load_state, masks_in, restored
from pruneaudit.core.files import COMPRESSED_FILE, MASK_FILE, SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.training.checkpoint import load_tensors

TUNED = {"finetune": {"epochs": 1, "learning_rate": 0.02}}
SPARSE = "l1unstructured:sparsity=0.7"
RELEASES = [
    {"compress": "rtn", "bits": [8, 2]},
    {"compress": "kmeans", "clusters": 4, **TUNED},
    {"compress": [SPARSE, "rtn:bits=4"], **TUNED},
    {"compress": [SPARSE, "kmeans:clusters=4"], **TUNED},
    {"compress": "rtn:bits=4", "defense": "relaxloss", **TUNED},
    {"name": "sparse", "compress": SPARSE, **TUNED},
    {"name": "sparse-then-rounded", "parent": "sparse", "compress": "rtn:bits=3"},
    {"name": "clustered-longer", "parent": "kmeans-4", **TUNED},
]
NAMES = [
    "rtn-8",
    "rtn-2",
    "kmeans-4",
    "l1unstructured-0.7+rtn-4",
    "l1unstructured-0.7+kmeans-4",
    "rtn-4+relaxloss",
    "sparse",
    "sparse-then-rounded",
    "clustered-longer",
]
MASKED = {"l1unstructured-0.7+rtn-4", "l1unstructured-0.7+kmeans-4", "sparse", "sparse-then-rounded"}


def study_of(make_study):
    return make_study(membership={"num_models": 2}, releases=RELEASES, audit={"attacks": ["loss"]})


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    study = study_of(make_study)
    assert [release.name for release in study.releases] == NAMES
    return run(study, tmp_path_factory.mktemp("runs"), runtime=Runtime("serial"))


def folders(finished, name):
    found = sorted(finished.folder.glob(f"{name}-????????/model-*"))
    assert len(found) == 2
    return found


@pytest.mark.parametrize("name", NAMES)
def test_what_is_stored_rebuilds_what_is_attacked(name, finished):
    for folder in folders(finished, name):
        state, weights = load_state(folder), load_tensors(folder / WEIGHTS_FILE)
        rebuilt = restored(state)
        assert rebuilt.keys() == {key for key, value in weights.items() if value.ndim > 1}
        assert all(torch.equal(weights[key], value) for key, value in rebuilt.items())
        assert (folder / COMPRESSED_FILE).exists()
        assert (folder / MASK_FILE).exists() == (name in MASKED)


def test_a_constraint_travels_from_parent_to_child(finished):
    parents, children = folders(finished, "sparse"), folders(finished, "sparse-then-rounded")
    for parent, child in zip(parents, children, strict=True):
        before, after = masks_in(load_state(parent)), masks_in(load_state(child))
        assert all(torch.equal(before[key], mask) for key, mask in after.items())
        assert all((weight[~after[key]] == 0).all() for key, weight in restored(load_state(child)).items())
    for parent, child in zip(folders(finished, "kmeans-4"), folders(finished, "clustered-longer"), strict=True):
        before, after = load_state(parent), load_state(child)
        assert all(torch.equal(value, after[key]) for key, value in before.items() if key.startswith("index/"))
        assert any(not torch.equal(value, after[key]) for key, value in before.items() if key.startswith("codebook/"))


def test_codes_that_are_zero_are_no_sparsity(finished):
    table = pd.read_csv(finished.folder / "releases.csv").set_index("release")
    for name in NAMES:
        assert table.loc[name, "sparsity"] == pytest.approx(0.7 if name in MASKED else 0, abs=0.01)
    weights = load_tensors(folders(finished, "rtn-2")[0] / WEIGHTS_FILE)
    assert any((value == 0).float().mean() > 0.1 for value in weights.values() if value.ndim > 1)
    entries = {entry["name"]: entry for entry in finished.results.about["release_report"]["releases"]}
    assert entries["rtn-2"]["sparsity_prunable"] == 0
    assert entries["rtn-2"]["left_whole"] == []
    assert [layer["sparsity"] for layer in entries["rtn-2"]["layers"]] == [0, 0]


def test_every_release_reports_what_it_costs_to_store(finished):
    table = pd.read_csv(finished.folder / "releases.csv").set_index("release")
    bits = table["effective_bits"]
    assert bits["dense"] == 32
    assert 2 < bits["rtn-8"] < 9  # 32 per scale on top of the codes
    assert bits["rtn-2"] < bits["rtn-4+relaxloss"] < bits["rtn-8"]
    assert bits["kmeans-4"] < 2.5
    assert bits["l1unstructured-0.7+rtn-4"] < bits["rtn-4+relaxloss"]
    assert 0.3 * 32 < bits["sparse"] < 0.3 * 32 + 1
    assert table["compressed_bytes"].idxmax() == "dense"
    assert table["macs"].nunique() == 1  # nothing was taken out of the architecture
    entries = {entry["name"]: entry["size"] for entry in finished.results.about["release_report"]["releases"]}
    assert entries["rtn-8"]["effective_bits"] == pytest.approx(bits["rtn-8"], rel=0.05)
    assert entries["rtn-2"]["gzip_bytes"] < entries["rtn-8"]["gzip_bytes"] < entries["dense"]["gzip_bytes"]


def test_accuracy_of_eight_bits_is_that_of_the_dense_network(finished):
    summaries = [json.loads((folder / SUMMARY_FILE).read_text()) for folder in folders(finished, "rtn-8")]
    for summary in summaries:
        assert summary["test_accuracy"] == pytest.approx(summary["test_accuracy_before"], abs=0.02)
        assert summary["test_accuracy_after_pruning"] == summary["test_accuracy"]  # nothing was trained


def test_a_second_run_finds_everything_whole(finished, make_study):
    assert run(study_of(make_study), finished.folder.parent, runtime=Runtime("serial")).num_tasks_done == 0
