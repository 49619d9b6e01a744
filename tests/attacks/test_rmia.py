"""RMIA against its definition: every pair of a sample and a z, by plain loops."""

import math
from collections import Counter

import numpy as np
import pytest

from pruneaudit.attacks.ranks import TIE_STEP
from pruneaudit.attacks.rmia import ATTACK as RMIA
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.metrics import auc

# V victims, K references, N samples, Q queries, Z reserve samples


def probability(signals, m, n, q):
    """p_y as a ratio of exponentials; from phi where queries are given."""
    if signals.confidence is not None:
        return 1 / (1 + math.exp(-float(signals.confidence[m, n, q])))
    row = signals.logits[m, n].astype(float).tolist()
    powers = [math.exp(z - max(row)) for z in row]
    return powers[int(signals.labels[n])] / math.fsum(powers)


def mean_of(values):
    return math.fsum(values) / len(values) if values else math.nan


def prior(view, v, n, q, mode, a):
    """p(x), from the references that victim `v` may use."""
    signals = view.reference
    rows = [k for k in range(signals.num_models) if view.allowed[v, k]]
    inside = mean_of([probability(signals, k, n, q) for k in rows if signals.member[k, n]])
    outside = mean_of([probability(signals, k, n, q) for k in rows if not signals.member[k, n]])
    return (inside + outside) / 2 if mode == "online" else 0.5 * ((1 + a) * outside + (1 - a))


def ratios(view, mode, a):
    """r_x = p(x | victim) / p(x), (V, N, Q)."""
    signals = view.attacked
    return np.array(
        [
            [
                [probability(signals, m, n, q) / prior(view, v, n, q, mode, a) for q in range(signals.num_queries)]
                for n in range(signals.num_samples)
            ]
            for v, m in enumerate(view.victims)
        ]
    )


def naive(view, mode, gamma, a):
    """Pr over z that a majority of queries has r_x / r_z >= gamma, (V, N)."""
    signals = view.attacked
    zs = np.flatnonzero(signals.reserve) if signals.reserve.any() else np.flatnonzero(~signals.canaries)
    r_x, r_z = ratios(view, mode, a), ratios(view, "offline", a)[:, :, 0]
    scores = np.full(r_x.shape[:2], math.nan)
    for v, m in enumerate(view.victims):
        own = [r_z[v, z] for z in zs if not math.isnan(r_z[v, z])]
        for n in range(signals.num_samples):
            if not signals.scored[m, n] or np.isnan(r_x[v, n]).any():
                continue
            won = [sum(r / z >= gamma for r in r_x[v, n]) > signals.num_queries / 2 for z in own]
            scores[v, n] = sum(won) / len(own)
    return scores


def scored(view, mode="online", gamma=2.0, a=0.3):
    return RMIA(RMIA.Options(mode=mode, gamma=gamma, a=a)).score(view, np.random.default_rng(0)).victims


@pytest.mark.parametrize(("mode", "gamma", "a"), [("online", 2.0, 0.3), ("offline", 1.0, 0.6), ("offline", 2.0, 1.0)])
@pytest.mark.parametrize(
    "bank",
    [
        {"num_models": 7, "num_samples": 25},
        {"num_models": 6, "num_samples": 25, "num_classes": 2},
        {"num_models": 6, "num_samples": 30, "num_reserve": 9, "dtype": np.float16},
        {"num_models": 6, "num_samples": 25, "num_queries": 2, "num_reserve": 5},
        {"num_models": 6, "num_samples": 25, "num_queries": 3, "num_reserve": 5},
        {"num_models": 6, "num_samples": 20, "num_queries": 4},
    ],
    ids=["odd", "two classes", "reserve and float16", "two queries", "three queries", "four queries"],
)
def test_a_bank_against_itself(bank, mode, gamma, a, make_bank, make_view):
    view = make_view(make_bank(**bank))
    np.testing.assert_allclose(scored(view, mode, gamma, a), naive(view, mode, gamma, a), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_references_of_their_own_and_restricted(mode, make_bank, make_view):
    victims = make_bank(num_models=3, num_samples=25, num_reserve=6)
    references = make_bank(num_models=8, num_samples=25, num_reserve=6, seed=1, first_id=3)
    allowed = np.array([[k % 2 == 0 for k in range(8)], [k < 5 for k in range(8)], [True] * 8])
    view = make_view(victims, references, allowed)
    np.testing.assert_allclose(scored(view, mode), naive(view, mode, 2.0, 0.3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_two_references(mode, make_bank, make_view):
    victims, references = make_bank(num_models=2, num_samples=25), make_bank(num_models=2, num_samples=25, first_id=2)
    view = make_view(victims, references)
    found = scored(view, mode)
    np.testing.assert_allclose(found, naive(view, mode, 2.0, 0.3), rtol=0, atol=1e-6)
    everywhere = references.member.all(axis=0)
    empty = everywhere | ~references.member.any(axis=0) if mode == "online" else everywhere
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(empty, found.shape))


@pytest.mark.parametrize("gamma", [1.0, 2.0, 7.5])
def test_order_is_that_of_the_ratio_whatever_gamma_and_z(gamma, make_bank, make_view):
    bank = make_bank(num_models=8, num_samples=60, num_reserve=20)
    view = make_view(bank)
    ratio = ratios(view, "online", 0.3)[..., 0]
    for found, r_x in zip(scored(view, gamma=gamma), ratio, strict=True):
        valid = ~np.isnan(found) & ~np.isnan(r_x)
        order = np.argsort(r_x[valid])
        assert (np.diff(found[valid][order]) > 0).all()


def test_without_ties_broken_the_score_is_a_share_of_z(make_bank, make_view):
    bank = make_bank(num_models=8, num_samples=60, num_reserve=20)
    found = scored(make_view(bank))
    found = found[~np.isnan(found)]
    assert (np.abs(found * 20 - np.round(found * 20)) <= 20 * TIE_STEP).all()
    assert Counter(found.tolist()).most_common(1)[0][1] == 1  # and no two samples share one


def test_a_few_samples_of_z_and_gamma_move_the_threshold_not_the_ranking(make_bank, make_view):
    bank = make_bank(num_models=8, num_samples=60)
    first_ten, last_ten = np.arange(60) < 10, np.arange(60) >= 50
    rankings = []
    for reserve in (first_ten, last_ten):
        member = bank.member & ~first_ten & ~last_ten
        eligible = np.broadcast_to(~reserve, member.shape)
        signals = type(bank)(bank.logits, bank.labels, member, eligible=eligible)
        assert signals.reserve.sum() == 10
        view = make_view(signals)
        rankings += [np.argsort(scored(view, gamma=gamma)[:, 10:50], axis=1) for gamma in (1.0, 3.0)]
    for ranking in rankings[1:]:
        np.testing.assert_array_equal(ranking, rankings[0])


def test_confident_victim_among_hopeless_references(make_bank, make_view):
    """Probabilities far below double rounding: the victim alone has learned the mislabelled samples 0 and 1."""
    bank = make_bank(num_models=9, num_samples=40, num_reserve=10)
    logits = bank.logits.copy()
    rows = np.arange(40)
    logits[:, :12] = 0
    logits[:, rows[10:12], bank.labels[10:12]] = np.array([-60, -50])
    logits[0, rows[10:12], bank.labels[10:12]] = 60
    signals = type(bank)(logits, bank.labels, bank.member, eligible=bank.eligible)
    view = make_view(signals)
    for mode, a in (("online", 0.3), ("offline", 0.3), ("offline", 1.0)):
        found = scored(view, mode, 2.0, a)
        np.testing.assert_allclose(found, naive(view, mode, 2.0, a), rtol=0, atol=1e-6)
        assert (found[0, 10:12] >= np.nanmax(found[0, 12:])).all()
    assert np.isfinite(scored(view, "offline", 2.0, 1.0)[1:, 10:12]).all()
    online = scored(view)[0]
    assert online[10] > online[11]  # the less the references believe it, the more it says


@pytest.mark.parametrize("height", [1e4, 1e30])
def test_extreme_logits(height, make_bank, make_view):
    bank = make_bank(num_models=8, num_samples=30, num_reserve=6)
    logits = bank.logits.copy()
    logits[0, 6:14] *= height
    logits[3, :10] *= -height
    signals = type(bank)(logits, bank.labels, bank.member, eligible=bank.eligible)
    for mode in ("online", "offline"):
        found = scored(make_view(signals), mode)
        unscored = np.isnan(naive(make_view(bank), mode, 2.0, 0.3))
        np.testing.assert_array_equal(np.isnan(found), unscored)
        assert ((found[~unscored] >= -1e-6) & (found[~unscored] <= 1 + 1e-6)).all()


def test_the_variant_says_where_z_came_from(make_bank, make_view, rng):
    plain, reserved = make_view(make_bank(num_samples=40)), make_view(make_bank(num_samples=40, num_reserve=10))
    assert "z from the audited samples" in RMIA().score(plain, rng).variant
    assert "z from the reserve" in RMIA().score(reserved, rng).variant


def test_gamma_is_that_of_the_authors_code_and_the_papers_can_be_had(make_bank, make_view, rng):
    view = make_view(make_bank(num_samples=60, num_reserve=20))
    for options, gamma in (({}, 1.0), ({"gamma": 2}, 2.0)):
        found = RMIA(RMIA.Options(**options)).score(view, rng)
        assert f"gamma {gamma:g}" in found.variant
        np.testing.assert_allclose(found.victims, naive(view, "online", gamma, 0.3), rtol=0, atol=1e-6)


def test_with_gamma_1_scores_compare_between_models_where_2_leaves_them_to_broken_ties(make_bank, make_view, rng):
    bank = make_bank(num_models=16, num_samples=500, gain=0.8, num_reserve=100)
    accuracy, pooled = {}, {}
    for gamma in (1.0, 2.0):
        attack = RMIA(RMIA.Options(gamma=gamma))
        view = make_view(bank)
        found = attack.score(view, rng)
        limits = thresholds(attack, view, found, 0, rng)[:, :1]
        scored = ~np.isnan(found.victims)
        rates = [(found.victims >= limits)[scored & side].mean() for side in (bank.member, ~bank.member)]
        accuracy[gamma] = (rates[0] + 1 - rates[1]) / 2
        pooled[gamma] = auc(found.victims[scored][None], bank.member[scored][None])[0]
    assert accuracy[1.0] > accuracy[2.0] - 0.002
    assert pooled[1.0] > pooled[2.0]
