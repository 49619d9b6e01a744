"""What every attack in the registry keeps to; a new attack is tested here by being there."""

import copy
import importlib
from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.core.options import Options
from pruneaudit.metrics import auc, auc_influence, two_way
from pruneaudit.signals.signals import Signals

# V victims, K references, N samples, M models

NAMES = ATTACKS.names()
NUM_VICTIMS, NUM_REFERENCES = 3, 9
NUM_SAMPLES, NUM_HOLDOUT = 530, 430  # at least 200 in each half


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def releases_of(name, make_earlier):
    """What an attack is shown of a bank: that release, and to attacks on pairs an earlier one as well."""
    if "two releases" not in ATTACKS.get(name).needs:
        return lambda bank, gain=1.5: (bank,)
    return lambda bank, gain=1.5: (make_earlier(bank, gain, seed=bank.num_models), bank)


@pytest.fixture
def attack_input(make_bank, releases_of):
    """Separate victims and references, a holdout, and every sample scorable: some references have it, some not."""
    member = np.random.default_rng(4).random((NUM_REFERENCES, NUM_SAMPLES)) < 0.5
    member[:2], member[2:4] = (
        np.arange(NUM_SAMPLES) % 2 == 0,
        np.arange(NUM_SAMPLES) % 2 == 1,
    )  # two IN, two OUT, at least
    references = make_bank(NUM_REFERENCES, NUM_SAMPLES, num_holdout=NUM_HOLDOUT, member=member, first_id=100, seed=1)
    return AttackInput.of(
        releases_of(make_bank(NUM_VICTIMS, NUM_SAMPLES, num_holdout=NUM_HOLDOUT)), releases_of(references)
    )


def own_input(releases):
    """Every model is a victim, and the others' reference."""
    return AttackInput.of(releases, releases)


def changed(releases, **changes):
    """The same releases with something changed in all of them."""
    return tuple(replace(release, **changes) for release in releases)


def attack_of(name, epochs):
    """The attack as it comes; what trains a classifier, for a short time."""
    attack = ATTACKS.get(name)
    if "trees" in attack.Options.model_fields:
        short = {"epochs": 25} if "epochs" in attack.Options.model_fields else {}
        return attack(attack.Options(trees=10, min_leaf=5, max_rows=300, **short))
    if not issubclass(attack, ClassifierAttack):
        return attack()
    return attack(attack.Options(epochs=epochs, max_rows=300, learning_rate=3e-3))


def scores_of(name, attack_input, epochs=2):
    return attack_of(name, epochs).score(attack_input, np.random.default_rng(0))


def test_shape_type_and_where_there_is_no_score(name, attack_input):
    scores = scores_of(name, attack_input)
    assert scores.victims.dtype == np.float64
    np.testing.assert_array_equal(np.isnan(scores.victims), ~attack_input.eligible)
    assert not np.isinf(scores.victims).any()
    if scores.references is not None:
        assert scores.references.shape == (NUM_REFERENCES, NUM_SAMPLES)
        assert scores.references.dtype == np.float64


def test_inputs_stay_as_they_were(name, attack_input):
    arrays = [attack_input.allowed]
    for signals in (*attack_input.releases, *attack_input.references):
        arrays += [signals.logits, signals.labels, signals.member, signals.eligible, signals.phi]
    before = copy.deepcopy(arrays)
    scores_of(name, attack_input)
    for now, then in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_same_again(name, attack_input):
    np.testing.assert_array_equal(scores_of(name, attack_input).victims, scores_of(name, attack_input).victims)


def test_victims_membership_is_not_looked_at(name, attack_input):
    """Of what is scored. (That the holdout is in nobody's training set is public.)"""
    turned = attack_input.attacked.member ^ attack_input.attacked.scored
    other = AttackInput.of(changed(attack_input.releases, member=turned), attack_input.references, attack_input.allowed)
    np.testing.assert_array_equal(scores_of(name, other).victims, scores_of(name, attack_input).victims)


def test_a_victims_membership_is_not_looked_at_within_its_own_bank(name, make_bank, releases_of):
    releases = releases_of(make_bank(num_models=8, num_samples=100, num_holdout=20))
    expected = scores_of(name, own_input(releases)).victims
    member = releases[-1].member.copy()
    member[5, 20:] ^= True
    turned = own_input(changed(releases, member=member))
    np.testing.assert_array_equal(scores_of(name, turned).victims[5], expected[5])


def test_references_that_are_not_allowed_do_not_matter(name, attack_input):
    allowed = attack_input.allowed.copy()
    allowed[:, 8] = False
    factor, member = np.ones((NUM_REFERENCES, 1, 1)), attack_input.reference.member.copy()
    factor[8] = -3
    member[8, NUM_HOLDOUT:] ^= True
    others = [replace(release, logits=release.logits * factor, member=member) for release in attack_input.references]
    before, after = (
        scores_of(name, AttackInput.of(attack_input.releases, r, allowed)).victims
        for r in (attack_input.references, others)
    )
    np.testing.assert_allclose(after, before, rtol=1e-9)


def test_order_of_samples_and_of_models_does_not_matter(name, attack_input):
    rng = np.random.default_rng(5)
    samples, victims = rng.permutation(NUM_SAMPLES), rng.permutation(NUM_VICTIMS)
    references = rng.permutation(NUM_REFERENCES)

    def turned(signals, models):
        return Signals(
            logits=signals.logits[models][:, samples],
            labels=signals.labels[samples],
            member=signals.member[models][:, samples],
            eligible=signals.eligible[models][:, samples],
            sensitivity=signals.sensitivity[models][:, samples],
            features=signals.features[samples],
            forgotten=signals.forgotten[models][:, samples],
            structure=np.asarray(signals.structure)[models],
            start_saliency=signals.start_saliency[models][:, samples],
            ids=signals.sample_ids[samples],
            model_ids=signals.model_names[models],
        )

    other = AttackInput.of(
        [turned(r, victims) for r in attack_input.releases], [turned(r, references) for r in attack_input.references]
    )
    expected = scores_of(name, attack_input).victims[victims][:, samples]
    np.testing.assert_allclose(scores_of(name, other).victims, expected, rtol=1e-9, atol=1e-12)


def test_a_higher_score_means_a_member(name, make_bank, releases_of):
    if not ATTACKS.get(name).finds_alike:
        pytest.skip("not with this bank; test_posterior_classifiers.py and test_mask_filter.py have others")
    bank = make_bank(num_models=8, num_samples=250, gain=2.5, num_holdout=50)
    scores = scores_of(name, own_input(releases_of(bank)), epochs=6).victims
    least = 0.53 if name == "correctness" else 0.6  # most samples here are classified right by everybody
    assert (auc(scores, bank.member) > least).all()


def test_it_sees_nothing_where_there_is_nothing(name, make_bank, releases_of):
    bank = make_bank(num_models=8, num_samples=1100, gain=0, num_holdout=100, seed=3)
    scores = scores_of(name, own_input(releases_of(bank, gain=0)), epochs=1).victims
    found = two_way(*auc_influence(scores, bank.member))
    assert abs(found.value - 0.5) < 4 * found.std_error
    assert found.std_error < 0.015


def test_what_it_needs_it_says(name, attack_input, make_bank, releases_of):
    attack = ATTACKS.get(name)()
    assert attack.needs <= {
        *("references", "holdout", "fitting", "features", "forgetting", "sensitivity", "structure", "start_saliency"),
        "two releases",
    }
    assert attack.standard in NAMES
    assert attack.lacks(attack_input) == ""
    alone = AttackInput.of(
        releases_of(make_bank(num_models=1, num_samples=NUM_HOLDOUT + 25, num_holdout=NUM_HOLDOUT)), []
    )
    if "references" in attack.needs:
        assert "reference models for every victim" in attack.lacks(alone)
        assert (
            attack.lacks(
                AttackInput.of(
                    attack_input.releases, attack_input.references, attack_input.allowed & (np.arange(3) > 0)[:, None]
                )
            )
            != ""
        )
    else:
        assert attack.lacks(alone) == ""
        assert attack.score(alone, np.random.default_rng(0)).victims.shape == (1, NUM_HOLDOUT + 25)


def test_earlier_releases_change_nothing_for_attacks_on_one(name, attack_input, make_earlier):
    """Those that look at one release look at the last; attacks on pairs notice another first release."""
    alone = AttackInput.of(attack_input.releases[-1:], attack_input.references[-1:], attack_input.allowed)
    paired = AttackInput.of(
        *([make_earlier(r[-1], seed=8), r[-1]] for r in (attack_input.releases, attack_input.references)),
        attack_input.allowed,
    )
    if "two releases" in ATTACKS.get(name).needs:
        assert "a second release" in attack_of(name, 2).lacks(alone)
        assert (
            np.nanmax(np.abs(scores_of(name, paired).victims - scores_of(name, attack_input).victims), axis=1) > 0
        ).all()
        return
    before, after = scores_of(name, alone), scores_of(name, paired)
    np.testing.assert_array_equal(after.victims, before.victims)
    assert (after.references is None) == (before.references is None)
    if before.references is not None:
        np.testing.assert_array_equal(after.references, before.references)


def test_it_is_documented(name):
    attack = ATTACKS.get(name)
    assert issubclass(attack, Attack)
    assert attack.__doc__
    assert "arXiv" in attack.__doc__ + importlib.import_module(attack.__module__).__doc__
    assert ATTACKS.summary(name).endswith((".", "?"))
    assert issubclass(attack.Options, Options)
    for key, field in attack.Options.model_fields.items():
        assert field.description, f"option {key} of {name} says nothing of itself"
        assert not field.is_required()
