"""Gradual pruning: along the ramp, never back, and resumed to the bit (as DPF is)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]
SETTINGS = Training(epochs=6, batch_size=8, learning_rate=0.1, weight_decay=0.01)  # 5 steps an epoch, 30 in all


class Noting(Hook):
    """Which weights are not zero after each step."""

    def __init__(self) -> None:
        self.masks: list[Masks] = []

    def after_step(self, state: TrainingState) -> None:
        self.masks.append(Masks.of_zeros(state.model, prunable_weights(state.model)))


@pytest.mark.parametrize("scope", ["global", "layerwise"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_weights_go_along_the_ramp_and_never_come_back(
    scope: str, optimizer: str, make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    model, pruner, noting = make_net(), COMPRESSORS.get("gradual"), Noting()
    options = pruner.Options(sparsity=0.8, begin=0.2, end=0.7, period_steps=4, scope=scope)
    pruning = pruner.compress(model, options, make_context(make_net))
    settings = SETTINGS.model_copy(update={"optimizer": optimizer, "learning_rate": 0.02})
    history = train(model, noise, settings, torch.Generator().manual_seed(0), (*pruning.hooks, noting)).history

    assert all((new[name] <= old[name]).all() for old, new in pairwise(noting.masks) for name in old)
    sizes = [weight.numel() for weight in prunable_weights(model).values()]
    groups = sizes if scope == "layerwise" else [sum(sizes)]
    asked = 0.0
    for step, masks in enumerate(noting.masks, start=1):
        if step % 4 == 0 or step == 21:  # 0.7 of 30 steps
            asked = 0.8 * (1 - (1 - min(max(step / 30 - 0.2, 0) / 0.5, 1)) ** 3)
        assert masks.num_weights - masks.num_kept == sum(num_removed(size, asked) for size in groups)
    assert asked == 0.8
    assert [row["sparsity"] for row in history] == [masks.sparsity for masks in noting.masks[4::5]]
    assert pruning.masks is not None
    assert all(torch.equal(pruning.masks[name], noting.masks[-1][name]) for name in pruning.masks)


def test_removed_weights_stay_removed_beside_kept_ones_that_are_zero(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    class SettingZero(Hook):
        """Makes every weight of the second layer zero, late, when few are left to go; of equal ones, the first go."""

        def after_backward(self, state: TrainingState) -> None:
            state.optimizer.param_groups[0]["lr"] = 0.0
            if state.epoch >= 3:
                with torch.no_grad():
                    list(prunable_weights(state.model).values())[1].zero_()

    model, pruner = make_net(), COMPRESSORS.get("gradual")
    pruning = pruner.compress(model, pruner.Options(sparsity=0.8, period_steps=1), make_context(make_net))
    found: list[dict[str, Tensor]] = []

    class NotingTheMask(Hook):
        def after_step(self, state: TrainingState) -> None:
            found.append({name: kept for name, kept in pruning.hooks[0].kept().items() if kept.ndim})

    hooks = (SettingZero(), *pruning.hooks, NotingTheMask())
    train(model, noise, SETTINGS, torch.Generator().manual_seed(0), hooks)
    assert all((new[name] <= old[name]).all() for old, new in pairwise(found) for name in old)
    assert pruning.masks is not None
    assert pruning.masks.num_weights - pruning.masks.num_kept == num_removed(pruning.masks.num_weights, 0.8)


# ------------------------------------------------------------------ stopped and resumed


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "gradual": ("gradual", {"period_steps": 3}),
    "gradual, layerwise": ("gradual", {"period_steps": 7, "scope": "layerwise", "begin": 0.3}),
    "dpf": ("dpf", {"period_steps": 3}),
    "dpf, by epoch and frozen": ("dpf", {"period_steps": 4, "ramp_by": "epoch", "ramp_end": 0.5, "freeze_at": 0.7}),
    "dpf, pretrained": ("dpf", {"period_steps": 2, "start": "pretrained", "layers": "convolutions"}),
    "random": ("random", {}),
    "static": ("static", {"start": "init"}),
}


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("name", CASES)
def test_a_stopped_training_ends_with_the_bits_of_one_that_was_never_stopped(
    name: str, optimizer: str, make_net: MakeNet, make_context: MakeContext, noise: Samples, tmp_path: Path
) -> None:
    method, options = CASES[name]
    settings = SETTINGS.model_copy(update={"optimizer": optimizer, "learning_rate": 0.02})

    def begin(folder: Path | None, kill_in: int = 0) -> tuple[TrainingState, Compressed]:
        pruner = COMPRESSORS.get(method)
        context = make_context(lambda: make_net(seed=4))
        pruning = pruner.compress(make_net(), pruner.Options(sparsity=0.8, **options), context)
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        hooks = (*pruning.hooks, KillIn(kill_in))
        generator = torch.Generator().manual_seed(5)
        return train(pruning.model, noise, settings, generator, hooks, checkpoints), pruning

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
    assert pruning.masks.num_weights - pruning.masks.num_kept == num_removed(pruning.masks.num_weights, 0.8)
