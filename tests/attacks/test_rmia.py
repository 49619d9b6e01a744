"""RMIA against its definition: every pair of a sample and a z, by plain loops."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.rmia import ATTACK as RMIA
from pruneaudit.attacks.ties import TIE_STEP
from pruneaudit.evaluation.crossfit import thresholds
from pruneaudit.metrics import auc
from pruneaudit.study.parts import MIN_HOLDOUT

# V victims, K references, N samples, Q queries, Z holdout samples


def probability(signals, m, n, q):
    """p_y as a ratio of exponentials; from phi where queries are given."""
    if signals.confidence is not None:
        return 1 / (1 + math.exp(-float(signals.confidence[m, n, q])))
    row = signals.logits[m, n].astype(float).tolist()
    powers = [math.exp(z - max(row)) for z in row]
    return powers[int(signals.labels[n])] / math.fsum(powers)


def mean_of(values):
    return math.fsum(values) / len(values) if values else math.nan


def prior(attack_input, v, n, q, mode, a):
    """p(x), from the references that victim `v` may use."""
    signals = attack_input.reference
    rows = [k for k in range(signals.num_models) if attack_input.allowed[v, k]]
    inside = mean_of([probability(signals, k, n, q) for k in rows if signals.member[k, n]])
    outside = mean_of([probability(signals, k, n, q) for k in rows if not signals.member[k, n]])
    return (inside + outside) / 2 if mode == "online" else 0.5 * ((1 + a) * outside + (1 - a))


def ratios(attack_input, mode, a):
    """r_x = p(x | victim) / p(x), (V, N, Q)."""
    signals = attack_input.attacked
    return np.array(
        [
            [
                [
                    probability(signals, m, n, q) / prior(attack_input, v, n, q, mode, a)
                    for q in range(signals.num_queries)
                ]
                for n in range(signals.num_samples)
            ]
            for v, m in enumerate(attack_input.victims)
        ]
    )


def naive(attack_input, mode, gamma, a):
    """Pr over z that a majority of queries has r_x / r_z >= gamma, (V, N)."""
    signals = attack_input.attacked
    enough = attack_input.nulls.sum() >= MIN_HOLDOUT
    zs = np.flatnonzero(attack_input.nulls if enough else ~signals.canaries & ~signals.unseen)
    r_x, r_z = ratios(attack_input, mode, a), ratios(attack_input, "offline", a)[:, :, 0]
    scores = np.full(r_x.shape[:2], math.nan)
    for v, m in enumerate(attack_input.victims):
        own = [r_z[v, z] for z in zs if not math.isnan(r_z[v, z])]
        for n in range(signals.num_samples):
            if not signals.scored[m, n] or np.isnan(r_x[v, n]).any():
                continue
            won = [sum(r / z >= gamma for r in r_x[v, n]) > signals.num_queries / 2 for z in own]
            scores[v, n] = sum(won) / len(own)
    return scores


def scored(attack_input, mode="online", gamma=2.0, a=0.3):
    return RMIA(RMIA.Options(mode=mode, gamma=gamma, a=a)).score(attack_input, np.random.default_rng(0)).victims


@pytest.mark.parametrize(("mode", "gamma", "a"), [("online", 2.0, 0.3), ("offline", 1.0, 0.6), ("offline", 2.0, 1.0)])
@pytest.mark.parametrize(
    "bank",
    [
        {"num_models": 7, "num_samples": 25},
        {"num_models": 6, "num_samples": 25, "num_classes": 2},
        {"num_models": 6, "num_samples": 400, "num_holdout": 380, "dtype": np.float16},
        {"num_models": 6, "num_samples": 385, "num_queries": 2, "num_holdout": 365},
        {"num_models": 6, "num_samples": 25, "num_queries": 3, "num_holdout": 5},
        {"num_models": 6, "num_samples": 20, "num_queries": 4},
    ],
    ids=["odd", "two classes", "holdout and float16", "two queries", "small holdout", "four queries"],
)
def test_a_bank_against_itself(bank, mode, gamma, a, make_bank, make_input):
    attack_input = make_input(make_bank(**bank))
    np.testing.assert_allclose(
        scored(attack_input, mode, gamma, a), naive(attack_input, mode, gamma, a), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_references_of_their_own_and_restricted(mode, make_bank, make_input):
    victims = make_bank(num_models=3, num_samples=385, num_holdout=365)
    references = make_bank(num_models=8, num_samples=385, num_holdout=365, seed=1, first_id=3)
    allowed = np.array([[k % 2 == 0 for k in range(8)], [k < 5 for k in range(8)], [True] * 8])
    attack_input = make_input(victims, references, allowed)
    np.testing.assert_allclose(scored(attack_input, mode), naive(attack_input, mode, 2.0, 0.3), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["online", "offline"])
def test_two_references(mode, make_bank, make_input):
    victims, references = make_bank(num_models=2, num_samples=25), make_bank(num_models=2, num_samples=25, first_id=2)
    attack_input = make_input(victims, references)
    found = scored(attack_input, mode)
    np.testing.assert_allclose(found, naive(attack_input, mode, 2.0, 0.3), rtol=0, atol=1e-6)
    everywhere = references.member.all(axis=0)
    empty = everywhere | ~references.member.any(axis=0) if mode == "online" else everywhere
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(empty, found.shape))


@pytest.mark.parametrize("gamma", [1.0, 2.0, 7.5])
def test_order_is_that_of_the_ratio_whatever_gamma_and_z(gamma, make_bank, make_input):
    bank = make_bank(num_models=8, num_samples=405, num_holdout=365)
    attack_input = make_input(bank)
    ratio = ratios(attack_input, "online", 0.3)[..., 0]
    for found, r_x in zip(scored(attack_input, gamma=gamma), ratio, strict=True):
        valid = ~np.isnan(found) & ~np.isnan(r_x)
        order = np.argsort(r_x[valid])
        assert (np.diff(found[valid][order]) > 0).all()


def test_without_ties_broken_the_score_is_a_share_of_z(make_bank, make_input):
    bank = make_bank(num_models=8, num_samples=405, num_holdout=365)
    found = scored(make_input(bank))
    found = found[~np.isnan(found)]
    assert (np.abs(found * 200 - np.round(found * 200)) <= 200 * TIE_STEP).all()
    assert Counter(found.tolist()).most_common(1)[0][1] == 1  # and no two samples share one


def test_a_few_samples_of_z_and_gamma_move_the_threshold_not_the_ranking(make_bank, make_input):
    bank = make_bank(num_models=8, num_samples=940)
    first, last = np.arange(940) < 450, np.arange(940) >= 490
    rankings = []
    for holdout in (first, last):
        member = bank.member & ~first & ~last
        eligible = np.broadcast_to(~holdout, member.shape)
        signals = type(bank)(bank.logits, bank.labels, member, eligible=eligible)
        assert signals.nulls.sum() > 200
        attack_input = make_input(signals)
        rankings += [np.argsort(scored(attack_input, gamma=gamma)[:, 450:490], axis=1) for gamma in (1.0, 3.0)]
    for ranking in rankings[1:]:
        np.testing.assert_array_equal(ranking, rankings[0])


def test_confident_victim_among_hopeless_references(make_bank, make_input):
    """Probabilities far below double rounding: the victim alone has learned two mislabelled samples."""
    bank = make_bank(num_models=9, num_samples=430, num_holdout=400)
    logits = bank.logits.copy()
    rows = np.arange(430)
    logits[:, 390:402] = 0
    logits[:, rows[400:402], bank.labels[400:402]] = np.array([-60, -50])
    logits[0, rows[400:402], bank.labels[400:402]] = 60
    signals = type(bank)(logits, bank.labels, bank.member, eligible=bank.eligible)
    attack_input = make_input(signals)
    for mode, a in (("online", 0.3), ("offline", 0.3), ("offline", 1.0)):
        found = scored(attack_input, mode, 2.0, a)
        np.testing.assert_allclose(found, naive(attack_input, mode, 2.0, a), rtol=0, atol=1e-6)
        assert (found[0, 400:402] >= np.nanmax(found[0, 402:])).all()
    assert np.isfinite(scored(attack_input, "offline", 2.0, 1.0)[1:, 400:402]).all()
    online = scored(attack_input)[0]
    assert online[400] > online[401]  # the less the references believe it, the more it says


@pytest.mark.parametrize("height", [1e4, 1e30])
def test_extreme_logits(height, make_bank, make_input):
    bank = make_bank(num_models=8, num_samples=30, num_holdout=6)
    logits = bank.logits.copy()
    logits[0, 6:14] *= height
    logits[3, :10] *= -height
    signals = type(bank)(logits, bank.labels, bank.member, eligible=bank.eligible)
    for mode in ("online", "offline"):
        found = scored(make_input(signals), mode)
        unscored = np.isnan(naive(make_input(bank), mode, 2.0, 0.3))
        np.testing.assert_array_equal(np.isnan(found), unscored)
        assert ((found[~unscored] >= -1e-6) & (found[~unscored] <= 1 + 1e-6)).all()


def test_the_variant_says_where_z_came_from(make_bank, make_input, rng):
    for num_holdout, source in ((0, "audited samples"), (364, "audited samples"), (365, "holdout")):
        attack_input = make_input(make_bank(num_samples=405, num_holdout=num_holdout))
        assert f"z from the {source}" in RMIA().score(attack_input, rng).variant


def test_gamma_is_that_of_the_authors_code_and_the_papers_can_be_had(make_bank, make_input, rng):
    attack_input = make_input(make_bank(num_samples=385, num_holdout=365))
    for options, gamma in (({}, 1.0), ({"gamma": 2}, 2.0)):
        found = RMIA(RMIA.Options(**options)).score(attack_input, rng)
        assert f"gamma {gamma:g}" in found.variant
        np.testing.assert_allclose(found.victims, naive(attack_input, "online", gamma, 0.3), rtol=0, atol=1e-6)


def test_with_gamma_1_scores_compare_between_models_where_2_leaves_them_to_broken_ties(make_bank, make_input, rng):
    bank = make_bank(num_models=16, num_samples=800, gain=0.8, num_holdout=400)
    accuracy, pooled = {}, {}
    for gamma in (1.0, 2.0):
        attack = RMIA(RMIA.Options(gamma=gamma))
        attack_input = make_input(bank)
        found = attack.score(attack_input, rng)
        limits = thresholds(attack, attack_input, found, 0, rng)[:, :1]
        scored = ~np.isnan(found.victims)
        rates = [(found.victims >= limits)[scored & side].mean() for side in (bank.member, ~bank.member)]
        accuracy[gamma] = (rates[0] + 1 - rates[1]) / 2
        pooled[gamma] = auc(found.victims[scored][None], bank.member[scored][None])[0]
    assert accuracy[1.0] > accuracy[2.0] - 0.002
    assert pooled[1.0] > pooled[2.0]


def test_holdout_samples_that_shaped_victims_or_references_are_no_z(make_bank, make_input, rng):
    victims = make_bank(num_models=3, num_samples=840, num_holdout=800)
    references = make_bank(num_models=6, num_samples=840, num_holdout=800, seed=1, first_id=3)
    place = np.arange(840)
    of_victims, of_references = (place >= 100) & (place < 800), place < 600
    parts = replace(victims, holdout=of_victims), replace(references, holdout=of_references)
    attack_input = make_input(*parts)
    halves = attack_input.fitting, attack_input.nulls
    assert (halves[0] | halves[1]).tolist() == (of_victims & of_references).tolist()
    assert not (halves[0] & halves[1]).any()
    spoiled = victims.logits.copy()
    spoiled[:, ~attack_input.nulls & (place < 800)] *= -3
    other = make_input(replace(parts[0], logits=spoiled), parts[1])
    for name in ("rmia", "attack_p"):
        attack = ATTACKS.get(name)()
        scores = [attack.score(each, np.random.default_rng(0)).victims for each in (attack_input, other)]
        np.testing.assert_array_equal(*scores)
    fewer = make_input(replace(victims, holdout=place < 364), references)
    assert "got 199" in ATTACKS.get("attack_p")().lacks(fewer)
    assert "z from the audited samples" in RMIA().score(fewer, rng).variant


def test_references_among_themselves_have_the_same_z(make_bank, make_input):
    """Under protocol `disjoint` no shadow is scored on the victim's half, which is no holdout for that."""
    bank = make_bank(num_models=8, num_samples=500, num_holdout=400)
    half = np.arange(500) < 450
    eligible = bank.eligible & np.where((np.arange(8) == 0)[:, None], half, ~half)
    signals = replace(bank, member=bank.member & eligible, eligible=eligible, is_victim=np.arange(8) == 0)
    attack_input = make_input(signals)
    among = attack_input.among_references(np.arange(1, 8))
    np.testing.assert_array_equal(among.nulls, attack_input.nulls)
    assert among.nulls.sum() + among.fitting.sum() == 400
    again = among.among_references(np.arange(3))
    np.testing.assert_array_equal(again.nulls, attack_input.nulls)
