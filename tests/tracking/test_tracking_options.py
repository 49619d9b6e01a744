"""Trackers as the command line asks for them."""

import sys

import pytest

from pruneaudit.cli.pruning_mia_options import wandb_from
from pruneaudit.cli.tracking_options import trackers_from
from pruneaudit.core.errors import UserError


def test_nothing_asked_for_is_no_tracker():
    assert trackers_from(None) == []
    assert wandb_from(False, None, None, None) == []


def test_options_reach_their_trackers():
    asked = ["wandb:project=pruning:entity=team:tags=a, b,c,", "mlflow:uri=http://localhost:5000", "tensorboard"]
    made = trackers_from(asked)
    wandb, mlflow, tensorboard = made
    assert (wandb.options.project, wandb.options.entity, wandb.options.tags) == ("pruning", "team", ("a", "b", "c"))
    assert mlflow.options.uri == "http://localhost:5000"
    assert tensorboard.options.folder == ""


@pytest.mark.parametrize("name, module", [("wandb", "wandb"), ("mlflow", "alembic"), ("tensorboard", "tensorboard")])
def test_a_missing_library_is_named_before_any_work(name, module, monkeypatch, tmp_path, call):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, said = call("run", "demo-quick", "--track", name, "--out", tmp_path / "runs")
    assert code == 2
    assert said == f"error: tracker {name}: {module} is not installed; pip install 'pruneaudit[{name}]'\n"
    assert not (tmp_path / "runs").exists()


def test_a_folder_of_its_name_is_no_library(monkeypatch, tmp_path):
    for name in [name for name in sys.modules if name.split(".")[0] == "wandb"]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "wandb").mkdir()  # as W&B leaves behind where it is used
    monkeypatch.setattr(sys, "path", [str(tmp_path), *[path for path in sys.path if "site-packages" not in path]])
    sys.path_importer_cache.pop(str(tmp_path), None)
    with pytest.raises(Exception, match="wandb is not installed"):
        trackers_from(["wandb"])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (["--track", "wandp"], ["wandp", "did you mean 'wandb'?"]),
        (["--track", "wandb:projekt=x"], ["tracker wandb", "projekt", "did you mean 'project'?"]),
        (["--track", "mlflow", "--track", "mlflow:uri=x"], ["--track: got mlflow twice"]),
    ],
)
def test_mistakes_in_one_line(asked, words, tmp_path, call):
    code, _, said = call("run", "demo-quick", *asked, "--out", tmp_path / "runs")
    assert code == 2
    assert said.count("\n") == 1
    assert all(word in said for word in words), said
    assert not (tmp_path / "runs").exists()


def test_pruning_mias_options_of_wandb():
    (wandb,) = wandb_from(True, "pruning", "team", ["a,b", "c"])
    assert (wandb.options.project, wandb.options.entity, wandb.options.tags) == ("pruning", "team", ("a", "b", "c"))
    with pytest.raises(UserError, match=r"--wandb-tags: got it without --wandb"):
        wandb_from(False, None, None, ["a"])
