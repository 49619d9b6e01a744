"""Every command of docs/coming-from.md is understood, and (slowly) run at a tiny scale, with the systems' own files."""

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pruneaudit.attacks import classifier
from pruneaudit.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
SECTIONS = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL))
BLOCK = re.compile(r"^```bash\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
THEIRS = """
pretrain.py 0 config/cifar10_resnet18.json
prune.py 0 config/cifar10_resnet18.json --pruner_name l1unstructure --prune_sparsity 0.7
mia.py 0 config/cifar10_resnet18.json --attacks samia
mia.py 0 config/cifar10_resnet18.json --attacks samia --original
prune.py 0 config/cifar10_resnet18.json --defend ppb --defend_arg 4
mia.py 0 config/cifar10_resnet18.json --attacks samia,threshold --defend ppb --defend_arg 4
mia.py 0 config/cifar10_resnet18.json --attacks samia,threshold --defend ppb --defend_arg 4 ----adaptive
mia.py 0 config/cifar10_resnet18.json --attacks samia,nn,nn_top3
train.py
train.py --methods dense static --sparsities 0.7 0.8 0.9
train.py --wandb --wandb-project my-project --wandb-entity my-username
run_experiment.py --name dense_cifar10 --dataset cifar10 --epochs 200
run_experiment.py --name static_80 --prune --prune-method static --sparsity 0.8
run_experiment.py --name dpf_90 --prune --prune-method dpf --sparsity 0.9
mia/unified_mia_evaluation.py --runs-dir ./runs
mia/mia_advanced.py --runs-dir ./runs
mia/mia_wemem.py --runs-dir ./runs
test_mia.py --runs-dir ./runs
train.py --methods dense static dpf --sparsities 0.5 0.7 0.8 0.9 0.95 --dataset cifar10 --arch resnet --epochs 200 --skip-existing
train.py --wandb --wandb-project dcil-pytorch --wandb-entity your-username --wandb-tags pruning mia-analysis cifar10
mia/unified_mia_evaluation.py --runs-dir ./runs --results-dir ./results/unified_mia
train.py --methods dense static --sparsities 0.8 --epochs 50
train.py --epochs 200 --wandb
mia/mia_advanced.py --attacks lira --runs-dir ./runs
train.py --verbose
train.py --methods static --sparsities 0.8 --skip-existing
train.py --dataset_name cifar10 --model_name resnet18 --num_cls 10 --lr 0.1 --epochs 100 --batch_size 128
pruning/prune.py --dataset_name cifar10 --model_name resnet18 --num_cls 10 --lr 0.001 --prune_epochs 30 --prune_sparsity 0.6
quantization/qat.py --dataset_name cifar10 --model_name resnet18 --num_cls 10 --lr 0.001 --quantized_epochs 30 --degree int8
clustering/clustering.py --dataset_name cifar10 --model_name resnet18 --num_cls 10 --lr 0.00001 --epochs 30 --bit 2
CompLeakNR.py --model_name resnet18 --dataset_name cifar10 --num_cls 10 --batch_size 128 --original
CompLeakNR.py --compress_degree 0.6 --dataset_name cifar10 --num_cls 10 --batch_size 128 --compress --compress_name pruning --model_name resnet18
CompLeakSR.py --compress_degree 0.6 --dataset_name cifar10 --num_cls 10 --batch_size 128 --original --compress --model_name resnet18 --compress_name pruning
""".strip().splitlines()  # noqa: E501
"""Commands in the READMEs of mia_prune (commit db3a7af), Pruning_MIA (6f8d7c6) and CompLeak (a3ff346; one of each)."""
CONFIGS = {
    "cifar10_resnet18": {"dataset_name": "cifar10", "model_name": "resnet18", "epochs": 100, "num_cls": 10},
    "location": {"dataset_name": "location", "model_name": "columnfc", "epochs": 50, "num_cls": 30, "input_dim": 446},
}
TINY = (
    *("data.source=digits", "data.num_samples=160", "data.num_holdout=40", "data.num_public=30"),
    *("audit.fpr_levels=[0.3]", "training.epochs=1", "training.batch_size=32"),
)
"""Of every study that is begun here; what follows goes on from there."""
TINY_GROUPS = (*TINY, "membership.num_shadows=2", "membership.num_models=6")
TINY_GRID = (*TINY, "membership.num_models=4", "training.milestones=[]", "training.schedule=constant")
TINY_COMPLEAK = (*TINY, "data.num_holdout=200", "data.num_public=80", 'audit.attacks=["loss", "pair_lr"]')
TINY_COMPLEAK += ("membership.num_models=2", "model.options.width=2", "training.augment=none")
RESNET = ("model.options.depth=8", "model.options.width=4")
WIDE_RESNET = ("model.options.depth=10", "model.options.width_factor=1")


def lines_of(section):
    """The commands of a section, each with the one before that it replaces."""
    found = [line for block in BLOCK.findall(SECTIONS[section]) for line in block.splitlines()]
    return [line for line in found if not line.startswith("#")]


def set_all(*settings):
    return [part for setting in settings for part in ("--set", setting)]


def tiny(arguments):
    """The same command with a small data set and network, on the CPU, in this process."""
    match arguments:
        case ["mia-prune", "pretrain", *rest]:
            network = ("model.options.width=4",) if any("resnet18" in word for word in rest) else ()
            return [*arguments, *set_all(*TINY_GROUPS, *network), "--device", "cpu", "--executor", "serial"]
        case ["mia-prune", "prune", *_]:
            return [*arguments, "--device", "cpu", "--executor", "serial"]
        case ["mia-prune", *_]:
            return [*arguments, "--device", "cpu"]
        case ["run", study, *_] if study.startswith("compleak"):
            return [*arguments, *set_all(*TINY_COMPLEAK), "--executor", "serial"]
        case ["attack", *_]:
            return [*arguments[:-1], "posterior_lr,pair_lr"]
        case ["run", study, *_]:
            its = (*TINY_GRID, *RESNET) if study.startswith("pruning-mia") else TINY_GROUPS
            return [*arguments, *set_all(*its), "--executor", "serial"]
        case ["pruning-mia", "train" | "run-experiment", *rest]:
            its = (*TINY_GRID, *(WIDE_RESNET if "wideresnet" in rest else RESNET))
            # All nine attacks in one of the lines; samia in each, since `mia` needs the sensitivities that it stores.
            quick = () if "50" in rest else ('audit.attacks=["samia"]',)
            return [*arguments, *set_all(*its, *quick), "--executor", "serial"]
        case ["pruning-mia", "test", *_]:
            return [*arguments, "--attacks", "lira,confidence"]
    return arguments


def run(line, capsys):
    program, *arguments = shlex.split(line, comments=True)
    assert program == "pruneaudit"
    with pytest.raises(SystemExit) as end:
        main(tiny(arguments))
    assert not end.value.code, (line, capsys.readouterr().err)


@pytest.mark.parametrize("line", [line for section in SECTIONS for line in lines_of(section)])
def test_every_command_is_understood(line, check_command):
    check_command(line)


@pytest.mark.parametrize("theirs", THEIRS)
def test_every_command_of_their_readmes_has_a_line(theirs):
    """Several of theirs may have one line of ours."""
    others = r"(?:# python .*\n)*"
    line = rf"^# python {re.escape(theirs)}\n{others}(pruneaudit [a-z-]+ \S+)"
    followed = re.findall(line, PAGE.read_text(), re.M)
    assert len(followed) == 1
    assert re.search(r"mia-prune|pruning-mia|compleak", followed[0])


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder to work in, and classifiers that learn from little, in no time."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier, "DEFAULT_MAX_ROWS", 64)
    monkeypatch.setattr(classifier, "DEFAULT_EPOCHS", 2)
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.mark.slow
def test_every_command_of_mia_prune_runs(empty, capsys):
    Path("config").mkdir()
    for name, config in CONFIGS.items():
        Path("config", f"{name}.json").write_text(json.dumps(config))
    for line in lines_of("mia_prune"):
        run(line, capsys)
    findings = pd.read_csv("runs/mia-prune-cifar10-resnet18/findings.csv")
    assert {"l1unstructure_0.7", "l1unstructure_0.7_ppb_4"} <= set(findings["release"])
    assert {"samia", "nn", "nn_top3"} == set(findings["attack"])


@pytest.mark.slow
def test_every_command_of_pruning_mia_runs(empty, capsys):
    Path("configs").mkdir()
    pruning = {"enabled": True, "method": "dpf", "sparsity": 0.9, "target_epoch": 75, "freeze_epoch": 180}
    training = {"epochs": 200, "scheduler": "multistep", "milestones": [100, 150], "gamma": 0.1}
    config = {"name": "dpf_sparsity0.9", "save_dir": "./runs", "pruning": pruning, "training": training}
    Path("configs/dpf_sparsity0.9.yaml").write_text(yaml.dump(config))
    lines = lines_of("Pruning_MIA")
    run(lines[0], capsys)
    tables = pd.read_csv("runs/pruning-mia-cifar10/results/comprehensive_mia_results.csv")
    assert list(tables["experiment"]) == ["dense_digits", "static_sparsity_0.8_digits"]
    assert {"experiment", "method", "sparsity", "lira_auc", "samia_accuracy", "neural_network_auc"} <= set(tables)
    for line in lines[1:]:
        run(line, capsys)
    study = json.loads(Path("runs/pruning-mia-cifar10/study.json").read_text())
    cells = [f"{method}_sparsity_{s}" for method in ("static", "dpf") for s in (0.5, 0.7, 0.8, 0.9, 0.95)]
    assert [release["name"] for release in study["releases"]] == cells
    assert "neural_network_auc" in pd.read_csv("results/unified_mia/comprehensive_mia_results.csv")
    assert Path("exported/runs/static/sparsity_0.8/digits/seed43/experiment_summary.json").is_file()


@pytest.mark.slow
def test_every_command_of_compleak_runs(empty, capsys):
    lines = lines_of("CompLeak")
    assert [line.split()[1] for line in lines] == ["run", "attack", "attack", "run", "compleak"]
    for line in lines:
        run(line, capsys)
    findings = pd.read_csv("runs/compleak-fashion/findings.csv")
    assert {"dense", "pruning-0.6", "int8-as-released", "clustering-16"} <= set(findings["release"])
    replayed = pd.read_csv("replayed.csv")
    assert set(replayed["queries"]) == {"as released", "plain", "cropped"}
    assert set(replayed["is_audit"]) == {True, False}


def test_links_lead_somewhere():
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", PAGE.read_text()) if "://" not in link]
    assert targets
    missing = [target for target in targets if not (PAGE.parent / target.partition("#")[0]).exists()]
    assert not missing
