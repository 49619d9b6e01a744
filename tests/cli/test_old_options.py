"""An option of mia_prune or Pruning_MIA that the command in its place does not take: one line that says what to do."""

import re
import shlex
from functools import cache

import pytest
import typer

from pruneaudit.cli import app
from pruneaudit.published.old_options import COMMANDS, REPLACED, advice

MIA_PRUNE = """--dataset_name --model_name --num_cls --input_dim --image_size --hidden_size --seed --batch_size
    --early_stop --shadow_num"""
"""Of all its scripts, as its argument parsers have them (commit db3a7af)."""
TRAINS = "--epochs --lr --weight_decay --optimizer"
PRUNES = "--prune_epochs --pruner_name --prune_sparsity --defend --defend_arg --adaptive"
EXPERIMENT = """--config --name --save-dir --dataset --datapath --batch-size --workers --arch --layers --epochs --lr
    --momentum --weight-decay --prune --prune-method --sparsity --prune-freq --target-epoch --freeze-epoch --prune-type
    --dwa-mode --dwa-alpha --dwa-beta --dwa-threshold-percentile --mia --num-shadows --wandb --wandb_project
    --wandb_entity --wandb_name --wandb_tags --wandb_notes --gpu --seed --print-freq"""
EVALUATION = """--runs-dir --results-dir --save_dir --dataset --model --sparsity --alpha --beta --prune_method
    --prune_type --victim_seed --shadow_seeds --device --split_seed --forward_mode --debug --runs_dir --output_dir
    --datapath --skip_data_prep --config_path --threshold_strategy --verify"""
THEIRS = {
    "mia-prune pretrain": f"{MIA_PRUNE} {TRAINS}",
    "mia-prune prune": f"{MIA_PRUNE} {TRAINS} {PRUNES}",
    "mia-prune mia": f"{MIA_PRUNE} {PRUNES} --attacks --original",
    "pruning-mia train": f"""{EXPERIMENT} --reorganize-only --methods --sparsities --skip-existing --wandb-project
    --wandb-entity --wandb-tags --multi-seed --num-seeds --start-seed --dry-run --dwa-modes --dwa-alphas --dwa-betas
    --verbose""",
    "pruning-mia run-experiment": EXPERIMENT,
    "pruning-mia mia": f"{EVALUATION} --attacks",
    "pruning-mia test": EVALUATION.replace("--device", ""),
}
"""Of the script that a command stands for; of Pruning_MIA's, commit 6f8d7c6 and its README."""


@cache
def taken(command):
    """The options that a command of ours takes."""
    group, name = command.split()
    found = typer.main.get_command(app).commands[group].commands[name]
    return {option for parameter in found.params for option in parameter.opts if option.startswith("--")}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_old_option_is_taken_or_explained(command):
    ours = taken(command)
    assert {"--data-root", "--quiet"} <= ours
    for option in THEIRS[command].split():
        flag = option.replace("_", "-")
        assert flag in ours or advice(command, flag[2:]), f"{command} {option}"


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_advised_can_be_done(command):
    """Every option of an advice belongs to the command that it is given for, or to the one that it names."""
    advised = {name: text for name in REPLACED if (text := advice(command, name))}
    for name, text in advised.items():
        other = re.search(r"to `pruneaudit ([\w-]+ [\w-]+)", text)
        named = set(re.findall(r"--[a-z-]+", text)) - ({f"--{name}"} if other is None else set())
        named |= set() if other is None else {f"--{name}"}
        assert named <= taken(other[1] if other else command), f"{command} --{name}: {text}"
    assert len(advised) > 5
    assert not {f"--{name}" for name in advised} & taken(command) & {f"--{name}" for name in ("epochs", "out", "gpu")}


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("mia-prune prune 0 mia-prune/location --lr 0.1", ["--lr", "pruneaudit mia-prune pretrain"]),
        ("mia-prune pretrain mia-prune/location --defend ppb", ["--defend", "pruneaudit mia-prune prune"]),
        ("pruning-mia train --sparsity=0.9", ["--sparsity:", "pruneaudit pruning-mia run-experiment"]),
        ("pruning-mia run-experiment --methods dense", ["--methods", "pruneaudit pruning-mia train"]),
        ("pruning-mia train --dwa_mode kill", ["--dwa-mode", "pruneaudit list"]),
        ("pruning-mia mia --victim_seed 42", ["--victim-seed", "victim"]),
        ("pruning-mia mia --output_dir x", ["--output-dir", "--results-dir"]),
        ("pruning-mia test --results-dir x", ["--results-dir", "leave it out"]),
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
    assert advice("pruning-mia train", "epochs") == ""
    code, _, err = call("pruning-mia", "train", "--methods", "dense", "--", "--sparsity")
    assert code == 2
    assert "run-experiment" not in err
