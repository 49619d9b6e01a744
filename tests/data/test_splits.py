"""Membership: independent fair coins, the same however many models there are; halves that do not meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.splits import split_of, splits_of
from pruneaudit.study import Membership

# M models, N samples

SEEDS = st.integers(0, 2**63 - 1)
POOLED = Membership(num_models=64)
DISJOINT = Membership(protocol="disjoint", num_models=12, num_shadows=3)


def audit_data(num_audited: int, num_holdout: int = 0, num_canaries: int = 0) -> AuditData:
    num_samples = num_audited + num_canaries + num_holdout
    place = np.arange(num_samples)
    return AuditData(
        name="made up",
        x=np.zeros((num_samples, 2), np.float32),
        y=place % 2,
        ids=place,
        holdout=place >= num_audited + num_canaries,
        public=np.zeros(num_samples, dtype=bool),
        canary=(place >= num_audited) & (place < num_audited + num_canaries),
        num_classes=2,
        classes=("a", "b"),
        mean=None,
        std=None,
    )


@given(seed=SEEDS, num_models=st.integers(1, 8), protocol=st.sampled_from([POOLED, DISJOINT]))
def test_rows_depend_on_nothing_but_seed_and_model(seed: int, num_models: int, protocol: Membership) -> None:
    samples = audit_data(40, 5, 3)
    many = splits_of(protocol, seed, range(12), samples)
    few = splits_of(protocol, seed, range(num_models), samples)
    for name in ("member", "eligible", "is_victim", "group"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[:num_models])


@given(seed=SEEDS, protocol=st.sampled_from([POOLED, DISJOINT]))
def test_holdout_is_in_no_training_set_never_scored_and_changes_no_other_coin(seed: int, protocol: Membership) -> None:
    with_holdout, without = audit_data(40, 20), audit_data(60)
    for model_id in range(4):
        split, other = (split_of(protocol, seed, model_id, samples) for samples in (with_holdout, without))
        assert not (split.member | split.eligible)[with_holdout.holdout].any()
        np.testing.assert_array_equal(split.member[:40], other.member[:40])
        assert not (split.member & ~split.eligible).any()


def test_coins_are_fair_and_independent() -> None:
    num_models, num_samples = 64, 4000
    coins = splits_of(POOLED, 7, range(num_models), audit_data(num_samples)).member.astype(float)  # (M, N)
    assert abs(coins.mean() - 0.5) < 5 * 0.5 / np.sqrt(coins.size)
    correlation = np.corrcoef(coins)[np.triu_indices(num_models, 1)]
    assert abs(correlation).max() < 6 / np.sqrt(num_samples)
    # Not exact halves: members per sample spread as Binomial(64, 1/2) does, variance 16.
    per_sample = coins.sum(axis=0)
    assert abs(per_sample.var() - 16) < 2
    assert abs(coins.sum(axis=1).var() - num_samples / 4) < num_samples / 4


def test_references_do_not_tell_a_victims_row() -> None:
    """Guessing the side that is rarer among references: always right with exact halves, a coin toss here."""
    coins = splits_of(POOLED, 3, range(16), audit_data(20_000)).member
    guess = coins[1:].sum(axis=0) < 7.5
    assert abs((guess == coins[0]).mean() - 0.5) < 5 * 0.5 / np.sqrt(20_000)


def test_other_seeds_toss_other_coins() -> None:
    one, other = (split_of(POOLED, seed, 0, audit_data(1000)).member for seed in (1, 2))
    assert 400 < (one != other).sum() < 600


def test_pooled_makes_every_model_a_victim_of_all_but_the_holdout() -> None:
    samples = audit_data(30, 10, 4)
    found = splits_of(POOLED, 0, range(5), samples)
    assert found.is_victim.all()
    assert not found.group.any()
    np.testing.assert_array_equal(found.eligible, np.tile(~samples.holdout, (5, 1)))


@given(seed=SEEDS)
def test_no_shadow_has_seen_a_sample_that_its_victim_is_audited_on(seed: int) -> None:
    samples = audit_data(200, 20, 10)
    found = splits_of(DISJOINT, seed, range(12), samples)
    assert found.group.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert np.flatnonzero(found.is_victim).tolist() == [0, 4, 8]
    for victim in (0, 4, 8):
        shadows = slice(victim + 1, victim + 4)
        assert not (found.member[shadows] & found.eligible[victim]).any()
        assert not (found.eligible[shadows] & found.eligible[victim]).any()
        # The shadows share one half, and re-split it.
        np.testing.assert_array_equal(found.eligible[victim + 1], found.eligible[victim + 2])
        np.testing.assert_array_equal(found.eligible[victim] | found.eligible[victim + 1], ~samples.holdout)
        assert found.eligible[victim, samples.canary].all()


def test_halves_are_coins_of_each_group() -> None:
    found = splits_of(DISJOINT, 5, [0, 1, 2, 4, 8], audit_data(20_000))
    assert abs(found.eligible.mean(axis=1) - 0.5).max() < 0.02
    assert abs(found.member.mean(axis=1) - 0.25).max() < 0.02
    assert abs((found.eligible[0] & found.eligible[3]).mean() - 0.25) < 0.02  # another group, another division
    assert abs((found.member[1] & found.member[2]).mean() - 0.125) < 0.02  # shadows draw for themselves


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"protocol": "disjoint", "num_models": 10, "num_shadows": 3}, "multiple of 4 .* such as 8"),
        ({"protocol": "disjoint", "num_models": 16}, "multiple of 6 .* such as 18"),
        ({"num_shadows": 3}, "goes with protocol = 'disjoint'"),
    ],
)
def test_models_come_in_whole_groups(settings: dict[str, object], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        Membership.model_validate(settings)
