"""A bank whose membership says nothing: no claim of change may hold on it."""

import numpy as np
import pytest

from pruneaudit.claims.catalogue import CLAIMS
from pruneaudit.claims.judge import Judged, judge
from pruneaudit.evaluation import bank_settings
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Study
from pruneaudit.study.baselines import with_baselines

RELEASES = [
    {"name": "short", "parent": "init", "finetune": {"epochs": 2}},
    {"compress": "l1unstructured:sparsity=0.7", "finetune": {"epochs": 2}},
    {"compress": "gptq:bits=2"},
    {
        "compress": "distil:data=members",
        "model": {"name": "mlp", "options": {"hidden": [4]}},
        "finetune": {"epochs": 2},
    },
    {
        "name": "safe",
        "compress": "l1unstructured:sparsity=0.7",
        "finetune": {"epochs": 2},
        "defense": "ppb",
    },
    {"name": "relaxed", "parent": "init", "defense": "relaxloss"},
]
STUDY = with_baselines(Study(name="null", model={"name": "mlp", "options": {"hidden": [8]}}, releases=RELEASES))


def bank(gains, seed=0, num_models=12, num_samples=600):
    """Releases whose logits for the right class rise by `gains` on members; 0 is a bank without leakage."""
    rng = np.random.default_rng(seed)
    member = rng.random((num_models, num_samples)) < 0.5
    labels = rng.integers(4, size=num_samples)
    base = rng.normal(size=(num_models, num_samples, 4))
    found = {}
    for name in ("dense", *(release.name for release in STUDY.releases)):
        logits = base + 0.5 * rng.normal(size=base.shape)
        logits[:, np.arange(num_samples), labels] += 1 + gains.get(name, gains.get("", 0.0)) * member
        found[name] = Signals(logits, labels, member)
    return bank_settings(found, ("matched",))


def verdicts(gains, seed=0):
    table = judge(Judged("null", STUDY, bank(gains, seed)), 1)
    return table[table["part"] == "deciding"].set_index("claim")["verdict"]


@pytest.mark.parametrize("seed", range(3))
def test_nothing_holds_on_a_null_bank(seed):
    found = verdicts({}, seed)
    of_change = [claim.name for claim in CLAIMS if claim.kind in ("increase", "decrease")]
    assert not (found[of_change] == "holds").any()


def test_planted_changes_are_found():
    found = verdicts({"": 1.0, "l1unstructured-0.7": 2.5, "gptq-2": 0.0, "distil-members": 0.9, "relaxed": 0.0})
    assert found["1a"] == "holds" and found["1b"] == found["1c"] == "does not hold"
    assert found["3"] == "holds"
    assert found["4"] == "holds"
    assert found["5a"] in ("does not hold", "not shown")
