"""Epsilon is Opacus's, and an attack on a real training does not find more than it allows."""

# n samples, m canaries

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from opacus.accountants import PRVAccountant, RDPAccountant
from scipy.optimize import brentq
from scipy.stats import norm
from torch import nn
from torch.nn.functional import cross_entropy

from pruneaudit.compression.mask import Masks
from pruneaudit.core.errors import UserError
from pruneaudit.defenses._dp_accounting import Account, noise_for
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.dp import DEFENSE, DOES_NOT_HOLD, DpOptions, statement
from pruneaudit.metrics.epsilon import guess_canaries, one_run_epsilon
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
MakeDefenseContext = Callable[..., DefenseContext]
SETTINGS = Training(epochs=3, batch_size=10, learning_rate=0.05)
STEPS, RATE = 12, 10 / 41  # 41 samples: 4 batches an epoch


def report_of(model: nn.Module, context: DefenseContext, options: DpOptions) -> dict[str, Any]:
    hooks = DEFENSE.hooks(model, options, context)
    train(model, context.members, context.settings, torch.Generator().manual_seed(0), hooks)
    return DEFENSE.report(hooks)


@pytest.mark.parametrize(("name", "accountant"), [("rdp", RDPAccountant), ("prv", PRVAccountant)])
def test_epsilon_is_that_of_opacus(
    make_net: MakeNet, make_defense_context: MakeDefenseContext, name: str, accountant: type
) -> None:
    options = DpOptions(noise_multiplier=1.3, max_grad_norm=0.7, accountant=name, delta=1e-4)
    report = report_of(make_net("mlp"), make_defense_context(SETTINGS), options)
    own = accountant()
    for _ in range(STEPS):
        own.step(noise_multiplier=1.3, sample_rate=RATE)
    assert report["epsilon"] == own.get_epsilon(delta=1e-4)
    expected = {"delta": 1e-4, "noise_multiplier": 1.3, "max_grad_norm": 0.7, "sample_rate": RATE, "steps": STEPS}
    assert {key: report[key] for key in expected} == expected
    assert report["accountant"] == name
    assert json.loads(json.dumps(report)) == report


def test_all_samples_in_every_step_are_the_gaussian_mechanism() -> None:
    # Its epsilon is known exactly (Balle and Wang 2018, arXiv 1805.06530); ten steps are one of less noise.
    mean = math.sqrt(10) / 2
    exact = brentq(
        lambda e: norm.cdf(mean / 2 - e / mean) - math.exp(e) * norm.cdf(-mean / 2 - e / mean) - 1e-5, 0.1, 50
    )
    prv, _ = Account(1e-5, "prv", [(2.0, 1.0, 10)]).spent()
    rdp, _ = Account(1e-5, "rdp", [(2.0, 1.0, 10)]).spent()
    assert exact <= prv <= exact + 0.03
    assert prv <= rdp <= 1.1 * exact


@pytest.mark.parametrize("accountant", ["rdp", pytest.param("prv", marks=pytest.mark.slow)])
def test_the_target_is_reached_after_all_epochs(
    make_net: MakeNet, make_defense_context: MakeDefenseContext, accountant: str
) -> None:
    options = DpOptions(target_epsilon=5.0, accountant=accountant)
    report = report_of(make_net("mlp"), make_defense_context(SETTINGS), options)
    assert report["steps"] == STEPS
    assert 0.98 * 5 <= report["epsilon"] <= 5


@pytest.mark.parametrize("target", [0.5, *(pytest.param(target, marks=pytest.mark.slow) for target in (30.0, 300.0))])
def test_targets_far_from_the_usual_are_kept_too(target: float) -> None:
    account = Account(1e-5, "rdp")
    account.history = [(noise_for(target, account, 0.1, 200), 0.1, 200)]
    assert 0.98 * target <= account.spent()[0] <= target


def test_a_target_below_what_the_accountant_can_tell_is_refused() -> None:
    with pytest.raises(UserError, match=r"no noise reaches target_epsilon = 0\.01 .*accountant = 'prv'"):
        noise_for(0.01, Account(1e-5, "rdp"), 0.1, 200)


def test_huge_epsilons_are_left_to_rdp() -> None:
    history = [(0.1, 0.1, 500)]
    assert Account(1e-5, "prv", list(history)).spent() == Account(1e-5, "rdp", list(history)).spent()


def test_without_noise_epsilon_is_infinite_and_said_to_be(
    make_net: MakeNet, make_defense_context: MakeDefenseContext
) -> None:
    report = report_of(make_net("mlp"), make_defense_context(SETTINGS), DpOptions(noise_multiplier=0.0))
    assert report["epsilon"] is None
    assert "epsilon is infinite" in report["statement"]


def test_nothing_is_spent_before_the_first_step() -> None:
    assert Account(1e-5, "prv").spent() == (0.0, "prv")


@pytest.mark.parametrize("masked", [False, True])
def test_the_report_of_a_training_claims_nothing_of_the_released_network(
    make_net: MakeNet, make_defense_context: MakeDefenseContext, masked: bool
) -> None:
    kept = {"1.weight": torch.arange(8 * 64).view(8, 64) % 2 == 0}
    context = make_defense_context(SETTINGS, masks=lambda: Masks(kept) if masked else None)
    told = report_of(make_net("mlp"), context, DpOptions(noise_multiplier=1.0))["statement"]
    assert "release.json" in told
    assert told != statement("private", ["private"])
    assert DOES_NOT_HOLD not in told


def test_the_statement_names_the_trainings_that_count() -> None:
    assert "parent" not in statement("child", ["child"])
    assert "parent, child" in statement("child", ["parent", "child"])
    assert "parent" in statement("student", ["parent"])  # taught on public samples


def audited_bound(noise_multiplier: float, make_defense_context: MakeDefenseContext) -> tuple[float, float | None]:
    """Trains logistic regression on canaries, each in or out by a coin, and attacks it: the bound, and epsilon."""
    num_canaries, features, guesses = 400, 400, 60
    draws = torch.Generator().manual_seed(11)
    x = torch.eye(num_canaries, features)  # each canary has a weight of its own
    y = torch.randint(2, (num_canaries,), generator=draws)
    included = torch.rand(num_canaries, generator=draws) < 0.5
    model = nn.Sequential(nn.Flatten(), nn.Linear(features, 2))
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    settings = Training(
        epochs=10, batch_size=50, learning_rate=5.0, momentum=0.0, weight_decay=0.0, schedule="constant"
    )
    context = make_defense_context(settings, members=Samples(x[included], y[included]), num_classes=2)
    report = report_of(model, context, DpOptions(noise_multiplier=noise_multiplier, max_grad_norm=0.5))
    with torch.no_grad():
        scores = -cross_entropy(model(x), y, reduction="none")
    tried, right = guess_canaries(scores.numpy(), np.asarray(included), guesses // 2, guesses // 2)
    return one_run_epsilon(num_canaries, tried, right, delta=1e-5), report["epsilon"]


def test_an_attack_on_canaries_finds_less_than_epsilon_and_much_without_noise(
    make_defense_context: MakeDefenseContext,
) -> None:
    without, _ = audited_bound(0.0, make_defense_context)
    assert without > 2.5  # the attack is able to find a leak
    for noise_multiplier in (0.6, 1.0, 4.0):
        bound, epsilon = audited_bound(noise_multiplier, make_defense_context)
        assert epsilon is not None
        assert bound < epsilon
