"""Studies with low rank, N:M patterns and Deep Compression: fine-tuned, stored, reported, and inherited by children."""

import json

import pandas as pd
import pytest
import torch

from pruneaudit.api import Runtime, run, verify
from pruneaudit.compression.state import load_state, masks_in, restored, structure_in
from pruneaudit.compression.structure import records
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STRUCTURE_FILE, SUMMARY_FILE, WEIGHTS_FILE, file_sha256
from pruneaudit.engine.plan import check_plugins
from pruneaudit.report.selection import own_baseline
from pruneaudit.runs.export import export
from pruneaudit.training.checkpoint import load_tensors

TUNED = {"finetune": {"epochs": 1, "learning_rate": 0.02}}
RELEASES = [
    {"compress": "svd", "fraction": 0.5},
    {"name": "split", "compress": "svd:fraction=0.5:split_ends=true"},
    {"name": "spatial", "compress": "svd:fraction=0.8:by=energy:form=spatial", **TUNED},
    {"name": "with-inputs", "compress": "svd:fraction=0.5:data=members", **TUNED},
    {"name": "with-public", "compress": "svd:fraction=0.5:data=public:form=spatial"},
    {"name": "smaller", "compress": ["l1structured:sparsity=0.3", "svd:fraction=0.7"], **TUNED},
    {"compress": "nm", "pattern": "2:4", **TUNED},
    {"name": "moving", "compress": "nm:pattern=1:4:sr_ste=true", **TUNED},
    {"name": "deep", "compress": "deep-compression", "sparsity": 0.6, "clusters": 8, **TUNED},
    {"name": "rounded", "parent": "smaller", "compress": "rtn:bits=4", **TUNED},
    {"name": "clustered", "parent": "nm-2x4", "compress": "kmeans:clusters=4"},
    {"name": "longer", "parent": "spatial", **TUNED},
]
LOW_RANK = ("svd-0.5", "split", "spatial", "with-inputs", "with-public", "smaller", "rounded", "longer")


def study_of(make_study, releases):
    return make_study(
        membership={"num_models": 2},
        model={"name": "tinycnn", "options": {"width": 8}},
        releases=releases,
        audit={"attacks": ["loss"]},
    )


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    return run(study_of(make_study, RELEASES), tmp_path_factory.mktemp("runs"), runtime=Runtime("serial"))


def folders(finished, name):
    found = sorted(finished.folder.glob(f"{name}-????????/model-*"))
    assert len(found) == 2
    return found


def entries(finished):
    return {entry["name"]: entry for entry in finished.results.about["release_report"]["releases"]}


@pytest.mark.slow
def test_what_is_stored_rebuilds_what_is_attacked(finished):
    for name in (*LOW_RANK, "nm-2x4", "moving", "deep", "clustered"):
        for folder in folders(finished, name):
            state, weights = load_state(folder), load_tensors(folder / WEIGHTS_FILE)
            rebuilt = restored(state)
            assert rebuilt
            assert all(torch.equal(weights[key], value) for key, value in rebuilt.items())
            assert (folder / STRUCTURE_FILE).exists() == (name in LOW_RANK)
    assert verify(finished.folder)


@pytest.mark.slow
def test_processes_make_the_same_bytes(finished, make_study, tmp_path):
    kept = [release for release in RELEASES if "parent" not in release]
    again = run(study_of(make_study, kept), tmp_path, runtime=Runtime("processes", jobs=2))
    for name in ("svd-0.5", "spatial", "with-inputs", "with-public", "smaller", "nm-2x4", "moving", "deep"):
        for one, other in zip(folders(finished, name), folders(again, name), strict=True):
            assert file_sha256(one / WEIGHTS_FILE) == file_sha256(other / WEIGHTS_FILE), name


@pytest.mark.slow
def test_architectures_travel_from_parents_to_children(finished):
    for parent, child in (("smaller", "rounded"), ("spatial", "longer")):
        for before, after in zip(folders(finished, parent), folders(finished, child), strict=True):
            assert structure_in(load_state(before)) == structure_in(load_state(after))
            assert load_tensors(before / WEIGHTS_FILE).keys() == load_tensors(after / WEIGHTS_FILE).keys()
    (one, two) = records(structure_in(load_state(folders(finished, "smaller")[0])))
    assert "removed" in one
    assert two["kind"] == "factors"
    for before, after in zip(folders(finished, "nm-2x4"), folders(finished, "clustered"), strict=True):
        masks, held = masks_in(load_state(before)), masks_in(load_state(after))
        assert all(torch.equal(held[key], mask) for key, mask in masks.items())


@pytest.mark.slow
def test_sizes_operations_and_layers_are_those_of_the_factors(finished):
    table = pd.read_csv(finished.folder / "releases.csv").set_index("release")
    channel = [name for name in LOW_RANK if name not in ("spatial", "longer")]  # rows are not skipped at once there
    assert (table.loc[channel, "macs"] < table.loc["dense", "macs"]).all()
    assert 16 < table.loc["svd-0.5", "effective_bits"] < 17.1  # the first and the last layer stay whole
    assert 0.46 < table.loc["svd-0.5", "sparsity"] < 0.5
    assert table.loc["rounded", "effective_bits"] < table.loc["smaller", "effective_bits"] / 4
    dense = 8 * 9 + 8 * 16 * 9 + 16 * 32 * 9 + 320
    assert table.loc["nm-2x4", "sparsity"] == pytest.approx(0.5 * (dense - 72) / dense)
    assert table.loc["moving", "sparsity"] == pytest.approx(0.75 * (dense - 72) / dense)
    assert table.loc["deep", "sparsity"] == pytest.approx(0.6, abs=1e-3)
    assert table.loc["deep", "effective_bits"] < 3
    found = entries(finished)
    assert not any(found[name]["gaps"] for name in (*LOW_RANK, "nm-2x4", "moving", "deep"))
    assert {row["name"] for row in found["svd-0.5"]["left_whole"]} == {"features.0.conv", "classifier"}
    assert table.loc["split", "effective_bits"] < 16
    assert found["split"]["left_whole"] == []
    rows = {row["name"]: row for row in found["svd-0.5"]["layers"]}
    pair = rows["features.2.conv.reduce"], rows["features.2.conv.expand"]
    assert pair[0]["dense_shape"] == pair[1]["dense_shape"] == [32, 16, 3, 3]
    assert pair[0]["sparsity"] == pair[1]["sparsity"] == 1 - (pair[0]["weights"] + pair[1]["weights"]) / (32 * 144)


@pytest.mark.slow
def test_layers_that_stay_whole_are_told_and_both_trainings_happened(finished):
    found = entries(finished)
    assert found["nm-2x4"]["kept_whole"] == [
        "kept whole: features.0.conv: the number of inputs, 1, is no multiple of 4"
    ]
    assert all("is not below" in note for note in found["spatial"]["kept_whole"])
    assert found["moving"]["reactivation"]
    assert own_baseline(finished.results, "deep").name == "dense+finetune+finetune"
    assert not own_baseline(finished.results, "deep").gap
    for folder in folders(finished, "deep"):
        state = load_state(folder)
        assert all(len(value) <= 8 for key, value in state.items() if key.startswith("codebook/"))
        summary = json.loads((folder / SUMMARY_FILE).read_text())
        assert {"test_accuracy_after_pruning", "test_accuracy"} <= summary.keys()


@pytest.mark.slow
def test_factors_are_exported_as_layers(finished, tmp_path):
    made = export(finished.folder, "smaller", tmp_path / "net.safetensors", format="safetensors")
    assert {path.name for path in made.files} == {
        "net.safetensors", "net.safetensors.json", "net.safetensors.structure.json",
    }  # fmt: skip
    assert "features.2.conv.reduce.weight" in load_tensors(tmp_path / "net.safetensors")
    pytest.importorskip("onnxruntime")
    for name in ("spatial", "smaller"):
        assert export(finished.folder, name, tmp_path / f"{name}.onnx").difference < 1e-5


def test_orders_that_cannot_be_are_refused_before_any_work(make_study):
    for releases, named in (
        ([{"compress": ["l1unstructured:sparsity=0.5", "svd:fraction=0.5"]}], "'svd' cannot follow 'l1unstructured'"),
        (
            [{"name": "a", "compress": "nm:pattern=2:4"}, {"parent": "a", "compress": "svd:fraction=0.5"}],
            "'svd' cannot follow 'nm'",
        ),
        ([{"compress": "deep-compression"}], "'finetune' works during training"),
        ([{"compress": "nm:pattern=2:4:sr_ste=true"}], "'nm' works during training"),
    ):
        with pytest.raises(UserError, match=named):
            check_plugins(make_study(releases=releases))


@pytest.mark.parametrize(
    ("compress", "message"),
    [
        ("svd:fraction=0.01", r"fraction: got 0.01, but rank 1 of layer '.*' \(16, 64\)"),
        (
            "nm:pattern=2:3",
            r"pattern: got 2:3, but no layer's .* of 3; the largest is 64, of '.*' \(16, 64\); .* fits is 1:2",
        ),
    ],
)
def test_what_fits_no_layer_is_refused_before_any_training(compress, message, make_study, tmp_path):
    with pytest.raises(UserError, match=message):
        run(make_study(releases=[{"name": "x", "compress": compress, **TUNED}]), tmp_path, runtime=Runtime("serial"))
    assert not list(tmp_path.rglob(WEIGHTS_FILE))
