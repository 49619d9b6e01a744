"""Trackers as the command line asks for them."""

import sys

import pytest

from pruneaudit.cli.tracking_options import trackers_from


def test_nothing_asked_for_is_no_tracker():
    assert trackers_from() == []


def test_options_reach_their_trackers():
    made = trackers_from(True, "pruning", "team", ["a, b", "c,"], True, "http://localhost:5000", True)
    wandb, mlflow, tensorboard = made
    assert (wandb.options.project, wandb.options.entity, wandb.options.tags) == ("pruning", "team", ("a", "b", "c"))
    assert mlflow.options.uri == "http://localhost:5000"
    assert tensorboard.options.folder == ""


@pytest.mark.parametrize("name, module", [("wandb", "wandb"), ("mlflow", "alembic"), ("tensorboard", "tensorboard")])
def test_a_missing_library_is_named_before_any_work(name, module, monkeypatch, tmp_path, call):
    monkeypatch.setitem(sys.modules, module, None)
    code, _, said = call("run", "demo-quick", f"--{name}", "--out", tmp_path / "runs")
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
        trackers_from(wandb=True)


def test_options_of_a_tracker_that_was_not_asked_for_are_refused(tmp_path, call):
    code, _, said = call("run", "demo-quick", "--mlflow-uri", "http://x", "--out", tmp_path / "runs")
    assert code == 2
    assert said == "error: --mlflow-uri: got it without --mlflow; add --mlflow, or leave it out\n"
