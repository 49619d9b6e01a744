"""How often the intervals of curves cover, on simulated banks with a known truth: banks of so many references."""

# M models, N samples

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.power import Drawing, power_rows
from pruneaudit.metrics import auc
from pruneaudit.signals.signals import Signals

NUM_SAMPLES = 250
LIRA = ready(["lira"])["lira"]


def simulated(num_models, seed, gain):
    """A bank: samples differ in difficulty and in how much membership shifts them, models in strength."""
    rng = np.random.default_rng(seed)
    difficulty, shift = rng.normal(1, 1.5, NUM_SAMPLES), gain * rng.lognormal(0, 0.7, NUM_SAMPLES)
    strength = rng.normal(1, 0.15, (num_models, 1))
    member = rng.random((num_models, NUM_SAMPLES)) < 0.5
    phi = difficulty + strength * shift * member + rng.normal(size=member.shape)
    return Signals(np.stack([np.zeros_like(phi), phi], axis=2), np.ones(NUM_SAMPLES, int), member)


def curve(num_models, seed, gain, at=()):
    """The rows of LiRA's AUC on all scored samples, by kind and number of references."""
    signals = simulated(num_models, seed, gain)
    setting = AttackSetting("dense", "matched", AttackInput.of([signals], [signals]))
    found = pd.DataFrame(power_rows([setting], ready(["lira"]), Drawing((), 0, num_subsets=3, at=at)))
    return found[found["samples"] == "scored"].set_index(["kind", "num_references"])


def truth(num_references, gain, num_banks, seed):
    """Mean AUC over banks in which every victim has exactly so many references, and its standard error."""
    areas = []
    for bank in range(num_banks):
        signals = simulated(num_references + 1, [seed, bank], gain)
        scores = LIRA.score(AttackInput.of([signals], [signals]), np.random.default_rng(0)).victims
        areas.append(auc(scores, signals.member).mean())
    return np.mean(areas), np.std(areas, ddof=1) / np.sqrt(num_banks)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1.2])
def test_the_interval_at_fewer_references_covers_banks_of_so_many(gain):
    num = 200
    found = [curve(10, [1, bank], gain).loc[("measured", 4)] for bank in range(num)]
    known, error = truth(4, gain, 400, 2)
    values = np.array([row["value"] for row in found])
    assert abs(values.mean() - known) < 4 * np.hypot(error, values.std() / np.sqrt(num))  # unbiased
    covered = sum(row["low"] <= known <= row["high"] for row in found)
    print(f"gain {gain}: AUC {known:.3f}, mean over subsets {values.mean():.3f}, covered {covered / num:.1%}")
    assert covered >= binom.ppf(0.001, num, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("gain", [1.2])
def test_the_interval_of_an_extrapolation_covers_banks_of_so_many(gain):
    num = 100
    found = [curve(17, [3, bank], gain, at=(48,)).loc[("extrapolated", 48)] for bank in range(num)]
    known, _ = truth(48, gain, 30, 4)
    told = [row for row in found if not row["suppressed"]]
    covered = sum(row["low"] <= known <= row["high"] for row in told)
    value = np.mean([row["value"] for row in told])
    print(f"gain {gain}: AUC {known:.3f}, extrapolated {value:.3f}, covered {covered} of {len(told)}")
    assert len(told) > num / 2
    assert covered >= binom.ppf(0.001, len(told), 0.95)
