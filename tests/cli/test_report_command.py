"""`pruneaudit report` and `check` on real runs, from training to verdict."""

import json

import numpy as np
import pandas as pd
import pytest

from command_line import succeed

STUDY = """
name = "tiny"
data = { source = "digits", num_samples = 200 }
membership = { num_models = 4 }
model = { name = "mlp", options = { hidden = [16] } }
training = { epochs = 3, batch_size = 32 }
releases = [{ compress = "l1unstructured", sparsity = 0.5 }]
audit = { attacks = ["loss", "lira"], fpr_levels = [0.2] }
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same study twice, with fewer and with more epochs."""
    place = tmp_path_factory.mktemp("runs")
    (place / "study.toml").write_text(STUDY)
    for name, epochs in (("few", 3), ("many", 8)):
        options = ["--executor", "serial", "--quiet", "--set", f"training.epochs={epochs}"]
        succeed("run", place / "study.toml", "--out", place / name, *options)
    return place / "few" / "tiny", place / "many" / "tiny"


def test_json_is_what_findings_json_holds_and_nothing_else(call, runs):
    code, printed, complaints = call("report", runs[0], "--json")
    assert (code, complaints) == (0, "")
    assert printed == (runs[0] / "findings.json").read_text()


def test_two_trainings_of_one_study_are_paired(call, runs, tmp_path):
    code, printed, complaints = call("report", *(runs[1], "--compare", runs[0], "--out", tmp_path / "table.csv"))
    assert (code, complaints) == (0, "")
    assert "training.epochs" in printed
    table = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    leakage = table[(table["attack"] != "") & (table["suppressed"] == "")]
    assert set(leakage["method"]) == {"paired"}
    assert len(leakage) == 2 * 2 * 2  # releases, attacks, metrics
    # The scores that were read again are those that the findings come from.
    numbers = leakage[["difference", "first", "second"]].astype(float)
    np.testing.assert_allclose(numbers["difference"], numbers["first"] - numbers["second"], atol=1e-12)
    code, printed, _ = call("report", runs[1], "--compare", runs[0], "--json")
    record = json.loads(printed)
    assert record["settings"] == [{"key": "training.epochs", "first": "8", "second": "3"}]
    assert len(record["differences"]) == len(table)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--out", "x.md"], "without --compare"),
        (["--compare", "absent"], "no such folder; expected that of a finished run"),
        (["--compare", "SELF", "--out", "x.html"], "ends in .md or .csv"),
    ],
)
def test_bad_input_is_one_line(call, runs, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, complaints = call("report", runs[0], *(runs[0] if text == "SELF" else text for text in options))
    assert (code, printed, complaints.count("\n")) == (2, "", 1)
    assert words in complaints
    assert not list(tmp_path.iterdir())


def test_the_gate_stands_where_the_findings_say(call, runs):
    findings = pd.read_csv(runs[0] / "findings.csv", dtype={"victim": str})
    means = findings[findings["victim"] == "mean"]
    highest = means["auc_high"].max()
    assert len(means) == 2 * 2  # releases, attacks
    assert call("check", runs[0], "--max-auc", repr(float(highest)))[0] == 0
    code, printed, _ = call("check", runs[0], "--max-auc", repr(float(np.nextafter(highest, 0))), "--json")
    assert code == 1
    over = [row for row in json.loads(printed)["verdicts"] if row["outcome"] == "over"]
    assert [row["high"] for row in over] == [highest]
