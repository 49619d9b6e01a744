"""Which samples a study draws: sizes, label noise, identity, and what is kept on disk."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import draw, load_audit_data
from pruneaudit.data.source import RawData
from pruneaudit.study import Data

# N samples

NUM_CLASSES = 4


def raw_data(num_samples: int = 200) -> RawData:
    """Row i of the table holds i; its label is i % 4."""
    rows = np.arange(num_samples)
    return RawData(rows[:, None].astype(np.float32), rows % NUM_CLASSES, tuple("abcd"))


@given(num_samples=st.integers(60, 150), num_holdout=st.integers(0, 50), seed=st.integers(0, 2**63 - 1))
def test_drawn_samples_are_rows_of_the_source(num_samples: int, num_holdout: int, seed: int) -> None:
    audit_data = draw(raw_data(), Data(num_samples=num_samples, num_holdout=num_holdout), seed)
    assert len(set(audit_data.ids.tolist())) == num_samples + num_holdout
    assert audit_data.x[:, 0].tolist() == audit_data.ids.tolist()
    assert audit_data.y.tolist() == (audit_data.ids % NUM_CLASSES).tolist()
    assert audit_data.holdout.tolist() == [False] * num_samples + [True] * num_holdout
    assert not audit_data.canary.any()
    assert audit_data.num_classes == NUM_CLASSES


def test_all_that_the_holdout_leaves() -> None:
    audit_data = draw(raw_data(), Data(num_holdout=30), seed=0)
    assert (~audit_data.holdout).sum() == 170
    assert sorted(audit_data.ids) == list(range(200))


def test_seed_decides_which() -> None:
    data = Data(num_samples=100)
    first, again, other = (draw(raw_data(), data, seed) for seed in (1, 1, 2))
    assert first.sha256 == again.sha256
    assert set(first.ids) != set(other.ids)


def test_every_row_is_as_likely_as_any_other() -> None:
    counts: Counter[int] = Counter()
    for seed in range(400):
        counts.update(draw(raw_data(40), Data(num_samples=20), seed).ids.tolist())
    # Binomial(400, 1/2) has standard deviation 10; 5 of them are passed once in 40,000 tests of 40 rows.
    assert all(abs(counts[row] - 200) < 50 for row in range(40))


@given(fraction=st.floats(0, 0.99), seed=st.integers(0, 1000))
def test_label_noise_replaces_exactly_so_many_labels(fraction: float, seed: int) -> None:
    data = Data(num_samples=150, num_holdout=50, label_noise=fraction)
    clean, noisy = draw(raw_data(), Data(num_samples=150, num_holdout=50), seed), draw(raw_data(), data, seed)
    changed = clean.y != noisy.y
    assert changed.sum() == round(fraction * 150)
    assert not (changed & noisy.holdout).any()
    np.testing.assert_array_equal(clean.ids, noisy.ids)


def test_noise_goes_to_every_other_class_alike() -> None:
    raw = raw_data(4000)
    data = Data(label_noise=0.9)
    clean, noisy = draw(raw, Data(), 0).y, draw(raw, data, 0).y
    shift = (noisy - clean) % NUM_CLASSES
    counts = np.bincount(shift, minlength=NUM_CLASSES)
    assert counts[0] == 400
    # 1200 expected of each, with standard deviation 28.
    assert (abs(counts[1:] - 1200) < 150).all()


def test_source_labels_stay_as_they_were() -> None:
    raw = raw_data()
    draw(raw, Data(label_noise=0.5), seed=0)
    assert raw.y.tolist() == [row % NUM_CLASSES for row in range(200)]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(num_samples=201), "num_samples = 201, but source .* has 200 samples"),
        (Data(num_samples=150, num_holdout=51), "num_samples = 150 and num_holdout = 51, but"),
        (Data(num_samples=150, num_holdout=30, num_public=21), "num_holdout = 30 and num_public = 21, but"),
        (Data(num_holdout=197), "at least 4"),
        (Data(num_samples=4), "none of the .* audited samples has class"),
    ],
)
def test_too_few_samples(data: Data, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draw(raw_data(), data, seed=1)


def test_identity_is_of_all_that_a_model_sees() -> None:
    base = draw(raw_data(), Data(), 0)
    fields = {key: getattr(base, key) for key in AuditData.__dataclass_fields__}
    assert AuditData(**fields).sha256 == base.sha256
    assert AuditData(**fields | {"name": "renamed"}).sha256 == base.sha256
    changes = [
        {"y": np.roll(base.y, 1)},
        {"x": base.x + 1},
        {"holdout": ~base.holdout},
        {"public": ~base.public},
        {"canary": ~base.canary},
        {"mean": (0.5,)},
        {"std": (0.5,)},
        {"num_classes": 5, "classes": tuple("abcde")},
    ]
    hashes = {AuditData(**fields | change).sha256 for change in changes}
    assert len(hashes | {base.sha256}) == len(changes) + 1


@pytest.mark.parametrize("mmap", [False, True])
def test_saved_population_comes_back(tmp_path: Path, mmap: bool) -> None:
    audit_data = load_audit_data(Data(source="digits", num_samples=60, num_holdout=20), seed=0)
    audit_data.save(tmp_path / "audit_data")
    loaded = AuditData.load(tmp_path / "audit_data", mmap=mmap)
    assert isinstance(loaded.x, np.memmap) == mmap
    assert loaded.sha256 == audit_data.sha256
    for key in ("name", "classes", "num_classes", "mean", "std"):
        assert getattr(loaded, key) == getattr(audit_data, key)


def test_mapped_arrays_go_to_torch_and_never_to_disk(tmp_path: Path) -> None:
    import torch

    draw(raw_data(), Data(), 0).save(tmp_path)
    before = (tmp_path / "x.npy").read_bytes()
    torch.from_numpy(AuditData.load(tmp_path, mmap=True).x).zero_()  # no warning that the array is read-only
    assert (tmp_path / "x.npy").read_bytes() == before


def test_float_data_have_no_normalisation_after_loading(tmp_path: Path) -> None:
    draw(raw_data(), Data(), 0).save(tmp_path)
    assert AuditData.load(tmp_path).mean is None


@pytest.mark.parametrize("name", ["audit_data.json", "x.npy", "canary.npy"])
def test_incomplete_folder_is_refused(tmp_path: Path, name: str) -> None:
    draw(raw_data(), Data(), 0).save(tmp_path)
    content = (tmp_path / name).read_bytes()
    for broken in (content[: len(content) // 2], b"", None):
        (tmp_path / name).unlink()
        if broken is not None:
            (tmp_path / name).write_bytes(broken)
        with pytest.raises(UserError, match="missing or damaged"):
            AuditData.load(tmp_path)
        (tmp_path / name).write_bytes(content)


def test_arrays_of_different_lengths_are_refused() -> None:
    base = draw(raw_data(), Data(), 0)
    fields = {key: getattr(base, key) for key in AuditData.__dataclass_fields__}
    with pytest.raises(ValueError, match="'canary'"):
        AuditData(**fields | {"canary": base.canary[1:]})


def test_study_data_say_what_is_wrong() -> None:
    with pytest.raises(UserError, match="did you mean 'fashion_mnist'"):
        load_audit_data(Data(source="fashion_mnst"), seed=0)
    with pytest.raises(UserError, match=r"data.source 'npz': 'path' is missing"):
        load_audit_data(Data(source="npz"), seed=0)
    with pytest.raises(UserError, match=r"data.source 'digits': unknown key 'path'"):
        load_audit_data(Data(source="digits:/somewhere"), seed=0)


def test_data_root_is_handed_to_the_source(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=str(tmp_path)):
        load_audit_data(Data(source="cifar10"), seed=0, data_root=tmp_path)


def test_a_class_without_a_sample_is_taken_where_the_classes_are_named(tmp_path: Path) -> None:
    rows = np.arange(40)
    arrays = {"x": np.random.default_rng(0).normal(size=(40, 2)), "y": rows % 2 * 2}
    np.savez(tmp_path / "gap.npz", **arrays)
    np.savez(tmp_path / "named.npz", **arrays, classes=["a", "b", "c", "d"])
    named = load_audit_data(Data(source=f"npz:{tmp_path / 'named.npz'}"), 0)
    assert named.num_classes == 4
    assert set(named.y.tolist()) == {0, 2}
    with pytest.raises(UserError, match=r"label 1.*0\.\.2.*classes="):
        load_audit_data(Data(source=f"npz:{tmp_path / 'gap.npz'}"), 0)


def test_a_class_of_the_source_that_is_not_drawn_is_refused() -> None:
    rows = np.arange(200)
    raw = RawData(rows[:, None].astype(np.float32), np.where(rows == 0, 3, rows % 3), tuple("abcd"))
    with pytest.raises(UserError, match=r"class 3 \('d'\).*num_samples"):
        draw(raw, Data(num_samples=10), seed=1)
