"""Both kinds of epochs by hand, and the level at which training comes to rest."""

# B batch, C classes

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.core.errors import UserError
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.relaxloss import (
    DEFENSE,
    RelaxLossOptions,
    climbing_loss,
    flattening_loss,
    soft_labels,
)
from pruneaudit.study import Training
from pruneaudit.training.hooks import TrainingState
from pruneaudit.training.loop import train

# Sample 0 is right, sample 1 wrong: its class has .3, another .6.
POSTERIORS = [[0.8, 0.15, 0.05], [0.1, 0.6, 0.3]]
Y = torch.tensor([0, 2])
CE = -(math.log(0.8) + math.log(0.3)) / 2  # 0.7136


def logits() -> Tensor:
    return torch.tensor(POSTERIORS, dtype=torch.float64).log().requires_grad_()


def gradient(loss: Tensor, of: Tensor) -> list[list[float]]:
    return torch.autograd.grad(loss, of)[0].tolist()


def plain_gradient() -> list[list[float]]:
    """(softmax - one-hot) / B."""
    return [[-0.1, 0.075, 0.025], [0.05, 0.3, -0.35]]


def approximately(expected: list[list[float]], factor: float = 1.0) -> list[object]:
    return [pytest.approx([factor * value for value in row], abs=1e-12) for row in expected]


def test_even_epochs_climb_below_the_level_and_descend_above_it() -> None:
    for alpha, sign in ((1.0, -1), (0.5, 1)):
        z = logits()
        loss = climbing_loss(z, Y, alpha)
        assert float(loss.detach()) == pytest.approx(abs(CE - alpha))
        assert gradient(loss, z) == approximately(plain_gradient(), sign)


@pytest.mark.parametrize("flatten", ["all", "wrong"])
def test_odd_epochs_are_plain_above_the_level(flatten: str) -> None:
    z = logits()
    loss = flattening_loss(z, Y, 0.5, flatten)  # type: ignore[arg-type]
    assert float(loss.detach()) == pytest.approx(CE)
    assert gradient(loss, z) == approximately(plain_gradient())


def test_soft_labels_keep_the_right_class_and_share_out_the_rest() -> None:
    assert soft_labels(logits(), Y).tolist() == approximately([[0.8, 0.1, 0.1], [0.35, 0.35, 0.3]])


def test_odd_epochs_flatten_below_the_level() -> None:
    z = logits()
    loss = flattening_loss(z, Y, 1.0)
    right = -(0.8 * math.log(0.8) + 0.1 * math.log(0.15) + 0.1 * math.log(0.05))
    wrong = -(0.35 * math.log(0.1) + 0.35 * math.log(0.6) + 0.3 * math.log(0.3))
    assert float(loss.detach()) == pytest.approx((right + wrong) / 2)
    # (softmax - soft label) / B: the class itself is left as it is, the others move towards each other.
    assert gradient(loss, z) == approximately([[0, 0.025, -0.025], [-0.125, 0.125, 0]])


def test_the_published_programs_odd_epochs() -> None:
    z = logits()
    loss = flattening_loss(z, Y, 1.0, "wrong")
    wrong = -(0.35 * math.log(0.1) + 0.35 * math.log(0.6) + 0.3 * math.log(0.3))
    assert float(loss.detach()) == pytest.approx(wrong / 2 - CE)
    # What goes through the labels: p_y = .3 moves its own label by dp and the others' by -dp / 2, times -log p each.
    own = 0.3
    slope = -math.log(0.3) + (math.log(0.1) + math.log(0.6)) / 2  # of the soft cross-entropy, by p_y
    through_labels = [slope * own * ((index == 2) - p) / 2 for index, p in enumerate(POSTERIORS[1])]
    flat = [-0.125, 0.125, 0.0]
    minus_plain = [[-value for value in row] for row in plain_gradient()]
    expected = [
        minus_plain[0],
        [a + b + c for a, b, c in zip(minus_plain[1], flat, through_labels, strict=True)],
    ]
    assert gradient(loss, z) == approximately(expected)


def test_epochs_alternate_from_zero_and_other_terms_stay(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    model = make_net()
    (hook,) = DEFENSE.hooks(model, RelaxLossOptions(alpha=1.0), make_defense_context(Training()))
    state = TrainingState(model, torch.optim.SGD(model.parameters()), torch.Generator(), 4, 1)
    expected = [climbing_loss, flattening_loss, climbing_loss, flattening_loss]
    for state.epoch, own in enumerate(expected):
        z = logits()
        found = hook.loss(state, z, Y, cross_entropy(z, Y) + 0.25)
        assert float(found.detach()) == pytest.approx(float(own(z, Y, 1.0).detach()) + 0.25)
        assert gradient(found, z) == approximately(gradient(own(z, Y, 1.0), z))


@pytest.mark.parametrize("flatten", ["all", "wrong"])
def test_training_comes_to_rest_at_the_level(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext], flatten: str
) -> None:
    settings = Training(epochs=60, batch_size=41, learning_rate=0.1, schedule="constant", weight_decay=0)

    def final_loss(alpha: float | None) -> float:
        model, context = make_net("mlp", hidden=[32]), make_defense_context(settings)
        options = RelaxLossOptions(alpha=alpha or 1, flatten=flatten)  # type: ignore[arg-type]
        hooks = DEFENSE.hooks(model, options, context) if alpha else ()
        train(model, context.members, settings, torch.Generator().manual_seed(5), hooks)
        return float(cross_entropy(model(context.members.inputs(slice(None))), context.members.y).detach())

    assert final_loss(None) < 0.05
    assert 0.2 < final_loss(0.5) < 0.8


def test_a_level_that_guessing_reaches_is_refused(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    with pytest.raises(UserError, match=r"got alpha = 1\.1, expected less than 1\.1, .* among 3 classes"):
        DEFENSE.hooks(make_net(), RelaxLossOptions(alpha=1.1), make_defense_context(Training()))
