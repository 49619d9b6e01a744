"""`pruneaudit power` as a user meets it: a run gets its curves, and stays whole; predictions, and their audit."""

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
num_holdout = 60
[membership]
num_models = 5
[model]
name = "mlp"
options = { hidden = [8] }
[training]
epochs = 2
batch_size = 32
[audit]
attacks = ["rmia", "lira"]
fpr_levels = [0.1]
"""


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("power")
    (place / "study.toml").write_text(STUDY)
    return pruneaudit.run(place / "study.toml", place, pruneaudit.Runtime(executor="serial")).folder


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    place = tmp_path_factory.mktemp("predictions")
    rng = np.random.default_rng(0)
    member = rng.random((5, 300)) < 0.5
    labels = rng.integers(4, size=300)
    for name, gain in (("dense", 1.5), ("pruned", 0.5)):
        logits = rng.normal(size=(5, 300, 4))
        logits[:, np.arange(300), labels] += gain * member
        pruneaudit.Signals(logits, labels, member).save(place / f"{name}.npz")
    return place


def test_a_run_gets_its_curves_and_stays_whole(call, run_folder):
    others = {path.name: path.read_bytes() for path in run_folder.glob("*.csv")}
    code, out, err = call("power", run_folder, "--subsets", 2, "--quiet")
    assert code == 0, err
    assert "rmia" in out and "report.html" in out
    assert {name: (run_folder / name).read_bytes() for name in others} == others
    table = pd.read_csv(run_folder / "power.csv")
    findings = pd.read_csv(run_folder / "findings.csv")
    for attack in ("lira", "rmia"):
        mean = findings[(findings["attack"] == attack) & (findings["victim"] == "mean")].iloc[0]
        all_of_them = table[(table["attack"] == attack) & (table["num_references"] == 4)]
        row = all_of_them[(all_of_them["metric"] == "auc") & (all_of_them["samples"] == "scored")].iloc[0]
        found = [row["value"], row["low"], row["high"]]
        assert found == pytest.approx([mean["auc"], mean["auc_low"], mean["auc_high"]], abs=1e-12)
    assert json.loads((run_folder / "findings.json").read_text())["power"]
    assert "power-heading" in (run_folder / "report.html").read_text()
    assert {part.state for part in pruneaudit.verify(run_folder)} == {"whole"}
    again = pruneaudit.run(run_folder / "study.json", run_folder.parent, pruneaudit.Runtime(executor="serial"))
    assert again.num_tasks_done == 0
    assert len(again.results.power) == len(table)  # the run is reused with its curves
    code, out, _ = call("power", run_folder, "--json", "--subsets", 2, "--quiet")
    assert code == 0
    assert len(json.loads(out)) == len(table)


@pytest.mark.slow
def test_predictions_and_their_audit_get_curves(call, predictions, tmp_path):
    files = [f"{name}={predictions / name}.npz" for name in ("dense", "pruned")]
    code, out, err = call("power", *files, "--attacks", "rmia", "--subsets", 2, "--quiet")
    assert code == 0, err
    assert "dense" in out and "pruned" in out and "report" not in out
    audited = tmp_path / "audit"
    assert call("audit", *files, "--attacks", "rmia", "--fpr-levels", "10%", "--out", audited, "--quiet")[0] == 0
    page = (audited / "report.html").read_text()
    assert "pruneaudit power FILE... --out RUN" in page
    code, _, err = call("power", *files, "--attacks", "rmia", "--subsets", 2, "--out", audited, "--quiet")
    assert code == 0, err
    table = pd.read_csv(audited / "power.csv")
    assert set(table["release"]) == {"dense", "pruned"}
    assert set(table["metric"]) == {"auc", "tpr_at_10%_fpr"}
    assert "power-heading" in (audited / "report.html").read_text()
    for wrong, words in (
        ([files[0]], ["dense, pruned"]),
        ([f"dense={predictions / 'pruned.npz'}", f"pruned={predictions / 'dense.npz'}"], ["pruned.npz", "--out"]),
    ):
        code, _, err = call("power", *wrong, "--out", audited, "--quiet")
        assert code == 2
        assert all(word in err for word in words)
    code, _, err = call("power", audited)
    assert code == 2
    assert f"pruneaudit power FILE... --out {audited}" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--attacks", "loss"], ["'loss'", "lira, rmia"]),
        (["--subsets", 0], ["0", "1 or more"]),
        (["--at", "many"], ["--at", "many", "64,128"]),
        (["--at", "0"], ["0", "64"]),
        (["--seed", "1"], ["seed", "leave"]),
        (["--baseline", "dense"], ["--baseline", "leave"]),
        (["--out", "elsewhere"], ["elsewhere", "leave it out"]),
    ],
)
def test_a_mistake_is_one_line(call, run_folder, options, words):
    code, _, err = call("power", run_folder, *options)
    assert code == 2
    assert all(word in err for word in words) and err.count("\n") == 1
