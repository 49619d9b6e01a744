"""The exact rank test of whether a recipe exposes a sample."""

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruneaudit.core.errors import UserError
from pruneaudit.metrics import exposed_by_recipe

# V victims, N samples


def wins(scores, inside):
    """How many pairs of a member and another the members win; ties are lost."""
    outside = [place for place in range(len(scores)) if place not in inside]
    return sum(scores[i] > scores[o] for i in inside for o in outside)


def enumerated(scores, member):
    """The share of all assignments of distinct scores in which members win at least as many pairs."""
    distinct = range(len(scores))
    inside = [place for place in distinct if member[place]]
    reached = wins(scores, inside)
    everyone = list(combinations(distinct, len(inside)))
    return sum(wins(list(distinct), each) >= reached for each in everyone) / len(everyone)


def column(values, dtype=float):
    return np.array(values, dtype=dtype)[:, None]


def test_three_victims_by_hand():
    member = column([True, False, False], bool)
    for scores, expected in (([3, 2, 1], 1 / 3), ([2, 3, 1], 2 / 3), ([1, 2, 3], 1.0), ([2, 2, 1], 2 / 3)):
        found = exposed_by_recipe(column(scores), member)
        assert found.p_value[0] == pytest.approx(expected)
        assert found.smallest[0] == pytest.approx(1 / 3)
    assert (found.num_members[0], found.num_others[0]) == (1, 2)


@given(data=st.data(), num_victims=st.integers(1, 7))
def test_it_is_the_enumeration_of_all_assignments(data, num_victims):
    shape = (num_victims, 5)
    scores = data.draw(arrays(float, shape, elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0, 3.0, np.nan])))
    member = data.draw(arrays(bool, shape))
    found = exposed_by_recipe(scores, member)
    for sample in range(5):
        scored = ~np.isnan(scores[:, sample])
        if not scored.any():
            assert np.isnan(found.p_value[sample])
            assert np.isnan(found.smallest[sample])
            continue
        mine = scores[scored, sample], member[scored, sample]
        assert found.p_value[sample] == pytest.approx(enumerated(*mine), abs=1e-12)
        assert found.smallest[sample] == pytest.approx(1 / comb(int(scored.sum()), int(mine[1].sum())))


@pytest.mark.parametrize(("num_victims", "num_members"), [(6, 3), (8, 2), (9, 5)])
@pytest.mark.parametrize("distinct", [True, False])
def test_over_all_assignments_p_is_at_most_uniform(num_victims, num_members, distinct):
    """Given the scores all assignments are equally likely: p is uniform without ties, and never below it with ties."""
    scores = np.arange(num_victims, dtype=float) if distinct else np.arange(num_victims) // 2
    everyone = list(combinations(range(num_victims), num_members))
    member = np.zeros((num_victims, len(everyone)), dtype=bool)
    for place, inside in enumerate(everyone):
        member[list(inside), place] = True
    p_value = exposed_by_recipe(np.repeat(scores[:, None], len(everyone), axis=1), member).p_value
    for level in np.unique(p_value):
        share = np.mean(p_value <= level * (1 + 1e-12))
        assert share <= level * (1 + 1e-9)
        assert not distinct or share == pytest.approx(level)


def exact_tail(num_members, num_others, reached):
    """P(U >= reached) in whole numbers, by the recursion of Mann and Whitney."""
    counts = {(0, n): [1] for n in range(num_others + 1)} | {(m, 0): [1] for m in range(num_members + 1)}
    for m in range(1, num_members + 1):
        for n in range(1, num_others + 1):
            row = [0] * (m * n + 1)
            for u, count in enumerate(counts[m, n - 1]):
                row[u] += count
            for u, count in enumerate(counts[m - 1, n]):
                row[u + n] += count
            counts[m, n] = row
    return sum(counts[num_members, num_others][reached:]) / comb(num_members + num_others, num_members)


def test_large_numbers_of_victims_stay_exact():
    rng = np.random.default_rng(0)
    member = np.zeros((64, 40), dtype=bool)
    member[:30] = True
    scores = rng.normal(size=(64, 40)) + np.linspace(0, 3, 40) * member
    scores[:, -1] = np.arange(64)[::-1]
    found = exposed_by_recipe(scores, member)
    for sample in range(40):
        reached = int(wins(scores[:, sample], range(30)))
        assert found.p_value[sample] == pytest.approx(exact_tail(30, 34, reached), rel=1e-6)
    assert found.p_value[-1] == pytest.approx(found.smallest[-1], rel=1e-12)


def test_a_planted_sample_is_found_and_the_others_are_not():
    rng = np.random.default_rng(1)
    member = rng.random((14, 400)) < 0.5
    scores = rng.normal(size=member.shape)
    scores[:, :20] += 6.0 * member[:, :20]
    p_value = exposed_by_recipe(scores, member).p_value
    assert (p_value[:20] < 0.01).mean() > 0.9
    assert (p_value[20:] < 0.01).mean() < 0.03


def test_it_looks_at_ranks_alone():
    rng = np.random.default_rng(2)
    scores, member = rng.normal(size=(10, 30)), rng.random((10, 30)) < 0.5
    np.testing.assert_array_equal(
        exposed_by_recipe(scores, member).p_value, exposed_by_recipe(np.exp(3 * scores) - 7, member).p_value
    )
    turned = rng.permutation(10)
    np.testing.assert_array_equal(
        exposed_by_recipe(scores, member).p_value, exposed_by_recipe(scores[turned], member[turned]).p_value
    )


def test_shapes_must_fit():
    with pytest.raises(UserError, match=r"\(3, 2\).*\(2, 3\)"):
        exposed_by_recipe(np.zeros((3, 2)), np.zeros((2, 3), dtype=bool))
