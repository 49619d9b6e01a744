"""A whole study of data in which every sample stands twice: who trains, who is audited, what is said of it."""

import json

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from command_line import succeed
from npz_files import arrays_in
from pruneaudit.api import Runtime, run, verify
from pruneaudit.engine.assemble import release_signals
from pruneaudit.engine.store import Store
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder

# M models, N samples

NUM_DIFFERENT = 120


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("copies")
    rng = np.random.default_rng(0)
    x = np.tile(rng.normal(size=(NUM_DIFFERENT, 20)).astype(np.float32), (2, 1))
    y = rng.permutation(np.arange(2 * NUM_DIFFERENT) % 3)  # labels are noise, and copies may have different ones
    np.savez(folder / "twice.npz", x=x, y=y)
    study = make_study(
        data={"source": f"npz:{folder / 'twice.npz'}", "num_holdout": 20},
        membership={"num_models": 6},
        model={"name": "mlp", "options": {"hidden": [64]}},
        training={"epochs": 20, "batch_size": 32},
        releases=[],
        audit={"attacks": ["loss", "lira", "nn:epochs=1"]},
    )
    return run(study, out=folder, runtime=Runtime(executor="serial"))


@pytest.fixture(scope="module")
def manifest(finished):
    return dict(arrays_in(finished.folder / "membership.npz"))


def test_membership_is_of_samples_not_of_rows(manifest):
    counterpart = (manifest["ids"][:, None] % NUM_DIFFERENT) == (manifest["ids"] % NUM_DIFFERENT)
    for row in manifest["member"]:
        assert (row[np.nonzero(counterpart)[0]] == row[np.nonzero(counterpart)[1]]).all()
    audited = manifest["eligible"].all(axis=0)
    assert len(set(manifest["ids"][audited] % NUM_DIFFERENT)) == audited.sum() == NUM_DIFFERENT - 20
    is_copy = manifest["copy_of"] != np.arange(len(manifest["ids"]))
    np.testing.assert_array_equal(is_copy, ~audited & ~manifest["holdout"])
    np.testing.assert_array_equal(manifest["ids"][manifest["copy_of"]] % NUM_DIFFERENT, manifest["ids"] % NUM_DIFFERENT)


def test_all_copies_of_a_member_are_trained_on(finished, manifest):
    folder = next(finished.folder.glob("dense-????????"))
    sizes = [json.loads(path.read_text())["num_members"] for path in sorted(folder.glob("model-*/summary.json"))]
    assert sizes == manifest["member"].sum(axis=1).tolist()


def test_the_auc_is_that_of_members_and_true_non_members(finished, manifest):
    plan, audit_data = plan_study(RunFolder.open(finished.folder).study)
    signals = release_signals(plan, Store(finished.folder), audit_data, "dense")
    member, audited = manifest["member"], manifest["eligible"].all(axis=0)
    by_hand = [roc_auc_score(m[audited], phi[audited, 0]) for m, phi in zip(member, signals.phi, strict=True)]
    findings = finished.audit.findings.query("attack == 'loss' and victim == 'mean'")
    assert findings["auc"].item() == pytest.approx(np.mean(by_hand))
    # With a coin for each row, half of the rows that count as non-members would have been trained on.
    coins = np.random.default_rng(1).random(member.shape) < 0.5
    blurred = [roc_auc_score(c | m, phi[:, 0]) for c, m, phi in zip(coins, member, signals.phi, strict=True)]
    assert np.mean(by_hand) > np.mean(blurred) + 0.05
    assert not signals.untouched_holdout[manifest["copy_of"] != np.arange(signals.num_samples)].any()


def test_scores_hold_one_of_each(finished):
    scores = pd.read_parquet(finished.folder / "scores.parquet")
    for _, one in scores.groupby("model_id"):
        assert len(one) == len(set(one["sample_id"] % NUM_DIFFERENT)) == NUM_DIFFERENT - 20


def test_numbers_of_copies_are_told_everywhere(finished):
    about = json.loads((finished.folder / "about.json").read_text())
    assert about["audit_data"]["num_copies"] == 100
    assert about["audit_data"]["num_samples"] == 100
    said = "100 of 220 samples repeat an audited sample"
    assert any(said in warning for warning in about["warnings"])
    assert said in (finished.folder / "run.log").read_text()
    page = finished.report.read_text()
    assert said in page and "100 copies of audited samples" in page
    assert said in succeed("run", finished.folder / "study.json", "--out", finished.folder.parent, "--dry-run")


def test_a_second_run_reuses_everything_and_the_folder_verifies(finished):
    again = run(RunFolder.open(finished.folder).study, out=finished.folder.parent, runtime=Runtime(executor="serial"))
    assert again.num_tasks_done == 0
    assert not [checked for checked in verify(finished.folder) if checked.state != "whole"]
