"""Forests and regressions on posteriors, and CompLeak's MR: what they are shown, compute of it, and never see."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.ensemble import RandomForestClassifier

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.learned import Rows
from pruneaudit.attacks.posterior_classifiers import LEAST_VOTE
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.metrics import auc, auc_influence, two_way
from pruneaudit.signals.signals import Signals

# V victims, N samples, C classes, n rows

NAMES = ("posterior_lr", "posterior_rf", "pair_lr", "pair_rf")
PAIRS = ("pair_lr", "pair_rf")
FORESTS = ("posterior_rf", "pair_rf")
WITH_MR = (*NAMES, "compleak_mr")


def attack_of(name, **options):
    attack = ATTACKS.get(name)
    few = {"trees": 40, "min_leaf": 10} if name in (*FORESTS, "compleak_mr") else {}
    few |= {"trees": 10, "epochs": 15} if name == "compleak_mr" else {}
    return attack(attack.Options(**{"max_rows": 1500, **few, **options}))


def scored(name, attack_input, **options):
    return attack_of(name, **options).score(attack_input, np.random.default_rng(0))


def uneven_bank(num_models=8, num_samples=600, num_classes=3, first_id=0, seed=0):
    """Members of class 0 are more certain, those of the other classes less: what a linear function can see."""
    rng = np.random.default_rng([11, seed])
    labels = np.random.default_rng(2).integers(num_classes, size=num_samples)
    member = rng.random((num_models, num_samples)) < 0.5
    logits = rng.normal(size=(num_models, num_samples, num_classes))
    logits[:, np.arange(num_samples), labels] += np.where(labels == 0, 2.0, -2.0) * member
    ids = np.arange(first_id, first_id + num_models)
    return Signals(logits.astype(np.float32), labels, member, model_ids=ids)


def posteriors_of(release, model, n):
    p = np.exp(release.logits[model, n].astype(float))
    return p / p.sum()


@pytest.mark.parametrize("label", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_what_the_classifier_is_shown(name, label, make_bank, make_earlier):
    bank = make_bank(num_models=2, num_samples=20, num_classes=4)
    releases = [make_earlier(bank), bank]
    samples = np.array([7, 3, 11])
    found = attack_of(name, label=label).features_of(releases, 1, samples)
    assert found.dtype == np.float32
    assert found.shape == (3, 4 * ((2 if name in PAIRS else 1) + label))
    for row, n in zip(found, samples, strict=True):
        dense, attacked = (posteriors_of(release, 1, n) for release in releases)
        one_hot = [float(c == bank.labels[n]) for c in range(4)]
        expected = []
        if name in PAIRS:
            order = sorted(range(4), key=lambda c: dense[c])
            for part in (dense, attacked, *([one_hot] if label else [])):
                expected += [part[c] for c in order]
        else:
            expected = [*attacked, *(one_hot if label else [])]
        np.testing.assert_allclose(row, expected, rtol=1e-5)


def test_the_defaults_are_the_published_ones():
    for name in FORESTS:
        options = ATTACKS.get(name).Options()
        assert (options.trees, options.min_leaf) == (500, 30)
    with pytest.raises(UserError, match="trees"):
        ATTACKS.get("pair_rf").Options(trees=0)
    with pytest.raises(UserError, match="trees"):
        ATTACKS.get("pair_lr").Options(trees=10)


def test_a_regression_is_the_minimum_of_its_loss():
    """Half the squared weights plus the summed cross-entropy, on standardised inputs, by another optimiser."""
    victims, references = uneven_bank(1, 120, first_id=50, seed=1), uneven_bank(1, 200)
    member = np.arange(200) % 2 == 0  # equal halves: every row is a training row
    references = replace(references, member=member[None])
    x = np.stack([posteriors_of(references, 0, n) for n in range(200)])
    mean, spread = x.mean(axis=0), x.std(axis=0)
    sign = np.where(member, 1.0, -1.0)

    def loss(weights):
        odds = (x - mean) / spread @ weights[:-1] + weights[-1]
        return 0.5 * weights[:-1] @ weights[:-1] + np.logaddexp(0, -sign * odds).sum()

    best = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-6}).x
    asked = np.stack([posteriors_of(victims, 0, n) for n in range(120)])
    expected = (asked - mean) / spread @ best[:-1] + best[-1]
    references, victims = (
        replace(r, labels=np.zeros(r.num_samples, int)) for r in (references, replace(victims, eligible=None))
    )
    padded = Signals(
        np.concatenate([victims.logits, np.zeros((1, 80, 3), np.float32)], axis=1),
        references.labels,
        np.concatenate([victims.member, np.zeros((1, 80), bool)], axis=1),
        eligible=np.arange(200)[None] < 120,
        model_ids=np.array([50]),
    )
    found = scored("posterior_lr", AttackInput.of([padded], [references]), label=False).victims[0]
    np.testing.assert_allclose(found[:120], expected, rtol=1e-3, atol=1e-3)


def test_a_forest_of_one_leaf_says_nothing_and_a_pure_leaf_stays_finite():
    rng = np.random.default_rng(0)
    member = np.arange(200) % 2 == 0
    x = (rng.normal(size=(200, 2)) + 20 * member[:, None]).astype(np.float32)
    rows = Rows(x, np.zeros(200, int), member, 2, np.zeros(200, int))
    nothing = rows.where(np.zeros(200, bool))
    flat = attack_of("posterior_rf", min_leaf=200).trained(rows, nothing, rng)(x, rows.labels)
    assert np.abs(flat).max() < 0.2  # only the bootstrap's shares
    assert len(np.unique(flat)) == 1
    pure = attack_of("posterior_rf", min_leaf=1).trained(rows, nothing, rng)(x, rows.labels)
    assert np.isfinite(pure).all()
    assert pure[member].min() > 5 > -5 > pure[~member].max()


def test_a_forest_is_scikit_learns():
    rng = np.random.default_rng(2)
    member = rng.random(300) < 0.5
    x = (rng.normal(size=(300, 6)) + 0.5 * member[:, None]).astype(np.float32)
    own = RandomForestClassifier(30, min_samples_leaf=8, random_state=17, n_jobs=1).fit(x, member)
    votes = own.predict_proba(x)
    expected = np.log(votes[:, 1] + LEAST_VOTE) - np.log(votes[:, 0] + LEAST_VOTE)
    found = attack_of("posterior_rf", trees=30, min_leaf=8).fitted(x, member, 17)(x)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["posterior_lr", "posterior_rf"])
def test_a_score_does_not_depend_on_the_samples_beside_it(name):
    """That system standardises a victim's inputs by their own mean, so that each score depends on all samples."""
    rng = np.random.default_rng(1)
    member = np.arange(300) % 2 == 0
    x = (rng.normal(size=(300, 3)) + member[:, None]).astype(np.float32)
    rows = Rows(x, np.zeros(300, int), member, 3, np.zeros(300, int))
    scorer = attack_of(name).trained(rows, rows.where(member & ~member), rng)
    np.testing.assert_array_equal(scorer(x[:7] + 3, rows.labels[:7]), scorer(x + 3, rows.labels)[:7])


@pytest.mark.parametrize("name", WITH_MR)
def test_null_where_the_victims_membership_is_redrawn(name, make_bank, make_earlier):
    """Predictions that leak a lot, and coins that have nothing to do with them."""
    victims, references = make_bank(8, 1000), make_bank(12, 1000, first_id=50, seed=1)
    coins = np.random.default_rng(6).random(victims.member.shape) < 0.5
    pairs = [(make_earlier(bank, seed=bank.num_models), bank) for bank in (victims, references)]
    found = scored(name, AttackInput.of(*pairs)).victims
    null = two_way(*auc_influence(found, coins))
    assert null.low < 0.5 < null.high
    assert null.std_error < 0.015
    if name != "posterior_lr":
        assert auc(found, victims.member).mean() > 0.6


@pytest.mark.parametrize("name", WITH_MR)
def test_members_of_some_classes_are_found_by_all(name):
    bank, dense = uneven_bank(), uneven_bank(seed=1)
    dense = replace(dense, member=bank.member)
    pair = (dense, bank)
    assert auc(scored(name, AttackInput.of(pair, pair)).victims, bank.member).mean() > 0.6


@pytest.mark.parametrize("name", WITH_MR)
def test_nothing_of_a_victims_fold_is_in_its_score(name, make_bank, make_earlier):
    bank = make_bank(num_models=8, num_samples=90, num_holdout=10)
    dense = make_earlier(bank)
    before = scored(name, AttackInput.of([dense, bank], [dense, bank]))
    fold = before.held_out[0].victims
    assert not set(before.held_out[0].references) & set(fold)
    member = bank.member.copy()
    member[fold, 10:] ^= True
    other = [replace(release, member=member) for release in (dense, bank)]
    after = scored(name, AttackInput.of(other, other))
    np.testing.assert_array_equal(after.victims[fold], before.victims[fold])
    others = np.setdiff1d(np.arange(8), fold)
    assert (np.nanmax(np.abs(after.victims[others] - before.victims[others]), axis=1) > 0).all()


@pytest.mark.parametrize("name", WITH_MR)
def test_thresholds_come_from_all_samples_of_held_out_references(name, make_bank, make_earlier):
    bank = make_bank(8, 200, gain=3)
    pair = (make_earlier(bank, gain=3), bank)
    attack_input, attack = AttackInput.of(pair, pair), attack_of(name)
    scores = scored(name, attack_input)
    for part in scores.held_out:
        np.testing.assert_array_equal(np.isnan(part.scores), ~bank.ordinary[part.references])
        assert not set(part.references) & set(part.victims)
    limits = thresholds(attack, attack_input, scores, 0, np.random.default_rng(0))
    if name != "posterior_lr":
        accused = scores.victims >= limits[:, bank.labels]
        assert (accused == bank.member).mean() > 0.7


@pytest.mark.parametrize("name", WITH_MR)
def test_one_reference_teaches_with_all_its_samples_and_no_threshold(name, make_bank, make_earlier):
    pairs = [(make_earlier(bank), bank) for bank in (make_bank(2, 80), make_bank(1, 80, first_id=9, seed=1))]
    found = scored(name, AttackInput.of(*pairs))
    assert np.isfinite(found.victims).all()
    assert found.held_out == () and found.threshold is None


def test_nothing_global_is_drawn_from(make_bank, make_earlier):
    bank = make_bank(4, 80)
    pair = (make_earlier(bank), bank)
    attack_input = AttackInput.of(pair, pair)
    np.random.seed(0)  # noqa: NPY002 - the global generator is the subject
    first = scored("pair_rf", attack_input).victims
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(0)  # noqa: NPY002
    assert drawn == np.random.random()  # noqa: NPY002
    np.random.seed(5)  # noqa: NPY002
    np.testing.assert_array_equal(scored("pair_rf", attack_input).victims, first)
