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


def references_of(view, v, n, q, inside):
    """phi of the references that victim `v` may use and that were (not) trained on sample `n`."""
    signals = view.reference
    rows = [k for k in range(signals.num_models) if view.allowed[v, k] and signals.member[k, n] == inside]
    return [phi_of(signals, k, n, q) for k in rows]


def pooled_variance(view, v, q, inside):
    groups = [references_of(view, v, n, q, inside) for n in range(view.reference.num_samples)]
    groups = [values for values in groups if values]
    freedom = sum(len(values) - 1 for values in groups)
    return math.fsum(squares_of(values) for values in groups) / freedom if freedom else math.nan


def log_normal(x, mean, variance):
    return -((x - mean) ** 2) / (2 * variance) - 0.5 * math.log(2 * math.pi * variance)


def naive(view, mode, variance):
    """Scores (V, N) straight from the definition."""
    signals = view.attacked
    if variance == "auto":
        variance = "pooled" if view.allowed.sum(axis=1).min() < POOL_BELOW else "per_example"
    scores = np.zeros((len(view.victims), signals.num_samples))
    for q in range(signals.num_queries):
        for v, m in enumerate(view.victims):
            pooled = {inside: pooled_variance(view, v, q, inside) for inside in (True, False)}
            for n in range(signals.num_samples):
                phi, sides = phi_of(signals, m, n, q), {}
                for inside in (True, False):
                    values = references_of(view, v, n, q, inside)
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


def scored(view, mode, variance):
    return LIRA(LIRA.Options(mode=mode, variance=variance)).score(view, np.random.default_rng(0))


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "bank",
    [
        {"num_models": 7, "num_samples": 25},
        {"num_models": 6, "num_samples": 25, "num_classes": 2},
        {"num_models": 6, "num_samples": 20, "num_queries": 3},
        {"num_models": 6, "num_samples": 25, "num_reserve": 8, "dtype": np.float16},
    ],
    ids=["odd", "two classes", "three queries", "reserve and float16"],
)
def test_a_bank_against_itself(bank, mode, variance, make_bank, make_view):
    view = make_view(make_bank(**bank))
    found = scored(view, mode, variance)
    np.testing.assert_allclose(found.victims, naive(view, mode, variance), rtol=1e-6, atol=1e-6)
    assert found.variant == f"{mode}, {'pooled' if variance == 'auto' else variance} variance"


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("mode", MODES)
def test_references_of_their_own_and_restricted(mode, variance, make_bank, make_view):
    victims = make_bank(num_models=3, num_samples=25)
    references = make_bank(num_models=8, num_samples=25, seed=1, first_id=3)
    allowed = np.array([[k % 2 == 0 for k in range(8)], [k < 5 for k in range(8)], [True] * 8])
    view = make_view(victims, references, allowed)
    np.testing.assert_allclose(scored(view, mode, variance).victims, naive(view, mode, variance), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_two_references(mode, make_bank, make_view):
    victims, references = make_bank(num_models=2, num_samples=25), make_bank(num_models=2, num_samples=25, first_id=2)
    view = make_view(victims, references)
    found = scored(view, mode, "per_example").victims
    np.testing.assert_allclose(found, naive(view, mode, "per_example"), rtol=1e-6, atol=1e-6)
    one_side_empty = references.member.all(axis=0) | ~references.member.any(axis=0)
    needed = one_side_empty if mode == "online" else references.member.all(axis=0)
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(needed, found.shape))


@pytest.mark.parametrize("mode", MODES)
def test_one_reference_gives_no_spread_and_so_no_score(mode, make_bank, make_view):
    view = make_view(make_bank(num_models=2, num_samples=20))
    assert np.isnan(scored(view, mode, "auto").victims).all()


def test_a_sample_that_all_or_no_references_have_is_not_scored_silently(make_bank, make_view):
    member = np.random.default_rng(3).random((6, 30)) < 0.5
    member[:, 4], member[:, 9] = True, False
    victims, references = make_bank(num_models=2, num_samples=30), make_bank(6, 30, member=member, first_id=2)
    view = make_view(victims, references)
    online, offline = scored(view, "online", "pooled").victims, scored(view, "offline", "pooled").victims
    assert np.isnan(online[:, [4, 9]]).all()
    assert np.isnan(offline[:, 4]).all()
    assert np.isfinite(offline[:, 9]).all()


def test_auto_pools_below_64_references(make_bank, make_view):
    for num_references, expected in ((POOL_BELOW - 1, "pooled"), (POOL_BELOW, "per_example")):
        view = make_view(make_bank(1, 15), make_bank(num_references, 15, first_id=1))
        found = scored(view, "online", "auto")
        assert found.variant == f"online, {expected} variance"
        np.testing.assert_array_equal(found.victims, scored(view, "online", expected).victims)


def test_canaries_do_not_take_part_in_the_pooled_variance(make_bank, make_view):
    bank = make_bank(num_models=6, num_samples=30)
    wild = bank.logits.copy()
    wild[:, 28:] *= 1000
    with_canaries = type(bank)(wild, bank.labels, bank.member, canary=np.arange(30) >= 28)
    expected = scored(
        make_view(type(bank)(bank.logits[:, :28], bank.labels[:28], bank.member[:, :28])), "online", "auto"
    )
    found = scored(make_view(with_canaries), "online", "auto")
    np.testing.assert_allclose(found.victims[:, :28], expected.victims)
    assert np.isfinite(found.victims).any(axis=0)[28:].any()  # canaries are scored all the same


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("variance", ["pooled", "per_example"])
def test_extreme_logits(mode, variance, make_bank, make_view):
    bank = make_bank(num_models=8, num_samples=30)
    logits = bank.logits.copy()
    logits[0, :10] *= 1e3
    logits[1, 5:8] *= -1e4
    view = make_view(type(bank)(logits, bank.labels, bank.member))
    np.testing.assert_allclose(scored(view, mode, variance).victims, naive(view, mode, variance), rtol=1e-6, atol=1e-6)
    logits[2, 3] *= 1e30
    beyond = scored(make_view(type(bank)(logits, bank.labels, bank.member)), mode, variance).victims
    assert not np.isinf(beyond).any()


def test_equal_references_do_not_divide_by_zero(make_bank, make_view):
    bank = make_bank(num_models=6, num_samples=20)
    same = np.repeat(bank.logits[:1], 6, axis=0)
    view = make_view(type(bank)(same, bank.labels, bank.member))
    for mode in MODES:
        found = scored(view, mode, "per_example").victims
        assert not np.isinf(found).any()
        assert np.isfinite(found).any()


def test_more_confident_than_the_out_references_is_more_likely_a_member(make_bank, make_view):
    references = make_bank(num_models=12, num_samples=40, first_id=1)
    modest = make_bank(num_models=1, num_samples=40, gain=0, seed=5)
    bold = modest.logits.copy()
    bold[:, np.arange(40), modest.labels] += 0.5
    bolder = type(modest)(bold, modest.labels, modest.member, model_ids=modest.model_ids)
    low = scored(make_view(modest, references), "offline", "pooled").victims
    high = scored(make_view(bolder, references), "offline", "pooled").victims
    assert (high > low).all()
