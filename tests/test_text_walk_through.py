"""From an ordinary fine-tuning script to a report: the folder that it writes goes through collect and audit-model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("transformers")
EXAMPLES = Path(__file__).parents[1] / "examples"
DATA = "text:texts.csv:max_length=24"


def do(folder: Path, *words: str) -> str:
    one_thread = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(words, cwd=folder, env=one_thread, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fine_tuned_folder_is_audited_in_both_ways(tmp_path: Path) -> None:
    for name, out in (("small_text_base.py", ["base"]), ("finetune_text_classifier.py", ["base", "tuned"])):
        shutil.copyfile(EXAMPLES / name, tmp_path / name)
        do(tmp_path, sys.executable, name, "texts.csv", "members.txt", *out)
    command = (sys.executable, "-m", "pruneaudit")
    said = do(tmp_path, *command, "collect", "--weights", "tuned", "--membership", "members.txt", "--data", DATA)
    assert "1 (tuned)" in said and "24 of each text" in said
    do(tmp_path, *command, "audit", "signals.npz", "--attacks", "loss", "--out", "audit")
    findings = pd.read_csv(tmp_path / "audit" / "findings.csv")
    assert findings["auc_low"].min() > 0.5  # it has learned its members by heart
    base = ("--factory", "hf", "--factory-option", "folder=base", "--factory-option", "new_head=true")
    train = ("--train", "finetune_text_classifier:train", "--recipe", "int4=rtn:bits=4", "--references", "2")
    given = ("--weights", "tuned", "--data", DATA, "--member", "members.txt")
    do(
        tmp_path,
        *command,
        "audit-model",
        *given,
        *base,
        *train,
        "--jobs",
        "2",
        "--set",
        'audit.attacks=["loss", "rmia"]',
    )
    findings = pd.read_csv(tmp_path / "runs" / "tuned" / "findings.csv")
    assert set(findings["release"]) == {"dense", "int4"}
    target = findings[(findings["release"] == "dense") & (findings["victim"] == "mean")].set_index("attack")
    assert target.loc["rmia", "auc"] > 0.55 and target.loc["loss", "auc"] > 0.55
    assert 0.6 < target.loc["loss", "test_accuracy"] < 0.9
