"""Membership: independent fair coins, the same however many models there are."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pruneaudit.data.splits import eligible, member_row, membership

# M models, N samples

SEEDS = st.integers(0, 2**63 - 1)


@given(seed=SEEDS, num_models=st.integers(1, 8), more=st.integers(1, 8), reserve=hnp.arrays(bool, st.integers(1, 60)))
def test_rows_depend_on_nothing_but_seed_and_model(seed: int, num_models: int, more: int, reserve: np.ndarray) -> None:
    few, many = membership(seed, num_models, reserve), membership(seed, num_models + more, reserve)
    assert few.shape == (num_models, len(reserve))
    assert few.dtype == bool
    np.testing.assert_array_equal(few, many[:num_models])
    np.testing.assert_array_equal(many[-1], member_row(seed, num_models + more - 1, reserve))


@given(seed=SEEDS, reserve=hnp.arrays(bool, st.integers(1, 60)))
def test_reserve_is_in_no_training_set_and_changes_no_other_coin(seed: int, reserve: np.ndarray) -> None:
    row = member_row(seed, 0, reserve)
    assert not (row & reserve).any()
    np.testing.assert_array_equal(row, member_row(seed, 0, np.zeros_like(reserve)) & ~reserve)


def test_coins_are_fair_and_independent() -> None:
    num_models, num_samples = 64, 4000
    coins = membership(7, num_models, np.zeros(num_samples, bool)).astype(float)  # (M, N)
    assert abs(coins.mean() - 0.5) < 5 * 0.5 / np.sqrt(coins.size)
    correlation = np.corrcoef(coins)[np.triu_indices(num_models, 1)]
    assert abs(correlation).max() < 6 / np.sqrt(num_samples)
    # Not exact halves: members per sample spread as Binomial(64, 1/2) does, variance 16.
    per_sample = coins.sum(axis=0)
    assert abs(per_sample.var() - 16) < 2
    assert abs(coins.sum(axis=1).var() - num_samples / 4) < num_samples / 4


def test_references_do_not_tell_a_victims_row() -> None:
    """Guessing the side that is rarer among references: always right with exact halves, a coin toss here."""
    coins = membership(3, 16, np.zeros(20_000, bool))
    guess = coins[1:].sum(axis=0) < 7.5
    assert abs((guess == coins[0]).mean() - 0.5) < 5 * 0.5 / np.sqrt(20_000)


def test_other_seeds_toss_other_coins() -> None:
    reserve = np.zeros(1000, bool)
    assert 400 < (member_row(1, 0, reserve) != member_row(2, 0, reserve)).sum() < 600


@given(reserve=hnp.arrays(bool, st.integers(1, 60)), num_models=st.integers(1, 8))
def test_all_but_the_reserve_is_eligible(reserve: np.ndarray, num_models: int) -> None:
    found = eligible(reserve, num_models)
    assert found.shape == (num_models, len(reserve))
    assert all((row == ~reserve).all() for row in found)
