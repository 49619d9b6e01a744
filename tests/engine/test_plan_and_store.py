"""Identities, tasks and the store, without training anything."""

import dataclasses
import json

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import sha256_of
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.engine.plan import Plan, make_plan
from pruneaudit.engine.store import Artifact, Store


@pytest.fixture
def audit_data():
    generator = np.random.default_rng(0)
    return AuditData(
        name="random",
        x=generator.integers(0, 256, (40, 1, 8, 8), dtype=np.uint8),
        y=np.arange(40) % 4,
        ids=np.arange(40),
        holdout=np.arange(40) >= 30,
        public=np.zeros(40, dtype=bool),
        canary=np.zeros(40, dtype=bool),
        num_classes=4,
        classes=("a", "b", "c", "d"),
        mean=(0.5,),
        std=(0.25,),
    )


def identities(plan: Plan) -> dict[str, str]:
    return {task.name: task.artifact.identity for task in plan.tasks}


def test_every_task_comes_after_its_inputs(study, audit_data):
    plan = make_plan(study, audit_data)
    made = {plan.audit_data.identity}
    for task in plan.tasks:
        assert {artifact.identity for artifact in task.inputs.values()} <= made
        made.add(task.artifact.identity)
    assert len({task.artifact.folder for task in plan.tasks}) == len(plan.tasks)


def test_a_part_of_a_plan_has_all_that_it_needs_and_nothing_else(make_study, audit_data):
    releases = [
        {"name": "first", "compress": "l1unstructured", "sparsity": 0.5},
        {"name": "second", "parent": "first", "finetune": {"epochs": 1}},
        {"name": "early", "parent": "init", "finetune": {"epochs": 1}},
    ]
    plan = make_plan(make_study(releases=releases), audit_data, is_whole=False)
    part = plan.only({1, 2}, {"second"})
    assert {task.name for task in part.tasks} == {
        f"{what} model-00{model}"
        for what in ("train dense", "release first", "release second", "signals second")
        for model in (1, 2)
    }
    assert [task for task in plan.tasks if task in part.tasks] == list(part.tasks)
    assert part.releases == ("dense", "first", "second")
    assert {task.name.split()[1] for task in plan.only({0}, {"early"}).tasks} == {"early"}
    assert plan.only({0}, {"dense"}).tasks == (plan.models("dense")[0], plan.of("signals", "dense")[0])
    assert plan.only({99}, {"early"}).tasks == ()


def test_without_baselines_the_others_are_the_same(make_study, audit_data):
    study = make_study(releases=[{"compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 1}}])
    whole, part = identities(make_plan(study, audit_data)), identities(make_plan(study, audit_data, is_whole=False))
    assert part.items() < whole.items()
    assert {name.split()[1] for name in whole.keys() - part.keys()} == {"dense+finetune"}


def test_a_pixel_changes_every_identity(study, audit_data):
    changed = audit_data.x.copy()
    changed[0, 0, 0, 0] ^= 1
    before = identities(make_plan(study, audit_data))
    after = identities(make_plan(study, dataclasses.replace(audit_data, x=changed)))
    assert not set(before.values()) & set(after.values())


def test_a_raised_semantics_version_makes_what_depends_on_it_anew(study, audit_data, monkeypatch):
    before = identities(make_plan(study, audit_data))
    from pruneaudit.compression.l1unstructured import L1Unstructured

    monkeypatch.setattr(L1Unstructured, "semantics_version", 2)
    after = identities(make_plan(study, audit_data))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for name in before if "l1unstructured" in name}


def test_identities_of_artifacts_are_what_they_were(make_study):
    """Artifacts of earlier versions stay whole: nothing that shapes them has been renamed."""
    wemem = {"name": "w", "parent": "init", "finetune": {"epochs": 2}, "defense": "wemem"}
    study = make_study(releases=[*make_study().model_dump()["releases"], wemem])
    plan = make_plan(study, load_audit_data(study.data, study.seed))
    found = sorted(identities(plan).values())
    assert len(found) == 49
    assert sha256_of(found) == "d0b1fc84f4612db4173cf3d8f0cd05af4aa90cc9c3caa6921c8093f4fb5f3855"


def test_an_option_at_its_default_is_the_same_as_left_out(make_study, audit_data):
    base = make_study().model_dump()["releases"]
    spelt = [
        base[0],
        {**base[1], "compress": {"name": "l1unstructured", "options": {"sparsity": 0.8, "scope": "global"}}},
    ]
    assert identities(make_plan(make_study(releases=base), audit_data)) == identities(
        make_plan(make_study(releases=spelt), audit_data)
    )


def test_tables_refuse_augmentation(make_study, audit_data):
    table = dataclasses.replace(audit_data, x=np.zeros((40, 5), np.float32), mean=None, std=None)
    with pytest.raises(UserError, match="need images"):
        make_plan(make_study(training={"augment": "flip"}), table)


ARTIFACT = Artifact("thing-1/model-000", {"kind": "thing", "size": 4}, ("data.bin",))


def stage(store, content=b"abc"):
    staging = store.new_staging()
    (staging / "data.bin").write_bytes(content)
    return staging


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "run")
    store.open_for_writing()
    return store


def test_an_artifact_is_whole_only_after_commit(store):
    assert store.status(ARTIFACT) == ("missing", "")
    staging = stage(store)
    assert store.status(ARTIFACT) == ("missing", "")
    store.commit(ARTIFACT, staging)
    assert store.status(ARTIFACT) == ("whole", "")
    assert not staging.exists()
    assert json.loads((store.path(ARTIFACT) / "config.json").read_text()) == {"kind": "thing", "size": 4}


def test_a_task_that_wrote_nothing_is_not_committed(store):
    with pytest.raises(RuntimeError, match=r"data\.bin was not written"):
        store.commit(ARTIFACT, store.new_staging())
    assert store.status(ARTIFACT)[0] == "missing"


def test_another_configuration_under_the_same_name_is_not_taken(store):
    store.commit(ARTIFACT, stage(store))
    other = Artifact(ARTIFACT.folder, {"kind": "thing", "size": 5}, ARTIFACT.files)
    assert store.status(other) == ("damaged", "it was made with another configuration")
    assert store.status(dataclasses.replace(ARTIFACT, config={"size": 4.0, "kind": "thing"})) == ("whole", "")


@pytest.mark.parametrize("file", ["data.bin", "config.json", "DONE"])
def test_any_changed_byte_is_noticed(store, file):
    store.commit(ARTIFACT, stage(store))
    path = store.path(ARTIFACT) / file
    original = path.read_bytes()
    for position in range(len(original)):
        data = bytearray(original)
        data[position] ^= 1
        path.write_bytes(data)
        assert store.status(ARTIFACT)[0] == "damaged", position
    path.write_bytes(original)
    assert store.status(ARTIFACT)[0] == "whole"


def test_an_estimate_looks_for_files_and_does_not_read_them(store):
    store.commit(ARTIFACT, stage(store))
    path = store.path(ARTIFACT) / "data.bin"
    path.write_bytes(b"abd")
    assert (store.status(ARTIFACT, contents=False)[0], store.status(ARTIFACT)[0]) == ("whole", "damaged")
    path.unlink()
    assert store.status(ARTIFACT, contents=False) == ("damaged", "data.bin is missing")
    other = Artifact(ARTIFACT.folder, {"kind": "thing", "size": 5}, ARTIFACT.files)
    assert store.status(other, contents=False) == ("damaged", "it was made with another configuration")


def test_setting_aside_keeps_the_bytes(store):
    store.commit(ARTIFACT, stage(store))
    place = store.quarantine(ARTIFACT)
    assert (place / "data.bin").read_bytes() == b"abc"
    assert store.status(ARTIFACT)[0] == "missing"
