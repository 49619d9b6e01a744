"""An option of mia_prune or Pruning_MIA that our commands do not take: one line that names ours."""

import re
import shlex

import pytest
import typer

from pruneaudit.cli import app
from pruneaudit.published.old_options import COMMANDS, REPLACED, advice

MIA_PRUNE = """--dataset_name --model_name --num_cls --input_dim --image_size --hidden_size --seed --batch_size
    --early_stop --shadow_num"""
"""Of all its scripts, as its argument parsers have them (commit db3a7af)."""
TRAINS = "--epochs --lr --weight_decay --optimizer"
PRUNES = "--prune_epochs --pruner_name --prune_sparsity --defend --defend_arg --adaptive"
THEIRS = {
    "pretrain": f"{MIA_PRUNE} {TRAINS}",
    "prune": f"{MIA_PRUNE} {TRAINS} {PRUNES}",
    "mia": f"""{MIA_PRUNE} {PRUNES} --attacks --original
    --dataset --model --sparsity --alpha --beta --prune_method --prune_type --victim_seed --shadow_seeds --device
    --split_seed --forward_mode --debug --runs_dir --output_dir --datapath --skip_data_prep --config_path
    --threshold_strategy --runs-dir --results-dir --save_dir --verify""",
    "run": f"""{MIA_PRUNE} {TRAINS} {PRUNES} --config --name --save-dir --dataset --datapath --batch-size --workers
    --arch --layers --momentum --weight-decay --prune --prune-method --sparsity --prune-freq --target-epoch
    --freeze-epoch --prune-type --dwa-mode --dwa-alpha --dwa-beta --dwa-threshold-percentile --mia --num-shadows --wandb
    --wandb_project --wandb_entity --wandb_name --wandb_tags --wandb_notes --gpu --print-freq --reorganize-only
    --methods --sparsities --skip-existing --wandb-project --multi-seed --num-seeds --start-seed --dry-run
    --dwa-modes --dwa-alphas --dwa-betas --verbose""",
}
"""Of Pruning_MIA's scripts (commit 6f8d7c6): what evaluates stands at `mia`, what trains at `run`."""


def taken(command):
    """The options that a command of ours takes."""
    found = typer.main.get_command(app).commands[command]
    return {option for parameter in found.params for option in parameter.opts if option.startswith("--")}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_old_option_is_taken_or_explained(command):
    ours = taken(command)
    assert "--out" in ours
    for option in THEIRS[command].split():
        flag = option.replace("_", "-")
        assert flag in ours or advice(command, flag[2:]), f"{command} {option}"


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=() if name == "run" else pytest.mark.slow) for name in COMMANDS]
)
def test_what_is_advised_can_be_done(command):
    """Every option of an advice belongs to the command that it is given for, or to the one that it names."""
    checked = 0
    for name in REPLACED:
        text = advice(command, name)
        other = re.search(r"to `pruneaudit (\w+)", text)
        if other is not None:
            named = set(re.findall(r"--[a-z-]+", text)) or {f"--{name}"}
            assert named <= taken(other[1]), f"{command} --{name}: {text}"
        else:
            named = set(re.findall(r"--[a-z-]+", text)) - {f"--{name}"}
            assert named <= taken(command), f"{command} --{name}: {text}"
        checked += len(named)
    assert checked > 10


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("run pruning-mia/cifar10 --gpu 0", ["--gpu", "--device cuda:N"]),
        ("run pruning-mia/cifar10 --gpu=0", ["--gpu", "--device cuda:N"]),
        ("run pruning-mia/cifar10 --sparsity 0.9", ["--sparsity:", "--sparsities"]),
        ("run pruning-mia/cifar10 --num_shadows 4", ["--num-shadows", "--num-models"]),
        ("run pruning-mia/cifar10 --multi-seed --num-seeds 2", ["--multi-seed", "--seeds"]),
        ("pretrain 0 mia-prune/location --image_size 32", ["--image-size"]),
        ("prune 0 mia-prune/location --lr 0.1", ["--lr", "pruneaudit pretrain"]),
        ("prune mia-prune/location --sparsity 0.6", ["--sparsity:", "--prune-sparsity"]),
        ("mia mia-prune/location --victim_seed 42", ["--victim-seed"]),
        ("mia --runs-dir runs", ["--runs-dir", "pruneaudit mia runs"]),
    ],
)
def test_one_line_names_ours(line, named, call):
    code, out, err = call(*shlex.split(line))
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert "Possible options" not in err
    for text in named:
        assert text in err


def test_what_is_taken_is_no_old_option(call):
    """Also as a value, and after `--`."""
    assert advice("run", "epochs") == ""
    code, _, err = call("run", "pruning-mia/cifar10", "--methods", "dense", "--", "--gpu")
    assert code == 2
    assert "--device cuda:N" not in err
