"""Eight bits leave a network as leaky as it was."""

import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.study import Study

STUDY = {
    "name": "eight-bits",
    "model": "tinycnn:width=8",
    "data": {"source": "fashion_mnist_5k", "num_samples": 1200, "num_holdout": 200},
    "membership": {"num_models": 12},
    "training": {"epochs": 25, "batch_size": 32, "learning_rate": 0.05},
    "releases": [{"compress": "rtn", "bits": 8}],
    "audit": {"attacks": ["lira"], "fpr_levels": [0.1]},
}


@pytest.mark.slow
def test_lira_finds_as_much_in_eight_bits_and_accuracy_stays(tmp_path):
    results = run(Study.model_validate(STUDY), tmp_path, Runtime(jobs=2)).results
    means = results.findings[results.findings["victim"] == "mean"].set_index("release")
    dense = means.loc["dense"]
    assert dense["auc_low"] > 0.55  # there is something to find
    assert dense["auc_low"] <= means.loc["rtn-8", "auc"] <= dense["auc_high"]
    paired = results.comparisons.set_index(["release", "baseline", "metric"])["difference"]
    assert abs(paired["rtn-8", "dense", "auc"]) < 0.005
    assert abs(paired["rtn-8", "dense", "test_accuracy"]) <= 0.003
