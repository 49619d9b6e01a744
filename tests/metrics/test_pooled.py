"""One ROC over all pairs: against scikit-learn, against plain replicates, and in simulations."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from pruneaudit.metrics import bootstrap_pooled_tpr, pooled_auc

# V victims, N samples, L levels

LEVELS = (0.1, 0.02)


def world(num_victims, num_samples, gain, rng, between_models=0.3):
    """Scores with a part that belongs to the sample, one that belongs to the model, and noise; some missing."""
    member = rng.random((num_victims, num_samples)) < 0.5
    common, strength = rng.normal(size=num_samples), rng.normal(scale=between_models, size=(num_victims, 1))
    scores = common + strength + gain * member + rng.normal(size=member.shape)
    scores[rng.random(member.shape) < 0.05] = np.nan
    return scores, member


def flattened(scores, member):
    valid = ~np.isnan(scores)
    return scores[valid], member[valid]


def naive_tpr(values, member, weights, level):
    """Weighted TPR above the first non-member whose cumulated weight breaks the level, by one plain loop."""
    budget, spent, barrier = level * weights[~member].sum(), 0.0, -np.inf
    for place in np.argsort(-values, kind="stable"):
        if not member[place]:
            spent += weights[place]
            if spent > budget:
                barrier = values[place]
                break
    return weights[member & (values > barrier)].sum() / weights[member].sum()


@pytest.mark.parametrize("num_victims", [1, 2, 7])
@pytest.mark.parametrize("ties", [False, True])
def test_area_is_that_of_all_pairs(num_victims, ties):
    scores, member = world(num_victims, 200, 1.0, np.random.default_rng(0))
    scores = np.round(scores) if ties else scores
    values, inside = flattened(scores, member)
    found = pooled_auc(scores, member)
    assert found.value == pytest.approx(roc_auc_score(inside, values))
    assert found.low < found.value < found.high
    assert found.method.startswith("all pairs, clustered by sample and model")
    assert found.method.endswith("conditional on this bank") == (num_victims > 1)


@pytest.mark.parametrize("ties", [False, True])
def test_rates_are_those_of_all_pairs(ties):
    scores, member = world(6, 300, 1.5, np.random.default_rng(1))
    scores = np.round(scores, 1) if ties else scores
    values, inside = flattened(scores, member)
    fpr, tpr, _ = roc_curve(inside, values, drop_intermediate=False)
    found = bootstrap_pooled_tpr(scores, member, LEVELS, 20, np.random.default_rng(0))
    for level, estimate in zip(LEVELS, found, strict=True):
        assert estimate.value == pytest.approx(tpr[fpr <= level].max())
        assert estimate.low < estimate.value < estimate.high


# In the last case a threshold lies beyond the thousand non-members that are ranked at first.
@pytest.mark.parametrize(
    ("num_victims", "num_samples", "levels"), [(1, 120, LEVELS), (5, 120, LEVELS), (8, 500, (0.6,))]
)
def test_standard_error_is_that_of_plainly_weighted_replicates(num_victims, num_samples, levels):
    scores, member = world(num_victims, num_samples, 1.5, np.random.default_rng(2))
    scores = np.round(scores, 1)
    found = bootstrap_pooled_tpr(scores, member, levels, 15, np.random.default_rng(9))
    rng, valid = np.random.default_rng(9), ~np.isnan(scores)
    rates = []
    for _ in range(15):
        by_model = rng.standard_exponential(num_victims) if num_victims > 1 else np.ones(1)
        weights = np.outer(by_model, rng.standard_exponential(num_samples))[valid]
        rates.append([naive_tpr(scores[valid], member[valid], weights, level) for level in levels])
    np.testing.assert_allclose([estimate.std_error for estimate in found], np.std(rates, axis=0, ddof=1), rtol=1e-9)


def test_scores_that_do_not_compare_across_models_lose_in_the_pool():
    rng = np.random.default_rng(4)
    member = rng.random((6, 300)) < 0.5
    scores = member + rng.normal(scale=0.3, size=member.shape)
    shifted = scores + 10 * np.arange(6)[:, None]
    assert pooled_auc(scores, member).value > 0.95
    assert pooled_auc(shifted, member).value < 0.65  # 5 of 6 pairs are of two models


@pytest.mark.parametrize("inside", [True, False])
def test_one_kind_alone_has_no_value(inside):
    scores, member = np.arange(8.0).reshape(2, 4), np.full((2, 4), inside)
    estimates = [pooled_auc(scores, member), *bootstrap_pooled_tpr(scores, member, LEVELS, 5, np.random.default_rng(0))]
    for estimate in estimates:
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()


def test_a_single_member_has_an_area_but_no_interval():
    found = pooled_auc(np.array([[0.1, 0.4, 0.3]]), np.array([[False, True, False]]))
    assert found.value == 1
    assert np.isnan([found.low, found.high, found.std_error]).all()


def test_victims_that_say_the_same_say_it_once():
    scores, member = world(1, 400, 1.0, np.random.default_rng(8))
    alone = pooled_auc(scores, member).std_error
    assert pooled_auc(np.repeat(scores, 9, axis=0), np.repeat(member, 9, axis=0)).std_error == pytest.approx(
        alone, 0.01
    )


@pytest.mark.parametrize("between_models", [0.0, 3.0])
def test_standard_error_of_the_area_is_what_banks_differ_by(between_models):
    found = [pooled_auc(*world(12, 100, 1.0, np.random.default_rng([9, n]), between_models)) for n in range(150)]
    spread = np.std([estimate.value for estimate in found], ddof=1)
    assert np.mean([estimate.std_error for estimate in found]) == pytest.approx(spread, rel=0.2)


def test_intervals_stay_within_bounds():
    scores, member = world(3, 40, 4.0, np.random.default_rng(5))
    for estimate in (
        pooled_auc(scores, member),
        *bootstrap_pooled_tpr(scores, member, 0.2, 30, np.random.default_rng(0)),
    ):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def covered(num_simulations, gain, truth, num_victims, num_samples):
    """How many intervals of the pooled AUC contain the truth."""
    hits = 0
    for seed in range(num_simulations):
        found = pooled_auc(*world(num_victims, num_samples, gain, np.random.default_rng([6, seed])))
        hits += found.low <= truth <= found.high
    return hits


def test_a_null_bank_is_found_to_be_one():
    """Nominally 190 of 200; fewer than 179 would happen once in a thousand times at exactly 95%."""
    assert covered(200, 0.0, 0.5, num_victims=8, num_samples=120) >= 179


@pytest.mark.slow
@pytest.mark.parametrize(("num_victims", "num_samples"), [(4, 400), (16, 400), (64, 200)])
def test_null_coverage_over_bank_sizes(num_victims, num_samples):
    assert covered(200, 0.0, 0.5, num_victims, num_samples) >= 179


@pytest.mark.slow
def test_null_rates_are_covered():
    hits = np.zeros(len(LEVELS))
    for seed in range(200):
        rng = np.random.default_rng([7, seed])
        scores, member = world(8, 400, 0.0, rng)
        found = bootstrap_pooled_tpr(scores, member, LEVELS, 60, rng)
        hits += [estimate.low <= level <= estimate.high for level, estimate in zip(LEVELS, found, strict=True)]
    assert (hits >= 179).all()
