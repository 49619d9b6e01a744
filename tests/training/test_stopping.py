"""A hook ends a training; what follows is as after a last epoch."""

# n samples, C classes

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples

MakeModel = Callable[..., nn.Module]
SETTINGS = Training(epochs=6, batch_size=16, learning_rate=0.1)


class StopIn(Hook):
    """Says stop in one epoch."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def epoch_end(self, state: TrainingState) -> None:
        state.stop = state.epoch + 1 == self._epoch


class Watching(Hook):
    """Notes what is called, and may end the process when all is over."""

    def __init__(self, dies: bool = False) -> None:
        self.calls: list[tuple[str, int]] = []
        self._dies = dies

    def epoch_end(self, state: TrainingState) -> None:
        self.calls.append(("epoch_end", state.epoch))

    def finalize(self, state: TrainingState) -> None:
        self.calls.append(("finalize", state.epoch))
        if self._dies:
            raise KeyboardInterrupt


def trained(
    samples: Samples, model: nn.Module, hooks: list[Hook], checkpoints: Checkpoints | None = None
) -> TrainingState:
    return train(model, samples, SETTINGS, torch.Generator().manual_seed(5), hooks, checkpoints)


def test_a_stopped_training_is_the_beginning_of_the_whole_one(samples: Samples, make_model: MakeModel) -> None:
    whole, watching = trained(samples, make_model(), []), Watching()
    model = make_model()
    state = trained(samples, model, [StopIn(3), watching])  # the hooks of that epoch are all still called
    assert state.history == whole.history[:3]
    assert state.step == 9
    assert watching.calls == [("epoch_end", 0), ("epoch_end", 1), ("epoch_end", 2), ("finalize", 2)]


@pytest.mark.parametrize("epoch", [1, 3, 6])
def test_one_that_dies_after_it_stopped_stops_there_again(
    samples: Samples, make_model: MakeModel, tmp_path: Path, epoch: int
) -> None:
    expected = make_model()
    history = trained(samples, expected, [StopIn(epoch)]).history
    with pytest.raises(KeyboardInterrupt):
        trained(samples, make_model(), [StopIn(epoch), Watching(dies=True)], Checkpoints(tmp_path, every_seconds=0))
    model, watching = make_model(), Watching()
    state = trained(samples, model, [StopIn(epoch), watching], Checkpoints(tmp_path, every_seconds=0))
    assert state.history == history
    assert watching.calls == [("epoch_end", epoch - 1), ("finalize", epoch - 1)]  # one epoch is trained again
    for one, other in zip(model.state_dict().values(), expected.state_dict().values(), strict=True):
        assert torch.equal(one, other)
