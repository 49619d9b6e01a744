"""Bounds by canaries: with the accountant's curve for releases of DP-SGD alone, and one about all of them together."""

import json

import pytest

from pruneaudit.api import Runtime, families, run
from pruneaudit.engine.family_epsilon import FAMILY_EPSILON
from pruneaudit.evaluation.canaries import DP_SGD, EVERY, GAUSSIAN, HYPOTHESES
from pruneaudit.evaluation.family_canaries import is_of_family

pytest.importorskip("opacus")


@pytest.mark.slow
def test_bounds_of_releases_and_of_their_family_are_below_what_was_spent(make_study, tmp_path):
    study = make_study(
        model={"name": "tinycnn", "options": {"width": 4}},
        data={"source": "digits", "num_samples": 100, "num_canaries": 40},
        membership={"num_models": 8},
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
    together = table[is_of_family(table)]
    assert set(together["release"]) == {"dp; sparse; child"}
    (record,) = found.audit.results.about[FAMILY_EPSILON]
    assert record["family"] == "dp; sparse; child"
    assert together.loc[together["victim"] == EVERY, "value"].max() < record["epsilon"]
    assert "at delta 1e-05</td>" in (found.folder / "report.html").read_text()
    again = families(found.folder, [["dense", "dp"]]).results.canaries
    assert set(again.loc[is_of_family(again), "release"]) == {"dense; dp", "dp; sparse; child"}
    assert again[~is_of_family(again)].equals(table[~is_of_family(table)])
