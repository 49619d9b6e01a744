"""Who may be whose reference, and what a view refuses."""

import dataclasses

import numpy as np
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core.errors import UserError
from pruneaudit.signals.signals import Signals

# V victims, K references


def rebuilt(signals, **changes):
    """Signals with some of their arrays replaced."""
    given = {name: getattr(signals, name) for name in ("logits", "labels", "member", "confidence", "model_ids")}
    return Signals(**{**given, **changes})


def test_a_bank_plays_against_itself_but_never_against_oneself(make_bank):
    bank = make_bank(num_models=4, num_samples=20)
    attack_input = AttackInput.of([bank], [bank])
    assert attack_input.victims.tolist() == [0, 1, 2, 3]
    np.testing.assert_array_equal(attack_input.allowed, ~np.eye(4, dtype=bool))
    assert attack_input.attacked is attack_input.reference is bank
    assert attack_input.eligible.all()


def test_the_victims_own_id_is_what_counts_not_its_row(make_bank):
    bank = make_bank(num_models=4, num_samples=20)
    turned = bank.take_models(np.array([2, 3, 0, 1]))
    expected = bank.model_names[:, None] != turned.model_names
    np.testing.assert_array_equal(AttackInput.of([bank], [turned]).allowed, expected)
    assert AttackInput.of([bank], [make_bank(num_models=3, num_samples=20, first_id=50)]).allowed.all()


def test_groups_keep_to_themselves_and_only_victims_are_attacked(make_bank):
    bank = make_bank(num_models=4, num_samples=20)
    grouped = rebuilt(bank, group=np.array([0, 1, 0, 1]), is_victim=np.array([True, False, False, True]))
    attack_input = AttackInput.of([grouped], [grouped])
    assert attack_input.victims.tolist() == [0, 3]
    assert attack_input.allowed.astype(int).tolist() == [[0, 0, 1, 0], [0, 1, 0, 0]]


def test_no_references(make_bank):
    attack_input = AttackInput.of([make_bank(num_models=2, num_samples=20)], [])
    assert attack_input.allowed.shape == (2, 0)
    assert attack_input.references == ()


def test_allowed_may_be_given(make_bank):
    bank = make_bank(num_models=3, num_samples=20)
    allowed = np.array([[False, True, False]] * 3)
    assert AttackInput.of([bank], [bank], allowed).allowed is allowed


def test_among_references_each_is_the_others_pseudo_victim(make_bank):
    bank, others = make_bank(num_models=2, num_samples=20), make_bank(num_models=5, num_samples=20, first_id=9)
    among = AttackInput.of([bank], [others]).among_references(np.array([4, 1]))
    assert among.attacked.model_names.tolist() == among.reference.model_names.tolist() == [13, 10]
    assert among.allowed.tolist() == [[False, True], [True, False]]
    np.testing.assert_array_equal(among.attacked.logits, others.logits[[4, 1]])


def test_what_does_not_belong_together(make_bank):
    bank = make_bank(num_models=3, num_samples=20)
    with pytest.raises(UserError, match=r"the same samples: got 19\D+20"):
        AttackInput.of([bank], [make_bank(num_models=3, num_samples=19)])
    with pytest.raises(UserError, match="the same samples in the same order"):
        AttackInput.of([bank], [rebuilt(bank, ids=np.arange(20)[::-1])])
    with pytest.raises(UserError, match="disagree about labels"):
        AttackInput.of([bank], [rebuilt(bank, labels=(bank.labels + 1) % 5)])
    with pytest.raises(UserError, match="the same models in the same order"):
        AttackInput.of([rebuilt(bank, model_ids=np.array([2, 1, 0])), bank], [])
    with pytest.raises(UserError, match=r"got 6 classes and 1 queries, .* 5 and 1"):
        padded = np.concatenate([bank.logits, np.zeros((3, 20, 1))], axis=2)
        AttackInput.of([bank], [rebuilt(bank, logits=padded)])
    with pytest.raises(UserError, match=r"got 5 classes and 2 queries, .* 5 and 1"):
        AttackInput.of([bank], [make_bank(num_models=3, num_samples=20, num_queries=2)])


def test_what_does_not_belong_together_in_two_releases(make_bank, make_earlier):
    bank = make_bank(num_models=3, num_samples=20)
    pair = [make_earlier(bank), bank]
    for references in ([bank], [bank] * 3):
        with pytest.raises(UserError, match=rf"references: got {len(references)} .* 2 of victims"):
            AttackInput.of(pair, references)
    with pytest.raises(UserError, match=r"references: got 2 .* 1 of victims"):
        AttackInput.of([bank], pair)
    with pytest.raises(UserError, match="the same models in the same order"):
        AttackInput.of(pair, [rebuilt(pair[0], model_ids=np.array([1, 0, 2])), bank])
    member = bank.member.copy()
    member[1, 3] ^= True
    for wrong in ([rebuilt(pair[0], member=member), bank], [pair[0], rebuilt(bank, member=member)]):
        for releases, references in ((wrong, []), (pair, wrong)):
            with pytest.raises(UserError, match=r"disagree about .*`member`"):
                AttackInput.of(releases, references)
    with pytest.raises(UserError, match=r"got 5 classes and 2 queries, .* 5 and 1"):
        AttackInput.of([make_bank(num_models=3, num_samples=20, num_queries=2), bank], [])


def test_among_references_all_their_releases_are_seen(make_bank, make_earlier):
    bank, others = make_bank(num_models=2, num_samples=20), make_bank(num_models=5, num_samples=20, first_id=9)
    attack_input = AttackInput.of([make_earlier(bank), bank], [make_earlier(others), others])
    among = attack_input.among_references(np.array([4, 1]))
    assert len(among.releases) == len(among.references) == 2
    for taken, whole in zip(among.releases, attack_input.references, strict=True):
        assert taken.model_names.tolist() == [13, 10]
        np.testing.assert_array_equal(taken.logits, whole.logits[[4, 1]])
    assert among.allowed.tolist() == [[False, True], [True, False]]


def test_numbered_and_named_models_do_not_mix(make_bank):
    """Otherwise model 1 here and model "1" there would pass for two models."""
    bank = make_bank(num_models=3, num_samples=20)
    named = dataclasses.replace(bank, model_ids=np.array(["0", "1", "2"]))
    with pytest.raises(UserError, match=r"model_ids: .*integers .*texts"):
        AttackInput.of([bank], [named])
