"""Attacks on pairs of releases: against their formulas, where there is nothing, and where members are planted."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from pruneaudit.attacks import ATTACKS, joint_lira
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.bavaria import LARGEST_SHAPE, SMALLEST_SHAPE
from pruneaudit.attacks.groups import is_lower_bound
from pruneaudit.attacks.primary import attack_by_rule
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.metrics import auc, auc_influence, two_way
from pruneaudit.signals.signals import Signals

# V victims, K references, N samples, C classes, Q queries, d releases

NAMES = ("back_front", "joint_lira", "pair_nn")


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


def naive_prior(groups, num_releases):
    """m0, k0, nu0, Psi0 from each sample's reference confidences (n, d), by the moments that the module names."""
    d = num_releases
    freedom = sum(max(len(g) - 1, 0) for g in groups)
    scatter = sum(((g - g.mean(axis=0)).T @ (g - g.mean(axis=0)) for g in groups if len(g)), np.zeros((d, d)))
    c = scatter / freedom if freedom else np.eye(d)
    means = np.array([g.mean(axis=0) for g in groups if len(g)])
    m0 = means.mean(axis=0)
    b = np.cov(means.T, bias=True).reshape(d, d) - c * np.mean([1 / len(g) for g in groups if len(g)])
    k0 = d / max(np.trace(np.linalg.solve(c, b)), 1e-12 * np.trace(np.linalg.inv(c)))
    several = [g for g in groups if len(g) > 2]
    found = np.mean([(g.var(axis=0, ddof=1) / np.diag(c) - 1) ** 2 for g in several]) if several else 0.0
    expected = np.mean([2 / (len(g) - 1) for g in several]) if several else 0.0
    a0 = np.clip(2 + 1 / max((found - expected) / (1 + expected), 1e-12), SMALLEST_SHAPE, LARGEST_SHAPE)
    nu0 = 2 * a0 + d - 1
    return m0, k0, nu0, c * (nu0 - d - 1)


def naive_predictive(z, group, prior):
    m0, k0, nu0, psi0 = prior
    n, d = len(group), len(z)
    mean = group.mean(axis=0)
    k, nu = k0 + n, nu0 + n
    psi = psi0 + (group - mean).T @ (group - mean) + k0 * n / k * np.outer(mean - m0, mean - m0)
    shape = psi * (k + 1) / (k * (nu - d + 1))
    return stats.multivariate_t.logpdf(z, loc=(k0 * m0 + n * mean) / k, shape=shape, df=nu - d + 1)


def naive_joint_lira(attack_input, query=0):
    """Scores (V, N), victim by victim and sample by sample."""
    z = np.stack([release.phi[..., query] for release in attack_input.releases], axis=-1)
    known = np.stack([release.phi[..., query] for release in attack_input.references], axis=-1)
    member, num_samples = attack_input.reference.member, attack_input.attacked.num_samples
    result = np.full(attack_input.eligible.shape, np.nan)
    for v, row in enumerate(attack_input.victims):
        sides = [
            [known[attack_input.allowed[v] & (member[:, n] == side), n] for n in range(num_samples)]
            for side in (True, False)
        ]
        counted = np.flatnonzero(~attack_input.reference.canaries)
        priors = [naive_prior([groups[n] for n in counted], z.shape[-1]) for groups in sides]
        for n in np.flatnonzero(attack_input.eligible[v]):
            if all(len(groups[n]) for groups in sides):
                inside, outside = (naive_predictive(z[row, n], sides[i][n], priors[i]) for i in (0, 1))
                result[v, n] = inside - outside
    return result


SHAPES = [
    {"num_models": 9, "num_samples": 40},
    {"num_models": 4, "num_samples": 30, "num_classes": 2},
    {"num_models": 3, "num_samples": 25},
    {"num_models": 2, "num_samples": 20},  # one reference each: IN or OUT is always empty
    {"num_models": 12, "num_samples": 15, "num_classes": 10, "dtype": np.float16},
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "-".join(str(size) for size in shape.values()))
@pytest.mark.parametrize("num_releases", [2, 3])
def test_joint_lira_against_scipy(shape, num_releases):
    attack_input = own_input(*(random_release(**shape, scale=scale) for scale in (2.0, 1.0, 3.0)[:num_releases]))
    found, expected = scored("joint_lira", attack_input).victims, naive_joint_lira(attack_input)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert np.isnan(expected).all() == (shape["num_models"] == 2)


@settings(max_examples=10, deadline=None)
@given(num_models=st.integers(4, 8), num_samples=st.integers(10, 20), height=st.sampled_from([0.01, 1.0, 50.0]))
def test_joint_lira_against_scipy_whatever_the_shape(num_models, num_samples, height):
    attack_input = own_input(*(random_release(num_models, num_samples, scale=height * s) for s in (1, 2)))
    np.testing.assert_allclose(
        scored("joint_lira", attack_input).victims, naive_joint_lira(attack_input), rtol=1e-6, atol=1e-6
    )


def test_joint_lira_with_canaries_separate_references_and_what_is_not_eligible(make_bank, make_earlier):
    victims, references = make_bank(3, 40, num_holdout=8), make_bank(7, 40, num_holdout=8, first_id=50, seed=1)
    canary = np.arange(40) >= 35
    pairs = [[replace(r, canary=canary) for r in (make_earlier(b, seed=2), b)] for b in (victims, references)]
    allowed = np.ones((3, 7), dtype=bool)
    allowed[1, :3] = False
    attack_input = AttackInput.of(*pairs, allowed)
    found = scored("joint_lira", attack_input).victims
    np.testing.assert_allclose(found, naive_joint_lira(attack_input), rtol=1e-6, atol=1e-6)
    assert np.isnan(found[:, :8]).all()
    assert np.isfinite(found[:, 35:]).any()


def test_joint_lira_has_no_score_without_in_or_out_references():
    attack_input = own_input(*(random_release(8, 30, scale=s) for s in (2.0, 1.0)))
    member = attack_input.reference.member.copy()
    member[:, 5], member[:, 6] = True, False
    references = [replace(r, member=member) for r in attack_input.references]
    found = scored("joint_lira", AttackInput.of(attack_input.releases, references)).victims
    assert np.isnan(found[:, 5:7]).all()
    assert np.isfinite(found[:, 8:]).mean() > 0.9


def test_joint_lira_of_several_queries_is_the_mean_over_them():
    releases = [random_release(8, 25, num_queries=3, scale=scale) for scale in (2.0, 1.0)]
    expected = np.mean([naive_joint_lira(own_input(*releases), query) for query in range(3)], axis=0)
    np.testing.assert_allclose(scored("joint_lira", own_input(*releases)).victims, expected, rtol=1e-6, atol=1e-6)


def test_joint_lira_of_one_release_would_be_bavaria(make_bank, make_input):
    for bank in (make_bank(9, 200, num_holdout=20), random_release(5, 60), random_release(40, 30, scale=100.0)):
        attack_input = make_input(bank)
        phi = bank.phi  # (M, N, 1): one query here, one release there
        found = joint_lira.log_ratio(phi, phi, bank.member, attack_input.allowed, ~bank.canaries)
        expected = scored("bavaria", attack_input).victims
        told = attack_input.eligible & ~np.isnan(
            found
        )  # bavaria scores by the prior where there is no IN or no OUT reference
        assert told.mean() > 0.7
        np.testing.assert_allclose(found[told], expected[told], rtol=1e-9, atol=1e-9)


def test_joint_lira_does_not_depend_on_units_of_a_release():
    """Of the density IN over OUT nothing changes when a release's confidences are stretched and shifted."""
    attack_input = own_input(*(random_release(9, 50, scale=s) for s in (2.0, 1.0)))
    z = np.concatenate([release.phi for release in attack_input.releases], axis=-1)
    arguments = attack_input.attacked.member, attack_input.allowed, ~attack_input.attacked.canaries
    before = joint_lira.log_ratio(z, z, *arguments)
    stretched = z * [1e4, 0.1] + [5.0, -1e3]
    np.testing.assert_allclose(joint_lira.log_ratio(stretched, stretched, *arguments), before, rtol=1e-6, atol=1e-6)
    turned = z[..., ::-1]
    np.testing.assert_allclose(joint_lira.log_ratio(turned, turned, *arguments), before, rtol=1e-6, atol=1e-6)


def test_joint_lira_says_that_it_is_a_lower_bound_and_is_not_declared_for_others():
    found = scored("joint_lira", own_input(random_release(6, 40), random_release(6, 40, scale=1.0)))
    assert "lower bound" in found.variant
    assert [is_lower_bound(label) for label in ("joint_lira", "lira", "bavaria", "of a plug-in that is not here")] == [
        True,
        *[False] * 3,
    ]
    assert attack_by_rule(["joint_lira", "entropy"], 100) == "entropy"
    assert attack_by_rule(["joint_lira"], 100) == "joint_lira"


def test_joint_lira_in_blocks_is_the_same(monkeypatch):
    attack_input = own_input(*(random_release(7, 53, scale=s) for s in (2.0, 1.0, 3.0)))
    before = scored("joint_lira", attack_input).victims
    monkeypatch.setattr(joint_lira, "BLOCK", 100)
    np.testing.assert_allclose(scored("joint_lira", attack_input).victims, before, rtol=1e-12)


def test_the_same_release_twice_adds_nothing(make_bank, make_input):
    """The covariance is singular then; the ranking stays that of the one release."""
    bank = make_bank(16, 300)
    twice, once = scored("joint_lira", own_input(bank, bank)).victims, scored("bavaria", make_input(bank)).victims
    assert np.isfinite(twice).mean() > 0.99
    np.testing.assert_allclose(auc(twice, bank.member), auc(once, bank.member), atol=0.01)


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


def test_the_further_release_tells_more_where_it_is_news_of_its_own(make_bank, make_input):
    """Two looks at the same memory, each with noise of its own."""
    bank = make_bank(24, 400, gain=1.5)
    dense = make_bank(24, 400, gain=1.5, member=bank.member, seed=1)
    joint = auc(scored("joint_lira", own_input(dense, bank)).victims, bank.member).mean()
    alone = [auc(scored("lira", make_input(b)).victims, bank.member).mean() for b in (dense, bank)]
    assert joint > max(alone) + 0.05


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
