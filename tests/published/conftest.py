"""A small grid of Pruning_MIA's, run under two seeds: digits, four models of each release, one epoch."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from pruneaudit.api import Runtime, run
from pruneaudit.published.pruning_mia import Grid, study_of
from pruneaudit.study import Study

SETTINGS = [
    *("data.num_samples=120", "data.num_holdout=20", "membership.num_models=4"),
    *("training.learning_rate=0.02", "audit.fpr_levels=[0.3, 0.01]"),
]


def small_grid(seed=42, **settings):
    """Its study; all of `settings` may be given otherwise."""
    usual = {"dataset": "digits", "layers": 8, "epochs": 1, "sparsities": [0.8], "attacks": ["lira", "confidence"]}
    return study_of(Grid(seed=seed, **(usual | settings))).changed(SETTINGS, "small")


def run_once(study, tmp_path_factory, name) -> Path:
    """The folder of a finished run, which one process of the tests makes and the others find."""
    own = tmp_path_factory.getbasetemp()
    out = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    out.mkdir(exist_ok=True)
    with FileLock(out / "lock"):
        return run(study, out, runtime=Runtime(executor="serial")).folder


@pytest.fixture(scope="session")
def grid_runs(tmp_path_factory):
    """The run folders of seeds 42 and 43; nothing may change them."""
    return [run_once(small_grid(seed), tmp_path_factory, "grid") for seed in (42, 43)]


@pytest.fixture(scope="session")
def other_run(tmp_path_factory):
    """A run that no grid describes: a baseline, and two releases of one pruner at one sparsity."""
    study = small_grid(methods=["dense"]).model_dump(mode="json", exclude_unset=True)
    tuned = {"finetune": {"epochs": 1}}
    halved = {"compress": "l1unstructured", "sparsity": 0.5, **tuned}
    study |= {"name": "other", "model": "tinycnn:width=4", "membership": {"num_models": 3}}
    study |= {"releases": [tuned, halved, {**halved, "finetune_seed": 1}]}
    return run_once(Study.model_validate(study), tmp_path_factory, "other")
