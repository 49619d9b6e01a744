"""Parts of the data and a bank: what changes no network, what leaves the nulls, and what an old study becomes."""

import numpy as np
import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.engine.plan import make_plan
from pruneaudit.engine.store import Store
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study
from pruneaudit.study.migration import migrated

pytestmark = pytest.mark.slow

NETWORKS = ("train", "release", "sample_scores")
WEMEM = {"name": "wemem", "options": {"scoring_models": 2, "stride": 2, "width": 4}}
FINETUNE = {"epochs": 1, "learning_rate": 0.02}
FORMER = {
    "name": "former",
    "seed": 3,
    "data": {"source": "digits", "num_samples": 150, "num_reserve": 500, "label_noise": 0.1, "num_canaries": 20},
    "membership": {"num_models": 4},
    "model": {"name": "mlp", "options": {"hidden": [16]}},
    "training": {"epochs": 2, "batch_size": 32, "select": "best_dev"},
    "releases": [
        {"name": "adv", "parent": "init", "finetune": {**FINETUNE, "select": "last"}, "defense": "adv"},
        {"name": "plain", "parent": "init", "finetune": {**FINETUNE, "select": "last"}},
        {"pruner": "l1unstructured", "sparsity": 0.8, "finetune": FINETUNE, "defense": WEMEM, "name": "weighed"},
    ],
    "audit": {
        "attacks": ["loss", "rmia"],
        "references": ["matched"],
        "fpr_levels": [0.1],
        "queries": 2,
    },
}


def changed(**data):
    """The former study with another data section."""
    rest = {key: value for key, value in FORMER["data"].items() if key != "num_reserve"}
    translated = migrated({**FORMER, "data": {"num_samples": 150}}, "former.toml")
    return Study.model_validate({**translated, "data": {**rest, **data}})


def networks(study, alone=()):
    """The folders of a study's networks, and of the scores of its scoring bank, with their identities."""
    tasks = plan_study(study)[0].tasks
    chosen = [task for task in tasks if task.action in NETWORKS and (not alone or task.release in alone)]
    return {task.artifact.folder: task.artifact.identity for task in chosen}


UNMIGRATED = {"num_holdout": 500}
"""What the identities of the former study's networks are made of: data tests hold it to the former hash."""


def test_no_network_of_a_migrated_study_changes_its_identity():
    study = Study.model_validate(migrated(FORMER, "former.toml", num_unused=1127))
    assert study.data.num_public == study.data.num_holdout == 500
    assert networks(study) == networks(changed(**UNMIGRATED)) == networks(changed(num_public=500))
    signals = [
        {t.artifact.identity for t in plan_study(s)[0].of("signals", "dense")} for s in (study, changed(**UNMIGRATED))
    ]
    assert not set.intersection(*signals)  # the models are asked about the new samples too


def test_a_public_part_changes_those_networks_alone_that_it_shapes():
    study = changed(num_holdout=200, num_public=50)
    before = networks(changed(num_holdout=200))
    after = networks(study)
    same = {folder.partition("/")[0] for folder in before.keys() & after.keys()}
    assert {name.rpartition("-")[0] for name in same} == {"plain"}  # the dev set shapes dense and the scoring bank
    _, audit_data = plan_study(study)
    other = make_plan(changed(num_holdout=200, num_public=60), plan_study(changed(num_holdout=200, num_public=60))[1])
    now = make_plan(study, audit_data)
    for release, is_shaped in (("dense", True), ("adv", True), ("plain", False), ("weighed", True)):
        (one, *_), (two, *_) = now.models(release), other.models(release)
        assert (one.artifact.identity != two.artifact.identity) == is_shaped


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The study as it was, its dev set and `adv` in the holdout; and migrated."""
    place = tmp_path_factory.mktemp("parts")
    studies = {"before": changed(**UNMIGRATED), "after": Study.model_validate(migrated(FORMER, "former.toml", 1127))}
    return {name: run(study, out=place / name, runtime=Runtime(executor="serial")) for name, study in studies.items()}


def test_weights_and_answers_stay_bit_for_bit(runs):
    folders = {name: finished.folder for name, finished in runs.items()}
    weights = [
        sorted(str(f.relative_to(folder)) for f in folder.rglob("model.safetensors")) for folder in folders.values()
    ]
    assert weights[0] == weights[1] and len(weights[0]) >= 4 * 4 + 2  # a baseline is added
    for name in weights[0]:
        assert (folders["before"] / name).read_bytes() == (folders["after"] / name).read_bytes()
    for key in ("logits", "confidence"):
        found = [sorted(folder.glob(f"*/*/model-*/{key}.npy")) for folder in folders.values()]
        pairs = list(zip(*found, strict=True))
        assert pairs
        for before, after in pairs:
            one, other = np.load(before), np.load(after)
            assert len(one) == 670 and len(other) == (670 if "/scoring-" in str(after) else 1170)
            np.testing.assert_array_equal(other[:670], one)


def test_scores_without_nulls_stay_and_z_is_said(runs):
    before, after = (finished.audit for finished in runs.values())
    assert before.scores.keys() == after.scores.keys()
    for name in (name for name in before.scores if name.endswith("/loss")):
        np.testing.assert_array_equal(before.scores[name], after.scores[name][:, :670])
    for finished, expected in ((before, {"plain": "holdout"}), (after, {})):
        findings = finished.findings[finished.findings["attack"] == "rmia"]
        for release, variant in zip(findings["release"], findings["variant"], strict=True):
            usual = "audited samples" if finished is before else "holdout"
            assert f"z from the {expected.get(release, usual)}" in variant


def test_nulls_hold_no_sample_that_shaped_the_release(runs):
    for name in ("before", "after"):
        folder = RunFolder.open(runs[name].folder)
        plan, audit_data = folder.finished()
        assert audit_data.holdout.sum() == 500
        assert {"dense", "adv", "plain", "weighed"} < set(plan.releases)
        for release in plan.releases:
            is_taken = name == "before" and release != "plain"
            signals = folder.signals(plan, audit_data, release)
            assert signals.untouched_holdout.sum() == (0 if is_taken else 500)
            assert not (signals.untouched_holdout & audit_data.shaping() & is_taken).any()
        with np.load(folder.path / "membership.npz") as membership:
            assert membership["holdout"].sum() == 500
            assert membership["public"].sum() == (500 if name == "after" else 0)
            assert not (membership["member"] | membership["eligible"])[:, membership["holdout"]].any()
        assert Store(folder.path).status(plan.audit_data)[0] == "whole"
