"""`pruneaudit audit`: rates and names that are asked for, progress, and folders that hold something already."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from pruneaudit.cli import common


@pytest.fixture
def predictions(tmp_path):
    rng = np.random.default_rng(0)
    member = rng.random((4, 120)) < 0.5
    labels = rng.integers(0, 3, 120)
    logits = rng.normal(size=(4, 120, 3))
    logits[:, np.arange(120), labels] += 1 + member
    np.savez(tmp_path / "pruned.npz", logits=logits, labels=labels, member=member)
    return tmp_path / "pruned.npz"


def means(folder):
    rows = pd.read_csv(folder / "findings.csv")
    return rows[rows["victim"] == "mean"].set_index("attack")


def test_rates_and_name_are_as_asked_and_change_no_figure(call, predictions, tmp_path):
    plain = ("audit", predictions, "--attacks", "loss,lira", "--seed", 3)
    assert call(*plain, "--out", tmp_path / "a")[0] == 0
    code, _, err = call(*plain, "--out", tmp_path / "b", "--fpr-levels", "0.2,5%", "--name", "half of it")
    assert code == 0, err
    first, second = means(tmp_path / "a"), means(tmp_path / "b")
    assert set(first["release"]) == {"pruned"}
    assert set(second["release"]) == {"half of it"}
    assert {name for name in second.columns if re.fullmatch("tpr_at_.*_fpr", name)} == {
        "tpr_at_20%_fpr",
        "tpr_at_5%_fpr",
    }
    pd.testing.assert_frame_equal(first[["auc", "auc_low", "auc_high"]], second[["auc", "auc_low", "auc_high"]])


@pytest.mark.parametrize("levels", ["0.1,x", "0", "1", "0.1,,0.01", "110%"])
def test_what_is_no_rate_is_refused(call, predictions, tmp_path, levels):
    code, out, err = call("audit", predictions, "--out", tmp_path / "a", "--fpr-levels", levels)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert not (tmp_path / "a").exists()


def test_a_folder_that_holds_something_is_replaced_only_with_force(call, predictions, tmp_path):
    folder = tmp_path / "audit"
    plain = ("audit", predictions, "--attacks", "loss", "--out", folder)
    assert call(*plain)[0] == 0
    before = (folder / "findings.csv").read_bytes()
    code, out, err = call(*plain, "--name", "other")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--force" in err
    assert (folder / "findings.csv").read_bytes() == before
    assert call(*plain, "--name", "other", "--force")[0] == 0
    assert set(means(folder)["release"]) == {"other"}


@pytest.mark.parametrize("force", [(), ("--force",)])
def test_the_run_of_a_study_is_never_replaced(call, predictions, tmp_path, force):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "study.json").write_text("{}")
    code, _, err = call("audit", predictions, "--attacks", "loss", "--out", tmp_path / "run", *force)
    assert (code, err.count("\n")) == (2, 1)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["study.json"]


@pytest.mark.parametrize("command", [("attack", "run", "--attacks", "loss"), ("figures", "run")])
def test_other_commands_keep_what_a_folder_holds_too(call, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "findings.csv").write_text("mine")
    code, _, err = call(*command, "--out", "there")
    assert (code, err.count("\n")) == (2, 1)
    assert "--force" in err
    assert (tmp_path / "there" / "findings.csv").read_text() == "mine"


def test_each_attack_is_named_with_how_many_there_are(call, predictions, tmp_path, monkeypatch):
    monkeypatch.setattr(common, "SECONDS_BETWEEN_LINES", 0.0)
    plain = ("audit", predictions, "--attacks", "loss,entropy,lira")
    code, out, err = call(*plain, "--json", "--out", tmp_path / "a")
    assert code == 0
    assert json.loads(out)["findings"]
    told = [line.split() for line in err.splitlines() if line.startswith("attack ")]
    assert {words[1] for words in told} == {"loss", "entropy", "lira"}
    assert [words[2:] for words in told] == [["(1", "of", "3)"], ["(2", "of", "3)"], ["(3", "of", "3)"]]
    assert "attack " not in call(*plain, "--out", tmp_path / "b", "--quiet")[2]


def test_audits_of_one_release_are_compared_whatever_they_are_called(call, predictions, tmp_path):
    plain = ("audit", predictions, "--attacks", "loss")
    assert call(*plain, "--out", tmp_path / "a", "--name", "one")[0] == 0
    assert call(*plain, "--out", tmp_path / "b", "--name", "two")[0] == 0
    code, out, err = call("report", tmp_path / "a", "--compare", tmp_path / "b", "--json")
    assert code == 0, err
    rows = [row for row in json.loads(out)["differences"] if row["metric"] == "auc"]
    assert [(row["release"], row["method"], row["difference"]) for row in rows] == [("one", "paired", 0.0)]
