"""The stack over several releases: against a naive oracle, where a release tells nothing, and where it is news."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from pruneaudit.attacks import ATTACKS, family
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.family import FEWEST_REFERENCES, PENALTY, Deal, fit
from pruneaudit.attacks.folds import settings
from pruneaudit.metrics import auc, auc_influence, difference_two_way, two_way

# V victims, K references, N samples, Q queries, F features


def own_input(*releases):
    return AttackInput.of(releases, releases)


def scored(attack_input, seed=0):
    return ATTACKS.get("family")().score(attack_input, np.random.default_rng(seed))


def log_ratios(phi, known, member, counted):
    """LiRA's pooled log ratio and RMIA's online one for one model's phi (N,), from references known (K, N)."""
    num_samples = len(phi)
    variances = {}
    for side in (True, False):
        squares, freedom = 0.0, 0
        for n in np.flatnonzero(counted):
            values = known[member[:, n] == side, n]
            if len(values):
                squares += ((values - values.mean()) ** 2).sum()
                freedom += len(values) - 1
        variances[side] = squares / freedom if freedom else np.nan
    lira, rmia = np.full(num_samples, np.nan), np.full(num_samples, np.nan)
    for n in range(num_samples):
        sides = {side: known[member[:, n] == side, n] for side in (True, False)}
        if all(map(len, sides.values())):
            logs = {
                side: -0.5 * ((phi[n] - values.mean()) ** 2 / variances[side] + np.log(variances[side]))
                for side, values in sides.items()
            }
            lira[n] = logs[True] - logs[False]
            likely = [(1 / (1 + np.exp(-values))).mean() for values in sides.values()]
            rmia[n] = -np.log1p(np.exp(-phi[n])) - np.log(np.mean(likely))
    return np.stack([lira, rmia])


def naive_scores(attack_input, seed):
    """Scores (V, N), model by model."""
    reference = attack_input.reference
    found = np.full(attack_input.eligible.shape, np.nan)

    def features(phis, rows, counted, samples):
        """(F, n): the log ratios of one model, whose phi are given by release, from references `rows`."""
        return np.concatenate(
            [
                np.mean(
                    [
                        log_ratios(
                            phi[samples, q], known.phi[rows][:, samples, q], known.member[rows][:, samples], counted
                        )
                        for q in range(phi.shape[1])
                    ],
                    axis=0,
                )
                for phi, known in zip(phis, attack_input.references, strict=True)
            ]
        )

    every = np.arange(reference.num_samples)
    usable = reference.ordinary.any(axis=0)
    for victims, references in settings(attack_input, seed):
        rows, truth = [], []
        for model in references:
            others = [other for other in references if other != model]
            phis = [known.phi[model] for known in attack_input.references]
            some = features(phis, others, reference.counted[usable], every[usable])
            some[:, ~reference.ordinary[model, usable]] = np.nan
            rows.append(some)
            truth.append(reference.member[model, usable])
        taught, truth = np.concatenate(rows, axis=1), np.concatenate(truth)
        known = ~np.isnan(taught).any(axis=0)
        scale = taught[:, known].std(axis=1)
        fitted = LogisticRegression(C=PENALTY, solver="newton-cg", tol=1e-7, max_iter=1000)
        fitted.fit((taught[:, known] / scale[:, None]).T, truth[known])
        for victim in victims:
            row = attack_input.victims[victim]
            mine = np.flatnonzero(attack_input.allowed[victim])
            asked = features([release.phi[row] for release in attack_input.releases], mine, reference.counted, every)
            found[victim] = fitted.intercept_ + fitted.coef_[0] @ (asked / scale[:, None])
    found[~attack_input.eligible] = np.nan
    return found


@pytest.mark.parametrize(
    ("num_models", "num_releases", "num_queries", "num_holdout"), [(9, 2, 1, 0), (6, 3, 1, 10), (5, 2, 3, 0)]
)
def test_against_a_naive_stack(make_bank, make_earlier, num_models, num_releases, num_queries, num_holdout):
    bank = make_bank(num_models, 80, num_queries=num_queries, num_holdout=num_holdout)
    bank = replace(bank, canary=np.arange(80) >= 72)
    releases = [*(make_earlier(bank, seed=seed) for seed in range(num_releases - 1)), bank]
    attack_input = own_input(*releases)
    dealt = int(np.random.default_rng(3).integers(2**62))
    found, expected = scored(attack_input, 3).victims, naive_scores(attack_input, dealt)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)  # the solvers stop at different places


def test_with_references_of_their_own(make_bank, make_earlier):
    victims, references = make_bank(3, 80, num_holdout=8), make_bank(7, 80, num_holdout=8, first_id=50, seed=1)
    pairs = [(make_earlier(bank, seed=2), bank) for bank in (victims, references)]
    attack_input = AttackInput.of(*pairs)
    dealt = int(np.random.default_rng(0).integers(2**62))
    found = scored(attack_input).victims
    np.testing.assert_allclose(found, naive_scores(attack_input, dealt), rtol=2e-3, atol=2e-3)
    assert np.isnan(found[:, :8]).all()


def test_the_victims_membership_is_not_used(make_bank, make_earlier):
    victims, references = make_bank(4, 120), make_bank(8, 120, first_id=50, seed=1)
    told = scored(AttackInput.of(*[(make_earlier(bank), bank) for bank in (victims, references)]))
    other = replace(victims, member=make_bank(4, 120, seed=9).member)
    again = scored(
        AttackInput.of(
            (replace(make_earlier(victims), member=other.member), other), told_references(references, make_earlier)
        )
    )
    np.testing.assert_array_equal(told.victims, again.victims)


def told_references(references, make_earlier):
    return make_earlier(references), references


@pytest.mark.parametrize("num_useless", [1, 3])
def test_releases_that_tell_nothing_take_nothing_away(make_bank, make_earlier, num_useless):
    """The joint normal model lost .048 of AUC in such a family."""
    bank = make_bank(20, 500)
    useless = [make_bank(20, 500, gain=0.0, member=bank.member, seed=30 + i) for i in range(num_useless)]
    deal = Deal(own_input(bank, *useless), 0)
    alone, together = (
        auc_influence(deal.scores([deal.evidence(release, release) for release in seen]), bank.member)
        for seen in ([bank], [bank, *useless])
    )
    lost = difference_two_way(together, alone)
    assert lost.value > -0.005
    assert alone.values.mean() > 0.75


def test_a_further_release_tells_more_where_it_is_news(make_bank):
    bank = make_bank(24, 400)
    dense = make_bank(24, 400, member=bank.member, seed=1)
    deal = Deal(own_input(dense, bank), 0)
    seen = [deal.evidence(release, release) for release in (dense, bank)]
    alone = [auc(deal.scores([each]), bank.member).mean() for each in seen]
    assert auc(deal.scores(seen), bank.member).mean() > max(alone) + 0.05


def test_the_same_release_twice_adds_nothing(make_bank):
    bank = make_bank(16, 300)
    deal = Deal(own_input(bank, bank), 0)
    one = deal.evidence(bank, bank)
    once, twice = deal.scores([one]), deal.scores([one, one])
    np.testing.assert_allclose(auc(twice, bank.member), auc(once, bank.member), atol=1e-3)


def test_both_halves_of_a_secret_tell_what_neither_tells(make_bank):
    """One release shows the coin xor membership, the other the coin: no sum of parts bounds the whole.

    The stack is linear in each release's ratios, so it cannot find this. The case stands in the guide as a reason why
    no bound from parts exists; here it shows that the attack is a lower bound of what two releases reveal.
    """
    bank = make_bank(16, 600, gain=0.0)
    coin = np.random.default_rng(0).random(bank.member.shape) < 0.5
    shown = [replace_gain(bank, bank.member ^ coin), replace_gain(bank, coin)]
    deal = Deal(own_input(*shown), 0)
    seen = [deal.evidence(release, release) for release in shown]
    null = two_way(*auc_influence(deal.scores(seen), bank.member))
    assert abs(null.value - 0.5) < 4 * null.std_error
    revealed = (shown[0].phi > shown[0].phi.mean(axis=0))[..., 0] ^ (shown[1].phi > shown[1].phi.mean(axis=0))[..., 0]
    assert (revealed == bank.member).mean() > 0.8


def replace_gain(bank, told, gain=4.0):
    logits = bank.logits.copy()
    logits[:, np.arange(bank.num_samples), bank.labels] += gain * told
    return replace(bank, logits=logits)


def test_too_few_references_are_named(make_bank, make_earlier):
    attack = ATTACKS.get("family")()
    few, enough = make_bank(3, 60), make_bank(4, 60)
    assert f"at least {FEWEST_REFERENCES} references" in attack.lacks(own_input(make_earlier(few), few))
    assert attack.lacks(own_input(make_earlier(enough), enough)) == ""


def test_order_of_models_and_samples_changes_no_score(make_bank, make_earlier):
    bank = replace(make_bank(9, 90), features=None)
    earlier = replace(make_earlier(bank), features=None)
    models, samples = np.random.default_rng(1).permutation(9), np.random.default_rng(2).permutation(90)

    def turned(signals):
        return replace(
            signals,
            **{
                key: getattr(signals, key)[models][:, samples]
                for key in ("logits", "member", "sensitivity", "forgotten")
            },
            eligible=signals.eligible[models][:, samples],
            labels=signals.labels[samples],
            ids=np.arange(90)[samples],
            model_ids=np.arange(9)[models],
        )

    before = scored(own_input(earlier, bank)).victims
    after = scored(own_input(turned(earlier), turned(bank))).victims
    np.testing.assert_allclose(after, before[models][:, samples], rtol=1e-4, atol=1e-4)


def test_a_part_of_the_samples_teaches_nearly_the_same(make_bank, make_earlier, monkeypatch):
    bank = make_bank(12, 600)
    whole = scored(own_input(make_earlier(bank), bank)).victims
    monkeypatch.setattr(family, "MOST_ROWS", 9 * 200)
    deal = Deal(own_input(make_earlier(bank), bank), 0)
    assert {len(fold.samples) for fold in deal.folds} == {200}
    part = scored(own_input(make_earlier(bank), bank)).victims
    known = np.isfinite(whole)
    np.testing.assert_array_equal(known, np.isfinite(part))
    assert np.corrcoef(whole[known], part[known])[0, 1] > 0.98
    np.testing.assert_allclose(auc(part, bank.member).mean(), auc(whole, bank.member).mean(), atol=0.01)


def test_rows_of_one_kind_teach_nothing():
    rows = np.random.default_rng(0).normal(size=(4, 50))
    assert fit(rows, np.ones(50, dtype=bool)) is None
    weights, intercept = fit(np.where(np.arange(4)[:, None] == 1, 2.0, rows), np.arange(50) < 25)
    assert np.isfinite([*weights, intercept]).all()  # a constant feature has no spread
