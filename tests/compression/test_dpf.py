"""DPF against two steps by hand, against a plain reimplementation, and against static masks."""

# Weights are numbered 0 to 3 in the example by hand.

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.moving_mask import DenseFeedback
from pruneaudit.compression.schedules import Ramp
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples, Shuffled
from pruneaudit.training.selection import BestOnDev

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]


class ByHand:
    """One linear neuron of four weights under half the squared error, stepped by SGD with momentum .5 and decay .1."""

    def __init__(self, ramp: Ramp) -> None:
        self.model = nn.Linear(4, 1, bias=False)
        self.weight = self.model.weight
        self.weight.data = torch.tensor([[2.0, 1.0, 0.5, 4.0]])
        self.pruning = Compressed(self.model)
        self.hook = DenseFeedback(self.pruning, prunable_weights(self.model), ramp, "global")
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.5, weight_decay=0.1)
        self.state = TrainingState(self.model, optimizer, torch.Generator(), num_epochs=1, steps_per_epoch=4)
        self.hook.wrap(self.model, optimizer, Shuffled(4, 1))

    def step(self, x: list[float], target: float) -> None:
        self.hook.before_forward(self.state)
        loss = (self.model(torch.tensor(x, dtype=torch.float32)) - target).square().sum() / 2
        self.state.optimizer.zero_grad()
        loss.backward()
        self.hook.after_backward(self.state)
        self.state.optimizer.step()
        self.state.step += 1
        self.hook.after_step(self.state)

    def assert_weights(self, masked: list[float], dense: list[float]) -> None:
        assert self.weight.detach().flatten().tolist() == pytest.approx(masked, rel=1e-6)
        assert self.hook.kept()["dense/weight"].flatten().tolist() == pytest.approx(dense, rel=1e-6)


def test_two_steps_by_hand() -> None:
    example = ByHand(Ramp(0.5, end=0.25))
    # w.x = 2 + 1 + 1 = 4, one more than 3: the gradient is x. With decay: 1.2, 1.1, 2.05, 0.4; that is the momentum.
    # w - 0.1 of it: 1.88, 0.89, 0.295, 3.96. Weights 1 and 2 are the smallest.
    example.step([1, 1, 2, 0], target=3)
    example.assert_weights([1.88, 0, 0, 3.96], dense=[1.88, 0.89, 0.295, 3.96])

    # (m*w).x = 1.88 (w.x would be -7.02), one more than 0.88: the gradient is x, also for removed weights.
    # With decay of the dense weights: 1.188, -9.911, 0.0295, 0.396.
    # Half the momentum and that: 1.788, -9.361, 1.0545, 0.596. w: 1.7012, 1.8261, 0.18955, 3.9004: 1 is back, 0 goes.
    example.step([1, -10, 0, 0], target=0.88)
    example.assert_weights([0, 1.8261, 0, 3.9004], dense=[1.7012, 1.8261, 0.18955, 3.9004])

    example.state.history.append({})
    example.hook.epoch_end(example.state)
    assert example.state.history == [{"sparsity": 0.5, "reactivation_rate": 0.5}]  # of 1 and 2, 1 came back
    assert example.pruning.masks is not None
    assert example.pruning.masks["weight"].tolist() == [[False, True, False, True]]


def test_a_frozen_mask_keeps_gradients_from_removed_weights() -> None:
    example = ByHand(Ramp(0.5, end=0.25, freeze_at=0.25))
    example.step([1, 1, 2, 0], target=3)
    # As above, but the gradient is 1, 0, 0, 0: removed weights have momentum and decay only, which no one sees.
    example.step([1, -10, 0, 0], target=0.88)
    example.assert_weights([1.7012, 0, 0, 3.9004], dense=[1.7012, 0.89 - 0.0639, 0.295 - 0.10545, 3.9004])


def pruned(model: nn.Module, sparsity: float, context: CompressionContext, **options: Any) -> Compressed:
    pruner = COMPRESSORS.get("dpf")
    return pruner.compress(model, pruner.Options(sparsity=sparsity, **options), context)


def masks_by_sorting(dense: dict[str, Tensor], sparsity: float) -> dict[str, Tensor]:
    """The largest weights over all layers; nothing is tied here."""
    ordered = torch.cat([weight.flatten() for weight in dense.values()]).abs().sort().values
    limit = ordered[num_removed(len(ordered), sparsity)]
    return {name: weight.abs() >= limit for name, weight in dense.items()}


def test_the_preset_is_what_its_rules_say_step_by_step(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    """A reimplementation that writes SGD out, on 10 epochs of 13 steps; in float64, so that the order of sums is
    nothing."""
    sparsity, epochs, rate = 0.8, 10, 0.05
    samples = Samples(noise.stored.double(), noise.y)
    settings = Training(epochs=epochs, batch_size=3, learning_rate=rate, schedule="constant", weight_decay=0.01)
    released, model = make_net(seed=3).double(), make_net().double()
    context = make_context(make_net)
    pruning = pruned(released, sparsity, context, preset="pruning_mia")
    history = train(released, samples, settings, torch.Generator().manual_seed(6), pruning.hooks).history

    generator = torch.Generator().manual_seed(6)
    torch.randint(2**62, (), generator=generator)  # the loop's seed for dropout
    dense = {name: value.detach().clone() for name, value in model.named_parameters()}
    momentum = {name: torch.zeros_like(value) for name, value in dense.items()}
    convolutions = [name for name in prunable_weights(model) if "conv" in name]
    masks = {name: torch.ones_like(dense[name], dtype=torch.bool) for name in convolutions}
    step, sparsities = 0, []
    for epoch in range(epochs):
        for positions in Shuffled(40, 3).batches(generator):
            if step % 16 == 0 and epoch < 9:
                now = sparsity - sparsity * (1 - min(1.0, epoch / 3.75)) ** 3
                masks = masks_by_sorting({name: dense[name] for name in convolutions}, now)
            elif step == 4 * 13:  # ours: the ramp ends where no period does, and its sparsity holds from there
                masks = masks_by_sorting({name: dense[name] for name in convolutions}, sparsity)
            with torch.no_grad():
                for name, parameter in model.named_parameters():
                    parameter.copy_(dense[name] * masks.get(name, True))
            model.zero_grad()
            cross_entropy(model(samples.inputs(positions)), samples.y[positions]).backward()
            for name, parameter in model.named_parameters():
                assert parameter.grad is not None
                gradient = parameter.grad * (masks.get(name, True) if epoch >= 9 else True)
                momentum[name] = 0.9 * momentum[name] + gradient + 0.01 * dense[name]
                dense[name] -= rate * momentum[name]
            step += 1
        sparsities.append(1 - sum(int(m.sum()) for m in masks.values()) / sum(m.numel() for m in masks.values()))

    assert pruning.masks is not None
    assert pruning.masks.keys() == set(convolutions)
    for name, value in released.named_parameters():
        assert name not in masks or torch.equal(pruning.masks[name], masks[name])
        assert torch.allclose(value, dense[name] * masks.get(name, True), rtol=1e-4, atol=1e-6)
    sparsities[3] = sparsities[4]  # the move at the ramp's end is made as soon as the fourth epoch is over
    assert [row["sparsity"] for row in history] == pytest.approx(sparsities)
    assert max(row["reactivation_rate"] for row in history) > 0


class Watching(Hook):
    """Notes each step's masks and checks that the model is m*w, w being what the hook keeps."""

    def __init__(self, hook: Hook) -> None:
        self._hook = hook
        self.masks: list[Masks] = []

    def after_step(self, state: TrainingState) -> None:
        kept = self._hook.kept()
        weights = prunable_weights(state.model)
        for name, weight in weights.items():
            expected = torch.where(kept[f"mask/{name}"], kept[f"dense/{name}"], 0.0)
            assert torch.equal(weight.detach(), expected)
        self.masks.append(Masks.of_zeros(state.model, weights))


SETTINGS = Training(epochs=10, batch_size=8, learning_rate=0.1, weight_decay=0.01)  # 5 steps an epoch


def rate_of_return(masks: list[Masks]) -> float:
    """Of the weights removed by one mask, the fraction kept by the next."""
    back = sum(int((new[name] & ~old[name]).sum()) for old, new in pairwise(masks) for name in old)
    return back / sum(old.num_weights - old.num_kept for old in masks[:-1])


def test_weights_come_back_under_dpf_and_never_under_a_static_mask(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    rates = {}
    for method in ("dpf", "static"):
        model, pruner = make_net(), COMPRESSORS.get(method)
        given: dict[str, Any] = {"period_steps": 5, "ramp_end": 0.2} if method == "dpf" else {}
        pruning = pruner.compress(model, pruner.Options(sparsity=0.7, start="init", **given), make_context(make_net))
        notes = []

        class Noting(Hook):
            def epoch_end(self, state: TrainingState) -> None:
                notes.append(Masks.of_zeros(state.model, prunable_weights(state.model)))  # noqa: B023

        state = train(model, noise, SETTINGS, torch.Generator().manual_seed(0), (*pruning.hooks, Noting()))
        rates[method] = rate_of_return(notes[1:])  # from the ramp's end on
        if method == "dpf":
            reported = [row["reactivation_rate"] for row in state.history[2:]]  # one move an epoch, all of one size
            assert sum(reported) / len(reported) == pytest.approx(rates["dpf"])
    assert rates["static"] == 0
    assert rates["dpf"] > 0


def test_the_release_is_exactly_the_masked_dense_weights(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    model = make_net()
    pruning = pruned(model, 0.7, make_context(make_net), period_steps=3)
    watching = Watching(pruning.hooks[0])
    train(model, noise, SETTINGS, torch.Generator().manual_seed(0), (*pruning.hooks, watching))
    kept = pruning.hooks[0].kept()
    assert pruning.masks is not None
    assert pruning.masks.num_weights - pruning.masks.num_kept == num_removed(pruning.masks.num_weights, 0.7)
    for name, weight in prunable_weights(model).items():
        assert torch.equal(weight.detach(), torch.where(pruning.masks[name], kept[f"dense/{name}"], 0.0))
        assert (kept[f"dense/{name}"] != 0).all()
        assert not torch.signbit(weight.detach()[~pruning.masks[name]]).any()


def test_the_mask_moves_at_multiples_of_the_period_and_when_the_ramp_ends(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    pruning = pruned(model := make_net(), 0.7, make_context(make_net), period_steps=7, ramp_end=0.5, freeze_at=0.8)
    watching = Watching(pruning.hooks[0])
    train(model, noise, SETTINGS, torch.Generator().manual_seed(0), (*pruning.hooks, watching))
    all_kept = Masks({name: torch.ones_like(w, dtype=torch.bool) for name, w in prunable_weights(model).items()})
    pairs = enumerate(pairwise([all_kept, *watching.masks]), start=1)
    moves = {step for step, (old, new) in pairs if any(not torch.equal(old[name], new[name]) for name in old)}
    assert moves == {7, 14, 21, 25, 28, 35}  # the ramp ends after step 25, the mask is frozen after step 40


@pytest.mark.parametrize("ramp_end", [0.01, 0.5, 1.0])
def test_a_training_shorter_than_a_period_ends_at_the_asked_sparsity(
    ramp_end: float, make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    for by in ("step", "epoch"):
        model = make_net()
        pruning = pruned(model, 0.7, make_context(make_net), period_steps=999, ramp_end=ramp_end, ramp_by=by)
        training = SETTINGS.model_copy(update={"epochs": 1})
        history = train(model, noise, training, torch.Generator().manual_seed(0), pruning.hooks).history
        assert pruning.masks is not None
        assert pruning.masks.num_weights - pruning.masks.num_kept == num_removed(pruning.masks.num_weights, 0.7)
        assert history[-1]["sparsity"] == pruning.masks.sparsity


def test_fewer_steps_than_expected_end_at_the_asked_sparsity_all_the_same() -> None:
    example = ByHand(Ramp(0.5, end=1.0, period_steps=3))
    example.step([1, 1, 2, 0], target=3)  # one of four expected
    example.state.history.append({})
    example.hook.epoch_end(example.state)
    assert not example.state.selectable
    example.hook.finalize(example.state)
    example.assert_weights([1.88, 0, 0, 3.96], dense=[1.88, 0.89, 0.295, 3.96])
    assert example.pruning.masks is not None
    assert example.pruning.masks.sparsity == 0.5


@pytest.mark.parametrize("method", ["dpf", "gradual"])
def test_the_best_epoch_on_dev_is_one_of_the_asked_sparsity(
    method: str, make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    """Labels that the unpruned start gets right, and a training that hardly trains: the less pruned, the better."""
    model, pruner = make_net("mlp"), COMPRESSORS.get(method)
    with torch.no_grad():
        dev = Samples(noise.stored, model(noise.inputs(slice(None))).argmax(1))
    given = {"ramp_end": 0.5, "period_steps": 2} if method == "dpf" else {"end": 0.5, "period_steps": 2}
    pruning = pruner.compress(model, pruner.Options(sparsity=0.8, **given), make_context(lambda: make_net("mlp")))
    hooks, settings = (*pruning.hooks, BestOnDev(dev)), SETTINGS.model_copy(update={"learning_rate": 1e-4})
    history = train(model, noise, settings, torch.Generator().manual_seed(0), hooks).history
    assert pruning.masks is not None
    masks = Masks.of_zeros(model, pruning.masks)
    assert masks.num_weights - masks.num_kept == num_removed(masks.num_weights, 0.8)
    below = [row["dev_accuracy"] for row in history if row["sparsity"] < 0.799]
    assert len(below) == 4
    assert max(below) > max(row["dev_accuracy"] for row in history[4:])


def test_start_says_which_weights_training_begins_with(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    for start, seed in (("init", 4), ("pretrained", 0)):
        model = make_net()
        pruning = pruned(model, 0.5, make_context(lambda: make_net(seed=4)), start=start)
        expected = copy.deepcopy(make_net(seed=seed)).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
        assert pruning.masks is not None
        assert pruning.masks.sparsity == 0
