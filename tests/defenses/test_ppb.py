"""Pairs by hand, the other half's gradient, and the limits: no strength, no pair."""

# B batch, C classes

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from pruneaudit.core.errors import UserError
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.ppb import DEFENSE, PpbOptions, divergence_of_pairs
from pruneaudit.study import Training
from pruneaudit.training.loop import train

SETTINGS = Training(epochs=3, batch_size=7, learning_rate=0.05)  # 41 samples: odd and even batches


def logits_of(*posteriors: list[float]) -> torch.Tensor:
    """Logits (B, C) whose softmax these are, each shifted by another constant."""
    return torch.tensor(posteriors).log() + torch.arange(len(posteriors))[:, None]


def test_two_pairs_by_hand() -> None:
    # Pairs are (0, 2) and (1, 3). Sorted, 0 is .7 .2 .1 and 2 is .5 .3 .2; 1 and 3 are the same but for the order.
    logits = logits_of([0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [0.5, 0.2, 0.3], [0.1, 0.6, 0.3])
    expected = (0.5 * math.log(0.5 / 0.7) + 0.3 * math.log(0.3 / 0.2) + 0.2 * math.log(0.2 / 0.1)) / 2
    assert float(divergence_of_pairs(logits)) == pytest.approx(expected, rel=1e-5)


def test_it_is_the_second_half_from_the_first() -> None:
    # KL(second || first), which is not KL(first || second).
    one, other = [0.98, 0.01, 0.01], [0.4, 0.3, 0.3]
    forward = 0.4 * math.log(0.4 / 0.98) + 0.6 * math.log(0.3 / 0.01)
    backward = 0.98 * math.log(0.98 / 0.4) + 0.02 * math.log(0.01 / 0.3)
    assert float(divergence_of_pairs(logits_of(one, other))) == pytest.approx(forward, rel=1e-4)
    assert float(divergence_of_pairs(logits_of(other, one))) == pytest.approx(backward, rel=1e-4)


def test_the_last_of_an_odd_number_is_left_out() -> None:
    logits = logits_of([0.1, 0.7, 0.2], [0.5, 0.2, 0.3], [0.98, 0.01, 0.01]).requires_grad_()
    divergence = divergence_of_pairs(logits)
    assert float(divergence.detach()) == float(divergence_of_pairs(logits[:2].detach()))
    (gradient,) = torch.autograd.grad(divergence, logits)
    assert gradient[:2].abs().min() > 0  # both halves
    assert (gradient[2] == 0).all()


@pytest.mark.parametrize("num_samples", [0, 1])
def test_without_a_pair_there_is_nothing_to_balance(num_samples: int) -> None:
    assert float(divergence_of_pairs(torch.randn(num_samples, 3))) == 0


@given(st.integers(2, 9), st.integers(2, 6), st.integers(0, 2**31))
def test_it_is_never_negative_and_blind_to_which_class_is_which(batch: int, classes: int, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, generator=draws, dtype=torch.float64)
    shuffled = torch.stack([row[torch.randperm(classes, generator=draws)] for row in logits])
    assert float(divergence_of_pairs(logits)) >= -1e-12
    assert float(divergence_of_pairs(shuffled)) == pytest.approx(float(divergence_of_pairs(logits)), abs=1e-12)
    assert float(divergence_of_pairs(torch.cat([logits, shuffled]))) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["mlp", "tinycnn"])
def test_no_strength_is_plain_training_bit_for_bit(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext], name: str
) -> None:
    def trained(strength: float | None) -> nn.Module:
        model, context = make_net(name), make_defense_context(SETTINGS)
        hooks = () if strength is None else DEFENSE.hooks(model, PpbOptions(strength=strength), context)
        train(model, context.members, SETTINGS, torch.Generator().manual_seed(5), hooks)
        return model

    plain, without, with_it = (list(trained(strength).state_dict().values()) for strength in (None, 0, 4))
    assert all(torch.equal(a, b) for a, b in zip(plain, without, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(plain, with_it, strict=True))


def test_the_loss_is_cross_entropy_and_strength_times_divergence(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    (hook,) = DEFENSE.hooks(make_net(), PpbOptions(strength=16), make_defense_context(SETTINGS))
    logits, y, so_far = torch.randn(5, 3), torch.zeros(5, dtype=torch.int64), torch.tensor(0.75)
    found = hook.loss(None, logits, y, so_far)  # type: ignore[arg-type]
    assert float(found) == pytest.approx(0.75 + 16 * float(divergence_of_pairs(logits)))


def test_members_become_alike(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    settings = Training(epochs=10, batch_size=8, learning_rate=0.05)

    def divergence_of_members(strength: float) -> float:
        model, context = make_net(), make_defense_context(settings)
        hooks = DEFENSE.hooks(model, PpbOptions(strength=strength), context)
        train(model, context.members, settings, torch.Generator().manual_seed(5), hooks)
        return float(divergence_of_pairs(model.eval()(context.members.inputs(slice(None)))).detach())

    assert divergence_of_members(4) < 0.5 * divergence_of_members(0)


def test_the_default_is_mia_prunes_and_the_argument_is_the_strength() -> None:
    assert PpbOptions().strength == 4
    assert DEFENSE.main == "strength"
    with pytest.raises(UserError, match=r"defense 'ppb': got batch_size = 1, expected at least 2"):
        DEFENSE.settings(PpbOptions(), Training(batch_size=1))
