"""Samples in memory, and the order in which they are visited."""

# n samples, B batch, C channels, H height, W width, F features

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.data.audit_data import AuditData
from pruneaudit.training.samples import Samples, Shuffled


def test_values_are_normalised_and_chosen(audit_data: AuditData) -> None:
    chosen = np.arange(60) % 7 == 0
    samples = Samples.of(audit_data, chosen)
    expected = audit_data.x[chosen].astype(np.float64) / 255
    expected = (expected - np.reshape(audit_data.mean, (2, 1, 1))) / np.reshape(audit_data.std, (2, 1, 1))
    assert len(samples) == chosen.sum()
    assert samples.stored.dtype == torch.float32
    np.testing.assert_allclose(samples.inputs(slice(None)).numpy(), expected, atol=1e-5)
    np.testing.assert_array_equal(samples.y.numpy(), audit_data.y[chosen])


def test_gathered_grey_images_have_the_strides_of_all_others(samples: Samples) -> None:
    """Convolutions of one channel choose their memory format, and so their rounding, by strides that hold no values."""
    grey = replace(samples, stored=samples.stored[..., :1].permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1))
    positions = torch.tensor([5, 0, 41])
    assert grey.batch(positions)[0].stride() == grey.inputs(slice(0, 3)).stride()


def test_batches_are_channels_last_and_in_the_order_asked_for(samples: Samples) -> None:
    everything = samples.inputs(slice(None))
    positions = torch.tensor([5, 0, 5, 41])
    batch = samples.inputs(positions)
    assert batch.shape == (4, 2, 8, 8)
    assert batch.is_contiguous(memory_format=torch.channels_last)
    assert samples.inputs(slice(3, 9)).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch, everything[positions])
    assert torch.equal(samples.inputs(slice(3, 9)), everything[3:9])


def test_tables_are_left_as_they_are(audit_data: AuditData) -> None:
    x = np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)
    table = replace(audit_data, x=x, mean=None, std=None)
    samples = Samples.of(table, table.y == 1)
    np.testing.assert_array_equal(samples.inputs(torch.tensor([2, 0])).numpy(), x[table.y == 1][[2, 0]])


def test_samples_are_copies(audit_data: AuditData) -> None:
    floats = replace(audit_data, x=audit_data.x.astype(np.float32), mean=None, std=None)
    for source in (audit_data, floats):
        before = source.x.copy()
        samples = Samples.of(source, np.ones(60, bool))
        samples.stored.fill_(-1)
        samples.y.fill_(-1)
        np.testing.assert_array_equal(source.x, before)
        assert source.y.min() == 0


def batches(num_samples: int, batch_size: int, seed: int = 0) -> list[list[int]]:
    drawn = Shuffled(num_samples, batch_size).batches(torch.Generator().manual_seed(seed))
    return [positions.tolist() for positions in drawn]


@given(st.integers(1, 60), st.integers(1, 25), st.integers(0, 3))
def test_every_sample_comes_once_an_epoch(num_samples: int, batch_size: int, seed: int) -> None:
    drawn = batches(num_samples, batch_size, seed)
    sizes = [len(positions) for positions in drawn]
    assert sorted(chain(*drawn)) == list(range(num_samples))
    assert len(drawn) == Shuffled(num_samples, batch_size).num_batches
    assert all(size == batch_size for size in sizes[:-1])
    assert 1 <= sizes[-1] <= batch_size + 1
    if num_samples > 1 and batch_size > 1:
        assert min(sizes) > 1  # BatchNorm has no variance of one sample


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "sizes"),
    [(9, 4, [4, 5]), (10, 4, [4, 4, 2]), (8, 4, [4, 4]), (5, 4, [5]), (3, 4, [3]), (1, 4, [1]), (3, 1, [1, 1, 1])],
)
def test_a_last_batch_of_one_joins_the_one_before(num_samples: int, batch_size: int, sizes: list[int]) -> None:
    assert [len(positions) for positions in batches(num_samples, batch_size)] == sizes


def test_each_epoch_has_an_order_of_its_own_and_the_generator_decides_it() -> None:
    draws, again = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    sampler = Shuffled(50, 8)
    epochs = [torch.cat(list(sampler.batches(draws))) for _ in range(2)]
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(torch.cat(list(sampler.batches(again))), epochs[0])
