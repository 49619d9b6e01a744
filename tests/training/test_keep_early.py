"""The weights of an early step: which step, and what a killed or a short training keeps."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.core.errors import UserError
from pruneaudit.study import FineTuning, Study, Training
from pruneaudit.training.early import KeepEarly, early_step
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., nn.Module]
SETTINGS = Training(epochs=6, batch_size=8, learning_rate=0.1)  # 5 steps an epoch


@pytest.fixture
def noise(one_thread: None) -> Samples:
    generator = torch.Generator().manual_seed(1)
    return Samples(torch.randn(40, 8, 8, 1, generator=generator), torch.randint(3, (40,), generator=generator))


class Noting(Hook):
    """The weights after each step."""

    def __init__(self) -> None:
        self.states: list[dict[str, Tensor]] = []

    def after_step(self, state: TrainingState) -> None:
        self.states.append(copy.deepcopy(state.model.state_dict()))


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("keep_early", "step"), [(1, 5), (3, 15), (0.001, 1), (0.02, 1), (0.05, 2), (0.1, 3), (0.5, 15), (0.999, 30)]
)
def test_an_epoch_or_a_fraction_is_a_step(keep_early: float, step: int, make_net: MakeNet, noise: Samples) -> None:
    assert early_step(keep_early, 6, 5) == step
    early, noting = KeepEarly(keep_early), Noting()
    plain = train(make_net(), noise, SETTINGS, torch.Generator().manual_seed(0), (noting,))
    kept = train(make_net(), noise, SETTINGS, torch.Generator().manual_seed(0), (early,))
    assert same(early.weights, noting.states[step - 1])
    assert same(kept.model.state_dict(), plain.model.state_dict())  # keeping changes nothing


@pytest.mark.parametrize("kill_in", [1, 2, 3, 5])
def test_a_killed_training_keeps_the_same_weights(
    kill_in: int, make_net: MakeNet, noise: Samples, tmp_path: Path
) -> None:
    expected = KeepEarly(2)
    train(make_net(), noise, SETTINGS, torch.Generator().manual_seed(0), (expected,))
    for hooks in ((KillIn(kill_in),), ()):
        early = KeepEarly(2)
        generator, checkpoints = torch.Generator().manual_seed(0), Checkpoints(tmp_path, every_seconds=0)
        try:
            train(make_net(), noise, SETTINGS, generator, (early, *hooks), checkpoints)
        except Killed:
            assert hooks
    assert same(early.weights, expected.weights)


def test_a_training_that_stops_earlier_keeps_its_last_weights(make_net: MakeNet, noise: Samples) -> None:
    class Stopping(Hook):
        def epoch_end(self, state: TrainingState) -> None:
            state.stop = True

    early = KeepEarly(3)
    state = train(make_net(), noise, SETTINGS, torch.Generator().manual_seed(0), (early, Stopping()))
    assert same(early.weights, dict(state.model.state_dict()))


def test_identities_without_it_are_as_they_were() -> None:
    plain = Training()
    assert "keep_early" not in plain.identity
    assert Training(keep_early=1).identity == plain.identity | {"keep_early": 1}
    assert Training(keep_early=2.0).identity == Training(keep_early=2).identity
    assert type(Training(keep_early=2.0).identity["keep_early"]) is int
    assert Training(keep_early=0.02).of_release == plain
    assert FineTuning(epochs=3).over(Training(keep_early=0.02)) == FineTuning(epochs=3).over(plain)


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"keep_early": 0}, "'training.keep_early': got 0, expected an epoch"),
        ({"keep_early": -0.5}, "'training.keep_early': got -0.5, expected an epoch"),
        ({"keep_early": 2.5}, "'training.keep_early': got 2.5, expected an epoch"),
        ({"keep_early": 30}, "keep_early = 30 is no early epoch of 30"),
        ({"keep_early": 1, "function": "mine:train"}, "mine:train replaces the loop"),
    ],
)
def test_what_is_no_early_step_is_refused(training: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Study(name="mine", training=training)


def test_the_early_weights_of_a_target_are_not_known() -> None:
    with pytest.raises(UserError, match=r"training\.keep_early: got 0\.02 together with a target"):
        Study(name="mine", training={"keep_early": 0.02}, target={"weights": "a.pt", "member": "m.npy"})
