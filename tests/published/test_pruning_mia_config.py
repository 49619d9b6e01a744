"""The files of `run_experiment.py --config`: what they say as options, and what is refused."""

import json

import pytest
import yaml

from pruneaudit.core.errors import UserError
from pruneaudit.published.pruning_mia_config import read_config
from pruneaudit.published.pruning_mia_parsing import options_of

THEIRS = {
    "name": "dpf_sparsity0.9",
    "description": "Dynamic pruning with 90% sparsity",
    "save_dir": "./runs",
    "data": {"dataset": "cifar100", "datapath": "~/Datasets/CIFAR", "batch_size": 64, "workers": 4},
    "model": {"arch": "resnet", "layers": 32, "width_mult": 1.0, "depth_mult": 1.0, "model_mult": 0},
    "training": {
        **{"epochs": 200, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005, "nesterov": False},
        **{"scheduler": "multistep", "milestones": [100, 150], "gamma": 0.1, "step_size": 30},
        **{"warmup_lr": 0.1, "warmup_lr_epoch": 0, "warmup_loss_epoch": 70},
    },
    "pruning": {
        **{"enabled": True, "method": "dpf", "sparsity": 0.9, "prune_freq": 16, "target_epoch": 75},
        **{"freeze_epoch": 180, "prune_type": "unstructured", "importance_method": "L1"},
        **{"dwa_mode": "reactivate_only", "dwa_alpha": 1.0, "dwa_beta": 1.0, "dwa_threshold_percentile": 50},
    },
    "mia": {
        **{"enabled": False, "attack_type": "lira", "num_shadow_models": 64, "shadow_epochs": 200},
        "recalibrate": False,
    },
    "system": {
        **{"gpu": 0, "seed": 43, "deterministic": True, "benchmark": True, "print_freq": 100, "save_freq": 10},
    },
    "wandb": {
        **{"enabled": True, "project": "dcil-pytorch", "entity": None, "name": None, "tags": ["a"], "notes": ""},
    },
}
"""All that its `create_preset_configs` writes, with other values here and there."""


@pytest.fixture(params=["yaml", "json"])
def write(request, tmp_path, monkeypatch):
    """Writes a configuration into `configs/`, by name without suffix."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    dump = yaml.dump if request.param == "yaml" else json.dumps

    def write(values, name="dpf_sparsity0.9"):
        (tmp_path / "configs" / f"{name}.{request.param}").write_text(dump(values))
        return name

    return write


def test_a_file_of_theirs_as_options(write):
    options = read_config(write(THEIRS)).options()
    assert options == {
        **{"name": "dpf_sparsity0.9", "prune": True, "prune_method": "dpf", "sparsity": 0.9},
        **{"dataset": "cifar100", "batch_size": 64, "arch": "resnet", "layers": 32},
        **{"epochs": 200, "lr": 0.1, "momentum": 0.9, "weight_decay": 0.0005},
        **{"prune_freq": 16, "target_epoch": 75, "freeze_epoch": 180, "seed": 43, "num_shadows": None},
        **{"wandb": True, "wandb_project": "dcil-pytorch", "wandb_entity": None, "wandb_tags": ["a"]},
    }


def test_options_count_more_than_the_file(write):
    name = write({"pruning": {"enabled": True}, "mia": {"enabled": True, "num_shadow_models": 4}})
    options = options_of(name, epochs=5, prune=False, lr=None)
    assert (options["epochs"], options["prune"], options["lr"], options["num_shadows"]) == (5, True, 0.1, 4)
    assert (options["prune_method"], options["sparsity"]) == ("static", 0.5)
    dense = read_config(write({"name": "dense_baseline"}, "dense")).options()
    assert (dense["prune"], dense["prune_method"], dense["sparsity"]) == (False, None, None)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"training": {"scheduler": "cosine"}}, ["training.scheduler", "'cosine'", "multistep"]),
        ({"training": {"milestones": [60, 80]}}, ["training.milestones", "60"]),
        ({"training": {"gamma": 0.2}}, ["training.gamma", "0.2"]),
        ({"model": {"width_mult": 2.0}}, ["model.width_mult", "2"]),
        ({"pruning": {"sparsty": 0.9}}, ["pruning.sparsty", "did you mean 'sparsity'?"]),
        (["a"], ["list", "table"]),
    ],
)
def test_what_is_not_done_here_is_refused_by_name(write, values, words):
    with pytest.raises(UserError) as refused:
        read_config(write(values))
    assert all(word in str(refused.value) for word in [*words, "dpf_sparsity0.9"]), refused.value


def test_a_missing_or_broken_file_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"absent\.yaml: cannot be read"):
        read_config("absent")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(UserError, match=r"bad\.yaml: not YAML"):
        read_config("bad.yaml")
    (tmp_path / "code.yaml").write_text("!!python/object/apply:os.system ['touch ran']")
    with pytest.raises(UserError, match=r"code\.yaml: not YAML"):
        read_config("code.yaml")
    assert not (tmp_path / "ran").exists()
