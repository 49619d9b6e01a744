"""`--dry-run` says what would be done and what it would cost, and does nothing."""

import json

import pytest

STUDY = """
name = "dry"
[data]
source = "digits"
num_samples = 160
num_holdout = 40
[membership]
num_models = 3
[model]
name = "mlp"
options = { hidden = [8] }
[training]
epochs = 1
batch_size = 32
[audit]
attacks = ["loss", "nn:epochs=1", "nn_cls:epochs=1"]
fpr_levels = [0.3]
"""


@pytest.fixture
def call(call, tmp_path, monkeypatch):
    """Runs a command line in a folder with the study."""
    (tmp_path / "study.toml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return call


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_attacks_that_learn_are_counted_with_their_time(call, tmp_path):
    code, out, err = call("run", "study.toml", "--dry-run", "--set", "audit.references=['matched']")
    assert code == 0, err
    said = out.splitlines()
    counted = said.index("attacks that learn: 2 to do, 0 to reuse (nn:epochs=1, nn_cls:epochs=1; in 1 attack setting)")
    assert said[counted + 1].startswith("time: about ")
    assert call("run", "study.toml", "--executor", "serial", "-q")[0] == 0
    _, out, _ = call("run", "study.toml", "--dry-run")
    assert "attacks that learn: 0 to do, 2 to reuse" in out
    assert "time:" not in out
    _, out, _ = call("run", "study.toml", "--dry-run", "--set", "audit.attacks=['loss','lira']")
    assert "learn" not in out


def test_each_step_can_be_tried_dry(call, tmp_path):
    usual = ("--out", "runs", "--executor", "serial", "-q")
    code, out, err = call("mia-prune", "pretrain", "study.toml", *usual, "--dry-run")
    assert code == 0, err
    assert "dense trainings: 3 to do, 0 to reuse" in out
    assert not (tmp_path / "runs").exists()
    code, _, err = call("mia-prune", "prune", "study.toml", *usual, "--dry-run")
    assert code == 2
    assert "first run: pruneaudit mia-prune pretrain" in err
    assert call("mia-prune", "pretrain", "study.toml", *usual)[0] == 0

    before = files(tmp_path)
    code, out, err = call("mia-prune", "prune", "study.toml", "--prune_sparsity", "0.5", *usual, "--dry-run")
    assert code == 0, err
    assert "dense trainings: 0 to do, 3 to reuse" in out
    assert "prunings / fine-tunings / defended trainings: 6 to do" in out
    code, out, err = call("mia-prune", "mia", "study.toml", "--original", "--attacks", "loss,nn", *usual, "--dry-run")
    assert code == 0, err
    assert "attacks that learn: 1 to do, 0 to reuse (nn; in 1 attack setting)" in out
    code, _, err = call("mia-prune", "mia", "study.toml", "--pruner_name", "slim", *usual, "--dry-run")
    assert code == 2
    assert "'slim_0.7' are missing" in err
    assert files(tmp_path) == before


def test_attacks_alone_can_be_tried_dry_on_a_run(call, tmp_path):
    assert call("mia-prune", "pretrain", "study.toml", "--executor", "serial", "-q")[0] == 0
    (tmp_path / "runs/dry").rename(tmp_path / "elsewhere")  # a run is known by its folder, not by its name
    before = files(tmp_path)
    code, out, err = call("pruning-mia", "mia", "--runs-dir", "elsewhere", "--attacks", "loss", "nn_top3", "--dry-run")
    assert code == 0, err
    assert "queries: 0 to do, 3 to reuse" in out
    assert "attacks that learn: 1 to do, 0 to reuse (nn_top3; in 1 attack setting)" in out
    code, _, err = call("pruning-mia", "mia", "--runs-dir", "elsewhere", "--attacks", "wemen", "--dry-run")
    assert code == 2
    assert "did you mean 'wemem'?" in err
    assert files(tmp_path) == before
    assert json.loads((tmp_path / "elsewhere/study.json").read_text())["name"] == "dry"


def test_a_base_is_counted_apart_from_the_bank(call):
    base = ("--set", "base.epochs=2", "--set", "data.num_public=40", "--set", "audit.attacks=['loss']")
    code, out, err = call("run", "study.toml", "--dry-run", *base)
    assert code == 0, err
    assert "base to train: 1 to do, 0 to reuse" in out
    assert "dense trainings: 3 to do, 0 to reuse" in out
