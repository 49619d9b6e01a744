"""Label smoothing against torch's own."""

# B batch, C classes

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import cross_entropy

from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.label_smoothing import DEFENSE, LabelSmoothingOptions, gap_to_uniform
from pruneaudit.study import Training

SETTINGS = Training()


@given(st.integers(1, 9), st.integers(2, 6), st.floats(0.01, 0.99), st.integers(0, 2**31))
def test_it_is_torchs_own(batch: int, classes: int, alpha: float, seed: int) -> None:
    draws = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, classes, generator=draws, dtype=torch.float64)
    y = torch.randint(classes, (batch,), generator=draws)
    found = cross_entropy(logits, y) + alpha * gap_to_uniform(logits, y)
    torch.testing.assert_close(found, cross_entropy(logits, y, label_smoothing=alpha))


def test_what_others_added_to_the_loss_stays(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    (hook,) = DEFENSE.hooks(make_net(), LabelSmoothingOptions(alpha=0.3), make_defense_context(SETTINGS))
    logits, y = torch.randn(6, 3, requires_grad=True), torch.arange(6) % 3
    found = hook.loss(None, logits, y, cross_entropy(logits, y) + logits.square().sum())  # type: ignore[arg-type]
    expected = cross_entropy(logits, y, label_smoothing=0.3) + logits.square().sum()
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, logits)[0], torch.autograd.grad(expected, logits)[0])


def test_no_smoothing_is_no_hook(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    assert DEFENSE.hooks(make_net(), LabelSmoothingOptions(alpha=0), make_defense_context(SETTINGS)) == ()


def test_the_best_answer_is_the_smoothed_label(
    make_net: Callable[..., nn.Module], make_defense_context: Callable[..., DefenseContext]
) -> None:
    """With free logits, the posterior of the right class ends at 1 - alpha + alpha / C."""
    (hook,) = DEFENSE.hooks(make_net(), LabelSmoothingOptions(alpha=0.3), make_defense_context(SETTINGS))
    logits, y = torch.zeros(1, 3, requires_grad=True), torch.tensor([2])
    for _ in range(300):
        loss = hook.loss(None, logits, y, cross_entropy(logits, y))  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(loss, logits)
        logits = (logits - gradient).detach().requires_grad_()
    assert logits.softmax(1)[0].tolist() == pytest.approx([0.1, 0.1, 0.8], abs=1e-4)
