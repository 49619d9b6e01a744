"""Arrays in temporary files have the numbers that they had in memory, and leave nothing behind."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.core import set_aside as module
from pruneaudit.core.set_aside import let_go, set_aside

PROC = Path("/proc/self/status")


@pytest.fixture
def sets_all_aside(monkeypatch):
    monkeypatch.setattr(module, "SMALLEST_BYTES", 1)


def in_memory() -> int:
    """The process's resident memory in bytes."""
    line = next(line for line in PROC.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32, np.bool_])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (2, 3, 4)])
def test_numbers_stay_the_same_and_can_be_changed(dtype, shape, sets_all_aside):
    array = np.random.default_rng(0).normal(size=shape).astype(dtype)
    expected = array.copy()
    aside = set_aside(array)
    assert aside is not array and aside.dtype == array.dtype
    for _ in range(3):
        np.testing.assert_array_equal(aside, expected)
        let_go(aside[1:])  # a view lets go of the whole file
    np.testing.assert_array_equal(copy.deepcopy(aside), expected)
    aside[...] = 1
    assert aside.all() and np.array_equal(array, expected)


def test_nan_infinity_and_other_orders_are_kept(sets_all_aside):
    array = np.array([[np.nan, -np.inf], [-0.0, 5e-324], [1.0, 2.0]])
    for each in (array, array.T, array[::2], np.asfortranarray(array)):
        aside = set_aside(each)
        let_go(aside)
        np.testing.assert_array_equal(aside.view(np.int64), np.ascontiguousarray(each).view(np.int64))


def test_small_arrays_and_those_set_aside_before_stay(monkeypatch):
    small = np.zeros(10)
    assert set_aside(small) is small
    let_go(small)
    monkeypatch.setattr(module, "SMALLEST_BYTES", 1)
    aside = set_aside(small)
    assert set_aside(aside) is aside and set_aside(view := aside[2:]) is view


def test_a_disk_that_cannot_be_written_costs_only_memory(tmp_path, monkeypatch, sets_all_aside):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    array = np.arange(5.0)
    assert set_aside(array) is array


def test_only_so_many_files_are_open_at_a_time(monkeypatch, sets_all_aside):
    monkeypatch.setattr(module, "MOST_FILES", len(module._open_files) + 2)
    arrays = [np.full(4, float(number)) for number in range(5)]
    aside = [set_aside(array) for array in arrays]
    assert [one is other for one, other in zip(arrays, aside, strict=True)] == [False, False, True, True, True]
    np.testing.assert_array_equal(aside, arrays)
    del aside
    assert set_aside(arrays[3]) is not arrays[3]


def test_no_file_stays_in_the_folder(tmp_path, monkeypatch, sets_all_aside):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    aside = set_aside(np.arange(1000.0))
    assert not list(tmp_path.iterdir())
    assert aside.sum() == 499_500


@pytest.mark.skipif(not PROC.exists(), reason="resident memory is read from Linux's /proc")
def test_big_arrays_take_memory_only_while_they_are_used():
    size = 2**26
    array = np.ones(size, dtype=np.uint8)
    aside = set_aside(array)
    del array
    before = in_memory()
    assert aside.sum() == size
    assert in_memory() - before > size / 2
    let_go(aside)
    assert in_memory() - before < size / 8
