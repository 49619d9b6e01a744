"""Quantisation-aware training: steps by hand, grids of earlier epochs, killed trainings, frozen statistics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Chained, Step, compressed
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.grid_rules import grid_for
from pruneaudit.compression.grids import Grids
from pruneaudit.compression.quantised_training import FreezeBatchNorm, MovingGrids
from pruneaudit.compression.state import not_rebuilt
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., Any]
MakeContext = Callable[..., CompressionContext]
QAT = COMPRESSORS.get("qat")
SETTINGS = Training(epochs=4, batch_size=8, learning_rate=0.05, momentum=0.9, weight_decay=0.001)
KINDS: list[dict[str, Any]] = [
    {"bits": 4},
    {"bits": 2},
    {"bits": 3, "symmetry": "asymmetric", "granularity": "group", "group_size": 8},
    {"bits": "ternary"},
    {"bits": 2, "clip": "mse"},
    {"bits": 3, "scale": "fixed"},
]


def prepared(model: nn.Module, **options: Any) -> Compressed:
    context: Any = CompressionContext(torch.empty(1, 0), torch.Generator(), lambda *_: None, nn.Module)
    return QAT.compress(model, QAT.Options(**options), context)


def trained(made: Compressed, noise: Samples, *more: Hook, folder: Path | None = None) -> Compressed:
    checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
    train(made.model, noise, SETTINGS, torch.Generator().manual_seed(3), (*made.hooks, *more), checkpoints)
    return made


@pytest.mark.parametrize("options", KINDS)
def test_without_steps_it_is_rtn(options: dict[str, Any], make_net: MakeNet) -> None:
    model, other = make_net("tinycnn"), make_net("tinycnn")
    made, rtn = prepared(model, **options), COMPRESSORS.get("rtn")
    its = rtn.Options(**{key: value for key, value in options.items() if key != "scale"})
    context: Any = None
    plain = rtn.compress(other, its, context)
    states = QAT.state(made), rtn.state(plain)
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())
    assert all(torch.equal(weight, other.get_parameter(name)) for name, weight in model.named_parameters())


def test_one_step_by_hand(noise: Samples) -> None:
    """Plain SGD on the unrounded weights with the gradient at the rounded ones; then a grid of the new weights."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    unrounded = model[1].weight.detach().clone()
    made = prepared(model, bits=3)
    hook = made.hooks[1]
    assert isinstance(hook, MovingGrids)
    x, y = noise.batch(torch.arange(8))
    for _ in range(3):
        rounded = grid_for(unrounded, 3, "narrow", 0).rounded(unrounded)
        assert torch.equal(model[1].weight, rounded)
        reference = rounded.clone().requires_grad_()
        logits = nn.functional.linear(x.flatten(1), reference, model[1].bias.detach())
        nn.functional.cross_entropy(logits, y).backward()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
        state = TrainingState(model, optimizer, torch.Generator(), 1, 3)
        nn.functional.cross_entropy(model(x), y).backward()
        hook.after_backward(state)
        optimizer.step()
        optimizer.zero_grad()
        hook.after_step(state)
        assert reference.grad is not None
        unrounded = unrounded - 0.5 * reference.grad
        assert torch.equal(hook.kept()["1.weight"], unrounded)


@pytest.mark.parametrize("options", KINDS)
def test_released_weights_lie_on_the_grid_bit_for_bit(
    options: dict[str, Any], make_net: MakeNet, noise: Samples
) -> None:
    made = prepared(make_net("tinycnn"), **options)
    before = QAT.state(made)
    trained(made, noise)
    state = QAT.state(made)
    assert not_rebuilt(made.model, state) == []
    moved = any(not torch.equal(before[key], value) for key, value in state.items() if key.startswith("scale/"))
    assert moved == (options.get("scale") != "fixed")
    again = QAT.constraint(state, QAT.Options(**options))
    assert isinstance(again, Grids)
    again.apply(made.model)
    assert not_rebuilt(made.model, state) == []


class Best(BestOnDev):
    """Selects the second epoch, whatever its accuracy."""

    def epoch_end(self, state: TrainingState) -> None:
        state.history[-1]["dev_accuracy"] = 1.0 if state.epoch == 1 else 0.0
        super().epoch_end(state)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("killed_in", [None, 3])
def test_weights_of_an_earlier_epoch_come_with_the_grids_of_that_epoch(
    options: dict[str, Any], killed_in: int | None, make_net: MakeNet, noise: Samples, tmp_path: Path
) -> None:
    def chained() -> Chained:
        described = {"name": "qat", "options": options}
        context: Any = CompressionContext(torch.empty(1, 0), torch.Generator(), lambda *_: None, nn.Module)
        return compressed(Chained(make_net("tinycnn")), [Step.of(described)], lambda number: context)

    found = chained()
    assert found.last is not None
    if killed_in:
        with pytest.raises(Killed):
            trained(found.last, noise, Best(noise), KillIn(killed_in), folder=tmp_path)
        found = chained()
        assert found.last is not None
    trained(found.last, noise, Best(noise), folder=tmp_path)
    found.settle(is_of_an_earlier_epoch=True)
    assert not_rebuilt(found.model, found.state()) == []


def test_a_finer_grid_and_training_both_help(make_net: MakeNet, noise: Samples) -> None:
    """On the noise it is trained on: 8 bits learn as no grid does, 2 bits learn too, and better than rounding."""

    def loss(model: nn.Module) -> float:
        with torch.no_grad():
            return float(nn.functional.cross_entropy(model.eval()(noise.inputs(slice(None))), noise.y))

    dense = make_net("mlp", hidden=[32])
    train(dense, noise, replace_epochs(20), torch.Generator().manual_seed(3))
    start = {name: tensor.clone() for name, tensor in dense.state_dict().items()}
    found = {}
    for bits in (8, 2):
        for epochs in (0, 20):
            model = make_net("mlp", hidden=[32])
            model.load_state_dict(start)
            made = prepared(model, bits=bits)
            if epochs:
                train(model, noise, replace_epochs(epochs), torch.Generator().manual_seed(4), made.hooks)
            found[bits, epochs] = loss(model)
    assert found[2, 20] < 0.5 * found[2, 0]
    assert found[8, 20] < found[8, 0] * 1.01


def replace_epochs(epochs: int) -> Training:
    return SETTINGS.model_copy(update={"epochs": epochs})


@pytest.mark.parametrize(("at", "frozen"), [(0.0, [True] * 4), (0.5, [False, False, True, True]), (1.0, [False] * 4)])
def test_statistics_freeze_at_the_asked_fraction(
    at: float, frozen: list[bool], make_net: MakeNet, noise: Samples
) -> None:
    seen: list[Tensor] = []

    class Watch(Hook):
        def epoch_end(self, state: TrainingState) -> None:
            seen.append(state.model.get_buffer("features.0.norm.running_mean").clone())

    made = prepared(make_net("tinycnn"), bits=4, freeze_bn_at=at)
    start = made.model.get_buffer("features.0.norm.running_mean").clone()
    trained(made, noise, Watch())
    assert [torch.equal(*pair) for pair in zip([start, *seen[:-1]], seen, strict=True)] == frozen
    assert isinstance(made.hooks[0], FreezeBatchNorm)


def test_it_needs_training_and_removed_weights_stay_zero(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    assert QAT.works_in_training(QAT.Options(bits=4))
    steps = [{"name": "l1unstructured", "options": {"sparsity": 0.7}}, {"name": "qat", "options": {"bits": 3}}]
    context = make_context(make_net)
    chained = compressed(Chained(make_net()), [Step.of(step) for step in steps], lambda number: context)
    train(chained.model, noise, SETTINGS, torch.Generator(), chained.hooks)
    chained.settle(is_of_an_earlier_epoch=False)
    assert not_rebuilt(chained.model, chained.state()) == []
    assert chained.masks is not None
    for name, mask in chained.masks.items():
        weight = chained.model.get_parameter(name)
        assert (weight[~mask] == 0).all()
        assert (weight[mask] != 0).float().mean() > 0.3
