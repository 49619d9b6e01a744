"""Audit data around a target: who is audited, who is in every training set, and who is not used."""

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.data.around_target import draw_around
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.source import RawData
from pruneaudit.data.splits import splits_of
from pruneaudit.data.target_members import MEMBER, NON_MEMBER, UNKNOWN
from pruneaudit.study import Data, Membership, Target

TARGET = Target(weights="w.pt", member="m.npy", num_references=40)
BANK = Membership(protocol="target", num_models=41)


def raw_of(values):
    return RawData(np.asarray(values, np.float32)[:, None], np.arange(len(values)) % 3, tuple("abc"))


def statuses(num_members=500, num_others=300, num_unknown=50):
    parts = [np.full(num, value) for num, value in ((num_members, 1), (num_others, 0), (num_unknown, -1))]
    return np.random.default_rng(0).permutation(np.concatenate(parts)).astype(np.int8)


def drawn(status=None, values=None, target=TARGET, seed=3, **data):
    status = statuses() if status is None else status
    values = np.arange(len(status)) if values is None else values
    return draw_around(raw_of(values), Data(source="digits", **data), target, status, seed), status


def test_the_parts_are_as_large_as_they_should_be():
    audit_data, status = drawn(num_public=20)
    audited = audit_data.coined
    assert audit_data.holdout.sum() == 100  # a third of the non-members
    assert audit_data.public.sum() == 20
    assert audited.sum() == 2 * (300 - 100 - 20)
    assert audit_data.target_member[audited].mean() == 0.5
    assert audit_data.is_kept.sum() == 500 - 180
    assert len(set(audit_data.ids.tolist())) == len(audit_data.ids)
    np.testing.assert_array_equal(audit_data.target_member, status[audit_data.ids] == MEMBER)
    assert not (status[audit_data.ids] == UNKNOWN).any()
    assert not audit_data.target_member[audit_data.unseen].any()
    assert audit_data.target_member[audit_data.is_kept].all()


def test_the_place_of_an_audited_sample_does_not_show_its_side():
    audit_data, _ = drawn()
    member = audit_data.target_member[audit_data.coined]
    assert 0.35 < member[: len(member) // 2].mean() < 0.65


def test_sizes_that_the_study_gives_are_taken():
    audit_data, _ = drawn(num_samples=101, num_holdout=30)
    assert (audit_data.coined.sum(), audit_data.holdout.sum(), audit_data.is_kept.sum()) == (100, 30, 450)
    with pytest.raises(UserError, match=r"num_samples = 600.* 500 distinct members and 300 distinct non-members"):
        drawn(num_samples=600)
    with pytest.raises(UserError, match="num_public = 250"):
        drawn(num_public=250)


def test_a_public_part_moves_no_other_sample_where_members_are_scarce():
    status = statuses(num_members=60, num_others=400)
    (without, _), (beside, _) = drawn(status), drawn(status, num_public=50)
    assert beside.num_in_bank == len(without.y)
    np.testing.assert_array_equal(beside.ids[: beside.num_in_bank], without.ids)
    assert beside.bank_sha256 == without.bank_sha256
    assert beside.sha256 != without.sha256


def test_references_have_on_average_as_many_members_as_the_target():
    audit_data, _ = drawn()
    splits = splits_of(BANK, 3, range(41), audit_data)
    sizes = splits.member.sum(axis=1)
    assert sizes[0] == 500
    spread = np.sqrt(audit_data.coined.sum() / 4)
    assert abs(sizes[1:].mean() - 500) < 4 * spread / np.sqrt(40)
    assert splits.member[:, audit_data.is_kept].all()
    assert not splits.member[:, audit_data.unseen].any()
    assert 0.4 < splits.member[1:, audit_data.coined].mean() < 0.6
    np.testing.assert_array_equal(splits.eligible, np.broadcast_to(audit_data.coined, splits.eligible.shape))
    assert splits.is_victim.tolist() == [True] + [False] * 40
    larger = splits_of(Membership(protocol="target", num_models=61), 3, range(61), audit_data)
    np.testing.assert_array_equal(larger.member[:41], splits.member)


def test_a_reference_does_not_depend_on_the_targets_side():
    audit_data, _ = drawn()
    member = splits_of(BANK, 3, range(41), audit_data).member[:, audit_data.coined]
    agreement = (member[1:] == member[0]).mean()
    assert abs(agreement - 0.5) < 4 * 0.5 / np.sqrt(member[1:].size)


def test_equal_samples_are_on_one_side():
    # 10 to 19 repeat 0 to 9, which are members; 20 to 29 repeat each other in pairs; 30 is of unknown status, as is 31
    values = [*range(10), *range(10), *(20, 20, 21, 21, 22, 22, 23, 23, 24, 24), 30, 30, *range(40, 100)]
    status = np.array([MEMBER] * 10 + [MEMBER] * 3 + [NON_MEMBER] * 7 + [NON_MEMBER] * 10 + [UNKNOWN, 0] + [0] * 60)
    audit_data, _ = drawn(status.astype(np.int8), values)
    assert audit_data.num_left_out == 7 + 1
    assert not {*range(13, 20), 30, 31} & set(audit_data.ids.tolist())
    assert audit_data.copy_of is not None
    np.testing.assert_array_equal(audit_data.x[audit_data.copy_of], audit_data.x)
    np.testing.assert_array_equal(audit_data.target_member[audit_data.copy_of], audit_data.target_member)
    member = splits_of(BANK, 3, range(41), audit_data).member
    np.testing.assert_array_equal(member[:, audit_data.copy_of], member)


def test_copies_of_kept_members_are_kept():
    values = [*range(30), *range(30), *range(100, 120)]
    status = np.array([MEMBER] * 60 + [NON_MEMBER] * 20, np.int8)
    audit_data, _ = drawn(status, values, num_holdout=10)
    assert audit_data.coined.sum() == 10 + 2 * 10  # of each audited member both copies
    assert audit_data.is_kept.sum() == 60 - 20
    assert audit_data.target_member.sum() == 60


def test_it_is_saved_and_loaded(tmp_path):
    values = np.arange(850) % 800
    audit_data, _ = drawn(values=values)
    audit_data.save(tmp_path)
    found = AuditData.load(tmp_path)
    assert (found.sha256, found.num_left_out) == (audit_data.sha256, audit_data.num_left_out)
    assert found.num_left_out > 0
    np.testing.assert_array_equal(found.kept, audit_data.kept)
    np.testing.assert_array_equal(found.target_member, audit_data.target_member)
    assert sorted(audit_data.files) == sorted(path.name for path in tmp_path.iterdir())


def test_constants_of_the_target_replace_the_sources():
    images = RawData(
        np.arange(850, dtype=np.uint8).reshape(-1, 1, 1, 1).repeat(2, 1),
        np.arange(850) % 2,
        ("a", "b"),
        (0.5, 0.5),
        (0.25, 0.25),
    )
    status = np.array([1, 0] * 425, np.int8)
    own = Target(weights="w", member="m", mean=[0.1], std=[0.2, 0.3])
    found = draw_around(images, Data(num_holdout=2), own, status, 0)
    assert (found.mean, found.std) == ((0.1, 0.1), (0.2, 0.3))
    with pytest.raises(UserError, match="got 3 values of mean or std, expected 1 or 2"):
        draw_around(images, Data(), Target(weights="w", member="m", mean=[0.1] * 3, std=[1]), status, 0)
    with pytest.raises(UserError, match="floats"):
        drawn(target=own)
