"""What is measured of one attack in one attack setting, against plain recomputation."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.evaluation.attack_setting import AttackSetting, bank_settings
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.evaluation.measure import NUM_RESAMPLES, accuracies, measure
from pruneaudit.metrics import two_way
from pruneaudit.metrics.standard import Advantage, tpr_column
from pruneaudit.signals.signals import Signals

# V victims, N samples, L levels

LEVELS = (0.1, 0.02)
TPR = tpr_column(LEVELS[0])
NAMES = (
    "loss",
    "confidence",
    "entropy",
    "modified_entropy",
    "lira",
    "rmia",
    "calibration",
    "base",
    "attack_r",
    "bavaria",
)


def against_itself(bank, release="dense"):
    return AttackSetting(release, "matched", AttackInput.of([bank], [bank]))


def measured(name, setting, seed=0):
    return measure(ATTACKS.get(name)(), name, setting, LEVELS, seed)


@pytest.mark.parametrize("name", NAMES)
def test_every_number_against_plain_recomputation(name, make_bank):
    bank = make_bank(8, 300, num_holdout=40, num_canaries=10)
    setting = against_itself(bank)
    found = measured(name, setting)
    attack, rng = ATTACKS.get(name)(), np.random.default_rng(0)
    scores = attack.score(setting.attack_input, rng)
    limits = thresholds(attack, setting.attack_input, scores, 0, rng)[:, 0]  # one for all classes
    np.testing.assert_array_equal(found.scores, scores.victims)
    for v in range(8):
        counted = [n for n in range(40, 290) if not np.isnan(scores.victims[v, n])]
        row, inside = scores.victims[v, counted], bank.member[v, counted]
        assert found.num_members[v] == inside.sum()
        assert found.num_nonmembers[v] == (~inside).sum()
        assert found.num_unscored[v] == 250 - len(counted)
        assert found.by_column["auc"].values[v] == pytest.approx(roc_auc_score(inside, row))
        tpr, fpr = np.mean(row[inside] >= limits[v]), np.mean(row[~inside] >= limits[v])
        balanced = found.by_column["balanced_accuracy"].values[v]
        assert Advantage().restated(balanced) == pytest.approx(tpr - fpr)
        assert balanced == pytest.approx((tpr + 1 - fpr) / 2)
        others = np.sort(row[~inside])[::-1]
        for level in LEVELS:
            barrier = others[int(level * len(others))]
            assert found.by_column[tpr_column(level)].values[v] == pytest.approx(np.mean(row[inside] > barrier))
        assert np.flatnonzero(~np.isnan(found.counted_scores[v])).tolist() == counted
    for level in LEVELS:
        rates = found.by_column[tpr_column(level)]
        assert rates.replicates.shape == (NUM_RESAMPLES, 8)
        assert rates.replicates.mean(axis=0) == pytest.approx(rates.values, abs=0.1)


def test_canaries_are_scored_but_not_counted(make_bank):
    plain, planted = make_bank(8, 300), make_bank(8, 300, num_canaries=60)
    found = measured("loss", against_itself(planted))
    assert np.isfinite(found.scores).all()
    assert not found.ordinary[:, 240:].any()
    assert (found.num_members + found.num_nonmembers == 240).all()
    without = Signals(plain.logits[:, :240], plain.labels[:240], plain.member[:, :240])
    np.testing.assert_allclose(
        found.by_column["auc"].values, measured("loss", against_itself(without)).by_column["auc"].values
    )


def test_what_cannot_be_scored_is_counted(make_bank):
    bank = make_bank(3, 100)
    found = measured("lira", against_itself(bank))
    for v in range(3):
        others = np.delete(bank.member, v, axis=0)
        assert found.num_unscored[v] == (others.all(axis=0) | ~others.any(axis=0)).sum() > 0


def test_without_references_rates_are_missing_and_areas_are_not(make_bank):
    setting = AttackSetting("mine", "matched", AttackInput.of([make_bank(1, 100)], []))
    found = measured("loss", setting)
    assert np.isnan(found.by_column["balanced_accuracy"].values).all()
    assert np.isfinite(found.by_column["auc"].values).all()


def test_equal_seeds_give_equal_numbers(make_bank):
    setting = against_itself(make_bank(5, 120))
    one, same, other = measured("lira", setting), measured("lira", setting), measured("lira", setting, seed=1)
    np.testing.assert_array_equal(one.by_column[TPR].replicates, same.by_column[TPR].replicates)
    np.testing.assert_array_equal(one.by_column["balanced_accuracy"].values, same.by_column["balanced_accuracy"].values)
    assert (one.by_column[TPR].replicates != other.by_column[TPR].replicates).any()
    np.testing.assert_array_equal(one.by_column["auc"].values, other.by_column["auc"].values)


def test_replicates_of_two_games_are_paired(make_bank):
    """Equal scores in two attack settings and under two labels: their replicates cancel to nothing."""
    bank = make_bank(5, 200)
    attack = ATTACKS.get("loss")()
    one = measure(attack, "loss", against_itself(bank), LEVELS, 0)
    other = measure(attack, "another label", against_itself(bank, "pruned"), LEVELS, 0)
    np.testing.assert_array_equal(one.by_column[TPR].replicates, other.by_column[TPR].replicates)


def test_dense_knowledge_is_scored_and_judged_by_dense_references(make_bank):
    dense, pruned = make_bank(8, 300), make_bank(8, 300, noise_seed=1, gain=0.5)
    matched, by_dense = bank_settings({"dense": dense, "pruned": pruned}, ("matched", "dense"))[1:]
    for name in ("loss", "lira"):
        one, other = measured(name, matched), measured(name, by_dense)
        assert (one.scores == other.scores).all() == (name == "loss")  # loss needs no references for its scores
        assert (
            one.by_column["balanced_accuracy"].values != other.by_column["balanced_accuracy"].values
        ).any()  # but for its threshold
    changed = AttackSetting("pruned", "dense", AttackInput.of([pruned], [make_bank(8, 300, noise_seed=2)]))
    assert (measured("lira", changed).scores != measured("lira", by_dense).scores).any()


@pytest.mark.parametrize("name", NAMES)
def test_an_interval_of_nothing_contains_a_half(name, make_bank):
    found = measured(name, against_itself(make_bank(10, 600, gain=0, seed=4)))
    for metric in (found.by_column["auc"], found.by_column["balanced_accuracy"]):
        estimate = two_way(*metric, alpha=0.001)
        assert estimate.low <= 0.5 <= estimate.high
        assert estimate.high - estimate.low < 0.12


def test_accuracies_by_hand(make_bank):
    bank = make_bank(4, 200, num_holdout=30, num_canaries=20)
    found = accuracies(bank)
    for v in range(4):
        right = bank.logits[v].argmax(axis=1) == bank.labels
        ordinary = np.arange(30, 180)
        inside = bank.member[v, ordinary]
        assert found.train.values[v] == pytest.approx(right[ordinary][inside].mean())
        assert found.test.values[v] == pytest.approx(right[ordinary][~inside].mean())


def test_accuracies_of_victims_only(make_bank):
    bank = make_bank(4, 100)
    some = Signals(bank.logits, bank.labels, bank.member, is_victim=np.array([False, True, False, True]))
    np.testing.assert_array_equal(accuracies(some).test.values, accuracies(bank).test.values[[1, 3]])
