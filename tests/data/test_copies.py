"""Samples that stand in a source twice: one coin, one part, audited once; data without copies stay as they were."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.core.identity import sha256_of_arrays
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.data.audit_data import AuditData, copies_note
from pruneaudit.data.copies import first_equal
from pruneaudit.data.drawing import draw, load_audit_data
from pruneaudit.data.source import RawData
from pruneaudit.data.splits import split_of, splits_of
from pruneaudit.engine.task_context import scoring_split
from pruneaudit.study import Data, Membership

# N samples, M models

POOLED = Membership(num_models=8)
DISJOINT = Membership(protocol="disjoint", num_models=8, num_shadows=3)
SEEDS = st.integers(0, 2**63 - 1)


def raw_data(values: np.ndarray) -> RawData:
    """One feature per row, and labels that differ between copies."""
    return RawData(values[:, None].astype(np.float32), np.arange(len(values)) % 3, tuple("abc"))


def drawn(seed: int, data: Data, num_different: int = 60, num_rows: int = 100) -> AuditData:
    """Audit data of a source in which most samples stand several times."""
    return draw(raw_data(np.arange(num_rows) % num_different), data, seed)


@given(values=st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_first_equal_is_the_first_index_of_each_value(values: list[int]) -> None:
    expected = [values.index(value) for value in values]
    for dtype in (np.uint8, np.float32):
        x = np.repeat(np.array(values, dtype)[:, None], 3, axis=1)
        assert first_equal(x).tolist() == expected
        assert first_equal(x.reshape(-1, 3, 1, 1)[:, ::-1]).tolist() == expected


def test_zeros_of_both_signs_are_equal_and_neighbours_are_not() -> None:
    x = np.array([[0.0], [-0.0], [1.0], [np.nextafter(np.float32(1), np.float32(2))]], np.float32)
    assert first_equal(x).tolist() == [0, 0, 2, 3]


def test_rows_of_several_blocks_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruneaudit.data.copies.BLOCK_BYTES", 8)
    assert first_equal(np.array([[5], [6], [7], [6], [5]], np.float32)).tolist() == [0, 1, 2, 1, 0]


@given(seed=SEEDS)
def test_without_copies_population_identity_and_membership_are_what_they_always_were(seed: int) -> None:
    data = Data(num_samples=70, num_canaries=8, num_holdout=10, label_noise=0.1)
    audit_data = draw(raw_data(np.arange(100)), data, seed)
    assert audit_data.copy_of is None and not audit_data.is_copy.any() and copies_note(audit_data) == []
    order = numpy_generator(seed, "population").permutation(100)[:88]
    np.testing.assert_array_equal(audit_data.ids, order)
    arrays = {key: getattr(audit_data, key) for key in ("x", "y", "ids", "canary")} | {"reserve": audit_data.holdout}
    empty = np.zeros(0)
    assert (
        audit_data.bank_sha256
        == audit_data.sha256
        == sha256_of_arrays(arrays | {"mean": empty, "std": empty, "num_classes": np.asarray(3, np.int64)})
    )
    coins = [numpy_generator(seed, "membership", m).random(88) < 0.5 for m in range(8)]
    pooled, disjoint = (splits_of(protocol, seed, range(8), audit_data) for protocol in (POOLED, DISJOINT))
    np.testing.assert_array_equal(pooled.member, coins & ~audit_data.holdout)
    np.testing.assert_array_equal(pooled.eligible, np.tile(~audit_data.holdout, (8, 1)))
    for m in range(8):
        half = (numpy_generator(seed, "halves", m // 4).random(88) < 0.5) | audit_data.canary
        half = (half if m % 4 == 0 else ~half) & ~audit_data.holdout
        np.testing.assert_array_equal(disjoint.eligible[m], half)
        np.testing.assert_array_equal(disjoint.member[m], coins[m] & half)
    scoring = numpy_generator(seed, "scoring membership", 2).random(88) < 0.5
    np.testing.assert_array_equal(scoring_split(seed, 2, audit_data).member, scoring & ~audit_data.holdout)


@given(
    seed=SEEDS,
    num_samples=st.one_of(st.none(), st.integers(30, 60)),
    num_canaries=st.integers(0, 5),
    num_holdout=st.integers(0, 10),
)
def test_equal_samples_stand_in_one_part_and_one_of_each_is_audited(
    seed: int, num_samples: int | None, num_canaries: int, num_holdout: int
) -> None:
    data = Data(num_samples=num_samples, num_canaries=num_canaries, num_holdout=num_holdout)
    audit_data = drawn(seed, data)
    num_audited = min(60 - num_canaries - num_holdout, num_samples or 60)
    assert (audit_data.canary.sum(), audit_data.holdout.sum()) == (num_canaries, num_holdout)
    audited = ~audit_data.canary & ~audit_data.holdout & ~audit_data.is_copy
    assert audited.sum() == num_audited
    assert len(set(audit_data.x[~audit_data.is_copy, 0])) == num_audited + num_canaries + num_holdout
    parts = defaultdict(set)
    for value, canary, holdout in zip(audit_data.x[:, 0], audit_data.canary, audit_data.holdout, strict=True):
        parts[value].add((canary, holdout))
    assert all(len(part) == 1 for part in parts.values())
    # All copies of an audited sample come along: values below 40 stand in the source twice.
    assert audit_data.is_copy.sum() == (audit_data.x[audited, 0] < 40).sum()
    assert len(set(audit_data.ids)) == len(audit_data.ids)
    np.testing.assert_array_equal(audit_data.x[:, 0], audit_data.ids % 60)


@given(seed=SEEDS, protocol=st.sampled_from([POOLED, DISJOINT]))
def test_copies_share_every_coin_and_are_never_scored(seed: int, protocol: Membership) -> None:
    audit_data = drawn(seed, Data(num_canaries=4, num_holdout=6))
    splits = splits_of(protocol, seed, range(8), audit_data)
    scoring = np.stack([scoring_split(seed, m, audit_data).member for m in range(3)])
    for copy in np.flatnonzero(audit_data.is_copy):
        equal = audit_data.x[:, 0] == audit_data.x[copy, 0]
        for member in (splits.member, scoring):
            assert (member[:, equal] == member[:, [copy]]).all()
    assert audit_data.is_copy.any() and not splits.eligible[:, audit_data.is_copy].any()
    assert (splits.eligible.any(axis=0) == ~audit_data.holdout & ~audit_data.is_copy).all()


@given(seed=SEEDS)
def test_no_shadow_has_seen_a_copy_of_a_sample_that_its_victim_is_audited_on(seed: int) -> None:
    audit_data = drawn(seed, Data(num_holdout=6))
    victim = split_of(DISJOINT, seed, 4, audit_data)
    audited = set(audit_data.x[victim.eligible, 0])
    for shadow in (5, 6, 7):
        assert not audited & set(audit_data.x[split_of(DISJOINT, seed, shadow, audit_data).member, 0])


def test_coins_of_originals_do_not_depend_on_their_copies() -> None:
    audit_data = drawn(3, Data())
    alone = draw(raw_data(np.arange(60)), Data(), 3)
    np.testing.assert_array_equal(split_of(POOLED, 3, 1, audit_data).member[:60], split_of(POOLED, 3, 1, alone).member)


def test_identity_holds_the_groups() -> None:
    audit_data = drawn(0, Data())
    fields = {key: getattr(audit_data, key) for key in AuditData.__dataclass_fields__}
    assert AuditData(**fields | {"copy_of": None}).sha256 != audit_data.sha256
    assert AuditData(**fields).sha256 == audit_data.sha256


@pytest.mark.parametrize("mmap", [False, True])
def test_copies_come_back_from_disk(tmp_path: Path, mmap: bool) -> None:
    audit_data, plain = drawn(0, Data()), draw(raw_data(np.arange(60)), Data(), 0)
    for saved in (audit_data, plain):
        folder = tmp_path / saved.sha256
        saved.save(folder)
        assert {path.name for path in folder.iterdir()} == set(saved.files)
        loaded = AuditData.load(folder, mmap)
        assert loaded.sha256 == saved.sha256
        np.testing.assert_array_equal(loaded.is_copy, saved.is_copy)


def test_a_wrong_label_is_given_to_the_audited_sample_alone() -> None:
    clean, noisy = (drawn(0, Data(label_noise=noise)) for noise in (0, 0.5))
    changed = clean.y != noisy.y
    assert changed.sum() == 30 and not changed[clean.is_copy].any()


def test_more_samples_than_there_are_different_ones() -> None:
    audit_data = drawn(0, Data(num_samples=90, num_holdout=10))
    assert (~audit_data.holdout & ~audit_data.is_copy).sum() == 50
    for data in (Data(num_samples=95, num_holdout=10), Data(num_holdout=57), Data(num_samples=4, num_holdout=58)):
        with pytest.raises(UserError, match="has 100 samples, of which 60 are distinct"):
            drawn(0, data)


def test_the_note_tells_how_many() -> None:
    (note,) = copies_note(drawn(0, Data()))
    assert "40 of 100" in note and "(60 in total)" in note


@pytest.mark.parametrize("source", ["digits", "fashion_mnist_5k"])
def test_shipped_data_hold_no_copies(source: str) -> None:
    assert load_audit_data(Data(source=source), seed=0).copy_of is None
