"""In which order channels go, and where the cut is: against counting one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.compression.channel_choice import (
    Effect,
    Group,
    how_many,
    removal_order,
    removed_channels,
    removed_costs,
)
from pruneaudit.core.errors import UserError

# n channels of a group


def group(root: str, scores: list[float], *effects: Effect) -> Group:
    units = tuple((index,) for index in range(len(scores)))
    return Group(root, len(scores), torch.tensor(scores), units, effects)


SCORES = st.lists(st.lists(st.integers(0, 5).map(float), min_size=1, max_size=8), min_size=1, max_size=4)


@given(SCORES, st.floats(0.3, 0.95))
def test_at_any_cut_each_layer_has_lost_its_lowest_and_the_same_fraction(rows: list[list[float]], most: float) -> None:
    groups = [group(str(index), scores) for index, scores in enumerate(rows)]
    order = removal_order(groups, "layerwise", most)
    for cut in range(len(order) + 1):
        gone = [sorted(unit for index, unit in order[:cut] if index == place) for place in range(len(rows))]
        for scores, lost in zip(rows, gone, strict=True):
            lowest = sorted(range(len(scores)), key=lambda channel, scores=scores: (scores[channel], channel))
            assert lost == sorted(lowest[: len(lost)])
            assert len(lost) <= min(len(scores) - 1, most * len(scores) + 1e-9)
        free = [
            (len(r), len(g)) for r, g in zip(rows, gone, strict=True) if len(g) < int(min(len(r) - 1, most * len(r)))
        ]
        for num, lost in free:  # a layer that may still lose some is nowhere more than one channel behind another
            assert all((lost + 0.5) / num >= (len(other) - 0.5) / len(r) for r, other in zip(rows, gone, strict=True))


@given(SCORES)
def test_all_together_the_lowest_go_first(rows: list[list[float]]) -> None:
    order = removal_order([group(str(index), scores) for index, scores in enumerate(rows)], "global", 0.99)
    taken = [rows[index][unit] for index, unit in order]
    assert taken == sorted(taken)
    assert len(set(order)) == len(order) == sum(len(scores) - 1 for scores in rows)


def test_costs_by_hand() -> None:
    # a (3 inputs, 2 outputs) -> b (2 x 4 inputs after flattening, 5 outputs); 6 and 40 weights
    coupled = group("a", [2.0, 1.0], Effect("a", True, (1, 1)), Effect("b", False, (4, 4)))
    hidden = group("b", [1.0, 2.0, 3.0, 4.0, 5.0], Effect("b", True, (1,) * 5))
    order = [(0, 1), (1, 0), (1, 1)]
    found = removed_costs([coupled, hidden], order, {"a": (3, 2), "b": (8, 5)}, {"a": 6, "b": 40})
    assert found == pytest.approx([(3 + 20) / 46, (3 + 24) / 46, (3 + 28) / 46])
    assert removed_channels([coupled, hidden], order) == pytest.approx([1 / 7, 2 / 7, 3 / 7])


def test_a_layer_without_a_cost_counts_nothing() -> None:
    coupled = group("a", [2.0, 1.0], Effect("a", True, (1, 1)), Effect("up", False, (1, 1)))
    assert removed_costs([coupled], [(0, 1)], {"a": (3, 2), "up": (2, 9)}, {"a": 6}) == pytest.approx([0.5])


@pytest.mark.parametrize(
    ("sparsity", "count"), [(0.001, 1), (0.2, 1), (0.29, 1), (0.31, 2), (0.5, 2), (0.6, 3), (0.7, 3)]
)
def test_the_nearest_cut_is_taken(sparsity: float, count: int) -> None:
    assert how_many([0.2, 0.4, 0.7], sparsity, "params") == count


@pytest.mark.parametrize("fractions", [[], [0.1, 0.6999]])
def test_what_is_out_of_reach_is_refused(fractions: list[float]) -> None:
    with pytest.raises(UserError, match=rf"sparsity 0.7 of macs: at most {0.699 if fractions else 0:g} can be removed"):
        how_many(fractions, 0.7, "macs")
