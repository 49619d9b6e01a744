"""pretrain, prune, mia: each step adds to the study in the run folder, and says which step is missing."""

import json
import sys

import pytest

from pruneaudit.cli import main

STUDY = """
name = "steps"
model = { name = "tinycnn", options = { width = 4 } }
[data]
source = "digits"
num_samples = 200
num_reserve = 60
[membership]
protocol = "disjoint"
num_models = 8
num_shadows = 3
[training]
epochs = 4
batch_size = 32
[audit]
attacks = ["loss"]
fpr_levels = [0.3]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    (folder / "study.toml").write_text(STUDY)
    return folder


@pytest.fixture
def call(folder, capsys, monkeypatch):
    def call(step, *arguments):
        command = [step, str(folder / "study.toml"), "--out", str(folder / "runs"), "--executor", "serial", "-q"]
        monkeypatch.setattr(sys, "argv", ["pruneaudit", *command, *arguments])
        with pytest.raises(SystemExit) as ended:
            main([*command, *arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def releases(folder):
    return [release["name"] for release in json.loads((folder / "runs/steps/study.json").read_text())["releases"]]


def test_the_three_steps_in_order(call, folder):
    code, _, err = call("prune")
    assert code == 2
    assert "first: pruneaudit pretrain" in err
    assert call("pretrain")[0] == 0
    code, _, err = call("mia", "--attacks", "loss")
    assert code == 2
    assert "first: pruneaudit prune STUDY" in err
    assert call("mia", "--attacks", "loss", "--original")[0] == 0

    assert call("prune", "--pruner_name", "l1unstructure", "--prune_sparsity", "0.7")[0] == 0
    assert releases(folder) == ["l1unstructured-0.7-preset=mia_prune"]
    before = (folder / "runs/steps/study.json").read_text()
    defended = ("prune", "--prune-sparsity", "0.7", "--defend", "ppb")
    assert call(*defended, "--defend_arg", "4")[0] == 0
    assert call(*defended, "--defend-arg", "4.0")[0] == 0
    assert releases(folder) == [
        "l1unstructured-0.7-preset=mia_prune",
        "l1unstructured-0.7-preset=mia_prune+ppb-strength=4",  # 4 and 4.0 are the same release
    ]
    folders = sorted(path.name.rpartition("-")[0] for path in (folder / "runs/steps").glob("l1*"))
    assert folders == releases(folder)

    code, *_ = call("mia", "--attacks", "loss,threshold")
    assert code == 0
    findings = (folder / "runs/steps/findings.csv").read_text()
    assert "ppb-strength=4,no-defense,loss" in findings
    assert "confidence:thresholds=per_class" in findings
    assert call("mia", "--attacks", "loss", "--adaptive")[0] == 0
    findings = (folder / "runs/steps/findings.csv").read_text()
    assert "ppb-strength=4,matched,loss" in findings
    assert "no-defense" not in findings
    assert before != (folder / "runs/steps/study.json").read_text()
    assert call("pretrain")[0] == 0  # again: nothing is taken back
    assert len(releases(folder)) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--pruner_name", "l1structur"), "unknown pruner 'l1structur'"),
        (("--prune_sparsity", "1.2"), "sparsity"),
        (("--defend", "pbp", "--defend_arg", "4"), "unknown defense 'pbp'"),
        (("--defend", "ppb", "--defend_arg", "much"), "strength"),
    ],
)
def test_mistakes_in_one_line(arguments, expected, call, folder):
    call("pretrain")
    before = (folder / "runs/steps/study.json").read_text()
    code, out, err = call("prune", *arguments)
    assert (code, out) == (2, "")
    assert expected in err
    assert err.count("\n") == 1
    assert (folder / "runs/steps/study.json").read_text() == before
