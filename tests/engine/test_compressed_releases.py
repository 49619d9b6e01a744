"""A study with rounded, clustered and chained releases: what is stored rebuilds what is attacked, and travels on."""

import json
import shutil

import pandas as pd
import pytest
import torch

from pruneaudit.api import Runtime, run, verify
from pruneaudit.compression.state import differing, load_state, masks_in, restored
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import COMPRESSED_FILE, MASK_FILE, SUMMARY_FILE, WEIGHTS_FILE, file_sha256
from pruneaudit.gate import budgets_of, check
from pruneaudit.report.selection import baseline_of
from pruneaudit.report.sentences.answer import answer
from pruneaudit.report.tables.ways import ways_table
from pruneaudit.runs.export import export
from pruneaudit.training.checkpoint import load_tensors, save_tensors

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
    operations = table["bit_operations"] / table["macs"]
    assert [operations[name] for name in ("dense", "sparse", "kmeans-4")] == [32 * 32] * 3
    assert [operations[name] for name in ("rtn-8", "rtn-4+relaxloss", "rtn-2")] == [8 * 32, 4 * 32, 2 * 32]
    dense_bytes = table.loc["dense", "compressed_bytes"]
    assert table["compression_ratio"].tolist() == pytest.approx((dense_bytes / table["compressed_bytes"]).tolist())
    entries = {entry["name"]: entry["size"] for entry in finished.results.about["release_report"]["releases"]}
    assert entries["rtn-8"]["effective_bits"] == pytest.approx(bits["rtn-8"], rel=0.05)
    assert entries["rtn-2"]["gzip_bytes"] < entries["rtn-8"]["gzip_bytes"] < entries["dense"]["gzip_bytes"]


def test_each_is_compared_with_the_undefended_ones_that_are_as_small_and_as_accurate(finished):
    sizes = pd.read_csv(finished.folder / "releases.csv").set_index("release")["compressed_bytes"]
    table = finished.results.frontier
    table = table[table["metric"] == "auc"].set_index("release")
    assert table["compressed_bytes"].to_dict() == sizes.to_dict()
    defended = {name for name in sizes.index if "relaxloss" in name}
    compared = table[table["size_difference"].notna()]
    assert len(compared) > 2
    for name, row in compared.iterrows():
        allowed = table[
            (table.index != name)
            & ~table.index.isin(defended)
            & (table["compressed_bytes"] <= 1.01 * row["compressed_bytes"])
            & (table["test_accuracy"] >= row["test_accuracy"] - 1e-9)
        ]
        assert row["size_difference"] == pytest.approx(row["leakage"] - allowed["leakage"].min())
        assert row["size_release"] in allowed.index
    ways = ways_table(finished.results)
    assert {group.release: [row.head for row in group.rows] for group in ways.groups if "Not" not in group.release} == {
        "Pruned weights": ["sparse"],
        "Quantisation": ["rtn-8", "rtn-2", "rtn-4+relaxloss"],
        "Clustering": ["kmeans-4", "clustered-longer"],
        "Chains of methods": ["l1unstructured-0.7+rtn-4", "l1unstructured-0.7+kmeans-4", "sparse-then-rounded"],
    }


def test_accuracy_of_eight_bits_is_that_of_the_dense_network(finished):
    summaries = [json.loads((folder / SUMMARY_FILE).read_text()) for folder in folders(finished, "rtn-8")]
    for summary in summaries:
        assert summary["test_accuracy"] == pytest.approx(summary["test_accuracy_before"], abs=0.02)
        assert summary["test_accuracy_after_pruning"] == summary["test_accuracy"]  # nothing was trained


def test_each_is_compared_with_its_baseline_which_was_added_if_it_was_missing(finished):
    results = finished.results
    added = ["dense+finetune", "dense+finetune+relaxloss"]
    assert results.about["added_baselines"] == added
    assert [name for name in results.releases["release"] if name not in NAMES] == ["dense", *added]
    compared = set(zip(results.comparisons["release"], results.comparisons["baseline"], strict=True))
    expected = {
        "rtn-8": "dense",
        "kmeans-4": "dense+finetune",
        "l1unstructured-0.7+rtn-4": "dense+finetune",
        "rtn-4+relaxloss": "dense+finetune+relaxloss",
        "sparse-then-rounded": "sparse",
    }
    assert set(expected.items()) <= compared
    assert {name: baseline_of(results, name) for name in expected} == expected
    text = next(change.text for change in answer(results).changes if change.release == "sparse-then-rounded")
    assert "l1unstructured 70%, rtn 3 bits" in text and "the release that it was made from" in text
    gate = check(results, budgets_of(results, max_auc="1"))
    assert {verdict.release for verdict in gate.verdicts} == {"dense", *NAMES}
    assert set(gate.not_checked) == set(added)


def resealed(folder, change):
    """Changes a compressed state and seals it again, as a faulty program would; the artifact's folder."""
    state = load_tensors(folder / COMPRESSED_FILE)
    change(state)
    save_tensors(state, folder / COMPRESSED_FILE)
    seal = json.loads((folder / "DONE").read_text())
    seal["files"][COMPRESSED_FILE] = file_sha256(folder / COMPRESSED_FILE)
    (folder / "DONE").write_text(json.dumps(seal))
    return folder


def another_code(state):
    state["codes/3.weight"][0, 0] ^= 1


def without_scales(state):
    del state["scale/3.weight"]


@pytest.mark.parametrize(
    ("change", "reason"), [(another_code, "3.weight does not match"), (without_scales, "scale/3.weight")]
)
def test_a_state_that_rebuilds_other_weights_is_damaged(change, reason, finished, tmp_path):
    copied = shutil.copytree(finished.folder, tmp_path / finished.folder.name)
    assert {part.state for part in verify(copied)} == {"whole"}
    folder = resealed(next(copied.glob("rtn-8-????????/model-001")), change)
    (damaged,) = (part for part in verify(copied) if part.state != "whole")
    assert (damaged.state, copied / damaged.place) == ("damaged", folder)
    assert reason in damaged.reason
    with pytest.raises(UserError, match=r"3\.weight|make it again"):
        export(copied, "rtn-8", tmp_path / "model.pt", "torch", 1)
    assert not (tmp_path / "model.pt").exists()


@pytest.mark.parametrize("name", ["rtn-2", "l1unstructured-0.7+kmeans-4", "sparse"])
def test_an_export_holds_what_its_codes_rebuild(name, finished, tmp_path):
    export(finished.folder, name, tmp_path / "model.safetensors", "safetensors")
    weights = load_tensors(tmp_path / "model.safetensors")
    codes, masks = (tmp_path / f"model.safetensors.{what}.safetensors" for what in ("compressed", "mask"))
    assert codes.exists() == (name != "sparse")
    assert masks.exists() == (name in MASKED)
    if name != "sparse":
        kept = load_tensors(masks) if masks.exists() else {}
        state = load_tensors(codes) | {f"mask/{key}": mask for key, mask in kept.items()}
        assert differing(weights, state) == []


def test_a_second_run_finds_everything_whole(finished, make_study):
    assert run(study_of(make_study), finished.folder.parent, runtime=Runtime("serial")).num_tasks_done == 0
