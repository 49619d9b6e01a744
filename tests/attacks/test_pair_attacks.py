"""Attacks on pairs of releases: against their formulas, where there is nothing, and where members are planted."""

from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.metrics import auc, auc_influence, two_way
from pruneaudit.signals.signals import Signals

# V victims, K references, N samples, C classes, Q queries, d releases

NAMES = ("back_front", "family", "pair_nn", "ratio_product")


def scored(name, attack_input, **options):
    attack = ATTACKS.get(name)
    if attack.trains:
        options = {"epochs": 5, "max_rows": 1000, "learning_rate": 3e-3, **options}
    return attack(attack.Options(**options)).score(attack_input, np.random.default_rng(0))


def own_input(*releases):
    return AttackInput.of(releases, releases)


def random_release(num_models, num_samples, num_classes=3, num_queries=1, seed=0, scale=2.0, dtype=np.float32):
    """Logits, and membership that knows nothing of them; the same labels and members whatever `scale`."""
    rng = np.random.default_rng([seed, num_models, num_samples])
    member = rng.random((num_models, num_samples)) < 0.5
    member[:, :2] = [True, False]
    labels = rng.integers(num_classes, size=num_samples)
    own = np.random.default_rng([seed, int(scale * 1000)])
    logits = own.normal(0, scale, (num_models, num_samples, num_classes))
    confidence = None if num_queries == 1 else own.normal(0, scale, (num_models, num_samples, num_queries))
    return Signals(logits.astype(dtype), labels, member, confidence=confidence)


@pytest.mark.parametrize("height", [1e4, 1e15, 1e35])
@pytest.mark.parametrize("name", NAMES)
def test_extreme_logits_stay_finite(name, height, make_bank, make_earlier):
    bank = make_bank(8, 60)
    logits = bank.logits.copy()
    logits[:, ::7] *= height
    bank = replace(bank, logits=logits)
    found = scored(name, own_input(make_earlier(bank), bank)).victims
    np.testing.assert_array_equal(np.isinf(found), False)
    assert np.isfinite(found).mean() > 0.9


@pytest.mark.parametrize("name", NAMES)
def test_null_where_the_victims_membership_is_redrawn(name, make_bank, make_earlier):
    """Predictions that leak a lot, and coins that have nothing to do with them."""
    victims, references = make_bank(8, 1000), make_bank(12, 1000, first_id=50, seed=1)
    coins = np.random.default_rng(6).random(victims.member.shape) < 0.5
    pairs = [(make_earlier(bank, seed=bank.num_models), bank) for bank in (victims, references)]
    found = scored(name, AttackInput.of(*pairs)).victims
    null = two_way(*auc_influence(found, coins))
    assert abs(null.value - 0.5) < 4 * null.std_error
    assert null.std_error < 0.015
    assert auc(found, victims.member).mean() > 0.7


@pytest.mark.parametrize("name", NAMES)
def test_where_thresholds_are_learned(name, make_bank, make_earlier):
    bank = make_bank(8, 200, gain=3)
    attack_input = own_input(make_earlier(bank, gain=3), bank)
    attack, scores = ATTACKS.get(name)(), scored(name, attack_input)
    limits = thresholds(attack, attack_input, scores, 0, np.random.default_rng(0))
    accused = scores.victims >= limits[:, bank.labels]
    assert (accused == bank.member)[~np.isnan(scores.victims)].mean() > 0.75


@pytest.mark.parametrize("name", NAMES)
def test_one_release_is_refused(name, make_bank, make_input, make_earlier):
    bank = make_bank(4, 40)
    attack = ATTACKS.get(name)()
    assert "a second release of the victims" in attack.lacks(make_input(bank))
    pair = own_input(make_earlier(bank), bank)
    assert attack.lacks(pair) == ""
    fewer = AttackInput(pair.releases, pair.references[1:], pair.victims, pair.allowed)
    needs_references = "references" in attack.needs
    assert attack.lacks(fewer) == ("references in as many releases as the victims" if needs_references else "")


@pytest.mark.parametrize("signal", ["phi", "loss"])
@pytest.mark.parametrize("direction", ["fall", "rise"])
def test_back_front_against_the_formula(signal, direction, make_bank, make_earlier):
    victims, references = make_bank(3, 40, num_holdout=8), make_bank(5, 40, num_holdout=8, first_id=50, seed=1)
    pairs = [[make_earlier(b, seed=b.num_models), b] for b in (victims, references)]
    found = scored("back_front", AttackInput.of(*pairs), signal=signal, direction=direction)

    def change(m, n, releases):
        signals = []
        for release in releases:
            p = np.exp(release.logits[m, n].astype(float))
            own, label = p / p.sum(), release.labels[n]
            signals.append(np.log(own[label]) - (np.log1p(-own[label]) if signal == "phi" else 0))
        return (signals[0] - signals[-1]) * (1 if direction == "fall" else -1)

    for n in range(40):
        expected = [change(m, n, pairs[0]) if n >= 8 else np.nan for m in range(3)]
        np.testing.assert_allclose(found.victims[:, n], expected, rtol=1e-5, atol=1e-5)
        expected = [change(m, n, pairs[1]) for m in range(5)]
        np.testing.assert_allclose(found.references[:, n], expected, rtol=1e-5, atol=1e-5)


def test_back_front_needs_no_references_and_looks_at_the_first_and_the_last(make_bank, make_earlier):
    bank = make_bank(3, 30, num_queries=4)
    dense, between = make_earlier(bank), make_earlier(bank, seed=5)
    found = scored("back_front", AttackInput.of([dense, between, bank], []))
    assert found.references is None
    np.testing.assert_allclose(found.victims, (dense.phi - bank.phi).mean(axis=2))


def test_the_sign_of_the_change_is_a_matter_of_what_was_done(make_bank, make_earlier):
    """Members fall where memory is taken away (pruning), and rise where it is added (more training)."""
    bank = make_bank(6, 500)
    for gain, right, wrong in ((2.0, "fall", "rise"), (-2.0, "rise", "fall")):
        attack_input = own_input(make_earlier(bank, gain=gain), bank)
        areas = [auc(scored("back_front", attack_input, direction=d).victims, bank.member) for d in (right, wrong)]
        assert (areas[0] > 0.8).all()
        np.testing.assert_allclose(areas[0], 1 - areas[1])


def test_what_the_pair_classifier_is_shown(make_bank, make_earlier):
    bank = make_bank(num_models=2, num_samples=20, num_classes=4)
    releases = [make_earlier(bank), make_earlier(bank, seed=1), bank]
    samples = np.array([7, 3, 11])
    found = ATTACKS.get("pair_nn")().features_of(releases, 1, samples)
    assert found.dtype == np.float32
    for row, n in zip(found, samples, strict=True):
        posteriors = []
        for release in releases:
            p = np.exp(release.logits[1, n].astype(float))
            posteriors.append(p / p.sum())
        order = sorted(range(4), key=lambda c: -posteriors[0][c])
        expected = [p[c] for p in posteriors for c in order] + [float(c == bank.labels[n]) for c in order]
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_nothing_of_a_victims_fold_is_in_its_pair_score(make_bank, make_earlier):
    bank = make_bank(num_models=8, num_samples=90, num_holdout=10)
    dense = make_earlier(bank)
    before = scored("pair_nn", own_input(dense, bank))
    fold = before.held_out[0].victims
    assert not set(before.held_out[0].references) & set(fold)
    member = bank.member.copy()
    member[fold, 10:] ^= True
    after = scored("pair_nn", own_input(*(replace(release, member=member) for release in (dense, bank))))
    np.testing.assert_array_equal(after.victims[fold], before.victims[fold])
    others = np.setdiff1d(np.arange(8), fold)
    assert (np.nanmax(np.abs(after.victims[others] - before.victims[others]), axis=1) > 0).all()
