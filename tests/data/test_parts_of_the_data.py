"""The parts of the data: disjoint, stable when another one is added, and what was the reserve is one of them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import sha256_of_arrays
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import draw, load_audit_data, rows_left_over
from pruneaudit.data.source import RawData
from pruneaudit.data.splits import Splits, splits_of
from pruneaudit.study import Data, Membership

# M models, N samples, B of them in the bank

SEEDS = st.integers(0, 2**63 - 1)
SIZES = st.integers(0, 12)
PROTOCOLS = (Membership(num_models=6), Membership(protocol="disjoint", num_models=6, num_shadows=2))


def drawn(seed: int, **settings: Any) -> AuditData:
    """Of 100 rows, 80 different ones."""
    values = np.arange(100) % 80
    raw = RawData(values[:, None].astype(np.float32), values % 3, tuple("abc"))
    return draw(raw, Data(num_samples=40, label_noise=0.1, **settings), seed)


def same_bank(one: AuditData, other: AuditData) -> bool:
    """Whether the samples of the same audit data stand at the beginning of the other, with the same labels."""
    count = len(one.y)
    copies = [audit_data.copy_of for audit_data in (one, other)]
    assert (copies[0] is None) == (copies[1] is None)
    if copies[0] is not None and copies[1] is not None and not np.array_equal(copies[0], copies[1][:count]):
        return False
    return all(np.array_equal(getattr(one, key), getattr(other, key)[:count]) for key in ("x", "y", "ids", "canary"))


def rows(splits: Splits, count: int) -> list[list[list[bool]]]:
    return [array[:, :count].tolist() for array in (splits.member, splits.eligible)]


@given(seed=SEEDS, holdout=SIZES, public=SIZES, canaries=SIZES, first=st.sampled_from(["holdout", "public"]))
def test_the_parts_are_disjoint(seed: int, holdout: int, public: int, canaries: int, first: str) -> None:
    found = drawn(seed, num_holdout=holdout, num_public=public, num_canaries=canaries, drawn_first=first)
    audited = ~found.unseen & ~found.canary & ~found.is_copy
    parts = [audited, found.canary, found.holdout, found.public, found.is_copy]
    assert (np.sum(parts, axis=0) == 1).all()
    assert [int(part.sum()) for part in parts[:4]] == [40, canaries, holdout, public]
    values = [set(found.x[part, 0]) for part in parts[:4]]
    assert sum(map(len, values)) == len(set.union(*values))  # no value in two of them: copies come along with audited
    if found.copy_of is not None:
        assert audited[found.copy_of[found.is_copy]].all()
        assert (found.x[found.copy_of] == found.x).all()
    for protocol in PROTOCOLS:
        splits = splits_of(protocol, seed, range(6), found)
        assert not (splits.member | splits.eligible)[:, found.unseen].any()


@given(seed=SEEDS, holdout=st.integers(1, 12), public=st.integers(1, 12), canaries=SIZES)
def test_a_public_part_is_drawn_after_the_holdout_and_changes_no_bank(
    seed: int, holdout: int, public: int, canaries: int
) -> None:
    before = drawn(seed, num_holdout=holdout, num_canaries=canaries)
    after = drawn(seed, num_holdout=holdout, num_canaries=canaries, num_public=public)
    assert after.num_in_bank == len(before.y) and same_bank(before, after)
    assert after.public[len(before.y) :].all() and not after.public[: len(before.y)].any()
    assert after.bank_sha256 == before.bank_sha256 == before.sha256 != after.sha256
    assert after.public_sha256 and not before.public_sha256
    for protocol in PROTOCOLS:
        one, other = (splits_of(protocol, seed, range(6), found) for found in (before, after))
        assert rows(one, len(before.y)) == rows(other, len(before.y))


@given(seed=SEEDS, size=st.integers(1, 12), added=st.integers(1, 12), canaries=SIZES)
def test_what_was_the_reserve_becomes_the_public_part_with_the_same_samples(
    seed: int, size: int, added: int, canaries: int
) -> None:
    before = drawn(seed, num_holdout=size, num_canaries=canaries)  # as the reserve was drawn
    alone = drawn(seed, num_public=size, num_canaries=canaries)
    both = drawn(seed, num_public=size, num_canaries=canaries, num_holdout=added, drawn_first="public")
    for after in (alone, both):
        assert same_bank(before, after)
        np.testing.assert_array_equal(after.ids[after.public], before.ids[before.holdout])
        assert after.bank_sha256 == before.sha256 and after.public_sha256 == ""
        np.testing.assert_array_equal(after.ids[after.shaping()], before.ids[before.shaping()])
    assert len({found.sha256 for found in (before, alone, both)}) == 3
    assert set(both.ids[both.holdout]).isdisjoint(before.ids) and both.holdout.sum() == added


def test_the_bank_is_known_by_the_hash_that_it_always_had() -> None:
    both = drawn(5, num_public=7, num_canaries=3, num_holdout=9, drawn_first="public")
    count, empty = both.num_in_bank, np.zeros(0)
    assert count == len(both.y) - 9
    assert both.copy_of is not None
    arrays = {key: getattr(both, key)[:count] for key in ("x", "y", "ids", "canary", "copy_of")}
    rest = {"reserve": both.public[:count], "mean": empty, "std": empty, "num_classes": np.asarray(3, np.int64)}
    assert both.bank_sha256 == sha256_of_arrays(arrays | rest)


def test_public_samples_shape_models_or_where_there_are_none_the_first_of_the_holdout() -> None:
    without, with_public = drawn(1, num_holdout=10), drawn(1, num_holdout=10, num_public=6)
    np.testing.assert_array_equal(without.shaping(), without.holdout)
    np.testing.assert_array_equal(with_public.shaping(), with_public.public)
    assert np.flatnonzero(with_public.shaping(2)).tolist() == np.flatnonzero(with_public.public)[:2].tolist()
    np.testing.assert_array_equal(with_public.shaping(4), with_public.shaping(3))  # at most half of the 6
    assert with_public.shaping(3).sum() == 3 and not (with_public.shaping(3) & ~with_public.public).any()
    first = np.flatnonzero(without.holdout)[:4]
    assert np.flatnonzero(without.shaping(4)).tolist() == first.tolist()
    assert not without.untouched_holdout(4)[first].any() and without.untouched_holdout(4).sum() == 6
    np.testing.assert_array_equal(without.untouched_holdout(), without.holdout)
    assert not without.untouched_holdout(10).any()


def test_saved_parts_come_back(tmp_path: Any) -> None:
    found = load_audit_data(Data(source="digits", num_samples=60, num_holdout=20, num_public=10), seed=0)
    found.save(tmp_path)
    loaded = AuditData.load(tmp_path, mmap=True)
    assert (loaded.sha256, loaded.bank_sha256, loaded.public_sha256) == (
        found.sha256,
        found.bank_sha256,
        found.public_sha256,
    )
    assert loaded.holdout.sum() == 20 and loaded.public.sum() == 10
    moved = dataclasses.replace(found, holdout=found.public, public=found.holdout)
    assert moved.sha256 != found.sha256


@pytest.mark.parametrize(
    ("settings", "left"),
    [({"num_samples": 600, "num_holdout": 400}, 797), ({"num_samples": 1797}, 0), ({"num_holdout": 50}, 0)],
)
def test_rows_that_a_study_leaves_over(settings: dict[str, int], left: int) -> None:
    assert rows_left_over(Data(source="digits", **settings)) == left  # 1,797 digits, all different


def test_the_former_key_is_refused_with_both_new_ones_and_the_command_that_translates() -> None:
    with pytest.raises(UserError, match=r"num_reserve = 50.* num_holdout .* num_public .*pruneaudit migrate STUDY"):
        Data(num_reserve=50)
