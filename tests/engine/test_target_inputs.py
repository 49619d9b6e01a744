"""Do members of a target differ from others by their inputs? A study asks before it trains, and its report tells."""

import json

import numpy as np
import torch

import pruneaudit
from command_line import succeed
from pruneaudit.api import Runtime, attack, run
from pruneaudit.models import build_model
from pruneaudit.study import Study

MODEL = {"name": "mlp", "options": {"hidden": [8]}}
NUM_ROWS = 600


def study_of(folder, shift, num_samples=None):
    """A study whose target has not learned; `shift` is added to a column of its members."""
    rng = np.random.default_rng(0)
    member = rng.random(NUM_ROWS) < 0.5
    x = rng.normal(size=(NUM_ROWS, 5)).astype(np.float32)
    x[member, 2] += shift
    np.savez(folder / "data.npz", x=x, y=np.arange(NUM_ROWS) % 2)
    np.save(folder / "member.npy", member)
    network = build_model("mlp", MODEL["options"], (5,), 2, torch.Generator().manual_seed(0))
    torch.save(network.state_dict(), folder / "prod.pt")
    values = {
        "name": "mine",
        "data": {"source": f"npz:{folder / 'data.npz'}", "num_samples": num_samples, "num_holdout": 0},
        "model": MODEL,
        "target": {"weights": str(folder / "prod.pt"), "member": str(folder / "member.npy"), "num_references": 0},
        "audit": {"attacks": ["loss"], "fpr_levels": [0.1]},
    }
    return Study.model_validate(values)


def told(folder):
    """The recorded checks by name; and page, summary and log."""
    checks = json.loads((folder / "about.json").read_text())["data_checks"]
    assert json.loads((folder / "findings.json").read_text())["data_checks"] == checks
    summary = pruneaudit.summary(folder, folder.parent / "summary.md").read_text().replace("\\", "")
    texts = (folder / "report.html").read_text(), summary, next(folder.glob("*log*")).read_text()
    return {check["check"]: check for check in checks}, texts


def test_members_that_differ_are_told_before_the_work_and_in_the_report(tmp_path):
    study = study_of(tmp_path, 2)
    (tmp_path / "study.json").write_text(study.model_dump_json(exclude_unset=True))
    out = succeed("run", tmp_path / "study.json", "--out", tmp_path, "--dry-run")
    assert "before any model looks" in out
    run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    checks, texts = told(tmp_path / "mine")
    assert checks["inputs"]["passed"] is False
    assert checks["inputs"]["low"] > 0.8
    assert all("before any model looks" in text and f"{checks['inputs']['auc']:.3f}" in text for text in texts)
    log = texts[-1]
    assert log.index("before any model looks") < log.index("import dense")
    again = attack(tmp_path / "mine", ["confidence"], out=tmp_path / "again").results.about
    assert again["data_checks"][0]["auc"] == checks["inputs"]["auc"]
    assert any("before any model looks" in note for note in again["warnings"])


def test_sound_members_pass_and_all_samples_went_through_one_path(tmp_path):
    run(study_of(tmp_path, 0), out=tmp_path, runtime=Runtime(executor="serial"))
    checks, (page, summary, log) = told(tmp_path / "mine")
    assert checks["inputs"]["passed"]
    assert checks["inputs"]["low"] < 0.5 < checks["inputs"]["high"]
    assert "before any model looks" not in log
    for text in (page, summary):
        assert "does not recognise members" in text
        assert "one path" in text
        assert "Not checked: whether" not in text


def test_few_samples_are_not_checked(tmp_path):
    run(study_of(tmp_path, 2, num_samples=100), out=tmp_path, runtime=Runtime(executor="serial"))
    checks, (page, summary, _) = told(tmp_path / "mine")
    assert checks["inputs"]["passed"] is None
    assert "100" in checks["inputs"]["reason"]
    for text in (page, summary):
        assert "Not checked: whether members and others differ" in text
        assert "one path" in text


def test_a_study_that_draws_its_own_coins_says_nothing_of_these_checks(tiny_run):
    assert "data_checks" not in tiny_run.results.about
    page = (tiny_run.folder / "report.html").read_text()
    assert "Not checked: whether" not in page
    assert "one path" not in page
