"""No two private trainings share a draw: batches and noise read off real networks, kills, and executors."""

# n members, C classes

import json
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from pruneaudit.api import Runtime, run
from pruneaudit.core import seeds
from pruneaudit.core.files import WEIGHTS_FILE
from pruneaudit.core.randomness import seed_for, torch_generator
from pruneaudit.engine.release_draws import draws_apart, purpose_of_training, with_seed
from pruneaudit.engine.task_context import new_model
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.folder import RunFolder
from run_bytes import reproducible_bytes

pytest.importorskip("opacus")

NUM_MODELS = 2
CLIPPED = "dp:noise_multiplier=0"
ONE_STEP = {"epochs": 1, "batch_size": 95, "schedule": "constant", "momentum": 0.0, "weight_decay": 0.0}
TUNED = {"epochs": 1, "learning_rate": 0.05}
NEW, CHILD = {"parent": "init", "defense": CLIPPED}, {"parent": "one", "finetune": TUNED, "defense": CLIPPED}
RELEASES = [
    {"name": "one", **NEW},
    {"name": "other-norm", **NEW, "defense": f"{CLIPPED}:max_grad_norm=2"},
    {"name": "other-rate", **NEW, "finetune": TUNED},
    {"name": "other-seed", **NEW, "finetune_seed": 1},
    {"name": "child", **CHILD},
    {"name": "child-of-other-norm", **CHILD, "defense": f"{CLIPPED}:max_grad_norm=2"},
    {"name": "grandchild", **CHILD, "parent": "child"},
]


@pytest.fixture(scope="module")
def batches(make_study, tmp_path_factory):
    """Which members are in the only batch of each release, (n of all models) bool.

    Each sample has an input of its own, so that a linear network's weights move for the samples of the batch alone.
    """
    folder = tmp_path_factory.mktemp("batches")
    np.savez(folder / "apart.npz", x=np.eye(260, dtype=np.float32), y=np.arange(260) % 3)
    study = make_study(
        data={"source": f"npz:{folder / 'apart.npz'}", "num_holdout": 20},
        membership={"num_models": NUM_MODELS},
        model={"name": "mlp", "options": {"hidden": []}},
        training=ONE_STEP,
        releases=RELEASES,
        audit={"attacks": ["loss"], "fpr_levels": [0.3]},
    )
    done = RunFolder.open(run(study, folder, Runtime("serial")).folder)
    plan, audit_data = done.finished()
    parents = {release.name: release.parent for release in study.releases}
    member = done.membership(study, audit_data).member  # (M, N)

    def weights(name, m):  # (C, F)
        task = plan.models("one" if name == "init" else name)[m]
        if name == "init":
            drawn = torch_generator(study.seed, seeds.INITIALISE, m)
            return new_model(task.spec, audit_data, drawn).get_parameter("1.weight").detach().numpy()
        assert json.loads((done.store.path(task.artifact) / "summary.json").read_text())["defense"]["steps"] == 1
        return load_file(done.store.path(task.artifact) / WEIGHTS_FILE)["1.weight"]

    columns = audit_data.x.argmax(axis=1)  # (N,)

    def batch(name, m):
        moved = (weights(name, m) != weights(parents[name], m)).any(axis=0)[columns]  # (N,)
        assert not moved[~member[m]].any()
        return moved[member[m]]

    return {name: np.concatenate([batch(name, m) for m in range(NUM_MODELS)]) for name in parents}


def test_batches_are_independent_across_releases_and_across_parent_and_child(batches):
    drawn = np.array(list(batches.values()))
    assert ((drawn.mean(axis=1) > 0.7) & (drawn.mean(axis=1) < 0.9)).all()  # 95 of about 120 members
    together = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(together).max() < 4.5 / drawn.shape[1] ** 0.5


VARIANTS = [
    {"defense": "dp:noise_multiplier=1"},
    {"defense": "dp:noise_multiplier=2"},
    {"defense": "dp:target_epsilon=8"},
    {"defense": "dp:noise_multiplier=1:delta=1e-6"},
    {"defense": "dp:noise_multiplier=1:accountant=prv"},
    {"defense": "dp:noise_multiplier=1", "finetune": {"epochs": 2}},
    {"defense": "dp:noise_multiplier=1", "finetune": {"epochs": 3, "augment": "flip"}},
    {"defense": "dp:noise_multiplier=1", "model": {"name": "mlp", "options": {"hidden": [8]}}},
    {"defense": "dp:noise_multiplier=1", "finetune_seed": 1},
    {"defense": "dp:noise_multiplier=1", "compress": "static:sparsity=0.5:start=init"},
    {"defense": "dp:noise_multiplier=1", "parent": "r0", "finetune": {"epochs": 2}},
    {"defense": "dp:noise_multiplier=1", "parent": "r1", "finetune": {"epochs": 2}},
    {"defense": "dp:noise_multiplier=1", "parent": "r10", "finetune": {"epochs": 2}},
]


def test_each_training_of_each_model_has_generators_of_its_own(make_study):
    releases = [{"name": f"r{k}", "parent": "init", **variant} for k, variant in enumerate(VARIANTS)]
    releases += [{**releases[0], "name": "r0-again"}]
    plan, _ = plan_study(make_study(releases=releases, audit={"attacks": ["loss"]}))

    def seeds_of(name):
        found = set()
        for task in plan.models(name):
            drawn = draws_apart(task.spec, with_seed(task.spec, purpose_of_training(task.inputs)))
            found |= {
                seed_for(plan.study.seed, *purpose, task.model_id) for purpose in (drawn, (seeds.DEFENSE, *drawn))
            }
        return found

    drawn = {f"r{k}": seeds_of(f"r{k}") for k in range(len(VARIANTS))}
    assert all(len(found) == 2 * plan.study.membership.num_models for found in drawn.values())
    assert all(one.isdisjoint(other) for one, other in combinations(drawn.values(), 2))
    assert seeds_of("r0-again") == drawn["r0"]  # equal settings: the same networks


def private(name, **more):
    return {"name": name, "parent": "init", "defense": "dp:noise_multiplier=1", **more}


def test_a_private_training_that_was_interrupted_ends_with_the_same_bits(network_of_files, make_study, tmp_path):
    target, place = network_of_files
    model = {"name": "factory", "options": {"target": target}}
    child = private("child", parent="private", finetune={"epochs": 3, "augment": "flip"})
    study = make_study(
        model=model,
        membership={"num_models": 2},
        releases=[private("private", finetune={"epochs": 3, "augment": "flip"}), child],
        audit={"attacks": ["loss"], "fpr_levels": [0.3]},
    )
    undisturbed = run(study, tmp_path / "calm", Runtime("serial")).folder
    steps = [len(pd.read_csv(path)) for path in undisturbed.glob("private-*/model-000/history.csv")]
    assert steps == [3]  # epochs
    # Two dense models of three epochs with 3 or 4 steps each, then some steps into the private ones.
    (place / "interrupt").write_text("29")
    for again in (30, 12):
        with pytest.raises(KeyboardInterrupt):
            run(study, tmp_path, Runtime("serial", checkpoint_seconds=0))
        (pointer,) = (tmp_path / "small" / ".checkpoints").glob("*/checkpoint.json")
        kept = json.loads(pointer.read_text())["facts"]
        assert kept["epoch"] in (1, 2)
        assert any(name.endswith("/noise") for name in load_file(pointer.parent / kept["file"]))
        (place / "interrupt").write_text(str(again))
    (place / "interrupt").unlink()
    finished = run(study, tmp_path, Runtime("serial", checkpoint_seconds=0)).folder
    assert reproducible_bytes(finished) == reproducible_bytes(undisturbed)


@pytest.mark.slow
def test_processes_make_the_same_private_networks(make_study, tmp_path):
    study = make_study(releases=[private("private"), private("child", parent="private", finetune={"epochs": 2})])
    one, other = (
        run(study, tmp_path / runtime.executor, runtime).folder
        for runtime in (Runtime("serial"), Runtime("processes", jobs=2))
    )
    assert reproducible_bytes(one) == reproducible_bytes(other)
