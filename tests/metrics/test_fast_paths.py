"""What makes metrics fast must not show in them: ranks by one sort, windows, blocks, threads."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

import pruneaudit.metrics.arrays as shared
import pruneaudit.metrics.bootstrap as bootstrap
import pruneaudit.metrics.pooled as pooling
import pruneaudit.metrics.sample_weights as sample_weights
from pruneaudit.core.errors import UserError
from pruneaudit.metrics import (
    Scored,
    auc_influence,
    bootstrap_pooled_tpr,
    bootstrap_tpr,
    mean_roc,
    pooled_auc,
    rate_influence,
    tpr_at_fpr,
)
from pruneaudit.metrics.ranking import sides

# V victims, N samples, L levels, B replicates

LEVELS = [0.0, 0.1, 0.34, 0.8]


@st.composite
def banks(draw, max_victims=3, max_samples=16):
    """Scores (V, N) with ties, gaps and infinities, and any membership: sides may be empty."""
    shape = draw(st.integers(1, max_victims)), draw(st.integers(1, max_samples))
    few = st.sampled_from([-np.inf, -1.0, 0.0, 0.5, 2.0, np.inf, np.nan])
    many = st.floats(-3, 3, width=16)
    scores = draw(arrays(float, shape, elements=draw(st.sampled_from([few, many, st.just(1.0)]))))
    return scores, draw(arrays(bool, shape))


@pytest.fixture
def many_threads(monkeypatch):
    """Threads for the smallest task; on one core they take turns all the same."""
    monkeypatch.setattr(shared, "SMALLEST_FOR_THREADS", 0)
    monkeypatch.setattr(shared.os, "cpu_count", lambda: 4)
    monkeypatch.delattr(shared.os, "sched_getaffinity", raising=False)


def a_bank(num_victims=40, num_samples=300, seed=0):
    rng = np.random.default_rng(seed)
    member = rng.random((num_victims, num_samples)) < 0.5
    scores = rng.normal(size=num_samples) + member + rng.normal(size=member.shape)
    scores[rng.random(member.shape) < 0.05] = np.nan
    scores[3] = np.round(scores[3])
    return scores, member


@given(banks(max_victims=1))
def test_one_sort_of_each_side_gives_the_ranks(case):
    (row,), (inside,) = case
    scored = ~np.isnan(row)
    found = sides(row, inside)
    assert sorted(found.members) == np.flatnonzero(scored & inside).tolist()
    assert sorted(found.others) == np.flatnonzero(scored & ~inside).tolist()
    np.testing.assert_array_equal(found.member_scores, np.sort(row[scored & inside]))
    np.testing.assert_array_equal(found.other_scores, np.sort(row[scored & ~inside]))
    ranks = np.full(len(row), np.nan)
    ranks[scored] = rankdata(row[scored])
    for columns, outscored in ((found.members, found.members_outscore), (found.others, found.others_outscored)):
        np.testing.assert_array_equal(outscored, ranks[columns] - rankdata(row[columns]))


def naive_replicate(row, inside, weights, level):
    """Weighted TPR at the lowest threshold within the level, trying every threshold; NaN where a side is empty."""
    members, others = ~np.isnan(row) & inside, ~np.isnan(row) & ~inside
    if not (members.any() and others.any()):
        return np.nan
    fitting = [
        members & accused
        for accused in [np.zeros(len(row), bool), *(row >= t for t in np.unique(row[members | others]))]
        if weights[others & accused].sum() <= level * weights[others].sum()
    ]
    return max(weights[caught].sum() for caught in fitting) / weights[members].sum()


@pytest.mark.parametrize("spare", [(0.0, 0), (0.0, 1), (1.0, 2), (6.0, 10)])
@pytest.mark.parametrize("at_once", [1, 2])
def test_replicates_whatever_the_windows(spare, at_once, monkeypatch):
    monkeypatch.setattr(bootstrap, "SPARE_DEVIATIONS", spare[0])
    monkeypatch.setattr(bootstrap, "SPARE_SAMPLES", max(spare[1], 1))
    monkeypatch.setattr(bootstrap, "VICTIMS_AT_ONCE", at_once)

    @given(banks(), st.integers(0, 9))
    def holds(case, seed):
        scores, member = case
        found = bootstrap_tpr(scores, member, LEVELS, 4, np.random.default_rng(seed))[1]
        weights = np.random.default_rng(seed).standard_exponential((4, scores.shape[1]))
        expected = [
            [[naive_replicate(row, inside, w, level) for level in LEVELS] for row, inside in zip(*case, strict=True)]
            for w in weights
        ]
        np.testing.assert_allclose(found, expected, atol=1e-12)

    holds()


def naive_pooled(scores, member, by_model, by_sample, level):
    weights = np.outer(by_model, by_sample).ravel()
    return naive_replicate(scores.ravel(), member.ravel(), weights, level)


@pytest.mark.parametrize("at_once", [1, 3, 2**16])
def test_pooled_replicates_whatever_the_blocks(at_once, monkeypatch):
    monkeypatch.setattr(pooling, "PAIRS_AT_ONCE", at_once)
    monkeypatch.setattr(sample_weights, "VICTIMS_AT_ONCE", 2)

    @given(banks(), st.integers(0, 9))
    def holds(case, seed):
        scores, member = case
        found = bootstrap_pooled_tpr(scores, member, LEVELS, 3, np.random.default_rng(seed))
        rng, rates = np.random.default_rng(seed), []
        for _ in range(3):
            by_model = rng.standard_exponential(len(scores)) if len(scores) > 1 else np.ones(1)
            by_sample = rng.standard_exponential(scores.shape[1])
            rates.append([naive_pooled(scores, member, by_model, by_sample, level) for level in LEVELS])
        values = tpr_at_fpr(scores.reshape(1, -1), member.reshape(1, -1), LEVELS)[0]
        np.testing.assert_array_equal([estimate.value for estimate in found], values)
        errors = [estimate.std_error for estimate in found]
        np.testing.assert_allclose(errors, np.std(rates, axis=0, ddof=1), atol=1e-12)

    holds()


@given(banks(), st.booleans())
def test_pairs_that_were_ranked_already_give_what_pairs_ranked_anew_give(case, some_levels):
    levels, ranked = LEVELS if some_levels else [], Scored(*case, LEVELS, np.random.default_rng, 3).pooled
    np.testing.assert_equal(vars(pooled_auc(*case, ranked=ranked)), vars(pooled_auc(*case)))
    once, again = (
        bootstrap_pooled_tpr(*case, levels, 3, np.random.default_rng(1), ranked=known) for known in (ranked, None)
    )
    for one, other in zip(once, again, strict=True):
        np.testing.assert_equal(vars(one), vars(other))


@given(banks(), st.data())
def test_rates_are_counts_and_their_influence_deviations(case, data):
    decisions, member = np.nan_to_num(case[0]) > 0, case[1]
    valid = data.draw(arrays(bool, member.shape))
    found = rate_influence(decisions, valid, member)
    for metric, side in ((found.tpr, member), (found.fpr, ~member)):
        for v in range(len(member)):
            chosen = valid[v] & side[v]
            accused, count = decisions[v, chosen].astype(float), int(chosen.sum())
            assert (metric.influence[v, ~chosen] == 0).all()
            if count:
                assert metric.values[v] == accused.mean()
                scale = np.sqrt(count * (count - 1)) if count > 1 else np.nan
                np.testing.assert_allclose(metric.influence[v, chosen], (accused - accused.mean()) / scale)
            else:
                assert np.isnan(metric.values[v])


@pytest.mark.usefixtures("many_threads")
def test_the_number_of_threads_shows_in_nothing(monkeypatch):
    scores, member = a_bank()

    def everything():
        return [
            *auc_influence(scores, member),
            *bootstrap_tpr(scores, member, LEVELS, 20, np.random.default_rng(0)),
            mean_roc(scores, member, LEVELS),
            [vars(found) for found in bootstrap_pooled_tpr(scores, member, LEVELS, 20, np.random.default_rng(0))],
            vars(pooled_auc(scores, member)),
        ]

    results = []
    for num_threads in (1, 2, 5):
        monkeypatch.setattr(shared, "MAX_THREADS", num_threads)
        results.append(everything())
    for other in results[1:]:
        for one, same in zip(results[0], other, strict=True):
            np.testing.assert_equal(one, same)


@pytest.mark.usefixtures("many_threads")
def test_every_item_is_worked_on_once_and_errors_come_back():
    done: list[int] = []
    shared.for_each(done.append, 50, 1)
    assert sorted(done) == list(range(50))

    def refuse(item):
        raise UserError(f"item {item}")

    with pytest.raises(UserError, match="item 0"):
        shared.for_each(refuse, 3, 1)
