"""Bits of several models, packed: they must come back as they were, whatever their number."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.sanity_check import made_up_bank
from pruneaudit.signals import bits as bits_of
from pruneaudit.signals.bits import Bits, as_bits
from pruneaudit.signals.reduced_outputs import reduced
from pruneaudit.signals.signals import Signals
from pruneaudit.study.outputs import Outputs

# M models, D bits


@given(arrays(bool, st.tuples(st.integers(1, 5), st.integers(1, 70))), st.data())
def test_bits_come_back(kept, data):
    found = Bits.of(kept)
    assert found.shape == kept.shape
    assert found.num_varying == (kept != kept[0]).any(axis=0).sum()
    np.testing.assert_array_equal(np.asarray(found), kept)
    rows = np.array(data.draw(st.lists(st.integers(0, len(kept) - 1), min_size=1)))
    np.testing.assert_array_equal(np.asarray(found[rows]), kept[rows])


def test_blocks_together_are_all_bits(monkeypatch):
    kept = np.random.default_rng(0).random((3, 83)) < 0.4
    monkeypatch.setattr(bits_of, "BITS_AT_ONCE", 16)
    blocks = list(Bits.of(kept).blocks())
    assert [block.shape[1] for block in blocks] == [16] * 5 + [3]
    np.testing.assert_array_equal(np.concatenate(blocks, axis=1), kept)


def test_masks_of_many_large_networks_stay_small():
    num_models, num_bits = 128, 2**20
    rows = [np.arange(num_bits) % (2 + model) == 0 for model in range(num_models)]
    bits = Bits.of(rows)
    assert sum(array.nbytes for array in vars(bits).values() if isinstance(array, np.ndarray)) == len(rows) * 2**17
    np.testing.assert_array_equal(np.asarray(bits[np.array([5])])[0], rows[5])


def test_signals_keep_structure_packed(tmp_path):
    bank = made_up_bank(0)
    kept = np.random.default_rng(1).random((bank.num_models, 21)) < 0.5
    whole = replace(bank, structure=kept.astype(np.int8))
    assert isinstance(whole.structure, Bits)
    whole.save(tmp_path / "bank.npz")
    assert np.load(tmp_path / "bank.npz")["structure"].dtype == bool
    again = replace(whole, features=None)
    for other in (whole, again, Signals.load(tmp_path / "bank.npz"), whole.take_models(np.arange(bank.num_models))):
        np.testing.assert_array_equal(np.asarray(other.structure), kept)
    assert reduced(whole, Outputs("round", 2)).structure is None


@pytest.mark.parametrize(
    ("structure", "named"),
    [
        (np.ones((3, 5), bool), ["structure", "(3, 5)", "(8, bits)"]),
        (np.ones(8, bool), ["structure", "(8,)", "(8, bits)"]),
        (np.ones((8, 0), bool), ["structure", "(8, 0)", "(8, bits)"]),
        (np.full((8, 5), 2), ["structure", "0 and 1", "2"]),
        (np.full((8, 5), "kept"), ["structure", "0 and 1"]),
    ],
)
def test_structure_that_does_not_fit_is_refused_in_one_line(structure, named):
    with pytest.raises(UserError) as refused:
        replace(made_up_bank(0), structure=structure)
    assert all(word in str(refused.value) for word in named)
    assert "\n" not in str(refused.value)


def test_nothing_is_packed_of_nothing():
    assert as_bits("structure", None) is None
