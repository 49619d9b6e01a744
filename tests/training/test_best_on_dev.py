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
from scripted_hooks import Scripted

# n samples, C classes

MakeModel = Callable[..., nn.Module]
Weights = dict[str, Tensor]


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
