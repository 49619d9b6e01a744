"""Victims and references in different halves of the bank."""

import dataclasses

import numpy as np
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.disjoint import MIN_SHARE, OUTSIDE, disjoint, halves, share_with_references, too_few
from pruneaudit.attacks.lira import Lira
from pruneaudit.metrics import auc
from pruneaudit.signals.signals import Signals

# M models, V victims, K references, N samples


def half_by_name(attack_input, seed=0):
    names = attack_input.attacked.model_names[attack_input.victims].tolist()
    return dict(zip(names, halves(attack_input, seed)[0].tolist(), strict=True))


def regrouped(bank, **changes):
    return dataclasses.replace(bank, **changes)


@pytest.mark.parametrize("num_models", [2, 7, 12])
def test_each_half_is_the_others_references(make_bank, make_input, num_models):
    attack_input = make_input(make_bank(num_models=num_models, num_samples=20))
    apart = disjoint(attack_input, 3)
    of_victims, of_references = halves(attack_input, 3)
    np.testing.assert_array_equal(of_victims, of_references)
    np.testing.assert_array_equal(apart.allowed, of_victims[:, None] != of_victims)
    assert abs(int((of_victims == 0).sum()) - int((of_victims == 1).sum())) == num_models % 2
    assert apart.attacked is attack_input.attacked
    np.testing.assert_array_equal(apart.victims, attack_input.victims)


def test_more_models_and_another_order_change_no_half(make_bank, make_input):
    small, large = (make_bank(num_models=count, num_samples=20) for count in (7, 16))
    before, after = half_by_name(make_input(small)), half_by_name(make_input(large))
    assert before == {name: after[name] for name in before}
    turned = large.take_models(np.random.default_rng(0).permutation(16))
    assert half_by_name(make_input(turned)) == after
    assert {tuple(half_by_name(make_input(large), seed).values()) for seed in range(5)} != {tuple(after.values())}


def test_names_may_be_texts(make_bank, make_input):
    bank = regrouped(make_bank(num_models=4, num_samples=20), model_ids=np.array(["d", "b", "a", "c"]))
    half = half_by_name(make_input(bank))
    assert half["a"] != half["b"]
    assert half["c"] != half["d"]


def test_where_victims_are_nobodys_references_nothing_changes(make_bank, make_input):
    bank, others = make_bank(num_models=4, num_samples=20), make_bank(num_models=6, num_samples=20, first_id=40)
    target = regrouped(bank, is_victim=np.array([True, False, False, False]))
    one_each = regrouped(bank, group=np.array([0, 0, 1, 1]), is_victim=np.array([True, False, True, False]))
    for attack_input in (
        make_input(bank, others),
        make_input(target),
        make_input(one_each),
        AttackInput.of([bank], []),
    ):
        assert disjoint(attack_input, 0) is attack_input


def test_references_that_are_no_victims_serve_both_halves(make_bank, make_input):
    bank = regrouped(make_bank(num_models=6, num_samples=20), is_victim=np.arange(6) < 4)
    apart = disjoint(make_input(bank), 0)
    _, of_references = halves(apart, 0)
    assert (of_references == OUTSIDE).tolist() == [False] * 4 + [True] * 2
    assert apart.allowed[:, 4:].all()
    assert (apart.allowed[:, :4].sum(axis=1) == 2).all()


def test_groups_are_halved_one_by_one(make_bank, make_input):
    group = np.array([0, 1, 1, 0, 1, 0, 1, 0])
    bank = regrouped(make_bank(num_models=8, num_samples=20), group=group)
    allowed = disjoint(make_input(bank), 0).allowed
    assert not allowed[group[:, None] != group].any()
    assert (allowed.sum(axis=1) == 2).all()


def test_a_release_of_references_has_the_models_halves(make_bank, make_input, make_earlier):
    bank = make_bank(num_models=8, num_samples=20)
    other = make_earlier(bank).take_models(np.arange(8)[::-1])
    of_victims, of_references = halves(make_input(bank, other), 0)
    np.testing.assert_array_equal(of_victims, of_references[::-1])


def test_the_share_with_references_is_counted_sample_by_sample():
    member = np.array([[1, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 1]], dtype=bool)
    bank = Signals(np.zeros((3, 4, 2)), np.zeros(4, dtype=int), member)
    attack_input = AttackInput.of([bank], [bank])
    # Victim 0 has references 1 and 2: sample 0 has no OUT one, 1 both, 2 no IN one, 3 no OUT one.
    assert share_with_references(attack_input, compares_in=True)[0] == 0.25
    assert share_with_references(attack_input, compares_in=False)[0] == 0.5
    assert not share_with_references(AttackInput.of([bank], []), compares_in=False).any()


@pytest.mark.parametrize(("compares_in", "enough"), [(True, 12), (False, 10)])
def test_a_bank_of_the_number_that_the_reason_names_is_enough(make_bank, make_input, compares_in, enough):
    few = disjoint(make_input(make_bank(num_models=8, num_samples=2000)), 0)
    reason = too_few(few, compares_in)
    assert f"{enough} models" in reason
    assert "4 references" in reason
    assert f"{100 * MIN_SHARE:.0f}%" in reason
    assert too_few(disjoint(make_input(make_bank(num_models=enough, num_samples=2000)), 0), compares_in) == ""


def test_without_members_no_number_of_models_is_advised(make_bank, make_input):
    bank = make_bank(num_models=8, num_samples=50, member=np.zeros((8, 50), dtype=bool))
    attack_input = dataclasses.replace(make_input(make_bank(num_models=8, num_samples=50)), references=(bank,))
    assert "models has enough" not in too_few(attack_input, compares_in=True)
    assert too_few(attack_input, compares_in=False) == ""


def sample_auc(scores, member):
    """The AUC of one sample over victims, mean over samples."""
    return np.nanmean(auc(scores.T, member.T))


def test_a_sample_over_victims_is_unbiased_in_each_half_and_biased_under_leave_one_out(make_bank, make_input, rng):
    bank = make_bank(num_models=16, num_samples=1500, gain=0.0)
    attack_input = make_input(bank)
    usual, apart = (Lira().score(given, rng).victims for given in (attack_input, disjoint(attack_input, 0)))
    assert sample_auc(usual, bank.member) < 0.45
    half, _ = halves(attack_input, 0)
    for which in (0, 1):
        found = sample_auc(apart[half == which], bank.member[half == which])
        assert abs(found - 0.5) < 0.02  # standard error over samples: .006
