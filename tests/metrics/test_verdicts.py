"""Verdicts on records: p-values and lists by hand, against loops, and what they promise."""

# V victims, N samples, Z nulls

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruneaudit.core.errors import UserError
from pruneaudit.metrics.verdicts import (
    fewest_named,
    jaccard,
    named_at,
    q_values,
    rank_p_values,
    record_verdicts,
)

FEW_VALUES = st.integers(-3, 3).map(float)  # so that ties are common


def test_p_values_by_hand():
    nulls = [[1.0, 2.0, 2.0, 5.0]]
    scores = [[6.0, 5.0, 2.0, 1.5, 0.0, np.nan]]
    assert rank_p_values(scores, nulls)[0, :5].tolist() == [1 / 5, 2 / 5, 4 / 5, 4 / 5, 1.0]
    assert np.isnan(rank_p_values(scores, nulls)[0, 5])
    infinite = rank_p_values([[np.inf, -np.inf]], [[np.inf, 0.0, np.nan]])  # a null that is not scored does not count
    assert infinite.tolist() == [[2 / 3, 1.0]]


def test_a_list_by_hand():
    """Benjamini and Hochberg (1995), section 3.2: 15 comparisons, of which 4 are rejected at 5%."""
    p_values = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240]
    p_values += [0.4262, 0.5719, 0.6528, 0.7590, 1.0000]
    adjusted = q_values([p_values])
    assert adjusted[0, 3] == pytest.approx(0.0095 * 15 / 4)
    assert named_at(adjusted, 0.05).sum() == 4


def test_equality_counts():
    """Of 10 records 3 have p = 3 / 100, which is 3 q / N at q = .1: 0.03 * 10 / 3 is above 0.1 by rounding alone."""
    scores = np.array([[99.5, 98.5, 97.5, *[0.0] * 7]])
    nulls = np.arange(99.0)[None]
    found = record_verdicts(scores + 0.0, nulls, 0.1)
    assert found.p_values[0, :3].tolist() == [0.01, 0.01, 0.02]
    exactly = named_at(q_values([[0.03, 0.03, 0.03, *[1.0] * 7]]), 0.1)
    assert exactly.sum() == 3
    assert 0.03 * 10 / 3 <= 0.1 * (1 + 1e-12)


def p_value_by_a_loop(score, nulls):
    return (1 + sum(null >= score for null in nulls)) / (1 + len(nulls))


def named_by_a_loop(p_values, rate):
    """The definition: the R smallest, for the largest R with p_(R) <= R q / N, in whole numbers where it can be."""
    order, best = np.argsort(p_values, kind="stable"), 0
    for rank, place in enumerate(order, start=1):
        if p_values[place] * len(p_values) <= rank * rate * (1 + 1e-9):
            best = rank
    named = np.zeros(len(p_values), dtype=bool)
    named[order[:best]] = True
    return named


@given(
    arrays(float, (2, 6), elements=FEW_VALUES),
    arrays(float, (2, 5), elements=FEW_VALUES),
    st.sampled_from([0.05, 0.2, 0.5, 0.9]),
)
def test_verdicts_are_those_of_a_loop(scores, nulls, rate):
    found = record_verdicts(scores, nulls, rate)
    for row, own, p_values, named in zip(scores, nulls, found.p_values, found.named, strict=True):
        assert p_values.tolist() == [p_value_by_a_loop(score, own) for score in row]
        assert named.tolist() == named_by_a_loop(p_values, rate).tolist()


@given(arrays(float, (1, 8), elements=FEW_VALUES), arrays(float, (1, 9), elements=FEW_VALUES))
def test_higher_scores_have_smaller_p_values_and_only_the_order_counts(scores, nulls):
    found = record_verdicts(scores, nulls, 0.5)
    order = np.argsort(scores[0])
    assert (np.diff(found.p_values[0, order]) <= 0).all()
    assert (np.diff(found.q_values[0, order]) <= 0).all()
    assert (found.q_values >= found.p_values * (1 - 1e-12)).all()
    stretched = record_verdicts(np.exp(scores), np.exp(nulls), 0.5)
    assert (stretched.named == found.named).all()


@given(arrays(float, 12, elements=FEW_VALUES))
def test_under_exchangeability_a_p_value_is_never_too_small(values):
    """Each of n exchangeable values plays the record in turn: exactly the law of its rank, ties and all."""
    p_values = np.array(
        [rank_p_values([[value]], [np.delete(values, place)])[0, 0] for place, value in enumerate(values)]
    )
    for level in np.arange(1, 13) / 12:
        assert (p_values <= level * (1 + 1e-12)).mean() <= level * (1 + 1e-12)


def test_victims_are_families_of_their_own():
    rng = np.random.default_rng(0)
    scores, nulls = rng.normal(1, 2, (3, 40)), rng.normal(size=(3, 30))
    together = record_verdicts(scores, nulls, 0.2)
    for victim in range(3):
        alone = record_verdicts(scores[[victim]], nulls[[victim]], 0.2)
        assert alone.q_values[0].tolist() == together.q_values[victim].tolist()


@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([0.01, 0.05, 0.1, 0.5]))
def test_the_fewest_that_can_be_named_is_the_smallest_list_that_there_is(num_samples, num_nulls, rate):
    floor = 1 / (num_nulls + 1)
    fewest = fewest_named(np.full(num_samples, floor), rate)
    by_formula = math.ceil(round(num_samples * floor / rate, 9))
    assert fewest == (by_formula if by_formula <= num_samples else None)

    def num_named(num_at_floor):
        p_values = [floor] * num_at_floor + [1.0] * (num_samples - num_at_floor)
        return named_at(q_values([p_values]), rate).sum()

    assert num_named(num_samples if fewest is None else fewest - 1) == 0
    assert fewest is None or num_named(fewest) == fewest


def test_a_high_floor_permits_long_lists_alone():
    """1,500 records at 10%: a floor of 1 / 65 permits lists from 231 on, one of 1 / 701 from 22 on."""
    assert fewest_named(np.full(1500, 1 / 65), 0.1) == 231
    assert fewest_named(np.full(1500, 1 / 701), 0.1) == 22
    floors = np.array([0.001, 0.02, 0.02, np.nan])  # one of three may be named at 3 * .001 <= .1; two may not
    assert fewest_named(floors, 0.1) == 1
    assert fewest_named(floors[1:], 0.01) is None


def test_agreement_of_lists():
    first, second = np.array([1, 1, 1, 0, 0], dtype=bool), np.array([0, 1, 1, 1, 0], dtype=bool)
    assert jaccard(first, second) == 2 / 4
    assert jaccard(first, first) == 1
    assert jaccard(first, ~first) == 0
    assert math.isnan(jaccard(first & ~first, np.zeros(5, dtype=bool)))


@pytest.mark.parametrize(
    ("scores", "nulls", "rate", "words"),
    [
        ([1.0], [[1.0]], 0.1, ["(1,)", "(1, 1)"]),
        ([[1.0], [2.0]], [[1.0]], 0.1, ["(2, 1)", "(1, 1)"]),
        ([[1.0]], [[np.nan]], 0.1, ["none"]),
        ([[1.0]], [[1.0]], 1.0, ["1", "0.1"]),
        ([[1.0]], [[1.0]], 0.0, ["0", "0.1"]),
    ],
)
def test_a_mistake_is_named(scores, nulls, rate, words):
    with pytest.raises(UserError) as error:
        record_verdicts(np.array(scores), np.array(nulls), rate)
    assert all(word in str(error.value) for word in words)


def simulated(rng, num_members, num_others, num_nulls, gain):
    """One victim: scores of members and others, and those of nulls, whose law is that of the others."""
    scores = rng.standard_t(5, num_members + num_others)
    scores[:num_members] += gain
    return scores[None], rng.standard_t(5, num_nulls)[None]


@pytest.mark.parametrize(("num_members", "num_others"), [(150, 150), (30, 270)])
def test_the_realised_share_of_nonmembers_is_at_most_the_nominal_one(num_members, num_others):
    rng, rate, shares, found = np.random.default_rng(1), 0.2, [], []
    for _ in range(300):
        scores, nulls = simulated(rng, num_members, num_others, 200, gain=5.0)
        named = record_verdicts(scores, nulls, rate).named[0]
        shares.append(named[num_members:].sum() / max(named.sum(), 1))
        found.append(named[:num_members].mean())
    limit = rate * num_others / (num_members + num_others)
    assert np.mean(shares) <= limit + 2 * np.std(shares) / np.sqrt(len(shares))
    assert np.mean(found) > 0.1  # and it finds some
