"""Every command of docs/coming-from.md is understood, and (slowly) run at a tiny scale, with mia_prune's files."""

import json
import re
import shlex
from pathlib import Path

import pandas as pd
import pytest

from pruneaudit.attacks import classifier
from pruneaudit.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "coming-from.md"
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
CONFIGS = {
    "cifar10_resnet18": {"dataset_name": "cifar10", "model_name": "resnet18", "epochs": 100, "num_cls": 10},
    "location": {"dataset_name": "location", "model_name": "columnfc", "epochs": 50, "num_cls": 30, "input_dim": 446},
}
TINY = (
    *("data.source=digits", "data.num_samples=160", "data.num_reserve=40", "audit.fpr_levels=[0.3]"),
    *("training.epochs=1", "training.batch_size=32"),
)
"""Of every study that is begun here; what follows goes on from there."""
TINY_GROUPS = ("membership.num_shadows=2", "membership.num_models=6")
TINY_NETWORKS = {"resnet18": ("model.options.width=4",), "grid": ("model.options.depth=8", "model.options.width=4")}


def tiny(arguments):
    """The same command with a small data set and network, on the CPU, in this process."""
    command, *rest = arguments
    if command in ("pretrain", "run", "prune", "mia"):
        rest += ["--device", "cpu"] if command != "run" else []
    if command in ("pretrain", "run"):
        settings = list(TINY)
        if any("pruning-mia" in argument for argument in rest):
            settings += ["membership.num_models=4", "training.milestones=[]", "training.schedule=constant"]
            settings += TINY_NETWORKS["grid"]
        else:
            settings += TINY_GROUPS
            settings += TINY_NETWORKS["resnet18"] if any("resnet18" in argument for argument in rest) else ()
        rest += [part for setting in settings for part in ("--set", setting)]
    if command in ("pretrain", "run", "prune"):
        rest += ["--executor", "serial"]
    return [command, *rest]


def run(line, capsys):
    program, *arguments = shlex.split(line, comments=True)
    assert program == "pruneaudit"
    with pytest.raises(SystemExit) as end:
        main(tiny(arguments))
    assert not end.value.code, (line, capsys.readouterr().err)
    return arguments[0]


@pytest.mark.parametrize("line", [line for block in BLOCKS for line in block.splitlines()])
def test_every_command_is_understood(line, check_command):
    check_command(line)


@pytest.mark.slow
def test_every_command_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classifier, "DEFAULT_MAX_ROWS", 64)  # classifiers that learn from little, in no time
    monkeypatch.setattr(classifier, "DEFAULT_EPOCHS", 2)
    Path("config").mkdir()
    for name, config in CONFIGS.items():
        Path("config", f"{name}.json").write_text(json.dumps(config))
    called = [run(line, capsys) for block in BLOCKS for line in block.splitlines()]
    assert {"pretrain", "prune", "mia", "run", "export", "selftest"} <= set(called)

    findings = pd.read_csv("runs/mia-prune-cifar10-resnet18/findings.csv")
    assert {"l1unstructure_0.7", "l1unstructure_0.7_ppb_4"} <= set(findings["release"])
    assert {"samia", "nn", "nn_top3"} == set(findings["attack"])
    tables = pd.read_csv("results/comprehensive_mia_results.csv")
    assert list(tables["experiment"]) == ["dense_digits", "static_sparsity_0.8_digits"]
    assert {"experiment", "method", "sparsity", "lira_auc", "samia_accuracy", "neural_network_auc"} <= set(tables)
    study = json.loads(Path("runs/pruning-mia-cifar10/study.json").read_text())
    assert [release["name"] for release in study["releases"]] == ["static_sparsity_0.8", "dpf_90"]
    assert Path("exported/runs/static/sparsity_0.8/digits/seed43/experiment_summary.json").is_file()


def test_links_lead_somewhere():
    targets = [link for link in re.findall(r"\]\(([^)]+)\)", PAGE.read_text()) if "://" not in link]
    assert targets
    missing = [target for target in targets if not (PAGE.parent / target.partition("#")[0]).exists()]
    assert not missing
