import numpy as np
import pytest

import pruneaudit.metrics.bootstrap as bootstrap
import pruneaudit.metrics.sample_weights as sample_weights
from pruneaudit.core.errors import UserError
from pruneaudit.metrics import bootstrap_tpr, tpr_at_fpr

LEVELS = [0.02, 0.1, 0.3]


def bank(num_victims, num_samples, seed, ties=False):
    rng = np.random.default_rng(seed)
    member = rng.random((num_victims, num_samples)) < 0.5
    scores = rng.normal(size=member.shape) + member
    return (np.round(scores, 1) if ties else scores), member


def naive_replicate(row, inside, weights, level):
    """Weighted TPR at the lowest threshold within the level, trying every threshold."""
    scored = ~np.isnan(row)
    thresholds = [*np.unique(row[scored]), np.inf]
    others, members = scored & ~inside, scored & inside
    fitting = [t for t in thresholds if weights[others & (row >= t)].sum() <= level * weights[others].sum()]
    return weights[members & (row >= min(fitting))].sum() / weights[members].sum()


@pytest.mark.parametrize("ties", [False, True])
def test_replicates_equal_a_search_over_all_thresholds(ties):
    scores, member = bank(3, 120, seed=1, ties=ties)
    scores[0, :20] = np.nan
    estimate, replicates = bootstrap_tpr(scores, member, LEVELS, 15, np.random.default_rng(5))
    weights = np.random.default_rng(5).standard_exponential((15, 120))
    expected = [
        [[naive_replicate(scores[v], member[v], w, level) for level in LEVELS] for v in range(3)] for w in weights
    ]
    np.testing.assert_allclose(replicates, expected, atol=1e-12)
    np.testing.assert_array_equal(estimate, tpr_at_fpr(scores, member, LEVELS))


def test_blocks_do_not_change_the_draw(monkeypatch):
    scores, member = bank(2, 300, seed=2)
    whole = bootstrap_tpr(scores, member, LEVELS, 30, np.random.default_rng(0))[1]
    monkeypatch.setattr(sample_weights, "BLOCK_BYTES", 7 * 300 * 8)
    np.testing.assert_allclose(bootstrap_tpr(scores, member, LEVELS, 30, np.random.default_rng(0))[1], whole)


def test_a_cut_made_too_high_is_extended(monkeypatch):
    scores, member = bank(2, 400, seed=3)
    whole = bootstrap_tpr(scores, member, LEVELS, 30, np.random.default_rng(0))[1]
    monkeypatch.setattr(bootstrap, "SPARE_DEVIATIONS", 0)
    monkeypatch.setattr(bootstrap, "SPARE_SAMPLES", 1)
    np.testing.assert_allclose(bootstrap_tpr(scores, member, LEVELS, 30, np.random.default_rng(0))[1], whole)


def test_spread_matches_the_theory_at_a_known_threshold():
    # Members are far above or far below every non-member, so the threshold does not matter: TPR is a proportion.
    rng = np.random.default_rng(4)
    member = np.arange(2000) < 1000
    scores = np.where(member, np.where(rng.random(2000) < 0.3, 100.0, -100.0), rng.normal(size=2000))
    estimate, replicates = bootstrap_tpr(scores[None], member[None], [0.1], 2000, rng)
    p = estimate[0, 0]
    assert replicates.mean() == pytest.approx(p, abs=0.002)
    assert replicates.std() == pytest.approx(np.sqrt(p * (1 - p) / 1000), rel=0.1)


def test_equal_seeds_pair_two_releases():
    scores, member = bank(4, 500, seed=6)
    first = bootstrap_tpr(scores, member, LEVELS, 40, np.random.default_rng(9))
    second = bootstrap_tpr(np.exp(scores), member, LEVELS, 40, np.random.default_rng(9))
    np.testing.assert_array_equal(first[1], second[1])


def test_victims_with_the_same_scores_move_together():
    scores, member = bank(1, 500, seed=7)
    _, replicates = bootstrap_tpr(
        np.repeat(scores, 2, 0), np.repeat(member, 2, 0), LEVELS, 20, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(replicates[:, 0], replicates[:, 1])
    assert replicates[:, 0].std(axis=0).min() > 0


def test_perfect_and_hopeless_attacks_stay_in_range():
    member = np.array([np.arange(200) < 100] * 2)
    scores = np.array([np.where(member[0], 1.0, 0.0), np.where(member[0], 0.0, 1.0)])
    _, replicates = bootstrap_tpr(scores, member, [0.0, 0.1, 0.999], 25, np.random.default_rng(0))
    np.testing.assert_allclose(replicates[:, 0], 1)
    assert replicates.max() <= 1
    np.testing.assert_allclose(replicates[:, 1], 0)


def test_a_victim_without_members_is_nan_alone():
    scores, member = bank(2, 100, seed=8)
    member[0] = False
    estimate, replicates = bootstrap_tpr(scores, member, LEVELS, 10, np.random.default_rng(0))
    assert np.isnan(estimate[0]).all()
    assert np.isnan(replicates[:, 0]).all()
    assert not np.isnan(replicates[:, 1]).any()


def test_levels_in_percent_are_refused():
    scores, member = bank(1, 50, seed=0)
    with pytest.raises(UserError, match=r"0\.01 .*1%"):
        bootstrap_tpr(scores, member, [1.0], 10, np.random.default_rng(0))
