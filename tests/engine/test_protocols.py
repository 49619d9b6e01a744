"""Whole studies under the disjoint protocol, and with canaries."""

import json

import numpy as np
import pandas as pd
import pytest

from npz_files import arrays_in
from pruneaudit.api import Runtime, run, sanity_check
from pruneaudit.core.errors import UserError
from pruneaudit.engine.assemble import release_signals
from pruneaudit.engine.plan import make_plan
from pruneaudit.engine.store import Store

DISJOINT = {"protocol": "disjoint", "num_models": 8, "num_shadows": 3}
OFFLINE = ["loss", "lira:mode=offline", "nn:epochs=2", "rmia:mode=offline", "threshold"]


@pytest.fixture(scope="module")
def disjoint(make_study, tmp_path_factory):
    study = make_study(membership=DISJOINT, audit={"attacks": OFFLINE, "fpr_levels": [0.3]})
    return run(study, out=tmp_path_factory.mktemp("disjoint"), runtime=Runtime(executor="serial"))


def test_only_victims_are_scored_and_only_on_their_half(disjoint):
    findings = disjoint.audit.findings
    assert set(findings["victim"]) == {"mean", "pooled", "0", "4"}
    manifest = arrays_in(disjoint.folder / "membership.npz")
    scores = pd.read_parquet(disjoint.folder / "scores.parquet")
    for victim in (0, 4):
        scored = scores[(scores["model_id"] == victim) & (scores["release"] == "dense")]
        assert set(scored["sample_id"]) == set(manifest["ids"][manifest["eligible"][victim]])
        inside = set(scored.loc[scored["member"], "sample_id"])
        assert inside == set(manifest["ids"][manifest["member"][victim]])
        for shadow in range(victim + 1, victim + 4):
            assert not set(manifest["ids"][manifest["member"][shadow]]) & set(scored["sample_id"])


def test_every_model_trained_on_what_the_manifest_says(disjoint):
    manifest = arrays_in(disjoint.folder / "membership.npz")
    folder = next(disjoint.folder.glob("dense-????????"))
    summaries = [json.loads(path.read_text()) for path in sorted(folder.glob("model-*/summary.json"))]
    assert [summary["num_members"] for summary in summaries] == manifest["member"].sum(axis=1).tolist()
    means = np.mean([summaries[victim]["test_accuracy"] for victim in (0, 4)])
    assert disjoint.audit.results.releases.set_index("release").loc["dense", "test_accuracy"] == pytest.approx(means)


def test_thresholds_are_learned_on_all_shadows(disjoint):
    found = disjoint.audit.findings
    assert found.loc[found["victim"] != "pooled", "balanced_accuracy"].notna().all()
    assert {"confidence:thresholds=per_class", "confidence"} <= set(found["attack"])


@pytest.mark.parametrize("attack", ["lira", "rmia", "base", "bavaria"])
def test_attacks_that_compare_in_with_out_are_refused(attack, make_study, tmp_path):
    study = make_study(membership=DISJOINT, releases=[], audit={"attacks": [attack]})
    with pytest.raises(UserError, match=f"'{attack}' needs references .*'disjoint'"):
        run(study, out=tmp_path, runtime=Runtime(executor="serial"))


def test_all_leaves_them_out_with_a_warning(make_study, tmp_path):
    study = make_study(membership=DISJOINT, releases=[], audit={"attacks": ["scores"], "fpr_levels": [0.3]})
    found = run(study, out=tmp_path, runtime=Runtime(executor="serial")).audit
    assert "lira" not in set(found.findings["attack"])
    assert any("'lira' left out" in note for note in found.results.about["warnings"])


def test_more_groups_reuse_what_is_there(disjoint, make_study):
    study = make_study(membership=DISJOINT | {"num_models": 12}, audit={"attacks": ["loss"], "fpr_levels": [0.3]})
    assert run(study, out=disjoint.folder.parent, runtime=Runtime(executor="serial")).num_tasks_done == 4 * 2 * 3


def test_the_selftest_redraws_victims_alone(disjoint):
    assert sanity_check(disjoint.folder, ["loss", "lira:mode=offline"]).passed


@pytest.fixture(scope="module")
def with_canaries(make_study, tmp_path_factory):
    study = make_study(
        data={"source": "digits", "num_samples": 200, "num_holdout": 60, "num_canaries": 40},
        membership={"num_models": 6},
        training={"epochs": 60, "batch_size": 16, "learning_rate": 0.05},
        releases=[],
        audit={"attacks": ["loss", "lira"], "fpr_levels": [0.2], "delta": 1e-6},
    )
    return run(study, out=tmp_path_factory.mktemp("canaries"), runtime=Runtime(executor="serial")), study


def test_canaries_are_memorised_and_kept_apart(with_canaries):
    finished, _ = with_canaries
    table = finished.audit.results.canaries
    assert (table.loc[table["figure"] == "auc", "value"] > 0.8).all()
    assert (table["delta"].dropna() == 1e-6).all()
    loss = table[(table["attack"] == "loss") & (table["figure"] == "epsilon, one run")]
    assert (loss["num_canaries"] == 40).all()
    findings = finished.audit.findings
    one = findings[findings["victim"].str.isdigit()]
    assert (one["num_members"] + one["num_nonmembers"] + one["num_unscored"] == 200).all()
    assert "Canaries: the worst case" in (finished.folder / "report.html").read_text()
    manifest = arrays_in(finished.folder / "membership.npz")
    share = manifest["member"][:, manifest["canary"]].mean()
    assert abs(share - 0.5) < 4 * 0.5 / np.sqrt(240)


def test_canaries_carry_another_label_and_cost_no_accuracy_figure(with_canaries):
    finished, study = with_canaries
    from pruneaudit.data.drawing import load_audit_data

    planted = load_audit_data(study.data, study.seed)
    plain = load_audit_data(study.data.model_copy(update={"num_canaries": 0, "num_holdout": 100}), study.seed)
    np.testing.assert_array_equal(planted.ids, plain.ids)
    np.testing.assert_array_equal(planted.y != plain.y, planted.canary)
    signals = release_signals(make_plan(study, planted), Store(finished.folder), planted, "dense")
    right = signals.is_correct & ~signals.canaries & signals.scored
    accuracies = [(right & ~signals.member)[m].sum() / (signals.ordinary & ~signals.member)[m].sum() for m in range(6)]
    folder = next(finished.folder.glob("dense-????????"))
    recorded = [json.loads(path.read_text())["test_accuracy"] for path in sorted(folder.glob("model-*/summary.json"))]
    np.testing.assert_allclose(recorded, accuracies)
