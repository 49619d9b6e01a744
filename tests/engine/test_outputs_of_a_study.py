"""`audit.outputs` in a study, and `--outputs` on a finished run and on predictions."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest

from command_line import called, succeed
from pruneaudit.api import Runtime, attack, run
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.results import Results
from run_bytes import reproducible_bytes

AUDIT = {
    "attacks": ["loss", "lira"],
    "references": ["matched", "dense"],
    "queries": 2,
    "outputs": ["round:1", "label", "label:queries"],
}
SHORT = {"membership": {"num_models": 3}, "training": {"epochs": 1, "batch_size": 32}}
RELEASES = [{"compress": "l1unstructured", "sparsity": 0.8}]


@pytest.fixture(scope="module")
def finished(make_study, tmp_path_factory):
    return run(
        make_study(audit=AUDIT, releases=RELEASES, **SHORT),
        out=tmp_path_factory.mktemp("outputs"),
        runtime=Runtime(executor="serial"),
    )


def test_every_release_and_reference_has_its_rows(finished):
    found = finished.results.outputs
    means = finished.results.findings.query("victim == 'mean'")
    played = list(zip(means["release"], means["references"], means["attack"], strict=True))
    rows = found[found["metric"] == "auc"].groupby(["release", "references", "attack"], sort=False)["outputs"]
    ladder = ["logits", "round:1", "label", "label:queries"]
    assert {key: list(names) for key, names in rows} == dict.fromkeys(played, ladder)


def test_the_file_is_sealed_and_read_again(finished):
    assert "outputs.csv" in (finished.folder / "SHA256SUMS").read_text()
    pd.testing.assert_frame_equal(Results.load(finished.folder).outputs, finished.results.outputs)
    assert run(finished.folder / "study.json", out=finished.folder.parent).num_tasks_done == 0


def test_other_outputs_of_a_finished_run(finished, tmp_path):
    again = attack(finished.folder, ["loss"], out=tmp_path / "a", outputs=["top:1"])
    assert set(again.results.outputs["outputs"]) == {"logits", "top:1"}
    same = attack(finished.folder, ["loss"], out=tmp_path / "b")  # those of the study
    ours = finished.results.outputs
    pd.testing.assert_frame_equal(
        same.results.outputs, ours[ours["attack"] == "loss"].reset_index(drop=True), check_exact=True
    )
    with pytest.raises(UserError, match="outputs: got 'top:0'"):
        attack(finished.folder, ["loss"], out=tmp_path / "c", outputs=["top:0"])
    assert not (tmp_path / "c").exists()


@pytest.mark.slow
def test_queries_that_a_run_lacks_are_made_as_its_message_says(make_study, tmp_path):
    runtime = Runtime(executor="serial")
    finished = run(make_study(releases=[], **SHORT), out=tmp_path, runtime=runtime)
    with pytest.raises(UserError, match=r"--set audit\.queries=8") as caught:
        attack(finished.folder, ["loss"], out=tmp_path / "a", outputs=["label:queries"])
    command = str(caught.value).rpartition("make them with: pruneaudit ")[2]
    succeed(*shlex.split(command), "--jobs", "1", "--quiet")
    found = attack(finished.folder, ["lira"], out=tmp_path / "a", outputs=["label:queries"]).results.outputs
    assert found["outputs"].unique().tolist() == ["logits", "label:queries"]


def test_from_the_command_line(finished, tmp_path):
    before = reproducible_bytes(finished.folder)
    succeed("attack", finished.folder, "--attacks", "loss", "--outputs", "round:2, label", "--out", tmp_path / "a")
    assert set(Results.load(tmp_path / "a").outputs["outputs"]) == {"logits", "round:2", "label"}
    assert reproducible_bytes(finished.folder) == before


@pytest.fixture
def predictions(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"logits": rng.normal(size=(4, 120, 3)), "labels": rng.integers(0, 3, 120)}
    np.savez(tmp_path / "dense.npz", member=rng.random((4, 120)) < 0.5, **arrays)
    return tmp_path / "dense.npz"


def test_an_audit_of_predictions(predictions, tmp_path):
    plain = ("audit", predictions, "--attacks", "loss,lira", "--quiet", "--out", tmp_path / "a")
    succeed(*plain, "--outputs", "top:1,label")
    assert set(Results.load(tmp_path / "a").outputs["outputs"]) == {"logits", "top:1", "label"}
    succeed(*plain, "--force")
    assert not (tmp_path / "a" / "outputs.csv").exists()
    assert "outputs.csv" not in (tmp_path / "a" / "SHA256SUMS").read_text()
    assert "outputs" not in json.loads((tmp_path / "a" / "findings.json").read_text())


@pytest.mark.parametrize(
    ("outputs", "word"),
    [
        ("lables", "label"),
        ("top:0", "1 to"),
        ("round:x", "1 to 12"),
        ("", "round:DECIMALS"),
        ("label:queries", "audit.queries"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(predictions, tmp_path, outputs, word):
    code, out, err = called("audit", predictions, "--attacks", "loss", "--out", tmp_path / "a", "--outputs", outputs)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"'{outputs}'" in err
    assert word in err
    assert not (tmp_path / "a").exists()
