"""An audit whose arrays wait in temporary files finds what one finds that keeps them in memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core import set_aside as aside
from pruneaudit.evaluation import audit
from pruneaudit.evaluation import measure as measuring
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.measure import measure

# V victims, N samples, C classes

ATTACKS_PLAYED = "loss,lira,confidence,attack_r,bavaria,lira:mode=offline"


def everything_of(found):
    """All tables as CSV, and all scores."""
    tables = {name: value.to_csv() for name, value in vars(found.results).items() if hasattr(value, "to_csv")}
    return tables, found.scores


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["one release", "two releases", "reduced outputs", "canaries"])
def test_files_change_no_figure(kind, make_bank, monkeypatch, tmp_path):
    banks = [make_bank(num_models=6, num_samples=120, seed=seed) for seed in (0, 1)]
    if kind == "canaries":
        banks[0] = replace(banks[0], canary=np.arange(banks[0].num_samples) % 5 == 0)
    options = {"outputs": ["round:1", "label"]} if kind == "reduced outputs" else {}
    given = banks[0]
    if kind == "two releases":
        given = {"dense": banks[0], "pruned": replace(banks[1], member=banks[0].member, labels=banks[0].labels)}
    plain = everything_of(audit(given, attacks=ATTACKS_PLAYED, fpr_levels=(0.2,), **options))
    monkeypatch.setattr(aside, "SMALLEST_BYTES", 1)
    monkeypatch.setattr(measuring, "SMALLEST_FOR_THREADS", 0)  # learns thresholds first
    found = audit(given, attacks=ATTACKS_PLAYED, fpr_levels=(0.2,), **options)
    tables, scores = everything_of(found)
    assert tables == plain[0]
    for label, expected in plain[1].items():
        np.testing.assert_array_equal(scores[label], expected)
        scores[label][:] = 0  # users may change them
    found.save(tmp_path / "audit")


def test_counted_scores_and_thresholds_of_samples(make_bank):
    bank = make_bank(num_models=6, num_samples=60)
    for canary in (np.zeros(bank.num_samples, bool), np.arange(bank.num_samples) % 4 == 0):
        given = AttackInput.of([other := replace(bank, canary=canary)], [other])
        setting = AttackSetting("dense", "matched", given)
        found = measure(ATTACKS.get("lira")(), "lira", setting, (0.2,), 0)
        expected = np.where(found.ordinary, found.scores, np.nan)
        np.testing.assert_array_equal(found.counted_scores, expected)
        assert np.isnan(expected).sum() >= canary.sum() * len(expected)


@pytest.mark.parametrize("best", [[[1.0, 1.0], [2.0, 2.0]], [[1.0, 3.0], [2.0, 2.0]], [[np.nan, np.nan], [2.0, 2.0]]])
def test_samples_have_the_thresholds_of_their_classes(best):
    labels = np.array([0, 1, 1, 0, 1])
    found = measuring._limits(np.array(best), labels)
    np.testing.assert_array_equal(found, [[row[label] for label in labels] for row in best])
