"""Releases that were trained with DP-SGD alone have a bound with the accountant's curve; no other release has."""

import json

import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.evaluation.canaries import DP_SGD, GAUSSIAN, HYPOTHESES

pytest.importorskip("opacus")


@pytest.mark.slow
def test_only_a_release_from_new_weights_has_the_bound_and_it_is_below_what_was_spent(make_study, tmp_path):
    study = make_study(
        model={"name": "tinycnn", "options": {"width": 4}},
        data={"source": "digits", "num_samples": 100, "num_canaries": 40},
        releases=[
            {"name": "dp", "parent": "init", "defense": "dp:noise_multiplier=1"},
            {"name": "sparse", "compress": "static:sparsity=0.5:start=init", "defense": "dp:noise_multiplier=1"},
            {"name": "child", "parent": "dp", "finetune": {"epochs": 1}, "defense": "dp:noise_multiplier=1"},
        ],
        audit={"attacks": ["loss"], "fpr_levels": [0.3]},
    )
    found = run(study, out=tmp_path, runtime=Runtime(executor="serial"))
    table = found.audit.results.canaries
    own = table[table["figure"] == DP_SGD]
    assert set(own["release"]) == {"dp", "sparse"}
    assert set(own["hypothesis"]) == {HYPOTHESES[DP_SGD]}
    assert {"dense", "dp", "child"} <= set(table.loc[table["figure"] == GAUSSIAN, "release"])
    folder = next(found.folder.glob("dp-????????"))
    own = own[own["release"] == "dp"]
    spent = [json.loads(file.read_text())["defense"]["epsilon"] for file in folder.glob("model-*/summary.json")]
    assert (own["value"] <= max(spent)).all()
