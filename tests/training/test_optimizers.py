"""Learning rates against closed forms."""

from __future__ import annotations

import math
import subprocess
import sys
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
    assert isinstance(optimizer, kind)
    assert group.items() >= expected.items()
    assert [id(parameter) for parameter in group["params"]] == [id(model.weight)]


def small_network() -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 36, 3))
    return layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "values", [{}, {"momentum": 0.0}, {"weight_decay": 0.0}, {"momentum": 0.5, "learning_rate": 0.3}]
)
def test_its_steps_are_those_of_torchs_fused_sgd_bit_for_bit(values: dict[str, Any]) -> None:
    settings = Training(**({"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01, "epochs": 1} | values))
    own, theirs = small_network(), small_network()
    optimizer = make_optimizer(own, settings)
    # One optimizer for each parameter: the last one gets its first gradient later than the others.
    numbers = {"lr": settings.learning_rate, "momentum": settings.momentum, "weight_decay": settings.weight_decay}
    several = [torch.optim.SGD([parameter], fused=True, **numbers) for parameter in theirs.parameters()]
    schedule = make_schedule(optimizer, settings, steps_per_epoch=6)
    for step in range(6):
        optimizer.zero_grad()
        for parameter, other in zip(own.parameters(), several, strict=True):
            other.zero_grad()
            if step >= 3 or other is not several[-1]:
                gradient = torch.randn_like(parameter)
                parameter.grad, other.param_groups[0]["params"][0].grad = gradient, gradient.clone()
            other.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"]
            other.step()
        optimizer.step()
        schedule.step()
    assert all(torch.equal(a, b) for a, b in zip(own.parameters(), theirs.parameters(), strict=True))
    assert not torch.equal(next(own.parameters()), next(small_network().parameters()))


def test_its_momentum_is_stored_where_torch_stores_it_and_hooks_are_called() -> None:
    network, called = small_network(), []
    optimizer = make_optimizer(network, Training(epochs=1, momentum=0.9, weight_decay=0))
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    network(torch.randn(4, 1, 8, 8)).sum().backward()
    optimizer.step()
    assert called == ["before", "after"]
    again = torch.optim.SGD(small_network().parameters(), lr=0.1, momentum=0.9, fused=True)
    again.load_state_dict(optimizer.state_dict())
    gradients = [parameter.grad for parameter in network.parameters()]
    kept = [own["momentum_buffer"] for own in again.state.values()]
    assert all(torch.equal(a, b) for a, b in zip(kept, gradients, strict=True))


def test_training_does_not_import_torchs_compiler() -> None:
    script = """
import sys, torch
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples
network = torch.nn.Linear(4, 2)
samples = Samples(torch.randn(8, 4), torch.arange(8) % 2)
train(network, samples, Training(epochs=1, batch_size=4, momentum=0.9, schedule="cosine"), torch.Generator())
print("torch._dynamo" in sys.modules)
"""
    found = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["False"]
