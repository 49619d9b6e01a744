"""`pruneaudit mia-prune pretrain`, `prune`, `mia`: each step adds to the study, and says which step is missing."""

import json

import pytest

from command_line import called, succeed

STUDY = """
name = "steps"
model = { name = "tinycnn", options = { width = 4 } }
[data]
source = "digits"
num_samples = 200
num_holdout = 60
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
def call(call, folder):
    """Runs a step on the study of the folder."""
    usual = (folder / "study.toml", "--out", folder / "runs", "--executor", "serial", "-q")
    return lambda step, *arguments: call("mia-prune", step, *usual, *arguments)


def releases(folder):
    return [release["name"] for release in json.loads((folder / "runs/steps/study.json").read_text())["releases"]]


@pytest.mark.slow
def test_the_three_steps_in_order(call, folder):
    code, _, err = call("prune")
    assert code == 2
    assert "first run: pruneaudit mia-prune pretrain" in err
    assert call("pretrain")[0] == 0
    code, _, err = call("mia", "--attacks", "loss")
    assert code == 2
    assert f"first run: pruneaudit mia-prune prune {folder / 'study.toml'} --pruner_name" in err
    assert call("mia", "--attacks", "loss", "--original")[0] == 0

    assert call("prune", "--pruner_name", "l1unstructure", "--prune_sparsity", "0.7")[0] == 0
    assert releases(folder) == ["l1unstructure_0.7"]
    before = (folder / "runs/steps/study.json").read_text()
    defended = ("prune", "--prune-sparsity", "0.7", "--defend", "ppb")
    assert call(*defended, "--defend_arg", "4")[0] == 0
    assert call(*defended, "--defend-arg", "4.0")[0] == 0
    assert releases(folder) == ["l1unstructure_0.7", "l1unstructure_0.7_ppb_4"]  # 4 and 4.0 are the same release
    folders = sorted(path.name.rpartition("-")[0] for path in (folder / "runs/steps").glob("l1*"))
    assert folders == releases(folder)

    code, *_ = call("mia", "--attacks", "loss,threshold")
    assert code == 0
    findings = (folder / "runs/steps/findings.csv").read_text()
    assert "l1unstructure_0.7_ppb_4,undefended,loss" in findings
    assert "confidence:thresholds=per_class" in findings
    assert call("mia", "--attacks", "loss", "--adaptive")[0] == 0
    findings = (folder / "runs/steps/findings.csv").read_text()
    assert "l1unstructure_0.7_ppb_4,matched,loss" in findings
    assert "undefended" not in findings
    assert before != (folder / "runs/steps/study.json").read_text()
    assert call("pretrain")[0] == 0  # again: nothing is taken back
    assert len(releases(folder)) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--pruner_name", "l1structur"), "unknown compressor 'l1structur'"),
        (("--prune_sparsity", "1.2"), "sparsity"),
        (("--defend", "pbp", "--defend_arg", "4"), "unknown defense 'pbp'"),
        (("--defend", "ppb", "--defend_arg", "much"), "strength"),
        (("--defend_arg", "4"), "--defend_arg: got 4 without a defence; add one, such as --defend ppb"),
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


def test_the_attack_names_the_step_that_is_missing(call):
    call("pretrain")
    code, out, err = call("mia", "--pruner_name", "slim", "--prune_sparsity", "0.6", "--defend", "ppb")
    assert (code, out) == (2, "")
    assert "'slim_0.6_ppb_4' are missing" in err
    assert "first run: pruneaudit mia-prune prune " in err
    assert " --pruner_name slim --prune_sparsity 0.6 --defend ppb --out " in err


@pytest.mark.slow
def test_its_own_command_lines_are_understood(folder):
    study, common = folder / "study.toml", ("--out", folder / "by_gpu", "--executor", "serial", "-q")
    succeed("mia-prune", "pretrain", "0", study, *common, "--device", "cpu")  # a device that is given counts more
    succeed("mia-prune", "prune", "0", study, "--pruner_name", "l1unstructure", *common, "--device=cpu")
    succeed("mia-prune", "mia", "0", study, "--attacks", "loss", "----adaptive", *common, "--device", "cpu")
    assert "l1unstructure_0.7,matched,loss" in (folder / "by_gpu/steps/findings.csv").read_text()
    code, _, err = called("mia-prune", "mia", "99", study, "--attacks", "loss", *common)
    assert code == 2
    assert "device" in err  # cuda:99, which is nowhere


@pytest.mark.slow
def test_what_a_defended_network_gives_away_is_printed_whatever_the_knowledge(call):
    call("pretrain")
    assert call("prune", "--defend", "ppb")[0] == 0
    code, out, _ = call("mia", "--attacks", "loss", "--defend", "ppb")
    assert code == 0
    table = " ".join(out.split())
    assert "loss, references undefended" in table


@pytest.mark.slow
def test_the_control_and_another_number_of_epochs(call, folder):
    call("pretrain")
    assert call("prune", "--pruner_name", "l1structure", "--baseline")[0] == 0
    assert {"dense+finetune", "l1structure_0.7"} <= set(releases(folder))
    assert call("prune", "--pruner_name", "l1structure", "--prune_epochs", "1", "--baseline")[0] == 0
    assert {"dense+finetune_1epochs", "l1structure_0.7_1epochs"} <= set(releases(folder))


@pytest.mark.slow
def test_classifiers_are_for_the_third_step(folder, call):
    call("pretrain")
    assert call("prune")[0] == 0
    assert call("mia", "--attacks", "nn:epochs=1")[0] == 0
    assert "nn:epochs=1" in (folder / "runs/steps/findings.csv").read_text()
    assert call("pretrain")[0] == 0
    assert "nn:epochs=1" not in (folder / "runs/steps/findings.csv").read_text()
    assert "confidence" in (folder / "runs/steps/findings.csv").read_text()


@pytest.mark.slow
def test_another_study_of_the_same_name_is_named_before_it_replaces_the_findings(call, folder):
    call("pretrain")
    call("prune")
    code, _, err = call("pretrain", "--set", "training.learning_rate=0.05")
    assert code == 0
    assert "a study that differs in training.learning_rate" in err
    assert "l1unstructure_0.7" in err
    assert "another --out or --set name=NAME" in err
    code, _, err = call("pretrain")
    assert "differs in training.learning_rate" in err
