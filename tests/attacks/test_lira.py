"""LiRA against its formulas, computed victim by victim and sample by sample with plain lists."""

import math

import numpy as np
import pytest

from pruneaudit.attacks.lira import ATTACK as LIRA
from pruneaudit.attacks.lira import POOL_BELOW

# V victims, K references, N samples, Q queries

MODES = ("online", "offline", "offline_two_sided")
VARIANCES = ("pooled", "per_example", "auto")


def mean_of(values):
    return math.fsum(values) / len(values)


def squares_of(values):
    return math.fsum((value - mean_of(values)) ** 2 for value in values)


def phi_of(signals, m, n, q):
    """ln p_y - ln(1 - p_y), by way of the probabilities of the other classes."""
    if signals.confidence is not None:
        return float(signals.confidence[m, n, q])
    row = signals.logits[m, n].astype(float).tolist()
    y = int(signals.labels[n])
    others = [z for j, z in enumerate(row) if j != y]
    return row[y] - max(others) - math.log(math.fsum(math.exp(z - max(others)) for z in others))


def references_of(attack_input, v, n, q, inside):
    """phi of the references that victim `v` may use and that were (not) trained on sample `n`."""
    signals = attack_input.reference
    rows = [k for k in range(signals.num_models) if attack_input.allowed[v, k] and signals.member[k, n] == inside]
    return [phi_of(signals, k, n, q) for k in rows]


def pooled_variance(attack_input, v, q, inside):
    groups = [references_of(attack_input, v, n, q, inside) for n in range(attack_input.reference.num_samples)]
    groups = [values for values in groups if values]
    freedom = sum(len(values) - 1 for values in groups)
    return math.fsum(squares_of(values) for values in groups) / freedom if freedom else math.nan


def log_normal(x, mean, variance):
    return -((x - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)


def naive(attack_input, mode, variance):
    """Scores (V, N) straight from the definition."""
    signals = attack_input.attacked
    if variance == "auto":
        variance = "pooled" if attack_input.allowed.sum(axis=1).min() < POOL_BELOW else "per_example"
    scores = np.zeros((len(attack_input.victims), signals.num_samples))
    for q in range(signals.num_queries):
        for v, m in enumerate(attack_input.victims):
            pooled = {inside: pooled_variance(attack_input, v, q, inside) for inside in (True, False)}
            for n in range(signals.num_samples):
                phi, sides = phi_of(signals, m, n, q), {}
                for inside in (True, False):
                    values = references_of(attack_input, v, n, q, inside)
                    spread = pooled[inside]
                    if variance == "per_example" and len(values) > 1:
                        spread = squares_of(values) / (len(values) - 1)
                    sides[inside] = (mean_of(values) if values else math.nan, spread)
                if mode == "online":
                    score = log_normal(phi, *sides[True]) - log_normal(phi, *sides[False])
                elif mode == "offline":
                    score = (phi - sides[False][0]) / math.sqrt(sides[False][1])
                else:
                    score = -log_normal(phi, *sides[False]) - 0.5 * math.log(2 * math.pi)
                scores[v, n] += score / signals.num_queries if signals.scored[m, n] else math.nan
    return scores


def scored(attack_input, mode, variance):
    return LIRA(LIRA.Options(mode=mode, variance=variance)).score(attack_input, np.random.default_rng(0))


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "bank",
    [
        {"num_models": 7, "num_samples": 25},
        {"num_models": 6, "num_samples": 25, "num_classes": 2},
        {"num_models": 6, "num_samples": 20, "num_queries": 3},
        {"num_models": 6, "num_samples": 25, "num_holdout": 8, "dtype": np.float16},
    ],
    ids=["odd", "two classes", "three queries", "holdout and float16"],
)
def test_a_bank_against_itself(bank, mode, variance, make_bank, make_input):
    attack_input = make_input(make_bank(**bank))
    found = scored(attack_input, mode, variance)
    np.testing.assert_allclose(found.victims, naive(attack_input, mode, variance), rtol=1e-6, atol=1e-6)
    several = f", average over {bank['num_queries']} queries" if "num_queries" in bank else ""
    assert found.variant == f"{mode}, {'pooled' if variance == 'auto' else variance} variance{several}"


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("mode", MODES)
def test_references_of_their_own_and_restricted(mode, variance, make_bank, make_input):
    victims = make_bank(num_models=3, num_samples=25)
    references = make_bank(num_models=8, num_samples=25, seed=1, first_id=3)
    allowed = np.array([[k % 2 == 0 for k in range(8)], [k < 5 for k in range(8)], [True] * 8])
    attack_input = make_input(victims, references, allowed)
    np.testing.assert_allclose(
        scored(attack_input, mode, variance).victims, naive(attack_input, mode, variance), rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("mode", MODES)
def test_two_references(mode, make_bank, make_input):
    victims, references = make_bank(num_models=2, num_samples=25), make_bank(num_models=2, num_samples=25, first_id=2)
    attack_input = make_input(victims, references)
    found = scored(attack_input, mode, "per_example").victims
    np.testing.assert_allclose(found, naive(attack_input, mode, "per_example"), rtol=1e-6, atol=1e-6)
    one_side_empty = references.member.all(axis=0) | ~references.member.any(axis=0)
    needed = one_side_empty if mode == "online" else references.member.all(axis=0)
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(needed, found.shape))


@pytest.mark.parametrize("mode", MODES)
def test_one_reference_gives_no_spread_and_so_no_score(mode, make_bank, make_input):
    attack_input = make_input(make_bank(num_models=2, num_samples=20))
    assert np.isnan(scored(attack_input, mode, "auto").victims).all()


def test_a_sample_that_all_or_no_references_have_is_not_scored_silently(make_bank, make_input):
    member = np.random.default_rng(3).random((6, 30)) < 0.5
    member[:, 4], member[:, 9] = True, False
    victims, references = make_bank(num_models=2, num_samples=30), make_bank(6, 30, member=member, first_id=2)
    attack_input = make_input(victims, references)
    online, offline = (
        scored(attack_input, "online", "pooled").victims,
        scored(attack_input, "offline", "pooled").victims,
    )
    assert np.isnan(online[:, [4, 9]]).all()
    assert np.isnan(offline[:, 4]).all()
    assert np.isfinite(offline[:, 9]).all()


def test_auto_pools_below_64_references(make_bank, make_input):
    for num_references, expected in ((POOL_BELOW - 1, "pooled"), (POOL_BELOW, "per_example")):
        attack_input = make_input(make_bank(1, 15), make_bank(num_references, 15, first_id=1))
        found = scored(attack_input, "online", "auto")
        assert found.variant == f"online, {expected} variance"
        np.testing.assert_array_equal(found.victims, scored(attack_input, "online", expected).victims)


def test_canaries_do_not_take_part_in_the_pooled_variance(make_bank, make_input):
    bank = make_bank(num_models=6, num_samples=30)
    wild = bank.logits.copy()
    wild[:, 28:] *= 1000
    with_canaries = type(bank)(wild, bank.labels, bank.member, canary=np.arange(30) >= 28)
    expected = scored(
        make_input(type(bank)(bank.logits[:, :28], bank.labels[:28], bank.member[:, :28])), "online", "auto"
    )
    found = scored(make_input(with_canaries), "online", "auto")
    np.testing.assert_allclose(found.victims[:, :28], expected.victims)
    assert np.isfinite(found.victims).any(axis=0)[28:].any()  # canaries are scored all the same


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variance", ["pooled", "per_example"])
def test_extreme_logits(mode, variance, make_bank, make_input):
    bank = make_bank(num_models=8, num_samples=30)
    logits = bank.logits.copy()
    logits[0, :10] *= 1e3
    logits[1, 5:8] *= -1e4
    attack_input = make_input(type(bank)(logits, bank.labels, bank.member))
    np.testing.assert_allclose(
        scored(attack_input, mode, variance).victims, naive(attack_input, mode, variance), rtol=1e-6, atol=1e-6
    )
    logits[2, 3] *= 1e30
    beyond = scored(make_input(type(bank)(logits, bank.labels, bank.member)), mode, variance).victims
    assert not np.isinf(beyond).any()


def test_equal_references_do_not_divide_by_zero(make_bank, make_input):
    bank = make_bank(num_models=6, num_samples=20)
    same = np.repeat(bank.logits[:1], 6, axis=0)
    same[:, -1] += np.arange(6)[:, None]  # other logits, the same probabilities: no model is another's copy
    attack_input = make_input(type(bank)(same, bank.labels, bank.member))
    for mode in MODES:
        found = scored(attack_input, mode, "per_example").victims
        assert not np.isinf(found).any()
        assert np.isfinite(found).any()


def test_more_confident_than_the_out_references_is_more_likely_a_member(make_bank, make_input):
    references = make_bank(num_models=12, num_samples=40, first_id=1)
    modest = make_bank(num_models=1, num_samples=40, gain=0, seed=5)
    bold = modest.logits.copy()
    bold[:, np.arange(40), modest.labels] += 0.5
    bolder = type(modest)(bold, modest.labels, modest.member, model_ids=modest.model_ids)
    low = scored(make_input(modest, references), "offline", "pooled").victims
    high = scored(make_input(bolder, references), "offline", "pooled").victims
    assert (high > low).all()


def simple_input(make_bank, make_input, **options):
    return make_input(make_bank(num_models=7, num_samples=40, seed=4, **options))


def median_of(values):
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@pytest.mark.parametrize("mode", MODES)
def test_the_median_centre_replaces_the_mean_and_nothing_else(make_bank, make_input, mode):
    attack_input = simple_input(make_bank, make_input)
    found = LIRA(LIRA.Options(mode=mode, variance="pooled", centre="median")).score(
        attack_input, np.random.default_rng(0)
    )
    assert "median centre" in found.variant
    for v in range(len(attack_input.victims)):
        variances = {side: pooled_variance(attack_input, v, 0, side) for side in (True, False)}
        for n in range(attack_input.attacked.num_samples):
            sides = {side: references_of(attack_input, v, n, 0, side) for side in (True, False)}
            x = phi_of(attack_input.attacked, attack_input.victims[v], n, 0)
            if not sides[False] or (mode == "online" and not sides[True]):
                assert math.isnan(found.victims[v, n])
                continue
            out = log_normal(x, median_of(sides[False]), variances[False])
            expected = {
                "offline": (x - median_of(sides[False])) / math.sqrt(variances[False]),
                "offline_two_sided": -out - 0.5 * math.log(2 * math.pi),
            }.get(mode)
            if mode == "online":
                expected = log_normal(x, median_of(sides[True]), variances[True]) - out
            assert found.victims[v, n] == pytest.approx(expected, abs=1e-6)


def test_the_released_fixed_variance_ranks_online_as_its_numerator_does(make_bank, make_input):
    """One variance for both sides: it scales the score and changes no order within a victim."""
    attack_input = simple_input(make_bank, make_input)
    found = LIRA(LIRA.Options(variance="released_global")).score(attack_input, np.random.default_rng(0)).victims
    for v in range(len(attack_input.victims)):
        values = [x for n in range(40) for x in references_of(attack_input, v, n, 0, True)]
        variance = squares_of(values) / len(values)
        for n in range(40):
            sides = [references_of(attack_input, v, n, 0, side) for side in (True, False)]
            if all(sides):
                x = phi_of(attack_input.attacked, attack_input.victims[v], n, 0)
                expected = log_normal(x, mean_of(sides[0]), variance) - log_normal(x, mean_of(sides[1]), variance)
                assert found[v, n] == pytest.approx(expected, abs=1e-6)


def test_multivariate_with_one_query_is_the_pooled_ratio(make_bank, make_input):
    attack_input = simple_input(make_bank, make_input)
    one = LIRA(LIRA.Options(queries="multivariate")).score(attack_input, np.random.default_rng(0)).victims
    other = LIRA(LIRA.Options(variance="pooled")).score(attack_input, np.random.default_rng(0)).victims
    np.testing.assert_allclose(one, other, atol=1e-8)


def test_multivariate_against_scipy(make_bank, make_input):
    from scipy import stats

    attack_input = make_input(make_bank(num_models=9, num_samples=30, num_queries=3, seed=2))
    found = LIRA(LIRA.Options(queries="multivariate")).score(attack_input, np.random.default_rng(0)).victims
    phi, member = attack_input.reference.phi, attack_input.reference.member
    for v in range(3):
        density = {}
        for side in (True, False):
            rows = [np.flatnonzero(attack_input.allowed[v] & (member[:, n] == side)) for n in range(30)]
            deviations = np.concatenate([phi[r, n] - phi[r, n].mean(axis=0) for n, r in enumerate(rows) if len(r)])
            covariance = deviations.T @ deviations / sum(max(len(r) - 1, 0) for r in rows)
            density[side] = [
                stats.multivariate_normal(phi[r, n].mean(axis=0), covariance).logpdf(attack_input.attacked.phi[v, n])
                if len(r)
                else np.nan
                for n, r in enumerate(rows)
            ]
        np.testing.assert_allclose(found[v], np.array(density[True]) - np.array(density[False]), atol=1e-6)


def test_settings_that_do_not_go_together_are_refused():
    with pytest.raises(ValueError, match="multivariate goes with"):
        LIRA.Options(queries="multivariate", mode="offline")


def test_phi_of_many_samples_is_that_of_each_alone(make_bank):
    """Logits are worked on in blocks; this bank has several, and the last one is not full."""
    from pruneaudit.signals.derived import NUMBERS_AT_ONCE, log_probability, log_softmax

    num_samples = 2 * NUMBERS_AT_ONCE // 5 + 11
    bank = make_bank(num_models=1, num_samples=num_samples, num_classes=5)
    phi, log_p = bank.phi[0, :, 0], log_softmax(bank.logits[0])
    rows = [0, NUMBERS_AT_ONCE // 5 - 1, NUMBERS_AT_ONCE // 5, num_samples - 1]
    for n in rows:
        assert phi[n] == pytest.approx(phi_of(bank, 0, n, 0), rel=1e-9)
        assert log_p[n, bank.labels[n]] == pytest.approx(-math.log1p(math.exp(-phi[n])), rel=1e-9)
    np.testing.assert_allclose(log_probability(phi), log_p[np.arange(num_samples), bank.labels], atol=1e-9)
    np.testing.assert_array_equal(log_probability(np.array([[np.inf, -np.inf, 0.0]])), [[0.0, -np.inf, -math.log(2)]])
