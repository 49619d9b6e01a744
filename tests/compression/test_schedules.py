"""The cubic ramp, and the rounds of iterative pruning."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.compression.schedules import Ramp, density_after_round

FRACTIONS = st.floats(0, 1)


def test_the_ramp_by_hand() -> None:
    ramp = Ramp(0.8, begin=0.2, end=0.7)
    assert [ramp.at(done) for done in (0, 0.1, 0.2)] == [0, 0, 0]
    assert ramp.at(0.45) == pytest.approx(0.8 * (1 - 0.5**3))
    assert ramp.at(0.6) == pytest.approx(0.8 * (1 - 0.2**3))
    assert [ramp.at(done) for done in (0.7, 0.9, 1)] == [0.8, 0.8, 0.8]


@given(st.floats(0, 0.99), FRACTIONS, FRACTIONS, FRACTIONS, FRACTIONS)
def test_a_ramp_never_falls_and_ends_exactly(sparsity: float, one: float, other: float, t: float, u: float) -> None:
    begin, end = sorted((one, other))
    if begin < end:
        ramp = Ramp(sparsity, begin, end)
        early, late = sorted((t, u))
        assert 0 <= ramp.at(early) <= ramp.at(late) <= sparsity
        assert ramp.at(end) == sparsity


def test_a_ramp_by_epochs_rises_at_their_beginning() -> None:
    """The figures of Pruning_MIA: to epoch 75 of 200, the mask frozen from epoch 180."""
    ramp = Ramp(0.9, end=0.375, period_steps=16, freeze_at=0.9, by_epoch=True)
    asked = [ramp.after(step, 391, 200) for step in range(391 * 200 + 1)]
    for epoch in range(200):
        assert len(set(asked[391 * epoch : 391 * (epoch + 1)])) == 1
    per_epoch = asked[::391]
    assert per_epoch[:75] == pytest.approx([0.9 - 0.9 * (1 - epoch / 75) ** 3 for epoch in range(75)])
    assert set(per_epoch[75:]) == {0.9}
    assert not ramp.is_frozen(180 * 391 - 1, 391, 200)
    assert ramp.is_frozen(180 * 391, 391, 200)


@given(st.floats(0.01, 0.99), st.integers(1, 20))
def test_every_round_removes_the_same_part(sparsity: float, rounds: int) -> None:
    left = [density_after_round(sparsity, finished, rounds) for finished in range(rounds + 1)]
    assert left[0] == 1
    assert left[-1] == pytest.approx(1 - sparsity)
    factors = [after / before for before, after in pairwise(left)]
    assert factors == pytest.approx([factors[0]] * rounds)
