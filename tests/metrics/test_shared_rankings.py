"""What all attacks and classes share must not show in figures: rankings, weights, one pass over all classes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pruneaudit.metrics.rates as rates
import pruneaudit.metrics.sample_weights as shared
from pruneaudit.metrics import (
    auc_influence,
    best_threshold,
    bootstrap_pooled_tpr,
    bootstrap_tpr,
    class_areas,
    rate_influence,
    tpr_at_fpr,
)
from pruneaudit.metrics.partial_auc import partial_auc_influence
from pruneaudit.metrics.ranking import every_ranking
from pruneaudit.metrics.rates import accuracy_influence
from pruneaudit.metrics.sample_weights import PairWeights, SampleWeights

# V victims, N samples, C classes

LEVELS = [0.05, 0.3]


def a_bank(num_victims, num_samples, seed, kind="continuous"):
    """Scores (V, N) with gaps, and members of each victim; tied ones take five values."""
    rng = np.random.default_rng(seed)
    member = rng.random((num_victims, num_samples)) < 0.5
    scores = rng.normal(size=member.shape) + 0.7 * member
    if kind == "tied":
        scores = np.clip(np.round(scores), -2, 2)
    scores[rng.random(member.shape) < 0.1] = np.nan
    return scores, member


@given(
    st.integers(1, 3),
    st.integers(1, 60),
    st.integers(1, 9),
    st.sampled_from(["continuous", "tied"]),
    st.integers(0, 99),
)
def test_all_classes_at_once_as_class_by_class(num_victims, num_samples, num_classes, kind, seed):
    scores, member = a_bank(num_victims, num_samples, seed, kind)
    codes = np.random.default_rng(seed).integers(num_classes, size=num_samples)
    found = class_areas(every_ranking(scores, member), codes, num_classes)
    for label in range(num_classes):
        chosen = codes == label
        values, influence = auc_influence(scores[:, chosen], member[:, chosen])
        np.testing.assert_array_equal(found.values[:, label], values)
        np.testing.assert_array_equal(found.influence(label), influence)
        scored = ~np.isnan(scores[:, chosen])
        np.testing.assert_array_equal(found.num_members[:, label], (scored & member[:, chosen]).sum(axis=1))
        np.testing.assert_array_equal(found.num_nonmembers[:, label], (scored & ~member[:, chosen]).sum(axis=1))
        known = ~(np.isnan(values) | np.isnan(influence).any(axis=1))
        np.testing.assert_array_equal(found.known[:, label], known)


def test_a_thousand_classes_with_few_samples_each():
    scores, member = a_bank(2, 5000, seed=3)
    codes = np.random.default_rng(4).integers(1000, size=5000)
    found = class_areas(every_ranking(scores, member), codes, 1000)
    for label in (0, 17, 500, 999):
        expected = auc_influence(scores[:, codes == label], member[:, codes == label])
        np.testing.assert_array_equal(found.values[:, label], expected.values)
        np.testing.assert_array_equal(found.influence(label), expected.influence)


@pytest.mark.parametrize("kind", ["continuous", "tied"])
def test_a_known_ranking_changes_no_figure(kind):
    scores, member = a_bank(4, 700, seed=1, kind=kind)
    ranked = every_ranking(scores, member)
    for with_it, without in (
        (auc_influence(scores, member, ranked), auc_influence(scores, member)),
        (partial_auc_influence(scores, member, 0.1, ranked), partial_auc_influence(scores, member, 0.1)),
        (tpr_at_fpr(scores, member, LEVELS, ranked), tpr_at_fpr(scores, member, LEVELS)),
    ):
        np.testing.assert_equal(with_it, without)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 5), st.booleans(), st.integers(0, 999))
def test_the_best_cut_without_looking_at_all_members(num_members, num_others, at_once, ties, seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=num_members + num_others)
    scores = np.round(scores) if ties else scores
    member = np.arange(scores.size) < num_members
    kept, rates.MEMBERS_AT_ONCE = rates.MEMBERS_AT_ONCE, at_once
    try:
        found = best_threshold(scores, member)
    finally:
        rates.MEMBERS_AT_ONCE = kept

    def gain(threshold):
        accused = scores >= threshold
        return int((accused & member).sum()) * num_others - int((accused & ~member).sum()) * num_members

    best = max(gain(score) for score in scores)
    assert gain(found) == best
    highest = max(score for score in scores if gain(score) == best)  # of equally good cuts, the fewest accusations
    assert found <= highest
    assert (scores >= found).sum() == (scores >= highest).sum()


def test_accuracy_at_thresholds_as_from_decisions():
    scores, member = a_bank(3, 50, seed=5)
    thresholds = np.random.default_rng(6).normal(size=scores.shape)
    thresholds[:, :7] = np.nan
    member[2] = False  # no members: no value
    valid = ~(np.isnan(scores) | np.isnan(thresholds))
    expected = rate_influence(scores >= thresholds, valid, member).balanced_accuracy
    np.testing.assert_equal(accuracy_influence(scores, thresholds, member), expected)


@pytest.mark.parametrize("kept_bytes", [0, 10**9])
@pytest.mark.parametrize("block_bytes", [8 * 300 * 7, 10**9])
def test_weights_that_several_attacks_share(kept_bytes, block_bytes, monkeypatch):
    monkeypatch.setattr(shared, "KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(shared, "BLOCK_BYTES", block_bytes)
    weights = SampleWeights(lambda: np.random.default_rng(8), 20)
    of_pairs = PairWeights(lambda: np.random.default_rng(9), 15)
    # The same samples with other scores, other samples missing, and another number of samples.
    banks = [a_bank(3, 300, 1), a_bank(3, 300, 2), a_bank(3, 40, 3), a_bank(2, 300, 1)]
    for scores, member in (*banks, banks[0]):
        alone = bootstrap_tpr(scores, member, LEVELS, 20, np.random.default_rng(8))
        np.testing.assert_equal(bootstrap_tpr(scores, member, LEVELS, 20, weights), alone)
        pooled = bootstrap_pooled_tpr(scores, member, LEVELS, 15, np.random.default_rng(9))
        assert bootstrap_pooled_tpr(scores, member, LEVELS, 15, of_pairs) == pooled
