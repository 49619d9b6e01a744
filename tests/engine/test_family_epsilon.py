"""The epsilon of families: from accounts written by hand, and from a small study that was really trained."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from pruneaudit.api import Runtime, attack, run
from pruneaudit.core.files import SUMMARY_FILE, read_json
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.defenses.dp import DOES_NOT_HOLD
from pruneaudit.engine.family_epsilon import FAMILY_EPSILON, family_epsilon, family_epsilons
from pruneaudit.engine.plan import make_plan
from pruneaudit.engine.store import Store
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study.lineage import release_of

pytest.importorskip("opacus")
from pruneaudit.defenses._dp_accounting import Account

TUNED = {"epochs": 1, "learning_rate": 0.02}
DP = "dp:noise_multiplier=1"
PARENT = {"name": "parent", "parent": "init", "defense": DP}
SMALL_CNN = {"name": "tinycnn", "options": {"width": 4}}


def child(number, **settings):
    values = {"name": f"child{number}", "parent": "parent", "finetune": TUNED, "defense": DP, "finetune_seed": number}
    return {key: value for key, value in (values | settings).items() if value is not None}


@pytest.fixture
def accounts(make_study, tmp_path):
    """A function from releases to their plan and a store with accounts: 3,000 steps from new weights, else 600."""

    def make(*releases, rates=(0.01,), edit=lambda name, report: report, **settings):
        study = make_study(releases=list(releases), audit={"attacks": ["loss"]}, **settings)
        plan = make_plan(study, load_audit_data(study.data, study.seed))
        store = Store(tmp_path)
        for task in (task for name in plan.releases for task in plan.models(name)):
            release = release_of(study, task.release)
            report = {"noise_multiplier": 1.0, "sample_rate": rates[task.model_id % len(rates)], "delta": 1e-5}
            report |= {"accountant": "rdp", "steps": 3000 if "parent" not in task.inputs else 600}
            summary = {"defense": edit(task.release, report)} if release and release.defense else {}
            folder = store.path(task.artifact)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / SUMMARY_FILE).write_text(json.dumps(summary))
        return plan, store

    return make


@pytest.mark.parametrize(("number", "epsilon"), [(1, 3.86), (2, 4.18), (4, 4.78), (8, 5.85)])
def test_parent_and_children(accounts, number, epsilon):
    plan, store = accounts(PARENT, *(child(k) for k in range(1, number + 1)))
    family = tuple(release.name for release in plan.study.releases)
    found = family_epsilon(plan, store, family)
    assert found.epsilon == pytest.approx(epsilon, abs=0.006)
    assert found.own["parent"] == pytest.approx(3.51, abs=0.006)
    assert all(found.own[name] == pytest.approx(3.86, abs=0.006) for name in family[1:])
    assert (found.delta, found.accountant, found.void_reason) == (1e-5, "rdp", "")
    assert family_epsilon(plan, store, family[::-1]).epsilon == found.epsilon
    assert family_epsilon(plan, store, family[1:]).epsilon == found.epsilon  # the parent counts, released or not
    if number > 1:
        assert family_epsilon(plan, store, family[:-1]).epsilon < found.epsilon
        assert found.epsilon < 3.86 * number


def test_children_without_seeds_of_their_own_cost_no_more(accounts):
    plan, store = accounts(PARENT, *(child(k, finetune_seed=None, compress=f"rtn:bits={k}") for k in (3, 4, 5, 6)))
    found = family_epsilon(plan, store, ("parent", "child3", "child4", "child5", "child6"))
    assert found.epsilon == pytest.approx(Account(1e-5, "rdp", [(1.0, 0.01, 5400)]).spent()[0])


def test_functions_of_the_networks_add_exactly_nothing(accounts):
    free = [
        {"name": "pruned", "parent": "child1", "compress": "l1unstructured:sparsity=0.5"},
        {"name": "coded", "parent": "pruned", "compress": "rtn:bits=4"},
        {"name": "calibrated", "parent": "parent", "compress": "static8"},
        {"name": "student", "parent": "child1", "compress": "distil:data=public", "finetune": TUNED},
    ]
    public = {"source": "digits", "num_samples": 200, "num_holdout": 60, "num_public": 60}
    plan, store = accounts(PARENT, child(1), *free, data=public)
    small = family_epsilon(plan, store, ("parent", "child1"))
    whole = family_epsilon(plan, store, ("parent", "child1", *(release["name"] for release in free)))
    assert whole.epsilon == small.epsilon
    assert whole.trainings == ("parent", "child1")
    assert whole.own["coded"] == small.own["child1"]
    assert whole.own["calibrated"] == small.own["parent"]
    (record,) = family_epsilons(plan, store)
    assert record["epsilon"] == small.epsilon
    assert record["family"].split("; ") == ["parent", "child1", *(release["name"] for release in free)]


def test_the_largest_of_the_victims_counts(accounts):
    plan, store = accounts(PARENT, child(1), rates=(0.01, 0.011, 0.012, 0.009))
    worst = Account(1e-5, "rdp", [(1.0, 0.012, 3600)]).spent()[0]
    assert family_epsilon(plan, store, ("child1",)).epsilon == pytest.approx(worst)
    rest = Account(1e-5, "rdp", [(1.0, 0.011, 3600)]).spent()[0]
    assert family_epsilon(plan, store, ("child1",), left_out=[2]).epsilon == pytest.approx(rest)


def test_the_largest_delta_and_the_weakest_accountant_hold_for_all(accounts):
    def edit(name, report):
        return report | ({"delta": 1e-4, "accountant": "prv"} if name == "child1" else {})

    plan, store = accounts(PARENT, child(1), edit=edit)
    found = family_epsilon(plan, store, ("child1",))
    assert (found.delta, found.accountant) == (1e-4, "rdp")
    assert found.epsilon == Account(1e-4, "rdp", [(1.0, 0.01, 3600)]).spent()[0]
    found = family_epsilon(plan, store, ("parent", "child1"))
    assert found.own["parent"] == Account(1e-4, "rdp", [(1.0, 0.01, 3000)]).spent()[0]


def test_equal_settings_under_two_names_are_one_training(accounts):
    plan, store = accounts(PARENT, PARENT | {"name": "again"})
    found = family_epsilon(plan, store, ("parent", "again"))
    assert found.epsilon == found.own["parent"]


@pytest.mark.parametrize(
    "other",
    [
        {"parent": "init", "defense": "dp:noise_multiplier=2"},
        {"parent": "init", "defense": DP, "finetune": {"epochs": 2}},
        {"parent": "init", "defense": DP, "model": {"name": "mlp", "options": {"hidden": [8]}}},
        {"parent": "init", "defense": DP, "finetune_seed": 1},
    ],
)
def test_another_training_of_any_kind_counts_in_full(accounts, other):
    plan, store = accounts(PARENT, {"name": "other", **other})
    found = family_epsilon(plan, store, ("parent", "other"))
    assert found.epsilon == pytest.approx(Account(1e-5, "rdp", [(1.0, 0.01, 6000)]).spent()[0])


def test_a_parent_fine_tuned_twice_has_three_trainings(accounts):
    grandchild = child(2, parent="child1", finetune_seed=None)
    plan, store = accounts(PARENT, child(1, finetune_seed=None), grandchild)
    found = family_epsilon(plan, store, ("child2",))
    assert found.epsilon == pytest.approx(Account(1e-5, "rdp", [(1.0, 0.01, 4200)]).spent()[0])
    assert found.trainings == ("parent", "child1", "child2")


def test_what_is_void_or_unknown_says_why(accounts):
    plan, store = accounts(PARENT, child(1), {"name": "bare", "parent": "parent", "finetune": TUNED})
    records = family_epsilons(plan, store, [("parent", "bare"), ("dense",), ("parent", "child1", "dense")])
    by_family = {record["family"]: record for record in records}
    assert set(by_family) == {"parent; bare", "parent; child1; dense", "parent; child1"}  # dense alone has no account
    assert by_family["parent; bare"]["epsilon"] is None
    assert "'bare'" in by_family["parent; bare"]["void_reason"]
    assert "'dense'" in by_family["parent; child1; dense"]["void_reason"]
    assert by_family["parent; child1"]["void_reason"] == ""
    assert json.loads(json.dumps(records, allow_nan=False)) == records
    assert "'nobody'" in family_epsilon(plan, store, ("parent", "nobody")).void_reason

    older = {"epsilon": 3.0, "delta": 1e-5}
    plan, store = accounts(PARENT, child(1), edit=lambda name, report: older if name == "child1" else report)
    found = family_epsilon(plan, store, ("parent", "child1"))
    assert (found.epsilon, found.own["child1"]) == (None, None)
    assert found.void_reason.startswith("unknown")
    assert "'child1'" in found.void_reason


def test_a_study_without_private_training_has_no_records(accounts):
    plan, store = accounts({"finetune": TUNED})
    assert family_epsilons(plan, store, [("dense", "dense+finetune")]) == []
    plan, store = accounts(PARENT)
    assert family_epsilons(plan, store) == []  # one release is no family
    assert len(family_epsilons(plan, store, [("parent",)])) == 1


@pytest.fixture(scope="module")
def trained(make_study, tmp_path_factory):
    """Networks of one step with all samples; the third has no noise."""
    whole = {"epochs": 1, "batch_size": 200, "schedule": "constant", "momentum": 0.0, "weight_decay": 0.0}
    study = make_study(
        training=whole,
        releases=[
            {"name": "one", "parent": "init", "defense": "dp:noise_multiplier=1"},
            {"name": "two", "parent": "init", "defense": "dp:noise_multiplier=2"},
            {"name": "none", "parent": "init", "defense": "dp:noise_multiplier=0"},
            {"name": "child", "parent": "two", "finetune": {"epochs": 2}, "defense": "dp:noise_multiplier=2"},
            {"name": "coded", "parent": "child", "compress": "rtn:bits=8"},
            {"name": "bare", "parent": "two", "finetune": {"epochs": 1}},
            {"name": "late", "parent": "bare", "finetune": {"epochs": 1}, "defense": "dp:noise_multiplier=2"},
        ],
        audit={"attacks": ["loss"], "fpr_levels": [0.3]},
    )
    return run(study, tmp_path_factory.mktemp("trained"), Runtime("serial"))


def test_the_noise_of_two_networks_does_not_cancel(trained):
    def weights(name, m):
        (folder,) = trained.folder.glob(f"{name}-????????")
        return torch.cat([w.flatten() for w in load_file(folder / f"model-{m:03d}" / "model.safetensors").values()])

    # The same gradient of all samples lies in all three.
    of_one, of_two = (torch.cat([weights(name, m) - weights("none", m) for m in range(4)]) for name in ("one", "two"))
    assert float(of_two.std() / of_one.std()) == pytest.approx(2, rel=0.1)
    assert abs(float(torch.corrcoef(torch.stack([of_one, of_two]))[0, 1])) < 4.5 / len(of_one) ** 0.5
    own = of_one.view(4, -1)
    assert (torch.corrcoef(own) - torch.eye(4)).abs().max() < 4.5 / own.shape[1] ** 0.5  # nor that of two models


def test_a_real_study_has_the_accounts_of_its_networks(trained):
    folder = RunFolder.open(trained.folder)
    plan, _ = folder.finished()
    store = Store(trained.folder)
    found = family_epsilon(plan, store, ("one", "two"))
    # All samples in one step each: two Gaussian mechanisms.
    assert found.epsilon == pytest.approx(Account(1e-5, "rdp", [(1.0, 1.0, 1), (2.0, 1.0, 1)]).spent()[0])
    assert math.isfinite(found.own["two"])
    assert "noise_multiplier = 0" in family_epsilon(plan, store, ("one", "none")).void_reason


def test_a_release_states_the_epsilon_of_all_trainings_behind_it(trained):
    told = {entry["name"]: entry["defense_report"] for entry in read_json(trained.folder / "release.json")["releases"]}
    first, both = (Account(1e-5, "rdp", [(2.0, 1.0, steps)]).spent()[0] for steps in (1, 3))
    assert told["two"]["epsilon"] == pytest.approx(first)
    assert told["child"]["epsilon"] == pytest.approx(both)
    assert told["child"]["trainings"] == ["two", "child"]
    assert told["late"]["statement"].startswith(DOES_NOT_HOLD)
    assert "'bare'" in told["late"]["statement"]
    page = (trained.folder / "report.html").read_text()
    assert f"epsilon {both:.2f} at delta 1e-05" in page


def test_the_protected_releases_of_a_study_are_a_family(trained):
    (record,) = trained.audit.results.about[FAMILY_EPSILON]
    assert record["family"] == "one; two; child; coded"
    steps = [(1.0, 1.0, 1), (2.0, 1.0, 3)]
    assert record["epsilon"] == pytest.approx(Account(1e-5, "rdp", steps).spent()[0])
    again = attack(trained.folder, ["entropy"], out=trained.folder.parent / "again")
    assert again.audit.results.about[FAMILY_EPSILON] == [record]
    page = (trained.folder / "report.html").read_text()
    assert f"epsilon {record['epsilon']:.2f} at delta 1e-05" in page
