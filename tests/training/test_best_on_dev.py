"""Which epoch's weights are kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev

# n samples, C classes

MakeModel = Callable[..., nn.Module]
Weights = dict[str, Tensor]


class Scripted(Hook):
    """Before the dev set is looked at: gets a given number of its 10 samples right, and says what is selectable."""

    def __init__(self, num_right: Sequence[int], refused: Sequence[int] = ()) -> None:
        self._num_right, self._refused = num_right, refused
        self.states: list[Weights] = []

    @torch.no_grad()
    def epoch_end(self, state: TrainingState) -> None:
        # A linear layer without weights answers by its bias alone; inputs 0 to 9 have the label "below num_right".
        layer = state.model[1]
        layer.weight.copy_(torch.tensor([[0.0], [1.0]]))
        layer.bias.copy_(torch.tensor([self._num_right[state.epoch] - 0.5, 0.0]))
        self.states.append({name: value.clone() for name, value in state.model.state_dict().items()})
        if state.epoch in self._refused:
            state.selectable = False


def selected(num_right: Sequence[int], refused: Sequence[int] = ()) -> tuple[int, list[float]]:
    """The epoch whose weights are there in the end, and the accuracies noted."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    dev = Samples(torch.arange(10.0)[:, None], torch.zeros(10, dtype=torch.int64))
    scripted = Scripted(num_right, refused)
    settings = Training(epochs=len(num_right), batch_size=4)
    hooks = (scripted, BestOnDev(dev))
    history = train(model, dev, settings, torch.Generator().manual_seed(0), hooks).history
    final = model.state_dict()
    (epoch,) = [e for e, state in enumerate(scripted.states) if all(torch.equal(state[n], final[n]) for n in final)]
    return epoch, [row["dev_accuracy"] for row in history]


@pytest.mark.parametrize(
    ("num_right", "refused", "expected"),
    [
        ((3, 7, 5), (), 1),
        ((3, 5, 7), (), 2),
        ((9, 7, 5), (), 0),
        ((9, 7, 5), (0,), 1),
        ((9, 8, 5), (0, 1), 2),
        ((3, 9, 5, 4), (1,), 2),
        ((0, 9, 5), (1, 2), 0),  # an epoch that gets nothing right is better than none
        ((9, 7, 5), (0, 1, 2), 2),  # none may be selected: the last stays
    ],
)
def test_the_best_selectable_epoch_is_kept(num_right: tuple[int, ...], refused: tuple[int, ...], expected: int) -> None:
    epoch, accuracies = selected(num_right, refused)
    assert epoch == expected
    assert accuracies == pytest.approx([n / 10 for n in num_right])  # refused epochs are noted all the same


def test_of_equal_epochs_the_first_is_kept(samples: Samples, make_model: MakeModel) -> None:
    class Frozen(Hook):
        """Nothing that the network says changes, but a buffer counts on."""

        def after_backward(self, state: TrainingState) -> None:
            state.optimizer.zero_grad(set_to_none=True)

    model = make_model("mlp")
    model.register_buffer("epochs", torch.zeros(()))

    class Counting(Hook):
        def epoch_end(self, state: TrainingState) -> None:
            model.epochs += 1

    hooks = (Frozen(), Counting(), BestOnDev(samples))
    train(model, samples, Training(epochs=3, batch_size=16), torch.Generator().manual_seed(0), hooks)
    assert model.epochs == 1
