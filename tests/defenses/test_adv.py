"""The attacker's gain by hand; it learns where there is something to learn, and the network learns to give it less."""

# n samples, B batch, C classes

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from pruneaudit.core.errors import UserError
from pruneaudit.defenses._adversary import Adversary, attacker_input, attacker_network
from pruneaudit.defenses.adv import DEFENSE, AdvOptions
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.study import Training
from pruneaudit.training.hooks import TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeDefenseContext = Callable[..., DefenseContext]


def state_of(model: nn.Module) -> TrainingState:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0) if list(model.parameters()) else None
    return TrainingState(model, optimizer, torch.Generator(), 1, 1, history=[{}])  # type: ignore[arg-type]


def answers(num_samples: int, confidence: float, seed: int) -> Samples:
    """Samples that are the logits of a network that is this sure of their labels; for nn.Identity as the network."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (num_samples,), generator=draws)
    return Samples(confidence * one_hot(y, 3) + torch.randn(num_samples, 3, generator=draws), y)


def test_it_sees_posteriors_and_labels() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log() + 7
    expected = torch.tensor([[0.5, 0.3, 0.2, 0, 0, 1], [0.1, 0.1, 0.8, 1, 0, 0]])
    torch.testing.assert_close(attacker_input(logits, torch.tensor([2, 0])), expected)


def test_the_gain_by_hand(make_defense_context: MakeDefenseContext) -> None:
    context = make_defense_context(Training())
    (hook,) = DEFENSE.hooks(nn.Identity(), AdvOptions(strength=3, attacker_hidden=()), context)
    assert isinstance(hook, Adversary)
    layer: Any = hook.attacker[0]
    layer.weight.data = torch.tensor([[2.0, 0, 0, 0, 0, 1]])  # log-odds: 2 p_0 + [y = 2]
    layer.bias.data = torch.tensor([-1.0])
    logits = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]]).log().requires_grad_()
    y = torch.tensor([2, 0])
    loss = hook.loss(state_of(nn.Identity()), logits, y, torch.tensor(0.7))
    log_h = [math.log(1 / (1 + math.exp(-odds))) for odds in (2 * 0.5 + 1 - 1, 2 * 0.1 - 1)]
    assert float(loss.detach()) == pytest.approx(0.7 + 3 * sum(log_h) / 2, rel=1e-5)
    # Descending it lowers p_0, and with it the attacker's belief.
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient[:, 0] > 0).all()
    assert (gradient[:, 1:] < 0).all()


@pytest.mark.parametrize(("confidence", "least", "most"), [(6.0, 0.9, 1.0), (1.0, 0.4, 0.6)])
def test_the_attacker_learns_what_there_is_to_learn(
    make_defense_context: MakeDefenseContext, confidence: float, least: float, most: float
) -> None:
    parts = {"members": answers(400, confidence, 1), "public": answers(400, 1.0, 2)}
    context = make_defense_context(Training(batch_size=32), **parts)
    (hook,) = DEFENSE.hooks(nn.Identity(), AdvOptions(), context)
    state = state_of(nn.Identity())
    for _ in range(200):
        hook.before_forward(state)
    hook.epoch_end(state)
    for _ in range(20):
        hook.before_forward(state)
    hook.epoch_end(state)
    assert least <= state.history[-1]["attacker_accuracy"] <= most


def test_only_the_attacker_learns_in_its_own_steps(
    make_net: Callable[..., nn.Module], make_defense_context: MakeDefenseContext
) -> None:
    model = make_net().train()
    (hook,) = DEFENSE.hooks(model, AdvOptions(attacker_steps=2), make_defense_context(Training(batch_size=8)))
    assert isinstance(hook, Adversary)
    network = [value.clone() for value in model.state_dict().values()]  # BatchNorm's statistics among them
    attacker = [value.clone() for value in hook.attacker.state_dict().values()]
    hook.before_forward(state_of(model))
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(a, b) for a, b in zip(network, model.state_dict().values(), strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(attacker, hook.attacker.state_dict().values(), strict=True))


def test_members_and_public_samples_are_told_by_nothing_but_the_networks_answers(
    make_defense_context: MakeDefenseContext,
) -> None:
    """Both are asked in evaluation mode: a network that answers otherwise in training shows no difference."""

    class Moody(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return 100 * x if self.training else 0 * x

    same = answers(50, 3.0, 1)
    context = make_defense_context(Training(batch_size=64), members=same, public=same)
    (hook,) = DEFENSE.hooks(Moody(), AdvOptions(), context)
    assert isinstance(hook, Adversary)
    seen: list[Tensor] = []
    hook.attacker.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    hook.before_forward(state_of(Moody().train()))
    torch.testing.assert_close(seen[0][:, :3], torch.full((128, 3), 1 / 3))


def test_the_network_gives_its_members_away_less(
    make_net: Callable[..., nn.Module], make_defense_context: MakeDefenseContext
) -> None:
    settings = Training(epochs=25, batch_size=8, learning_rate=0.05, weight_decay=0)

    def told_by_confidence(strength: float) -> float:
        """Balanced accuracy of the best threshold on p_y, members against non-members in nobody's training."""
        model, context = make_net("mlp", hidden=[32]), make_defense_context(settings)
        hooks = DEFENSE.hooks(model, AdvOptions(strength=strength), context)
        train(model, context.members, settings, torch.Generator().manual_seed(5), hooks)
        p = [
            model(samples.inputs(slice(None))).softmax(1).gather(1, samples.y[:, None])[:, 0].detach()
            for samples in (context.members, context.public)
        ]
        return max(float((p[0] >= t).float().mean() + (p[1] < t).float().mean()) / 2 for t in torch.cat(p))

    assert told_by_confidence(0) > 0.85
    assert told_by_confidence(8) < told_by_confidence(0) - 0.05


def test_the_attackers_weights_come_from_the_generator_alone() -> None:
    before = torch.random.get_rng_state()
    one, other = (attacker_network(3, (5,), torch.Generator().manual_seed(4)).state_dict() for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [tuple(value.shape) for value in one.values()] == [(5, 6), (5,), (1, 5), (1,)]


def test_no_public_samples_are_refused(make_defense_context: MakeDefenseContext) -> None:
    assert DEFENSE.needs == {"public"}
    context = make_defense_context(Training(), public=answers(0, 1.0, 0))
    with pytest.raises(UserError, match=r"defense 'adv': got no public samples, expected data\.num_public above 0"):
        DEFENSE.hooks(nn.Identity(), AdvOptions(), context)
