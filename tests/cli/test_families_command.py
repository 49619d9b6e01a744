"""`pruneaudit families` and `audit --family` as a user meets them: a run gets the tables, and stays whole."""

import json

import numpy as np
import pandas as pd
import pytest

import pruneaudit

STUDY = """
name = "tiny"
[data]
source = "digits"
num_samples = 240
[membership]
num_models = 6
[model]
name = "mlp"
options = { hidden = [8] }
[training]
epochs = 2
batch_size = 32
[[releases]]
compress = "rtn:bits=4"
[[releases]]
compress = "l1unstructured:sparsity=0.7"
finetune = { epochs = 1 }
[audit]
attacks = ["lira"]
fpr_levels = [0.1]
"""
TABLES = ("families", "marginal_leakage")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("families")
    (place / "study.toml").write_text(STUDY)
    return pruneaudit.run(place / "study.toml", place, pruneaudit.Runtime(executor="serial")).folder


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    place = tmp_path_factory.mktemp("predictions")
    rng = np.random.default_rng(0)
    member = rng.random((6, 300)) < 0.5
    labels = rng.integers(4, size=300)
    for name, gain in (("dense", 1.5), ("pruned", 0.5)):
        logits = rng.normal(size=(6, 300, 4))
        logits[:, np.arange(300), labels] += gain * member
        pruneaudit.Signals(logits, labels, member).save(place / f"{name}.npz")
    return [f"{name}={place / name}.npz" for name in ("dense", "pruned")]


def test_a_run_gets_the_tables_and_stays_whole(call, run_folder):
    others = {path.name: path.read_bytes() for path in run_folder.glob("*.csv")}
    code, out, err = call("families", run_folder, "--quiet")
    assert code == 0, err
    assert "l1unstructured-0.7" in out and "dense public" in out and "report.html" in out
    assert "dense+finetune" not in out  # added for comparison: the study does not list it
    assert {name: (run_folder / name).read_bytes() for name in others} == others
    written = {name: (run_folder / f"{name}.csv").read_bytes() for name in TABLES}
    assert set(pd.read_csv(run_folder / "families.csv")["family"]) == {"dense; rtn-4; l1unstructured-0.7"}
    assert all(json.loads((run_folder / "findings.json").read_text())[name] for name in TABLES)
    assert "families-heading" in (run_folder / "report.html").read_text()
    assert {part.state for part in pruneaudit.verify(run_folder)} == {"whole"}
    again = pruneaudit.run(run_folder / "study.json", run_folder.parent, pruneaudit.Runtime(executor="serial"))
    assert again.num_tasks_done == 0
    assert len(again.results.families)  # the run is reused with its tables
    code, out, _ = call("families", run_folder, "--json", "--quiet")
    assert code == 0
    assert {name: len(rows) for name, rows in json.loads(out).items()} == {
        "families": 7 * 2,
        "marginal_leakage": 12 * 2,
    }
    assert {name: (run_folder / f"{name}.csv").read_bytes() for name in TABLES} == written


def test_some_releases_beside_what_is_public_and_other_attacks(call, run_folder):
    options = ("--families", "dense,rtn-4", "--families", "rtn-4,l1unstructured-0.7", "--released", "rtn-4")
    code, out, err = call("families", run_folder, *options, "--attacks", "back_front", "--quiet")
    assert code == 0, err
    assert "rtn-4 public" in out and "back_front" in out
    results = pruneaudit.RunFolder.open(run_folder).results()
    assert set(results.families["family"]) == {"dense; rtn-4", "rtn-4; l1unstructured-0.7"}
    assert set(results.families["attack"]) == {"family", "back_front"}
    assert results.about["families"]["released"] == ["rtn-4"]
    assert call("families", run_folder, "--families", "all", "--quiet")[0] == 0


def test_an_interrupt_while_the_report_is_written_can_be_repaired(call, run_folder, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pruneaudit.api.added_later.write_report", interrupted)
        assert call("families", run_folder, "--families", "dense,rtn-4", "--quiet")[0] == 130
    assert len(pd.read_csv(run_folder / "families.csv"))  # every file is whole
    code, _, err = call("families", run_folder, "--quiet")
    assert code == 2 and "run the study again" in err
    again = pruneaudit.run(run_folder / "study.json", run_folder.parent, pruneaudit.Runtime(executor="serial"))
    assert again.num_tasks_done == 0
    assert call("families", run_folder, "--quiet")[0] == 0


def test_predictions_and_their_audit(call, predictions, tmp_path):
    code, out, err = call("families", *predictions, "--fpr-levels", "10%", "--quiet")
    assert code == 0, err
    assert "dense and pruned" in out and "report" not in out
    audited = tmp_path / "audit"
    options = ("--attacks", "loss", "--fpr-levels", "10%", "--out", audited, "--quiet")
    code, out, err = call("audit", *predictions, *options, "--family")
    assert code == 0, err
    first = pd.read_csv(audited / "families.csv")
    assert set(first["releases"]) == {"dense", "pruned", "dense; pruned"}
    assert "families-heading" in (audited / "report.html").read_text()
    assert call("families", *predictions, "--out", audited, "--quiet")[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv(audited / "families.csv"), first)
    assert call("audit", *predictions, *options, "--force", "--families", "dense,pruned")[0] == 0
    pd.testing.assert_frame_equal(pd.read_csv(audited / "families.csv"), first)
    assert call("audit", *predictions, *options, "--force")[0] == 0
    assert not (audited / "families.csv").exists()
    code, _, err = call("families", audited)
    assert code == 2
    assert f"pruneaudit families FILE... --out {audited}" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--families", "dense,rtn"], ["'rtn'", "'rtn-4'"]),
        (["--families", "dense"], ["one release (dense)", "2 or more"]),
        (["--families", "all", "--families", "dense,rtn-4"], ["'all'", "leave one out"]),
        (["--families", "dense,rtn-4", "--released", "l1unstructured-0.7"], ["released", "dense, rtn-4"]),
        (["--attacks", "lira"], ["'lira'", "one release", "pair_nn"]),
        (["--seed", "1"], ["seed", "leave"]),
        (["--baseline", "dense"], ["--baseline", "leave"]),
        (["--out", "elsewhere"], ["elsewhere", "leave it out"]),
    ],
)
def test_a_mistake_is_one_line(call, run_folder, options, words):
    code, _, err = call("families", run_folder, *options)
    assert code == 2
    assert all(word in err for word in words) and err.count("\n") == 1


def test_audit_refuses_both_ways_of_asking(call, predictions, tmp_path):
    code, _, err = call("audit", *predictions, "--family", "--families", "dense,pruned", "--out", tmp_path / "audit")
    assert code == 2
    assert "--family" in err and "leave one out" in err
