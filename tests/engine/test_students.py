"""Students of a study's networks: what they learn from, their baselines, and the releases that start from them."""

import json

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SUMMARY_FILE, WEIGHTS_FILE
from pruneaudit.engine.plan import check_plugins
from pruneaudit.report.compressed import taught_by
from pruneaudit.report.sentences.changes import change_words
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study.baselines import baselines
from pruneaudit.study.parts import num_taken
from pruneaudit.training.checkpoint import load_tensors

SMALL = {"name": "mlp", "options": {"hidden": [4]}}
TUNED = {"finetune": {"epochs": 2, "learning_rate": 0.02}}
RELEASES = [
    {"compress": "distil", "data": ["members", "members-soft", "public", "mixed"], "model": SMALL, **TUNED},
    {"name": "rounded", "parent": "distil-members", "compress": "rtn:bits=4"},
    {"name": "grandchild", "parent": "rounded", "compress": "distil:data=public", "model": SMALL, **TUNED},
]


def study_of(make_study, **changes):
    settings = {
        "data": {"source": "digits", "num_samples": 80, "num_holdout": 40, "num_public": 30},
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "membership": {"num_models": 2},
        "releases": RELEASES,
        "audit": {"attacks": ["loss"]},
    }
    return make_study(**(settings | changes))


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    return run(study_of(make_study), tmp_path_factory.mktemp("runs"), runtime=Runtime("serial"))


def folder_of(finished, release, model_id=0):
    (found,) = finished.folder.glob(f"{release}-????????/model-{model_id:03d}")
    return found


def weights_of(finished, release, model_id=0):
    return load_tensors(folder_of(finished, release, model_id) / WEIGHTS_FILE)


def test_names_and_baselines(make_study):
    study = study_of(make_study)
    names = ["distil-members", "distil-members-soft", "distil-public", "distil-mixed", "rounded", "grandchild"]
    assert [release.name for release in study.releases] == names
    found = baselines(study)
    baseline = found["distil-members"]
    assert baseline.missing.parent == "init"
    assert baseline.missing.model.options == {"hidden": [4]}
    assert baseline.missing.finetune.epochs == 2
    assert {found[name].name for name in names[:4]} == {baseline.name}
    assert found["rounded"].name == "distil-members"


def test_students_are_small_and_sizes_are_fractions_of_the_teachers_dense_network(finished):
    dense, small = 64 * 16 + 16 * 10, 64 * 4 + 4 * 10
    for release in ("distil-members", "grandchild"):
        summary = json.loads((folder_of(finished, release) / SUMMARY_FILE).read_text())
        assert summary["prunable_weights"] == small
        assert summary["effective_bits"] == pytest.approx(32 * small / dense)
    rounded = json.loads((folder_of(finished, "rounded") / SUMMARY_FILE).read_text())
    assert rounded["effective_bits"] < 6 * small / dense


def test_the_student_and_the_network_from_scratch_begin_alike_and_end_apart(finished, make_study):
    scratch = baselines(study_of(make_study))["distil-members"].name
    kinds = [weights_of(finished, name) for name in ("distil-members", "distil-members-soft", "distil-public", scratch)]
    shapes = [{name: value.shape for name, value in found.items()} for found in kinds]
    assert all(found == shapes[0] for found in shapes)
    first = [found["classifier.weight" if "classifier.weight" in found else sorted(found)[0]] for found in kinds]
    assert len({tuple(value.flatten().tolist()) for value in first}) == 4


def test_alpha_0_on_members_is_the_network_from_scratch(make_study, tmp_path):
    releases = [{"compress": "distil:data=members:alpha=0", "model": SMALL, **TUNED}]
    study = study_of(make_study, releases=releases)
    scratch, name = baselines(study)[study.releases[0].name].name, study.releases[0].name
    finished = run(study, tmp_path, runtime=Runtime("serial"))
    for model_id in range(2):
        one, other = (weights_of(finished, release, model_id) for release in (name, scratch))
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_a_student_is_made_of_its_teacher_and_not_of_other_networks(make_study):
    plan, _ = plan_study(study_of(make_study))
    for task in plan.models("distil-public"):
        assert set(task.inputs) == {"audit_data", "teacher"}
        assert task.inputs["teacher"] == plan.models("dense")[task.model_id].artifact
    assert plan.models("grandchild")[1].inputs["teacher"] == plan.models("rounded")[1].artifact
    other, _ = plan_study(study_of(make_study, training={"epochs": 4, "batch_size": 32}))
    assert plan.models("distil-public")[0].artifact.identity != other.models("distil-public")[0].artifact.identity


def test_without_the_teachers_outputs_a_student_on_public_data_is_the_same_whatever_the_teacher(make_study, tmp_path):
    releases = [{"compress": "distil:data=public:alpha=0", "model": SMALL, **TUNED}]
    studies = [
        study_of(make_study, releases=releases, training={"epochs": epochs, "batch_size": 32}) for epochs in (1, 3)
    ]
    name = studies[0].releases[0].name
    runs = [run(study, tmp_path / str(k), runtime=Runtime("serial")) for k, study in enumerate(studies)]
    students, teachers = ([weights_of(each, release) for each in runs] for release in (name, "dense"))
    assert all(torch.equal(students[0][key], students[1][key]) for key in students[0])
    assert not all(torch.equal(teachers[0][key], teachers[1][key]) for key in teachers[0])


def test_what_shaped_the_teacher_leaves_the_nulls_of_the_student(make_study):
    releases = [
        {"name": "teacher", "parent": "init", "finetune": {"epochs": 2, "select": "best_dev"}},
        {"name": "student", "parent": "teacher", "compress": "distil:data=members", "model": SMALL, **TUNED},
    ]
    study = study_of(make_study, releases=releases, data={"source": "digits", "num_samples": 80, "num_holdout": 40})
    assert [num_taken(study, release) for release in study.releases] == [40, 40]


def test_the_holdout_that_taught_leaves_the_nulls(make_study, tmp_path):
    data = {"source": "digits", "num_samples": 80, "num_holdout": 40}
    study = study_of(make_study, releases=RELEASES[:1], data=data)
    finished = run(study, tmp_path, runtime=Runtime("serial"))
    folder = RunFolder.open(finished.folder)
    plan, audit_data = folder.finished()
    left = {name: int(folder.signals(plan, audit_data, name).untouched_holdout.sum()) for name in plan.releases}
    assert left["dense"] == left["distil-members"] == left["distil-members-soft"] == 40
    assert left["distil-public"] == left["distil-mixed"] == 0


@pytest.mark.parametrize(
    ("release", "message"),
    [
        ({"parent": "init", "compress": "distil:data=members"}, r"learns from the parent's.*'init'.*dense"),
        ({"compress": "distil"}, r"'distil' needs data"),
        ({"compress": "distil:data=reserve"}, r"'reserve'.*members.*public.*mixed"),
        ({"compress": ["rtn:bits=4", "distil:data=members"], **TUNED}, r"'distil' cannot follow 'rtn'.*put it first"),
        ({"compress": ["distil:data=members", "rtn:bits=4"], **TUNED}, r"'rtn' cannot follow 'distil'.*last step"),
    ],
)
def test_what_cannot_be_is_refused_before_any_training(release, message, make_study):
    with pytest.raises((UserError, ValidationError), match=message):
        check_plugins(study_of(make_study, releases=[release]))


def test_another_model_needs_new_weights_or_a_teacher(make_study):
    with pytest.raises(ValidationError, match=r"another model.*'init'.*distil.*'dense'"):
        study_of(make_study, releases=[{"compress": "rtn:bits=4", "model": SMALL}])


def test_accuracies_are_those_of_the_student(finished):
    found = [json.loads((folder_of(finished, "distil-public", m) / SUMMARY_FILE).read_text()) for m in range(2)]
    assert all(0 <= summary["test_accuracy"] <= 1 for summary in found)
    assert np.isfinite([summary["train_accuracy"] for summary in found]).all()


def test_the_report_says_who_taught_whom_and_what_it_is_compared_with(finished):
    words = change_words(finished.audit.results, "distil-members-soft", "dense")
    assert "A student of dense, taught on members without their labels" in words
    assert "trained from scratch on members" in words
    assert taught_by(finished.audit.results, "rounded") == ("", "")
    assert taught_by(finished.audit.results, "grandchild") == ("rounded", "public samples")


def test_a_student_is_small_and_not_sparse(finished):
    entries = {entry["name"]: entry for entry in finished.audit.results.about["release_report"]["releases"]}
    rows = finished.audit.results.releases.set_index("release")
    for name in ("distil-members", "rounded"):
        assert entries[name]["sparsity_prunable"] == entries[name]["sparsity_all"] == rows.loc[name, "sparsity"] == 0
        assert all(layer["dense_shape"] == layer["shape"] for layer in entries[name]["layers"])
    assert entries["distil-members"]["left_whole"] == []
    assert entries["distil-members"]["parameters"]["released"] < entries["distil-members"]["parameters"]["dense"]
    assert not any(entry["gaps"].get("network") for entry in entries.values())
