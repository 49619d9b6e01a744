"""Canaries in a user's own model: made, trained with, and audited by a study with a target."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from command_line import refused_study, succeed
from pruneaudit.api import Runtime, run
from pruneaudit.data.canaries import read_canaries
from pruneaudit.data.digits import Digits
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.source import NoOptions
from pruneaudit.evaluation.canaries import DP_SGD, GAUSSIAN
from pruneaudit.models import build_model
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study

# n canaries, N samples

MODEL = {"name": "mlp", "options": {"hidden": [64]}}
NUM_CANARIES, NUM_ROWS = 60, 1797


def trained(x, y):
    """A network that knows its training set by heart."""
    network = build_model("mlp", MODEL["options"], x.shape[1:], 10, torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    return network


def arrays_of(file):
    """The arrays of an `.npz`, which is closed again."""
    with np.load(file) as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A user's data, members, canaries from the non-members, and a network trained on members and canaries."""
    folder = tmp_path_factory.mktemp("files")
    raw = Digits().load(NoOptions(), None)
    x = (raw.x / 255).astype(np.float32)
    member = np.zeros(NUM_ROWS, np.int8)
    member[np.random.default_rng(0).permutation(NUM_ROWS)[:400]] = 1
    np.savez(folder / "data.npz", x=x, y=raw.y)
    np.save(folder / "member.npy", member)
    np.savez(folder / "pool.npz", x=x[member == 0], y=raw.y[member == 0])
    out = ("--out", folder / "canaries.npz", "--train", folder / "rows.npz")
    succeed("canaries", "make", f"npz:{folder / 'pool.npz'}", "--num", NUM_CANARIES, *out)
    rows = arrays_of(folder / "rows.npz")
    own = x[member == 1], raw.y[member == 1]
    network = trained(*(np.concatenate([part, rows[key]]) for part, key in zip(own, ("x", "y"), strict=True)))
    torch.save(network.state_dict(), folder / "prod.pt")
    return folder


def study_of(files, **changes):
    values = {
        "name": "mine",
        "seed": 3,
        "data": {"source": f"npz:{files / 'data.npz'}", "num_samples": 300},
        "model": MODEL,
        "training": {"epochs": 3, "batch_size": 32, "learning_rate": 0.05},
        "target": {
            "weights": str(files / "prod.pt"),
            "member": str(files / "member.npy"),
            "canaries": str(files / "canaries.npz"),
            "num_references": 1,
        },
        "releases": [{"compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 1, "learning_rate": 0.01}}],
        "audit": {"attacks": ["loss"], "fpr_levels": [0.1]},
    }
    return Study.model_validate(values | changes)


@pytest.fixture(scope="module")
def finished(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "study.json").write_text(study_of(files).model_dump_json(exclude_unset=True))
    succeed("run", folder / "study.json", "--out", folder, "--executor", "serial")
    return folder / "mine"


def test_an_overfit_target_shows_epsilon_in_every_release_that_keeps_its_canaries(finished):
    rows = pd.read_csv(finished / "canaries.csv")
    bounds = rows[(rows["victim"] == "every victim") & (rows["figure"] == "epsilon, one run")].set_index("release")
    assert set(bounds.index) == {"dense", "dense+finetune", "l1unstructured-0.5"}
    assert (bounds["value"] > 1).all()
    assert (rows["num_canaries"] == NUM_CANARIES).all()
    assert (rows["num_victims"] == 1).all()
    assert json.loads((finished / "about.json").read_text())["audit_data"]["num_canaries"] == NUM_CANARIES
    assert "Canaries: the worst case" in (finished / "report.html").read_text()


def test_the_targets_coins_are_those_of_the_file_and_references_draw_their_own(finished, files):
    run_folder = RunFolder(finished)
    plan, audit_data = run_folder.finished()
    canaries, member = read_canaries(files / "canaries.npz"), np.load(files / "member.npy")
    splits = run_folder.membership(plan.study, audit_data)
    planted = audit_data.canary
    np.testing.assert_array_equal(audit_data.x[planted], canaries.x)
    np.testing.assert_array_equal(audit_data.y[planted], canaries.y)
    np.testing.assert_array_equal(splits.member[0, planted], canaries.member)
    assert 0.2 < (splits.member[1, planted] == canaries.member).mean() < 0.8
    assert splits.eligible[:, planted].all()
    pool = np.flatnonzero(member == 0)
    assert not set(audit_data.ids.tolist()) & set(pool[canaries.ids].tolist())  # the canaries stand for these rows
    np.testing.assert_array_equal(audit_data.ids[planted], NUM_ROWS + np.arange(NUM_CANARIES))
    np.testing.assert_array_equal(splits.member[0, ~planted], member[audit_data.ids[~planted]] == 1)
    assert splits.member[0].sum() == 400 + canaries.member.sum()


def test_fine_tuning_keeps_the_canaries_that_are_in(finished, files):
    num_in = int(read_canaries(files / "canaries.npz").member.sum())
    summaries = finished.glob("l1unstructured-0.5-*/model-000/summary.json")
    assert [json.loads(path.read_text())["num_members"] for path in summaries] == [400 + num_in]


def test_the_run_needs_the_file_no_more(finished, files, tmp_path):
    moved = shutil.copytree(finished, tmp_path / "mine")
    away = files.rename(files.with_name("away"))
    try:
        succeed("attack", moved, "--attacks", "confidence", "--out", tmp_path / "again", "--quiet")
    finally:
        away.rename(files)
    again = pd.read_csv(tmp_path / "again" / "canaries.csv")
    assert (again.loc[again["figure"] == "epsilon, one run", "value"] > 1).all()


@pytest.mark.slow
def test_a_version_trained_with_dp_sgd_has_the_bound_with_the_accountants_curve(files, tmp_path):
    pytest.importorskip("opacus")
    study = study_of(files, releases=[{"name": "dp", "parent": "init", "defense": "dp:noise_multiplier=1"}])
    table = run(study, out=tmp_path, runtime=Runtime(executor="serial")).results.canaries
    assert set(table.loc[table["figure"] == DP_SGD, "release"]) == {"dp"}
    assert {"dense", "dp"} <= set(table.loc[table["figure"] == GAUSSIAN, "release"])


@pytest.mark.parametrize(("value", "told"), [(1, "same x as members"), (-1, "unknown")])
def test_members_that_contradict_a_coin_are_refused_before_any_work(files, tmp_path, value, told):
    own = shutil.copytree(files, tmp_path / "files")
    member = np.load(own / "member.npy")
    row = np.flatnonzero(member == 0)[read_canaries(own / "canaries.npz").ids[3]]
    member[row] = value
    np.save(own / "member.npy", member)
    line = refused_study(study_of(own), tmp_path)
    assert all(part in line for part in ("canaries.npz", f"row {row}", told)), line


def test_data_that_contain_the_planted_rows_are_accepted(files, tmp_path):
    """The rows that were added to the training set are the canaries themselves."""
    own = shutil.copytree(files, tmp_path / "files")
    data, rows, member = arrays_of(own / "data.npz"), arrays_of(own / "rows.npz"), np.load(own / "member.npy")
    np.savez(own / "data.npz", **{key: np.concatenate([data[key], rows[key]]) for key in ("x", "y")})
    np.save(own / "member.npy", np.concatenate([member, np.ones(len(rows["y"]), np.int8)]))
    study = study_of(own)
    audit_data = load_audit_data(study.data, study.seed, target=study.target)
    assert audit_data.canary.sum() == NUM_CANARIES
    assert audit_data.target_member.sum() == 400 + len(rows["y"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"data": {"source": "digits"}}, ("uint8", "float32")),
        ({"canaries": "none.npz"}, ("target.canaries", "none.npz")),
        ({"canaries": "data.npz"}, ("target.canaries", "data.npz", "canaries make")),
    ],
)
def test_a_file_that_does_not_fit_is_refused_before_any_work(files, tmp_path, change, told):
    study = study_of(files)
    if "canaries" in change:
        study = study.changed([f"target.canaries={files / change['canaries']}"], "study")
    else:
        study = study_of(files, **change)
    line = refused_study(study, tmp_path)
    assert all(part in line for part in told), line


def test_a_label_that_the_data_do_not_have_is_refused_study(files, tmp_path):
    own = shutil.copytree(files, tmp_path / "files")
    arrays = arrays_of(own / "canaries.npz")
    arrays["y"][5] = 10
    np.savez(own / "canaries.npz", **arrays)
    line = refused_study(study_of(own), tmp_path)
    assert all(part in line for part in ("label 10", "10 classes")), line
