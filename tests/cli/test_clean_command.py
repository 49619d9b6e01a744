"""`pruneaudit clean` removes what the study in a run folder does not need, and nothing else."""

import json
import re
import shutil

import numpy as np
import pytest

from pruneaudit.api import Runtime, run, verify
from pruneaudit.runs.lock import RunLock
from pruneaudit.study import Study
from run_bytes import all_bytes

STUDY = {
    "name": "t",
    "data": {"source": "digits", "num_samples": 160},
    "membership": {"num_models": 3},
    "model": {"name": "mlp", "options": {"hidden": [8]}},
    "training": {"epochs": 1},
    "releases": [{"compress": "l1unstructured", "sparsity": 0.5}],
    "audit": {"attacks": ["loss", "nn:epochs=1"], "references": ["matched"]},
}


def whole_parts(folder):
    return {part.place for part in verify(folder) if part.state == "whole"}


def of_two_studies(folder):
    """A run folder in which an earlier study, on other data, has left its artifacts."""
    run(Study.model_validate({**STUDY, "seed": 1}), out=folder, runtime=Runtime(executor="serial"))
    return run(Study.model_validate(STUDY), out=folder, runtime=Runtime(executor="serial")).folder


@pytest.fixture(scope="module")
def littered(tmp_path_factory):
    folder = of_two_studies(tmp_path_factory.mktemp("runs"))
    (folder / "set-aside" / "dense--model-000-12345678").mkdir(parents=True)
    (folder / "set-aside" / "dense--model-000-12345678" / "model.safetensors").write_bytes(b"x" * 1000)
    (folder / ".checkpoints" / ("0" * 16)).mkdir(parents=True, exist_ok=True)
    (folder / ".checkpoints" / ("0" * 16) / "checkpoint.json").write_text("{}")
    (folder / ".findings.csv.1.tmp").write_text("half")
    (folder / "mine").mkdir()
    (folder / "mine" / "config.json").write_text(json.dumps({"kind": "dense"}))  # a user's own, never sealed
    return folder


@pytest.fixture
def folder(littered, tmp_path):
    shutil.copytree(littered, tmp_path / "t")
    return tmp_path / "t"


def test_only_what_nothing_refers_to_goes(folder, call):
    before, whole = all_bytes(folder), whole_parts(folder)
    code, out, _ = call("clean", folder, "--dry-run", "--verbose")
    assert code == 0
    named = {line.partition(":")[0] for line in out.splitlines()[:-1]}
    assert {".findings.csv.1.tmp", "set-aside/dense--model-000-12345678", f".checkpoints/{'0' * 16}"} < named
    assert all_bytes(folder) == before

    code, out, _ = call("clean", folder)
    assert code == 0
    assert re.search(rf"^{len(named)} parts, [\d.]+ MB removed$", out, flags=re.MULTILINE)
    after = all_bytes(folder)
    assert after.items() <= before.items()
    gone = whole - whole_parts(folder)  # the earlier study's attacks; its networks and answers were stale, not whole
    assert [place.partition("/")[0] for place in gone] == ["attacks"] * 2
    assert [place.partition("/")[0] for place in whole_parts(folder)].count("attacks") == 2
    assert not [part for part in verify(folder) if part.state in ("missing", "stale")]
    assert len({place.partition("/")[0] for place in after if place.startswith("audit_data-")}) == 1
    assert "mine/config.json" in after
    code, out, _ = call("clean", folder)
    assert (code, out) == (0, "0 parts, 0.0 MB removed\n")


def test_the_study_runs_and_attacks_as_before(folder, call):
    call("clean", folder)
    again = run(Study.model_validate(STUDY), out=folder.parent, runtime=Runtime(executor="serial"))
    assert again.num_tasks_done == 0
    assert call("attack", folder, "--attacks", "nn:epochs=1", "--out", folder.parent / "out")[0] == 0


def test_nothing_is_removed_while_a_run_is_at_work(folder, call):
    before = all_bytes(folder)
    with RunLock(folder):
        held = all_bytes(folder)
        code, out, err = call("clean", folder)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert "another run" in err
        assert all_bytes(folder) == held
    assert all_bytes(folder) == before


def test_a_run_whose_own_data_are_unknown_is_left_alone(folder, call):
    before = all_bytes(folder)
    (folder / "SHA256SUMS").unlink()  # two audit data, and nothing says which is in use
    code, _, err = call("clean", folder)
    assert (code, err.count("\n")) == (2, 1)
    assert f"pruneaudit run {folder / 'study.json'} --out {folder.parent}" in err
    assert all_bytes(folder) == {name: data for name, data in before.items() if name != "SHA256SUMS"}


def test_a_folder_that_is_no_run_is_refused(tmp_path, call):
    np.save(tmp_path / "x.npy", np.zeros(3))
    code, _, err = call("clean", tmp_path)
    assert (code, err.count("\n")) == (2, 1)
    assert (tmp_path / "x.npy").exists()
