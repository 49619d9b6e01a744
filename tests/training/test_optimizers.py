"""Learning rates against closed forms."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pruneaudit.study import Training
from pruneaudit.training.optimizers import learning_rate_factor, make_optimizer, make_schedule

EPOCHS = st.integers(1, 20)
STEPS = st.integers(1, 20)


@given(EPOCHS, STEPS)
def test_cosine_goes_from_one_to_zero(epochs: int, steps: int) -> None:
    settings = Training(epochs=epochs)
    factors = [learning_rate_factor(settings, step, steps) for step in range(epochs * steps + 1)]
    assert factors[0] == 1
    assert factors[-1] == pytest.approx(0, abs=1e-15)
    assert all(later < earlier for earlier, later in pairwise(factors))
    for step, factor in enumerate(factors):  # the half-angle form
        assert factor == pytest.approx(math.cos(math.pi * step / (2 * epochs * steps)) ** 2, abs=1e-12)


@given(st.lists(st.integers(1, 25), min_size=1, max_size=3), st.floats(0.01, 1), STEPS)
def test_step_multiplies_after_each_milestone(milestones: list[int], decay: float, steps: int) -> None:
    settings = Training(epochs=20, schedule="step", milestones=tuple(milestones), decay=decay)
    expected = 1.0
    for epoch in range(20):  # `epoch` epochs are finished
        for _ in [milestone for milestone in milestones if milestone == epoch]:
            expected *= decay
        for step in (epoch * steps, epoch * steps + steps - 1):
            assert learning_rate_factor(settings, step, steps) == pytest.approx(expected)


def test_constant_stays() -> None:
    settings = Training(schedule="constant")
    assert {learning_rate_factor(settings, step, 10) for step in range(300)} == {1.0}


def test_the_schedule_sets_the_optimizers_learning_rate() -> None:
    settings = Training(epochs=2, learning_rate=0.4, schedule="step", milestones=(1,), decay=0.5)
    optimizer = make_optimizer(nn.Linear(1, 1), settings)
    schedule = make_schedule(optimizer, settings, steps_per_epoch=3)
    rates = []
    for _ in range(6):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([0.4] * 3 + [0.2] * 3)


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ({"momentum": 0.5, "weight_decay": 0.1}, torch.optim.SGD, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.1}),
        ({"optimizer": "adam", "weight_decay": 0.1}, torch.optim.Adam, {"lr": 0.1, "weight_decay": 0.1}),
    ],
)
def test_the_optimizer_is_as_set_and_leaves_frozen_weights(
    values: dict[str, Any], kind: type, expected: dict[str, Any]
) -> None:
    model = nn.Linear(2, 2)
    model.bias.requires_grad_(False)
    optimizer = make_optimizer(model, Training(**values))
    (group,) = optimizer.param_groups
    assert type(optimizer) is kind
    assert group.items() >= expected.items()
    assert [id(parameter) for parameter in group["params"]] == [id(model.weight)]
