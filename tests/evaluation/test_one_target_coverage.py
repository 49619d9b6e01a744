"""How often the intervals of one target with a few references contain the truth. `-rP` prints the figures.

Every sample has an ease of its own, and a gain from training on it; every network adds noise. Members are fixed, coins
decide about the references, as in a study with a target. The truth is the AUC and TPR over very many samples.
"""

import numpy as np
import pytest

from pruneaudit import Signals, audit

pytestmark = pytest.mark.slow
NUM_REFERENCES = 4
NUM_SAMPLES = 1000
NUM_TRUTH = 400_000
SIMULATIONS = 400
LEVEL = 0.1
ATTACKS = ("loss", "rmia", "lira")


def drawn(num_samples, rng):
    """Signals of one target and its references: two classes, log-odds that training raises."""
    member = np.stack([np.arange(num_samples) % 2 == 0, *(rng.random((NUM_REFERENCES, num_samples)) < 0.5)])
    ease, gain = rng.normal(1, 1.5, num_samples), rng.normal(0.6, 0.6, num_samples)
    odds = ease + gain * member + rng.normal(0, 0.7, member.shape)
    logits = np.stack([np.zeros_like(odds), odds], axis=-1).astype(np.float32)
    is_victim = np.arange(1 + NUM_REFERENCES) == 0
    return Signals(logits=logits, labels=np.ones(num_samples, int), member=member, is_victim=is_victim)


def found(num_samples, rng):
    rows = audit(drawn(num_samples, rng), attacks=ATTACKS, fpr_levels=[LEVEL]).findings
    return rows[rows["victim"] == "mean"].set_index("attack")


def test_intervals_of_one_target_cover_what_more_samples_would_show():
    rng = np.random.default_rng(20)
    truth = found(NUM_TRUTH, rng)
    hits = dict.fromkeys([(a, m) for a in ATTACKS for m in ("auc", "tpr_at_10%_fpr")], 0)
    for _ in range(SIMULATIONS):
        one = found(NUM_SAMPLES, rng)
        for attack, metric in hits:
            low, high = (one.loc[attack, f"{metric}_{end}"] for end in ("low", "high"))
            hits[attack, metric] += low <= truth.loc[attack, metric] <= high
    for (attack, metric), count in hits.items():
        print(f"{attack} {metric}: true {truth.loc[attack, metric]:.3f}, covered {count / SIMULATIONS:.1%}")
        assert 0.92 <= count / SIMULATIONS <= 0.99
