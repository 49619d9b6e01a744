"""Studies of vit, convnext and mobilenet: compressed and private releases, the same bits under every executor."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.torch import load_file

from pruneaudit.api import Runtime, run
from pruneaudit.study import Study

MODELS = {
    "vit": "vit:width=8:layers=1:heads=2",
    "convnext": "convnext:width=4:layers=1",
    "mobilenet": "mobilenet:width=4:layers=1",
}
TUNED = {"finetune": {"epochs": 1, "learning_rate": 0.001}}
RELEASES: list[dict[str, Any]] = [
    {"name": "structured", "compress": "l2structured", "sparsity": 0.3, **TUNED},
    {"name": "pattern", "compress": "nm", "pattern": "2:4", **TUNED},
    {"name": "int8", "compress": "static8"},
    {"name": "low-rank", "compress": "svd", "fraction": 0.6},
]
PRIVATE = {"name": "private", "parent": "init", "defense": "dp:noise_multiplier=1"}


def study(name: str) -> Study:
    releases = [*RELEASES, *([PRIVATE] if has_opacus() else [])]
    return Study.model_validate(
        {
            "name": name,
            "model": MODELS[name],
            "data": {"source": "digits", "num_samples": 120, "num_holdout": 40, "num_public": 40},
            "membership": {"num_models": 2},
            "training": {"epochs": 2, "batch_size": 16, "optimizer": "adam", "learning_rate": 0.002},
            "releases": releases,
            "audit": {"attacks": ["loss"]},
        }
    )


def has_opacus() -> bool:
    return find_spec("opacus") is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_release_is_made_and_attacked(name: str, tmp_path: Path) -> None:
    finished = run(study(name), tmp_path, runtime=Runtime(executor="serial"))
    findings = pd.read_csv(finished.folder / "findings.csv")
    expected = {"dense", *(release["name"] for release in RELEASES)} | ({"private"} if has_opacus() else set())
    assert expected <= set(findings["release"])
    assert findings["auc"].notna().all()


@pytest.mark.slow
def test_processes_give_the_same_bits(tmp_path: Path) -> None:
    first, second = (
        run(study("vit"), tmp_path / executor, runtime=Runtime(executor=executor, jobs=2)).folder
        for executor in ("serial", "processes")
    )
    assert (first / "findings.csv").read_bytes() == (second / "findings.csv").read_bytes()
    weights = sorted(path.relative_to(first) for path in first.glob("*/model-*/model.safetensors"))
    assert len(weights) >= 10
    for path in weights:
        one, other = load_file(first / path), load_file(second / path)
        assert one.keys() == other.keys()
        assert all((value == other[key]).all() for key, value in one.items())
