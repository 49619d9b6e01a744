"""RigL step by step against a naive one, its traps, and a killed training that continues to the bit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.densities import num_removed_in
from pruneaudit.compression.drop_and_grow import DropAndGrow, moved
from pruneaudit.compression.mask import Masks, masks_of
from pruneaudit.compression.schedules import Replacing
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]
SETTINGS = Training(epochs=6, batch_size=8, learning_rate=0.1, weight_decay=0.01)  # 5 steps an epoch, 30 in all


def pruned(model: nn.Module, context: CompressionContext, **options: Any) -> Compressed:
    rigl = COMPRESSORS.get("rigl")
    return rigl.compress(model, validated(rigl.Options, options, "rigl"), context)


def naive_move(weight: np.ndarray, gradient: np.ndarray, mask: np.ndarray, fraction: float) -> np.ndarray:
    """By sorting places one at a time; of equal ones, the first in order are dropped and the last grow."""
    kept = [place for place in range(weight.size) if mask.flat[place]]
    num_dropped = int(fraction * len(kept))
    stay = set(sorted(kept, key=lambda place: (abs(weight.flat[place]), place))[num_dropped:])
    others = [place for place in range(weight.size) if place not in stay]
    grown = sorted(others, key=lambda place: (abs(gradient.flat[place]), place), reverse=True)[:num_dropped]
    return np.array([place in stay or place in grown for place in range(weight.size)]).reshape(weight.shape)


@pytest.mark.parametrize("decimals", [8, 1, 0])  # with more and more ties
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.3, 0.99])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
def test_a_move_is_what_a_naive_one_gives(sparsity: float, fraction: float, decimals: int) -> None:
    generator = torch.Generator().manual_seed(decimals)
    mask = (torch.rand(9, 7, generator=generator) >= sparsity).float()
    weight = torch.randn(9, 7, generator=generator).round(decimals=decimals) * mask
    gradient = torch.randn(9, 7, generator=generator).round(decimals=decimals)
    found = moved(weight, gradient, mask, fraction)
    assert np.array_equal(found.numpy(), naive_move(weight.numpy(), gradient.numpy(), mask.numpy(), fraction))
    assert int(found.sum()) == int(mask.sum())


def test_the_fraction_falls_along_a_cosine_and_ends() -> None:
    schedule = Replacing(drop=0.3, until=0.75, period_steps=10)
    found = [schedule.fraction(step, 100) for step in range(101)]
    assert {step for step, fraction in enumerate(found) if fraction > 0} == {0, 10, 20, 30, 40, 50, 60, 70}
    assert found[0] == 0.3
    assert found[30] == pytest.approx(0.15 * (1 + math.cos(math.pi * 0.4)))
    assert Replacing(0.3, 0.75, 25).fraction(75, 100) == 0  # the end itself


class Noting(Hook):
    """After each step, behind RigL: weights, masks and momentum."""

    def __init__(self, pruning: Compressed) -> None:
        self._pruning = pruning
        self.weights: list[dict[str, Tensor]] = []
        self.masks: list[dict[str, Tensor]] = []
        self.momentum: list[dict[str, Tensor]] = []

    def after_step(self, state: TrainingState) -> None:
        weights = prunable_weights(state.model)
        self.weights.append({name: weight.detach().clone() for name, weight in weights.items()})
        kept = self._pruning.hooks[0].kept()
        self.masks.append({name: kept[f"mask/{name}"].clone() for name in weights})
        states = [state.optimizer.state[weight] for weight in weights.values()]
        self.momentum.append(
            {name: found["momentum_buffer"].clone() for name, found in zip(weights, states, strict=True)}
        )


def test_training_step_by_step_is_that_of_a_naive_rigl(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    options = {"sparsity": 0.7, "period_steps": 4, "drop": 0.5, "until": 0.8}
    pruning = pruned(make_net(), make_context(lambda: make_net(seed=4)), **options)
    noting = Noting(pruning)
    first = {name: mask.numpy() for name, mask in (pruning.masks or {}).items()}
    train(pruning.model, noise, SETTINGS, torch.Generator().manual_seed(0), (*pruning.hooks, noting))

    # SGD written out: momentum 0.9, weight decay 0.01, cosine over 30 steps, the same order of samples.
    net, generator = make_net(seed=4), torch.Generator().manual_seed(0)
    net.to(memory_format=torch.channels_last)
    torch.randint(2**62, (), generator=generator)
    masks = {name: torch.from_numpy(mask) for name, mask in first.items()}
    with torch.no_grad():
        for name, weight in prunable_weights(net).items():
            weight.mul_(masks[name])
    momentum = {name: torch.zeros_like(parameter) for name, parameter in net.named_parameters()}
    step = 0
    for _ in range(6):
        net.train()
        for positions in torch.randperm(40, generator=generator).split(8):
            x, y = noise.batch(positions)
            gradients = torch.autograd.grad(cross_entropy(net(x), y), list(net.parameters()))
            rate = 0.1 * 0.5 * (1 + math.cos(math.pi * step / 30))
            step += 1
            fraction = 0.25 * (1 + math.cos(math.pi * step / 24)) if step % 4 == 0 and step < 24 else 0.0
            for (name, parameter), gradient in zip(net.named_parameters(), gradients, strict=True):
                momentum[name] = (0.9 * momentum[name] if step > 1 else 0) + gradient + 0.01 * parameter.detach()
                with torch.no_grad():
                    parameter.sub_(rate * momentum[name])
                    if name not in masks:
                        continue
                    parameter.mul_(masks[name])
                    if fraction:
                        raw = gradient + 0  # of all weights at the masked network
                        new = torch.from_numpy(
                            naive_move(parameter.numpy(), raw.numpy(), masks[name].numpy(), fraction)
                        )
                        grown = new & ~masks[name]
                        momentum[name][grown] = 0
                        parameter[grown] = 0
                        masks[name] = new
                        parameter.mul_(new)
            for name, mask in masks.items():
                assert torch.equal(noting.masks[step - 1][name], mask), (step, name)
                expected = net.get_parameter(name).detach()
                assert torch.allclose(noting.weights[step - 1][name], expected, rtol=1e-4, atol=1e-6), (step, name)
    assert any((masks[name].numpy() != first[name]).any() for name in masks)


@pytest.mark.parametrize("densities", ["erk", "uniform"])
def test_every_layer_keeps_its_number_of_weights_at_every_step(
    densities: str, make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    options = {"sparsity": 0.8, "period_steps": 3, "densities": densities}
    pruning = pruned(make_net(), make_context(make_net), **options)
    noting, shapes = Noting(pruning), {name: w.shape for name, w in prunable_weights(pruning.model).items()}
    history = train(pruning.model, noise, SETTINGS, torch.Generator().manual_seed(0), (*pruning.hooks, noting)).history
    removed = num_removed_in(shapes, 0.8, densities)
    for masks in noting.masks:
        assert {name: int((~mask).sum()) for name, mask in masks.items()} == removed
    for step, (before, after) in enumerate(zip(noting.masks, noting.masks[1:], strict=False), start=2):
        changed = any(not torch.equal(before[name], after[name]) for name in before)
        assert changed == (step % 3 == 0 and step <= 18), step  # at 21 the fraction is too small for one weight
    assert pruning.masks is not None
    if densities == "erk":
        assert pruning.masks.num_weights - pruning.masks.num_kept == num_removed(pruning.masks.num_weights, 0.8)
    found = Masks.of_zeros(pruning.model, shapes)
    assert all(torch.equal(found[name], mask) for name, mask in pruning.masks.items())
    assert all(0 < row["replaced"] < 1 for row in history[:4])
    assert [row["replaced"] for row in history[5:]] == [0]


def test_grown_weights_start_at_zero_without_momentum(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    pruning = pruned(make_net(), make_context(make_net), sparsity=0.7, period_steps=6, drop=0.5)
    noting = Noting(pruning)
    train(pruning.model, noise, SETTINGS, torch.Generator().manual_seed(0), (*pruning.hooks, noting))
    num_grown = 0
    for step in (6, 12, 18):
        for name, mask in noting.masks[step - 1].items():
            before, weight = noting.masks[step - 2][name], noting.weights[step - 1][name]
            grown = mask & ~before
            num_grown += int(grown.sum())
            assert (weight[grown] == 0).all()
            assert (noting.momentum[step - 1][name][grown] == 0).all()
            assert (noting.momentum[step - 1][name][mask & before] != 0).all()
            assert int((noting.weights[step][name][grown] == 0).sum()) <= 0.1 * int(grown.sum())  # the next step
    assert num_grown > 100


def test_a_dropped_weight_that_grows_again_keeps_its_value() -> None:
    weight, mask = nn.Parameter(torch.tensor([[1.0, 0.5, 0.1, 0.0]])), torch.tensor([[True, True, True, False]])
    model = nn.ParameterDict({"weight": weight})
    pruning = Compressed(model, Masks({"weight": mask}))
    hook = DropAndGrow(pruning, {"weight": weight}, Replacing(0.5, 1.0, 1))
    optimizer = torch.optim.SGD([weight], lr=0.0, momentum=0.9)
    weight.grad = torch.tensor([[0.0, 0.0, 5.0, 1.0]])
    optimizer.step()
    hook.after_step(TrainingState(model, optimizer, torch.Generator(), 10, 1, step=2))
    assert weight.tolist() == [[1.0, 0.5, pytest.approx(0.1), 0.0]]
    assert hook.kept()["mask/weight"].tolist() == [[True, True, True, False]]
    assert optimizer.state[weight]["momentum_buffer"].tolist() == [[0.0, 0.0, 5.0, 1.0]]
    weight.grad = torch.tensor([[0.0, 0.0, 1.0, 5.0]])
    hook.after_step(TrainingState(model, optimizer, torch.Generator(), 10, 1, step=2))
    assert weight.tolist() == [[1.0, 0.5, 0.0, 0.0]]
    assert hook.kept()["mask/weight"].tolist() == [[True, True, False, True]]
    assert optimizer.state[weight]["momentum_buffer"].tolist() == [[0.0, 0.0, 5.0, 0.0]]


def test_the_whole_gradient_learns_where_to_grow(make_net: MakeNet, make_context: MakeContext) -> None:
    pruning = pruned(make_net(), make_context(make_net), sparsity=0.7)
    assert masks_of(pruning.hooks) is None  # a defence must not clear the gradients of removed weights


def test_an_epoch_that_ends_with_weights_just_grown_is_not_selected(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    selectable: list[bool] = []

    class NotingSelectable(Hook):
        def epoch_end(self, state: TrainingState) -> None:
            selectable.append(state.selectable)

    pruning = pruned(make_net(), make_context(make_net), sparsity=0.7, period_steps=5)
    hooks = (*pruning.hooks, NotingSelectable(), BestOnDev(noise))
    train(pruning.model, noise, SETTINGS, torch.Generator().manual_seed(0), hooks)
    assert selectable == [False, False, False, False, True, True]  # moves after 5, 10, 15 and 20 steps
    assert pruning.masks is not None
    found = pruning.masks.found_in(pruning.model)
    assert found.num_kept == pruning.masks.num_kept


def test_a_training_too_short_for_any_move_is_refused_at_its_first_step(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    pruning = pruned(make_net(), make_context(make_net), sparsity=0.7)
    with pytest.raises(UserError, match=r"period_steps: got 100, .* first 22 of this training's 30 .* such as 2,"):
        train(pruning.model, noise, SETTINGS, torch.Generator().manual_seed(0), pruning.hooks)
    pruning = pruned(make_net(), make_context(make_net), sparsity=0.7, period_steps=2)
    history = train(pruning.model, noise, SETTINGS, torch.Generator().manual_seed(0), pruning.hooks).history
    assert history[0]["replaced"] > 0


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_killed_training_continues_to_the_bit(
    optimizer: str, make_net: MakeNet, make_context: MakeContext, noise: Samples, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"optimizer": optimizer, "learning_rate": 0.02})

    def begin(folder: Path | None, kill_in: int = 0) -> tuple[TrainingState, Compressed]:
        pruning = pruned(make_net(), make_context(make_net), sparsity=0.8, period_steps=3)
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        hooks = (*pruning.hooks, KillIn(kill_in))
        return train(pruning.model, noise, settings, torch.Generator().manual_seed(5), hooks, checkpoints), pruning

    expected, undisturbed = begin(None)
    for kill_in in (2, 4, 6):
        with pytest.raises(Killed):
            begin(tmp_path, kill_in)
    resumed, pruning = begin(tmp_path)
    assert resumed.history == expected.history
    assert pruning.masks is not None
    assert undisturbed.masks is not None
    assert all(torch.equal(pruning.masks[key], mask) for key, mask in undisturbed.masks.items())
    final = expected.model.state_dict()
    assert all(torch.equal(value, final[key]) for key, value in resumed.model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sparsity": 0.5, "drop": 1.0}, "'drop': got 1.0"),
        ({"sparsity": 0.5, "until": 0.0}, "'until': got 0.0"),
        ({"sparsity": 0.5, "period_steps": 0}, "'period_steps': got 0"),
        ({"sparsity": 0.5, "scope": "global"}, "unknown key 'scope'"),
        ({"sparsity": 0.999}, "sparsity 0.999 leaves none of .* by ERK"),
        ({"sparsity": 0.99, "densities": "uniform"}, "sparsity 0.99 leaves none of 36 weights of features.0.conv"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    options: dict[str, Any], message: str, make_net: MakeNet, make_context: MakeContext
) -> None:
    with pytest.raises(UserError, match=message):
        pruned(make_net(), make_context(make_net), **options)
