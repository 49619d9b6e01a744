"""The file of signals is the old one or the new one, never half of either."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from pruneaudit.core.errors import StorageError, UserError
from pruneaudit.external.output import write_signals
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes


@pytest.fixture
def signals():
    rng = np.random.default_rng(0)
    return Signals(rng.normal(size=(2, 500, 4)), np.arange(500) % 4, rng.random((2, 500)) < 0.5)


def test_what_is_written_can_be_read(signals, tmp_path):
    path = tmp_path / "deep" / "down" / "signals.of-mine"
    write_signals(signals, path)
    np.testing.assert_array_equal(Signals.load(path).logits, signals.logits)
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_there_stays(signals, tmp_path):
    path = tmp_path / "signals.npz"
    path.write_text("mine")
    with pytest.raises(UserError, match="--force"):
        write_signals(signals, path)
    assert path.read_text() == "mine"
    write_signals(signals, path, force=True)
    assert Signals.load(path).num_models == 2


def test_a_full_disk_leaves_the_old_file(signals, tmp_path):
    path = tmp_path / "signals.npz"
    path.write_text("mine")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(StorageError):
            write_signals(signals, path, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]
