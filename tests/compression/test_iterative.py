"""Iterative pruning: the sparsity of each round, what rounds train, and what they rewind to."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]
Weights = dict[str, Tensor]
Phases = list[tuple[str, int | None, Weights]]


def pruned(
    make_net: MakeNet, make_context: MakeContext, sparsity: float, **options: Any
) -> tuple[Compressed, Phases, set[str]]:
    """Prunes a network that began from another seed's weights; with what was trained, and the prunable names."""
    phases: Phases = []
    model, pruner = make_net(), COMPRESSORS.get("iterative")
    context = make_context(lambda: make_net(seed=4), phases)
    pruning = pruner.compress(model, pruner.Options(sparsity=sparsity, **options), context)
    return pruning, phases, set(prunable_weights(model))


@pytest.mark.parametrize("scope", ["global", "layerwise"])
@pytest.mark.parametrize("rewind", ["none", "init", "early"])
@pytest.mark.parametrize("rounds", [1, 3, 5])
def test_every_round_leaves_the_same_part_of_what_was_left(
    rounds: int, rewind: str, scope: str, make_net: MakeNet, make_context: MakeContext
) -> None:
    pruning, phases, names = pruned(make_net, make_context, 0.9, rounds=rounds, rewind=rewind, scope=scope)
    began = [(name, epochs) for name, epochs, _ in phases if name == "early"]
    assert began == ([("early", 1)] if rewind == "early" else [])
    trained = phases[len(began) :]
    assert [(name, epochs) for name, epochs, _ in trained] == [(f"round {r}", None) for r in range(1, rounds)]
    states = [*(weights for _, _, weights in trained), pruning.model.state_dict()]
    sizes = [states[0][name].numel() for name in sorted(names)]
    for finished, weights in enumerate(states, start=1):
        sparsity = 1 - 0.1 ** (finished / rounds)
        groups = sizes if scope == "layerwise" else [sum(sizes)]
        assert sum(int((weights[name] == 0).sum()) for name in names) == sum(num_removed(n, sparsity) for n in groups)
    for fewer, more in pairwise(states):
        assert all(((fewer[name] == 0) <= (more[name] == 0)).all() for name in names)
    assert pruning.masks is not None
    assert all(torch.equal(pruning.masks[name], states[-1][name] != 0) for name in names)


def test_one_round_is_one_shot_magnitude_pruning(make_net: MakeNet, make_context: MakeContext) -> None:
    pruning, _, _ = pruned(make_net, make_context, 0.7, rounds=1)
    other, pruner = make_net(), COMPRESSORS.get("l1unstructured")
    pruner.compress(other, pruner.Options(sparsity=0.7), make_context(make_net))
    expected = other.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in pruning.model.state_dict().items())


def test_without_rewinding_a_round_goes_on_from_the_one_before(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    pruning, phases, names = pruned(make_net, make_context, 0.7, rounds=2)
    (_, _, weights), model = phases[0], make_net()
    first = {name: weights[name] != 0 for name in names}
    assert all(torch.equal(weights[name], model.state_dict()[name] * first[name]) for name in names)
    # The second round ranks what the first round's training made of these weights.
    model.load_state_dict(weights)
    assert pruning.masks is not None
    pruner = COMPRESSORS.get("static")  # holds the zeros that are there
    held = pruner.compress(model, pruner.Options(sparsity=1 - 0.3**0.5), make_context(make_net))
    settings = Training(epochs=2, batch_size=8, learning_rate=0.05)
    train(model, noise, settings, torch.Generator().manual_seed(9), held.hooks)
    for name, value in pruning.model.state_dict().items():
        trained = model.state_dict()[name]
        assert torch.equal(value, torch.where(pruning.masks[name], trained, 0.0) if name in names else trained)


def test_rewinding_goes_back_to_the_initial_weights_with_batch_norm(
    make_net: MakeNet, make_context: MakeContext
) -> None:
    pruning, phases, names = pruned(make_net, make_context, 0.7, rounds=3, rewind="init")
    initial = make_net(seed=4).state_dict()
    for weights in [*(weights for _, _, weights in phases), pruning.model.state_dict()]:
        for name, value in weights.items():
            assert torch.equal(value, torch.where(value != 0, initial[name], 0.0) if name in names else initial[name])


def test_the_first_mask_is_of_dense_weights_and_later_ones_of_trained_ones(
    make_net: MakeNet, make_context: MakeContext
) -> None:
    rewound, phases, names = pruned(make_net, make_context, 0.7, rounds=2, rewind="init")
    dense = make_net().state_dict()
    kept = torch.cat([dense[name][phases[0][2][name] != 0].abs() for name in names])
    gone = torch.cat([dense[name][phases[0][2][name] == 0].abs() for name in names])
    assert kept.min() > gone.max()
    assert rewound.masks is not None
    one_shot, _, _ = pruned(make_net, make_context, 0.7, rounds=1)
    assert one_shot.masks is not None
    assert any(not torch.equal(rewound.masks[name], one_shot.masks[name]) for name in names)


def test_early_is_some_epochs_of_training_from_the_initial_weights(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    pruning, phases, names = pruned(make_net, make_context, 0.7, rounds=2, rewind="early", early_epochs=3)
    initial = make_net(seed=4).state_dict()
    assert phases[0][:2] == ("early", 3)
    assert all(torch.equal(value, initial[name]) for name, value in phases[0][2].items())
    early = make_net(seed=4)
    settings = Training(epochs=3, batch_size=8, learning_rate=0.05)
    train(early, noise, settings, torch.Generator().manual_seed(9))
    expected = early.state_dict()
    for name, value in pruning.model.state_dict().items():
        assert torch.equal(value, torch.where(value != 0, expected[name], 0.0) if name in names else expected[name])
