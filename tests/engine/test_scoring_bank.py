"""The scoring bank: what it costs, that its scores are right, and that it stays apart from the audited bank."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest
from scipy.special import log_softmax

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.data.membership import read_membership, to_text
from pruneaudit.data.splits import splits_of
from pruneaudit.engine.scheduler import Failure, Work
from pruneaudit.engine.store import Store
from pruneaudit.engine.task_context import TaskContext, scoring_split
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.engine.tasks import memorisation
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.verify import checked_files
from pruneaudit.training.samples import Samples

pytestmark = pytest.mark.slow

K = 3
DISJOINT = {"protocol": "disjoint", "num_models": 4, "num_shadows": 1}
AUDIT = {"attacks": ["loss"], "fpr_levels": [0.1]}
FAILING = """
import torch
from torch import nn

def build(input_shape, num_classes):
    if torch.initial_seed() == {seed}:
        raise RuntimeError("no such luck")
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, num_classes))
"""


def defended(num_models=K, **more):
    options = {"stride": 2, "width": 4, "tau": 0.1, "scoring_models": num_models}
    finetune = {"epochs": 2, "learning_rate": 0.02}
    return {"name": "defended", "finetune": finetune, "defense": {"name": "wemem", "options": options}} | more


@pytest.fixture(scope="module")
def study(make_study):
    pruned = defended(name="pruned", compress="l1unstructured", sparsity=0.5)
    return make_study(releases=[defended(), pruned], audit=AUDIT | {"references": ["matched", "undefended"]})


@pytest.fixture(scope="module")
def finished(study, tmp_path_factory):
    return run(study, out=tmp_path_factory.mktemp("scoring"), runtime=Runtime(executor="serial"))


def planned(study, action=None, release=None):
    tasks = plan_study(study)[0].tasks
    return [task for task in tasks if action in (None, task.action) and release in (None, task.release)]


def test_cost_law(study, finished):
    # 4 dense trainings, 2 releases and their undefended counterparts, a query of each; K scoring models, K queries,
    # one table.
    assert finished.num_tasks_done == (4 + 4 * 4 + 20) + (K + K + 1)
    names = [task.name for task in planned(study, release="scoring")]
    assert names[0] == "train scoring model-000"
    assert names[-1] == f"sample_scores of {K} scoring models"
    assert finished.failures == ()


def test_a_second_run_does_nothing_and_everything_is_whole(study, finished):
    assert run(study, out=finished.folder.parent, runtime=Runtime(executor="serial")).num_tasks_done == 0
    assert {checked.state for checked in checked_files(plan_study(study)[0], Store(finished.folder), {})} == {"whole"}


def test_scores_are_those_of_the_scoring_models(study, finished):
    audit_data = plan_study(study)[1]
    answers = sorted(finished.folder.glob("scoring-*/signals-*/model-*/logits.npy"))
    assert len(answers) == K
    log_p = [log_softmax(np.load(path).astype(float), axis=1)[np.arange(260), audit_data.y] for path in answers]
    rows = [scoring_split(study.seed, k, audit_data).member for k in range(K)]
    (table,) = finished.folder.glob("scoring-*/sample_scores-*/scores.npy")
    scores = np.load(table)
    assert scores.dtype == np.float64
    one_sided = 0
    for i in range(260):
        inside = [np.exp(log_p[k][i]) for k in range(K) if rows[k][i]]
        outside = [np.exp(log_p[k][i]) for k in range(K) if not rows[k][i]]
        if audit_data.holdout[i]:
            assert np.isnan(scores[i])
        elif inside and outside:
            assert scores[i] == pytest.approx(np.mean(inside) - np.mean(outside), abs=1e-12)
        else:
            one_sided += 1
            assert scores[i] == 0
    summary = json.loads((table.parent / "summary.json").read_text())
    assert summary == {"num_models": K, "num_one_sided": one_sided}
    assert one_sided > 0


def test_memorisation_by_hand():
    p_y = np.array([[0.9, 0.4, 0.5], [0.7, 0.4, 0.6], [0.2, 0.4, 0.7]])
    member = np.array([[True, True, False], [True, True, False], [False, True, False]])
    np.testing.assert_allclose(memorisation(p_y, member), [0.8 - 0.2, 0, 0], atol=1e-15)


@pytest.mark.parametrize("membership", [{"num_models": 4}, DISJOINT])
def test_scoring_rows_are_coins_of_their_own(make_study, membership):
    study = make_study(membership=membership, releases=[defended(num_models=4)], audit=AUDIT)
    audit_data = plan_study(study)[1]
    rows = np.stack([scoring_split(study.seed, k, audit_data).member for k in range(4)])
    bank = splits_of(study.membership, study.seed, range(4), audit_data).member
    assert not rows[:, audit_data.holdout].any()
    audited = rows[:, ~audit_data.holdout]
    assert 0.4 < audited.mean() < 0.6
    for one in audited:
        for other in bank[:, ~audit_data.holdout]:
            assert abs(np.corrcoef(one, other)[0, 1]) < 0.35  # 5 standard errors of 200 samples


def test_scoring_models_begin_and_train_apart_from_the_bank(study, finished):
    weights = [path.read_bytes() for path in sorted(finished.folder.glob("*/model-000/model.safetensors"))]
    assert len({*weights}) == len(weights) == 6
    summaries = sorted(finished.folder.glob("scoring-*/model-*/summary.json"))
    audit_data = plan_study(study)[1]
    for k, summary in enumerate(json.loads(path.read_text()) for path in summaries):
        assert summary["num_members"] == scoring_split(study.seed, k, audit_data).member.sum()
        assert 0 <= summary["test_accuracy"] <= 1


def test_the_defence_gets_the_scores_of_the_members_in_their_order(study, finished):
    audit_data, store = plan_study(study)[1], Store(finished.folder)
    scores = np.load(store.path(planned(study, "sample_scores")[0].artifact) / "scores.npy")
    everything = Samples.of(audit_data, np.ones(260, dtype=bool)).stored.flatten(1)
    for task in planned(study, "release", "pruned"):
        inputs = {role: str(store.path(artifact)) for role, artifact in task.inputs.items()}
        row = to_text(read_membership(store.root, 4, len(audit_data.y)), [task.model_id])
        context = TaskContext(TaskSpec(task.name, task.action, task.spec, inputs, "", membership=row))
        distances = (context.members().stored.flatten(1)[:, None] - everything).abs().sum(2)  # (n, N)
        members = distances.argmin(1).numpy()
        assert (distances.min(1).values == 0).all()
        np.testing.assert_array_equal(context.sample_scores(), scores[members])
        facts = json.loads((store.path(task.artifact) / "summary.json").read_text())["defense"]
        assert facts["num_memorised"] == (scores[members] >= 0.1).sum()
        assert facts["samples_per_epoch"] == np.minimum(np.bincount(audit_data.y[members]), 4).sum()


def test_the_protocol_does_not_shape_the_scoring_bank(make_study):
    pooled = make_study(releases=[defended()], audit=AUDIT)
    disjoint = make_study(releases=[defended()], audit=AUDIT, membership=DISJOINT)
    one, other = ([t.artifact.identity for t in planned(s, release="scoring")] for s in (pooled, disjoint))
    assert one == other
    assert {t.artifact.identity for t in planned(pooled, "release")}.isdisjoint(
        t.artifact.identity for t in planned(disjoint, "release")
    )


def test_scores_are_a_parent_and_more_models_cost_only_themselves(make_study, study, finished, tmp_path):
    release, table = planned(study, "release", "defended")[0], planned(study, "sample_scores")[0]
    assert table.artifact.identity in release.artifact.config["parents"]
    assert release.inputs["sample_scores"].identity == table.artifact.identity
    larger = make_study(releases=[defended(num_models=K + 1)], audit=AUDIT)
    assert planned(larger, "release")[0].artifact.identity != release.artifact.identity
    both = make_study(releases=[defended(), defended(num_models=K + 1, name="more")], audit=AUDIT)
    assert len(planned(both, "train", "scoring")) == K + 1
    assert len(planned(both, "sample_scores")) == 2
    shutil.copytree(finished.folder, tmp_path / "small")
    # One more scoring model, its query, another table; the release's four models and their queries.
    assert run(larger, out=tmp_path, runtime=Runtime(executor="serial")).num_tasks_done == 3 + 4 + 4


def test_no_defense_twins_and_other_defences_need_no_scoring_bank(make_study, study):
    counterpart = planned(study, "release", "dense+finetune")[0]
    assert "sample_scores" not in counterpart.inputs
    assert len(counterpart.artifact.config["parents"]) == 1
    plain = make_study(releases=[defended(defense="ppb")], audit=AUDIT)
    assert not planned(plain, release="scoring")


def test_findings_know_no_scoring_release(finished):
    results = finished.audit.results
    assert set(results.releases["release"]) == {"dense", "defended", "pruned", "dense+finetune", "l1unstructured-0.5"}
    assert "scoring" not in set(results.findings["release"]) | set(results.findings["references"])
    scores = pd.read_parquet(finished.folder / "scores.parquet")
    assert "scoring" not in set(scores["release"])


def test_a_scoring_model_that_fails_costs_the_release_and_no_model(make_study, tmp_path, monkeypatch):
    import torch

    from pruneaudit.core.randomness import torch_generator

    seed = int(torch.randint(2**62, (), generator=torch_generator(3, "scoring", "initialise", 1)))
    (tmp_path / "failing_network.py").write_text(FAILING.format(seed=seed))
    monkeypatch.syspath_prepend(tmp_path)
    plain = {"name": "plain", "finetune": {"epochs": 1, "learning_rate": 0.02}}
    further = {"name": "further", "parent": "defended", "finetune": {"epochs": 1}}
    model = {"name": "factory", "options": {"target": "failing_network:build"}}
    study = make_study(model=model, releases=[defended(), plain, further], audit=AUDIT)
    finished = run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    assert finished.failures == ("train scoring model-001: RuntimeError: no such luck",)
    assert set(finished.audit.results.releases["release"]) == {"dense", "plain"}
    assert set(pd.read_parquet(finished.folder / "scores.parquet")["model_id"]) == {0, 1, 2, 3}


def test_what_a_failure_takes_with_it(study):
    tasks = {task.name: task for task in planned(study)}

    def lost(failed, undone):
        return Work(0, (Failure(tasks[failed], ""),), tuple(tasks[name] for name in undone)).lost(4)

    below = [name for name in tasks if "model-002" in name and "dense model" not in name and "scoring" not in name]
    assert lost("train dense model-002", ["signals dense model-002", *below]) == ([], {2})
    assert lost("signals scoring model-002", [f"release pruned model-00{m}" for m in range(4)]) == (["pruned"], set())
    assert lost("signals pruned model-002", []) == ([], {2})


def test_the_name_is_taken(make_study):
    with pytest.raises(UserError, match=r"a release is named 'scoring', .* scoring bank"):
        plan_study(make_study(releases=[defended(name="scoring")]))
