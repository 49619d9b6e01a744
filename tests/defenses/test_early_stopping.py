"""The epoch at which training stops, and what is kept."""

# n samples, C classes

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.early_stopping import DEFENSE, EarlyStoppingOptions
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import dev_hooks
from scripted_hooks import Scripted

MakeDefenseContext = Callable[..., DefenseContext]


def stopped(
    make_defense_context: MakeDefenseContext, num_right: Sequence[int], refused: Sequence[int] = (), patience: int = 5
) -> tuple[int, int]:
    """How many epochs were trained, and which one's weights are there in the end (from 1)."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2))
    dev = Samples(torch.arange(10.0)[:, None], torch.zeros(10, dtype=torch.int64))
    options = EarlyStoppingOptions(patience=patience)
    settings = DEFENSE.settings(options, Training(epochs=len(num_right), batch_size=4))
    assert (settings.select, settings.patience) == ("best_dev", patience)
    assert DEFENSE.hooks(model, options, make_defense_context(settings, public=dev)) == ()  # the training itself stops
    hooks = (Scripted(num_right, refused), *dev_hooks(settings, dev))
    history = train(model, dev, settings, torch.Generator().manual_seed(0), hooks).history
    assert [row["dev_accuracy"] for row in history] == pytest.approx([n / 10 for n in num_right[: len(history)]])
    return len(history), 1 + round(float(model[1].bias[1].detach()) * 1e3)


@pytest.mark.parametrize(
    ("num_right", "patience", "expected"),
    [
        ((5, 7, 6, 6, 6, 6, 6, 6, 9), 5, (8, 2)),  # mia_prune: on the 6th epoch in a row
        ((5, 7, 6, 6, 6, 6, 6, 8, 9), 5, (9, 9)),  # the 6th is better in time
        ((5, 5, 5, 5, 5, 5, 5, 5, 9), 5, (7, 1)),  # equal is no improvement
        ((5, 4, 9, 9), 0, (2, 1)),
        ((1, 2, 3, 4), 0, (4, 4)),
        ((3, 2, 4, 3, 3, 9), 1, (5, 3)),  # it waits anew after each improvement
    ],
)
def test_it_stops_when_nothing_has_got_better_for_too_long(
    make_defense_context: MakeDefenseContext, num_right: tuple[int, ...], patience: int, expected: tuple[int, int]
) -> None:
    assert stopped(make_defense_context, num_right, patience=patience) == expected


def test_epochs_that_may_not_be_kept_are_not_counted(make_defense_context: MakeDefenseContext) -> None:
    # Epochs 1 to 3 are those of a mask on its way: neither is their accuracy the best, nor is it waited for.
    assert stopped(make_defense_context, (9, 8, 7, 5, 4, 6, 5, 5), refused=(0, 1, 2), patience=1) == (8, 6)
    assert stopped(make_defense_context, (5, 4, 4, 4, 4, 4, 4, 4), refused=(1, 2, 3), patience=1) == (6, 1)


def test_a_number_of_epochs_is_a_shorter_training_that_needs_no_dev_set(
    make_net: Callable[..., nn.Module], make_defense_context: MakeDefenseContext
) -> None:
    training, options = Training(epochs=6, batch_size=8), EarlyStoppingOptions(epochs=4)
    settings = DEFENSE.settings(options, training)
    assert settings == training.model_copy(update={"epochs": 4})
    model, context = make_net(), make_defense_context(settings)
    empty = Samples(context.public.stored[:0], context.public.y[:0])
    assert DEFENSE.hooks(model, options, make_defense_context(settings, public=empty)) == ()
    history = train(model, context.members, settings, torch.Generator().manual_seed(0)).history
    assert len(history) == 4
    assert history[-1]["learning_rate"] < 0.2 * training.learning_rate  # annealed within the 4 epochs


def test_what_does_not_go_together_is_refused(
    make_net: Callable[..., nn.Module], make_defense_context: MakeDefenseContext
) -> None:
    with pytest.raises(UserError, match=r"got epochs = 3 and patience = 2, expected one of them"):
        validated(EarlyStoppingOptions, {"epochs": 3, "patience": 2}, "defense 'early_stopping'")
    with pytest.raises(UserError, match=r"got epochs = 7, expected at most the training's own 6"):
        DEFENSE.settings(EarlyStoppingOptions(epochs=7), Training(epochs=6))
    context = make_defense_context(Training())
    empty = Samples(context.public.stored[:0], context.public.y[:0])
    with pytest.raises(UserError, match=r"got no public samples, .* or epochs = E for a fixed number"):
        DEFENSE.hooks(make_net(), EarlyStoppingOptions(), make_defense_context(Training(), public=empty))
