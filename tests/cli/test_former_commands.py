"""Commands and options of earlier versions: one line with the whole new command, and nothing is done."""

import shlex

import pytest

RUN = "run pruning-mia/cifar10"
MOVED = {
    "pretrain 0 config/x.json --epochs 3": "mia-prune pretrain 0 config/x.json --epochs 3",
    "prune config/x.json --pruner_name slim --control": "mia-prune prune config/x.json --pruner-name slim --baseline",
    "mia 0 config/x.json --attacks samia ----adaptive": "mia-prune mia 0 config/x.json --attacks samia --adaptive",
    "mia runs --attacks lira --results-dir r --out x": "pruning-mia mia --runs-dir runs --attacks lira --results-dir r",
    "mia 1 --dry-run runs/a": "pruning-mia mia --runs-dir runs/a --dry-run --gpu 1",
    "mia --runs-dir elsewhere": "pruning-mia mia --runs-dir elsewhere",
    "prune-model --factory a:b --weights 'w 1.pt' --method dpf --sparsity 0.5 --out x": (
        "compress --factory a:b --weights 'w 1.pt' --method dpf --sparsity 0.5 --out x"
    ),
    "selftest runs/a --attacks lira": "sanity-check runs/a --attacks lira",
    "export runs/a runs/b --layout pruning-mia --out x": "pruning-mia export runs/a runs/b --out x",
    "export runs/a --layout=pruning-mia --out x --force": "pruning-mia export runs/a --out x --force",
}
GRIDS = {
    f"{RUN} --methods dense static --epochs 5 -q": "pruning-mia train --methods dense static --epochs 5 -q",
    "run --sparsities 0.8 0.9 pruning-mia/cifar10 --seeds 1 2": "pruning-mia train --sparsities 0.8 0.9 --seeds 1 2",
    "run pruning-mia/cifar100 --lr 0.1 --jobs 2": "pruning-mia train --lr 0.1 --jobs 2 --dataset cifar100",
    "run pruning-mia/cifar100 --dataset svhn": "pruning-mia train --dataset svhn",
    f"{RUN} --name a --methods dpf --sparsities 0.9": "pruning-mia train --name a --methods dpf --sparsities 0.9",
    f"{RUN} --arch wideresnet --set seed=3 --out x": "pruning-mia train --arch wideresnet --set seed=3 --out x",
    f"{RUN} --layers 8 --wandb --wandb-tags a b --mlflow": (
        "pruning-mia train --layers 8 --wandb --wandb-tags a b --track mlflow"
    ),
    f"{RUN} --gpu 0 --multi-seed": "pruning-mia train --gpu 0 --multi-seed",
    f"{RUN} --prune --prune_method dpf --sparsity 0.9": (
        "pruning-mia run-experiment --prune --prune-method dpf --sparsity 0.9"
    ),
    f"{RUN} --wandb --wandb-project p": f"{RUN} --track wandb:project=p",
    f"{RUN} --tensorboard": f"{RUN} --track tensorboard",
}
SETTINGS = {
    "run demo --epochs 5 --attacks lira rmia": (
        """run demo --set training.epochs=5 --set 'audit.attacks=["lira", "rmia"]'"""
    ),
    "run my.toml --seed=3 --verbose --skip-existing": "run my.toml --verbose --set seed=3",
    "run demo --mlflow --mlflow-uri http://h:5000 --wandb --wandb-tags a,b --wandb-entity e": (
        "run demo --track mlflow:uri=http://h:5000 --track wandb:tags=a,b:entity=e"
    ),
    "run mia-prune/location --batch-size 32": "run mia-prune/location --set training.batch_size=32",
    "run mia-prune/location --pruner_name slim": "mia-prune prune mia-prune/location --pruner-name slim",
    "run mia-prune/location --shadow_num 3": "mia-prune pretrain mia-prune/location --shadow-num 3",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working folder in which there are folders of runs."""
    (tmp_path / "runs/a").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(("former", "now"), [*MOVED.items(), *GRIDS.items(), *SETTINGS.items()])
def test_the_new_command_is_named_in_one_line(call, folder, check_command, former, now):
    before = sorted(folder.rglob("*"))
    code, out, err = call(*shlex.split(former))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.rstrip("\n").endswith(f": pruneaudit {now}")
    check_command(f"pruneaudit {now}")
    assert sorted(folder.rglob("*")) == before


OF_RUN = (
    *("methods", "sparsities", "name", "dataset", "arch", "layers", "width", "epochs", "batch-size", "lr", "momentum"),
    *("weight-decay", "seed", "seeds", "prune-freq", "target-epoch", "freeze-epoch", "num-models", "attacks"),
    *("results-dir", "skip-existing", "wandb", "wandb-project", "wandb-entity", "wandb-tags", "mlflow"),
    *("mlflow-uri", "tensorboard"),
)
"""The options that `run` had, and has no more."""
FLAGS = ("skip-existing", "wandb", "mlflow", "tensorboard")


@pytest.mark.parametrize("option", OF_RUN)
def test_no_former_option_of_run_is_lost(call, check_command, option):
    value = [] if option in FLAGS else ["1"]
    code, out, err = call("run", "pruning-mia/cifar10", f"--{option}", *value)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: --{option}: ")
    line = err.rstrip("\n").partition("use: ")[2]
    check_command(line)
    assert line.startswith("pruneaudit ")


def test_an_option_of_grids_says_so_with_another_study(call):
    code, out, err = call("run", "demo", "--methods", "dense", "dpf", "--dry-run")
    assert (code, out, err.count("\n")) == (2, "", 1)
    for part in ("--methods", "pruneaudit pruning-mia train --methods dense dpf --dry-run", "'demo'", "--set"):
        assert part in err


def test_what_never_was_an_option_is_no_former_one(call):
    for words in (["--nonsense"], ["--set", "a=b", "--", "--methods"], ["--polish", "3"]):
        code, out, err = call("run", "pruning-mia/cifar10", *words)
        assert (code, out) == (2, "")
        assert "use: " not in err
    code, _, err = call("pretrian")
    assert code == 2
    assert "No such command" in err
