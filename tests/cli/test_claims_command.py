"""`pruneaudit claims` as a user meets it: on a run of their own, on the quick recipes, and on what is no run."""

import numpy as np
import pandas as pd
import pytest

import pruneaudit
from pruneaudit.claims.catalogue import CLAIMS, num_intervals
from pruneaudit.claims.judge import COLUMNS
from pruneaudit.claims.rule import verdict

STUDY = """
name = "own"
[data]
source = "digits"
num_samples = 300
[membership]
num_models = 6
[model]
name = "mlp"
options = { hidden = [16] }
[training]
epochs = 6
batch_size = 32
[[releases]]
name = "sparse"
compress = "l1unstructured:sparsity=0.6"
finetune = { epochs = 2 }
[[releases]]
name = "rough"
compress = "rtn:bits=2"
[audit]
attacks = ["loss"]
fpr_levels = [0.1]
"""
PLAIN = STUDY.replace('[[releases]]\nname = "rough"\ncompress = "rtn:bits=2"\n', "")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("claims")
    (place / "study.toml").write_text(STUDY)
    return pruneaudit.run(place / "study.toml", place, pruneaudit.Runtime(executor="serial")).folder


def test_a_users_own_run_is_judged_as_far_as_it_goes(call, run_folder, tmp_path):
    code, out, err = call("claims", run_folder, "--out", tmp_path / "out", "--quiet")
    assert code == 0, err
    assert "1a." in out and "not tested" in out and "claims.csv" in out
    table = pd.read_csv(tmp_path / "out/claims.csv", keep_default_na=False, na_values=[""])
    assert tuple(table.columns) == COLUMNS
    deciding = table[table["part"] == "deciding"].set_index("claim")
    assert list(deciding.index) == [claim.name for claim in CLAIMS]
    assert (deciding.loc[["4", "5a", "5b"], "verdict"] == "not tested").all()
    assert "student" in deciding.loc["4", "note"]
    assert deciding.loc["3", "release"] == "rough" and deciding.loc["1a", "release"] == "sparse"
    assert np.allclose(table["level"], 1 - 0.05 / num_intervals(1))
    for row in table[table["verdict"].isin(["holds", "does not hold"])].to_dict("records"):
        kind = next(claim.kind for claim in CLAIMS if claim.name == row["claim"])
        assert row["verdict"] == verdict(kind, row["low"], row["high"])
    text = (tmp_path / "out/claims.md").read_text()
    assert "not tested: no release is pruned and trained with PPB" in text


def test_figures_are_those_of_the_run(run_folder):
    """The same attack with the same draws: the AUCs behind a difference stand in findings.csv too."""
    found = pruneaudit.judge_claims([run_folder]).table
    mean = pruneaudit.RunFolder.open(run_folder).results().findings.query("victim == 'mean' and attack == 'loss'")
    area = mean.set_index("release")["auc"]
    row = found[(found["claim"] == "3") & (found["attack"] == "loss")].iloc[0]
    assert row["value"] == pytest.approx(area["rough"] - area["dense"], abs=1e-12)
    releases = pruneaudit.RunFolder.open(run_folder).results().releases.set_index("release")
    assert row["accuracy"] == pytest.approx(releases.loc["rough", "test_accuracy"])


def test_what_is_no_run_is_refused_in_one_line(call, run_folder, tmp_path):
    for given, words in (
        ([tmp_path / "nowhere"], ["nowhere", "study.json"]),
        ([run_folder, run_folder], ["two runs", "own"]),
    ):
        code, _, err = call("claims", *given, "--quiet")
        assert code == 2
        assert err.count("\n") == 1 and all(word in err for word in words)
    half = tmp_path / "half"
    half.mkdir()
    (half / "study.json").write_bytes((run_folder / "study.json").read_bytes())
    code, _, err = call("claims", half, "--quiet")
    assert code == 2 and "finished run" in err


def test_a_run_that_answers_nothing_is_refused(call, tmp_path):
    (tmp_path / "study.toml").write_text(
        PLAIN.replace('compress = "l1unstructured:sparsity=0.6"\n', "").replace("num_models = 6", "num_models = 4")
    )
    folder = pruneaudit.run(tmp_path / "study.toml", tmp_path, pruneaudit.Runtime(executor="serial")).folder
    code, _, err = call("claims", folder, "--quiet")
    assert code == 2
    assert "no claim can be judged" in err and "claims-fashion" in err


@pytest.mark.slow
def test_the_quick_recipe_end_to_end(call, tmp_path):
    code, _, err = call("run", "claims-fashion-quick", "--out", tmp_path, "--executor", "serial", "--quiet")
    assert code == 0, err
    code, _, err = call("claims", tmp_path / "claims-fashion-quick", "--out", tmp_path / "judged", "--quiet")
    assert code == 0, err
    table = pd.read_csv(tmp_path / "judged/claims.csv", keep_default_na=False, na_values=[""])
    deciding = table[table["part"] == "deciding"]
    assert len(deciding) == len(CLAIMS) and not (deciding["verdict"] == "not tested").any()
    assert set(table["part"]) == {"deciding", "second", "other attack", "beside"}
    assert all(claim.says in (tmp_path / "judged/claims.md").read_text() for claim in CLAIMS)
