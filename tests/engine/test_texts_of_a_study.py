"""A whole study on texts: its findings do not depend on the executor, and the page says how texts became ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.data.tokenizing import decoded
from pruneaudit.report.samples import read_samples
from pruneaudit.study import Study
from run_bytes import reproducible_bytes

DATA = {"source": "clinc150_6k", "num_samples": 200, "num_holdout": 460, "num_canaries": 10}
ATTACKS = ("loss", "lira", "rmia", "quantile")


def study(attacks: tuple[str, ...] = ATTACKS, **more: Any) -> Study:
    settings = {
        "name": "texts",
        "model": "tiny_transformer:width=16",
        "data": DATA,
        "membership": {"num_models": 6},
        "training": {"epochs": 8, "batch_size": 32, "learning_rate": 5e-3, "optimizer": "adam"},
        "releases": [{"compress": "l1unstructured:sparsity=0.7", "finetune": {"epochs": 1}}],
        "audit": {"attacks": attacks, "fpr_levels": [0.1]},
    }
    return Study.model_validate(settings | more)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return run(study(), out=tmp_path_factory.mktemp("serial"), runtime=Runtime(executor="serial"))


@pytest.mark.slow
def test_processes_find_the_same_to_the_bit_with_learned_attacks_too(tmp_path: Path) -> None:
    found = [
        run(study((*ATTACKS, "samia")), out=tmp_path / str(number), runtime=runtime).folder
        for number, runtime in enumerate((Runtime(executor="serial"), Runtime(jobs=2)))
    ]
    first, second = (reproducible_bytes(folder, "tokenizer.json") for folder in found)
    assert first == second


def test_memorised_texts_are_found(finished: Any) -> None:
    findings = finished.audit.results.findings
    dense = findings[(findings.release == "dense") & (findings.victim == "mean")].set_index("attack")
    assert (dense.loc[list(ATTACKS), "auc_low"] > 0.7).all()
    assert (finished.folder / "report.html").stat().st_size > 10_000


def test_the_run_records_length_and_tokenizer(finished: Any) -> None:
    about = json.loads((finished.folder / "about.json").read_text())
    data = AuditData.load(next(finished.folder.glob("audit_data-*")))
    told = about["audit_data"]["tokens"]
    assert (told["max_length"], told["vocabulary_size"]) == (24, 2000) == (data.x.shape[1], data.vocabulary.size)
    assert data.lengths is not None and told["mean_length"] == pytest.approx(data.lengths.mean())
    page = (finished.folder / "report.html").read_text()
    assert told["tokenizer_sha256"] in page and "tokens on average" in page
    assert about["warnings"] == []


def test_a_page_can_show_the_texts_of_its_samples(finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    data = AuditData.load(next(finished.folder.glob("audit_data-*")))
    wanted = [str(each) for each in data.ids[:3]]
    found = read_samples(finished.audit.results, finished.folder, wanted)
    assert data.lengths is not None
    expected = decoded(data.tokenizer, [ids[:n].tolist() for ids, n in zip(data.x[:3], data.lengths[:3], strict=True)])
    assert found.texts == dict(zip(wanted, expected, strict=True)) and all(" " in text for text in expected)
    assert found.pictures == {}
    monkeypatch.setitem(__import__("sys").modules, "tokenizers", None)
    assert read_samples(finished.audit.results, finished.folder, wanted).texts == {}


def test_texts_of_another_length_are_other_audit_data(finished: Any) -> None:
    first = AuditData.load(next(finished.folder.glob("audit_data-*")))
    other = load_audit_data(study(data={**DATA, "source": "clinc150_6k:max_length=12"}).data, seed=0)
    assert first.sha256 != other.sha256 and other.x.shape == (670, 12)
    np.testing.assert_array_equal(other.x, first.x[:, :12])
