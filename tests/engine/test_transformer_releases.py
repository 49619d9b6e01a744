"""Studies whose releases have fewer heads and hidden units: stored, reported, inherited, attacked and exported."""

import json

import pandas as pd
import pytest
import torch

from pruneaudit.api import Runtime, run, verify
from pruneaudit.compression.state import load_state, restored, structure_in
from pruneaudit.compression.structure import kind_of, records
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STRUCTURE_FILE, SUMMARY_FILE, WEIGHTS_FILE, file_sha256
from pruneaudit.engine.plan import check_plugins
from pruneaudit.runs.export import export
from pruneaudit.training.checkpoint import load_tensors

TUNED = {"finetune": {"epochs": 1, "learning_rate": 0.01}}
RELEASES = [
    {"compress": "heads", "sparsity": 0.5, **TUNED},
    {"name": "units", "compress": "ffn:sparsity=0.5:importance=magnitude"},
    {"name": "chain", "compress": ["heads:sparsity=0.25:data=members", "ffn:sparsity=0.5", "rtn:bits=4"], **TUNED},
    {"name": "child", "parent": "heads-0.5", "compress": "l1unstructured:sparsity=0.5", **TUNED},
    {"name": "split", "compress": ["ffn:sparsity=0.25", "svd:fraction=0.5"]},
]
SMALLER = ("heads-0.5", "units", "chain", "child", "split")


def study_of(make_study, releases=RELEASES):
    return make_study(
        data={"source": "digits", "num_samples": 80, "num_holdout": 40, "num_public": 40},
        membership={"num_models": 4},
        model={"name": "vit", "options": {"width": 16, "heads": 4, "layers": 2}},
        releases=releases,
        audit={"attacks": ["loss", "mask_filter"]},
    )


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    return run(study_of(make_study), tmp_path_factory.mktemp("runs"), runtime=Runtime("serial"))


def folders(finished, name):
    found = sorted(finished.folder.glob(f"{name}-????????/model-*"))
    assert len(found) == 4
    return found


def test_what_is_stored_rebuilds_what_is_attacked(finished):
    assert not finished.failures
    for name in SMALLER:
        for folder in folders(finished, name):
            weights = load_tensors(folder / WEIGHTS_FILE)
            rebuilt = restored(load_state(folder))
            assert rebuilt
            assert all(torch.equal(weights[key], value) for key, value in rebuilt.items())
    assert {part.state for part in verify(finished.folder)} == {"whole"}


def test_structure_travels_from_parents_to_children(finished):
    for before, after in zip(folders(finished, "heads-0.5"), folders(finished, "child"), strict=True):
        assert structure_in(load_state(before)) == structure_in(load_state(after))
        heads, units = (records((folder / STRUCTURE_FILE).read_text()) for folder in (after, before))
        assert heads == units
    for folder in folders(finished, "chain"):
        found = records((folder / STRUCTURE_FILE).read_text())
        assert [kind_of(record) for record in found] == ["heads", "units"]
        assert sum(len(group["removed"]) for group in found[0]["groups"]) == 2
        assert [len(group["removed"]) for group in found[1]["groups"]] == [32, 32]


def test_sizes_and_operations_are_those_of_the_smaller_networks(finished):
    table = pd.read_csv(finished.folder / "releases.csv").set_index("release")
    assert (table.loc[list(SMALLER), "macs"] < table.loc["dense", "macs"]).all()
    block, ends = 4 * 16 * 16 + 2 * 16 * 64, 16 * 16 + 16 * 10
    weights = 2 * block + ends
    assert table.loc["heads-0.5", "sparsity"] == pytest.approx(4 * 16 * 16 / weights)
    assert table.loc["units", "sparsity"] == pytest.approx(2 * 16 * 64 / weights)
    assert 0 < table.loc["units", "sparsity_all"] < table.loc["units", "sparsity"]
    assert table.loc["chain", "effective_bits"] < 4
    entries = {entry["name"]: entry for entry in finished.results.about["release_report"]["releases"]}
    rows = {row["name"]: row for row in entries["units"]["layers"]}
    assert rows["blocks.0.fc1"]["dense_shape"] == [64, 16]
    assert rows["blocks.0.fc1"]["shape"] == [32, 16]
    assert rows["blocks.0.fc1"]["sparsity"] == 0.5
    assert not any(entries[name]["gaps"] for name in SMALLER)


def test_kept_heads_are_attacked_as_structure(finished):
    findings = finished.results.findings
    played = set(findings[findings["attack"] == "mask_filter"]["release"])
    assert {"heads-0.5", "units", "chain", "child"} <= played


def test_it_exports_the_smaller_network(finished, tmp_path):
    made = export(finished.folder, "chain", tmp_path / "net.safetensors", format="safetensors")
    assert any(path.name.endswith("structure.json") for path in made.files)
    assert load_tensors(tmp_path / "net.safetensors")["blocks.0.fc1.weight"].shape == (32, 16)


@pytest.mark.slow
def test_onnxruntime_gives_its_answers(finished, tmp_path):
    pytest.importorskip("onnxruntime")
    assert export(finished.folder, "heads-0.5", tmp_path / "heads.onnx").difference < 1e-5


@pytest.mark.slow
def test_processes_make_the_same_bytes(finished, make_study, tmp_path):
    again = run(study_of(make_study), tmp_path, runtime=Runtime("processes", jobs=2))
    for name in SMALLER:
        for one, other in zip(folders(finished, name), folders(again, name), strict=True):
            assert file_sha256(one / WEIGHTS_FILE) == file_sha256(other / WEIGHTS_FILE), name


def test_what_cannot_be_is_refused_before_any_training(make_study, tmp_path):
    with pytest.raises(UserError, match="'heads' cannot follow 'rtn'"):
        check_plugins(study_of(make_study, [{"compress": ["rtn:bits=4", "heads:sparsity=0.5"]}]))
    with pytest.raises(UserError, match=r"release 'x': sparsity: got 0\.95.*use at most 0\.8"):
        run(study_of(make_study, [{"name": "x", "compress": "heads:sparsity=0.95"}]), tmp_path)
    convolutional = study_of(make_study, [{"name": "x", "compress": "heads:sparsity=0.5"}])
    convolutional = convolutional.model_copy(update={"model": make_study().model})
    with pytest.raises(UserError, match="release 'x': no heads of this network"):
        run(convolutional, tmp_path)
    assert not list(tmp_path.rglob(WEIGHTS_FILE))
    assert not list(tmp_path.rglob(SUMMARY_FILE))


def test_the_summary_says_which_heads_went(finished):
    for folder in folders(finished, "heads-0.5"):
        (record,) = records((folder / STRUCTURE_FILE).read_text())
        assert record["sparsity"] == 0.5
        assert json.loads((folder / SUMMARY_FILE).read_text())["sparsity"] > 0
