"""Copies that were trained further on half A of the holdout: where they are planned, and what they learn."""

import numpy as np
import pytest

from pruneaudit.api import Runtime, attack, run
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import torch_generator
from pruneaudit.core.threads import one_torch_thread
from pruneaudit.data.audit_data import holdout_halves
from pruneaudit.engine.plan import check_plugins
from pruneaudit.engine.task_context import stored_model
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from pruneaudit.signals.derived import scaled_confidence
from pruneaudit.study import Study
from pruneaudit.training.loop import train
from pruneaudit.training.predict import predict
from pruneaudit.training.samples import Samples

NEW = ("loss", "quantile", "forgetting")


def study(*attacks: str, **data: int) -> Study:
    return Study.model_validate(
        {
            "name": "copies",
            "data": {"source": "digits", "num_samples": 150, "num_holdout": 500, **data},
            "membership": {"num_models": 3},
            "model": {"name": "mlp", "options": {"hidden": [16]}},
            "training": {"epochs": 6, "batch_size": 32},
            "releases": [{"compress": "l1unstructured:sparsity=0.8", "finetune": {"epochs": 2}}],
            "audit": {"attacks": list(attacks), "fpr_levels": [0.1]},
        }
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return run(study(*NEW), out=tmp_path_factory.mktemp("copies"), runtime=Runtime(executor="serial"))


def test_a_copy_is_the_network_after_ten_epochs_on_half_a(finished):
    folder = RunFolder.open(finished.folder)
    plan, audit_data = folder.finished()
    fitting, nulls = holdout_halves(audit_data.holdout, audit_data.ids)
    assert min(fitting.sum(), nulls.sum()) >= 200
    for release in ("dense", "l1unstructured-0.8"):
        signals = folder.signals(plan, audit_data, release)
        np.testing.assert_array_equal(signals.fitting, fitting)
        task = plan.models(release)[1]
        copy = stored_model(task.spec, audit_data, folder.store.path(task.artifact))
        settings = plan.study.training.model_copy(update={"epochs": 10})
        with one_torch_thread():
            generator = torch_generator(plan.study.seed, seeds.FORGETTING, 1)
            train(copy, Samples.of(audit_data, fitting), settings, generator)
        logits = predict(copy, Samples.of(audit_data, np.ones(len(audit_data.y), dtype=bool))).numpy()
        np.testing.assert_allclose(signals.forgotten[1], scaled_confidence(logits, audit_data.y), atol=1e-4)
        moved = signals.forgotten[1] - signals.phi[1, :, 0]
        assert moved[fitting].mean() > moved[nulls].mean()  # it has learned half A, and not half B


def test_findings_name_the_attacks_with_their_trainings_and_no_release_more(finished):
    findings = finished.audit.findings[finished.audit.findings["victim"] == "mean"]
    assert set(findings["release"]) == set(finished.audit.results.releases["release"])
    trainings = findings[findings["references"] == "matched"].groupby("attack")["num_trainings"].unique()
    assert {name: found.tolist() for name, found in trainings.items()} == {
        **{"loss": [0], "quantile": [0], "forgetting": [1 + 2 * 2]}  # a is tuned on two references and their copies
    }
    assert not finished.audit.findings[finished.audit.findings["victim"] == "mean"]["auc"].isna().any()


def test_asking_for_copies_changes_no_network_and_no_other_answer():
    without, asked = (plan_study(study(*attacks))[0] for attacks in (("loss", "scores"), NEW))
    added = {task.action for task in asked.tasks} - {task.action for task in without.tasks}
    assert added == {"forgetting"}
    assert len([task for task in asked.tasks if task.action == "forgetting"]) == 3 * len(asked.releases)
    before = {task.artifact.identity for task in without.tasks}
    assert before == {task.artifact.identity for task in asked.tasks if task.action != "forgetting"}


def test_samples_that_shaped_a_release_teach_no_copy_of_it():
    shaped = study("loss", "forgetting", num_holdout=900).model_dump()
    shaped["releases"][0]["compress"] = [{"name": "l1unstructured", "options": {"sparsity": 0.8}}]
    shaped["releases"][0]["finetune"] = {"epochs": 2, "select": "best_dev"}
    with pytest.raises(UserError, match=r"'forgetting'.*got 0 of 900.*num_public=900"):
        check_plugins(Study.model_validate(shaped))


@pytest.mark.parametrize("name", ["quantile", "forgetting"])
def test_too_small_a_half_is_refused_before_any_training(name):
    with pytest.raises(UserError, match=rf"'{name}'.*200.*got 150 of 300.*num_holdout=500"):
        check_plugins(study("loss", name, num_holdout=300))
    assert not [task for task in plan_study(study("all", num_holdout=300))[0].tasks if task.action == "forgetting"]


@pytest.mark.slow
def test_a_finished_run_without_copies_says_how_to_make_them(tmp_path):
    alone = study("loss").changed(["releases=[]"], "study")
    finished = run(alone, out=tmp_path, runtime=Runtime(executor="serial"))
    again = attack(finished.folder, ["quantile", "scores"], out=tmp_path / "again")
    assert {"quantile", "loss"} < set(again.audit.findings["attack"]) and "forgetting" not in set(
        again.audit.findings["attack"]
    )
    with pytest.raises(UserError, match=r'copies trained further.*"forgetting".*--set .audit.attacks='):
        attack(finished.folder, ["loss", "forgetting"], out=tmp_path / "more")
