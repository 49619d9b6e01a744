"""Gradients clipped by hand, masks that free the norm, noise alone, and trainings that can be repeated."""

# n samples, B batch

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pruneaudit.compression.compressor import Compressed
from pruneaudit.compression.mask import HoldMask, Masks
from pruneaudit.compression.moving_mask import DenseFeedback, GrowingMask
from pruneaudit.compression.schedules import Ramp
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.defenses._dp_sgd import PoissonSampling
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.dp import DEFENSE, DpOptions
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import load_weights, save_weights
from pruneaudit.training.hooks import Hook, Sampler, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., nn.Module]
MakeDefenseContext = Callable[..., DefenseContext]

PLAIN = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "schedule": "constant", "learning_rate": 1.0}
ONE_STEP = Training(epochs=1, batch_size=100, **PLAIN)  # more than there are samples: one batch of all of them
USUAL = Training(epochs=3, batch_size=10, learning_rate=0.05)
ADAM = {"optimizer": "adam", "learning_rate": 0.01}


def options(noise_multiplier: float = 0.0, max_grad_norm: float = 1e6, **more: Any) -> DpOptions:
    return DpOptions(noise_multiplier=noise_multiplier, max_grad_norm=max_grad_norm, **more)


@pytest.fixture
def make_private_net(make_net: MakeNet) -> MakeNet:
    """As `make_net`, prepared."""
    return lambda *args, **kwargs: DEFENSE.prepare(make_net(*args, **kwargs), options())


def trained(
    model: nn.Module,
    context: DefenseContext,
    chosen: DpOptions,
    before: tuple[Hook, ...] = (),
    after: tuple[Hook, ...] = (),
    checkpoints: Checkpoints | None = None,
) -> tuple[TrainingState, dict[str, Any]]:
    """Trains `model` privately; the state, and the report."""
    hooks = (*before, *DEFENSE.hooks(model, chosen, context), *after)
    order = torch.Generator().manual_seed(5)
    state = train(model, context.members, context.settings, order, hooks, checkpoints)
    return state, DEFENSE.report(hooks)


def clipped_by_hand(model: nn.Module, samples: Samples, limit: float) -> dict[str, Tensor]:
    """The sum of the clipped gradients of single samples, by parameter name."""
    names, weights = zip(*model.named_parameters(), strict=True)
    total = [torch.zeros_like(weight) for weight in weights]
    for position in range(len(samples)):
        one = slice(position, position + 1)
        gradient = torch.autograd.grad(cross_entropy(model(samples.inputs(one)), samples.y[one]), weights)
        norm = float(torch.cat([part.flatten() for part in gradient]).norm())
        total = [sofar + part * min(1.0, limit / norm) for sofar, part in zip(total, gradient, strict=True)]
    return dict(zip(names, total, strict=True))


def moved(before: nn.Module, after: nn.Module) -> dict[str, Tensor]:
    """How far each weight went down."""
    new = dict(after.named_parameters())
    return {name: (old - new[name]).detach() for name, old in before.named_parameters()}


@pytest.mark.parametrize("name", ["tinycnn", "mlp"])
@pytest.mark.parametrize("limit", [0.3, 3.0, 1e6])
def test_a_step_is_the_mean_of_the_clipped_gradients(
    make_private_net: MakeNet, make_defense_context: MakeDefenseContext, name: str, limit: float
) -> None:
    model = make_private_net(name)
    start = copy.deepcopy(model)
    context = make_defense_context(ONE_STEP)
    trained(model, context, options(max_grad_norm=limit))
    expected = clipped_by_hand(start, context.members, limit)
    for name, change in moved(start, model).items():
        torch.testing.assert_close(change, expected[name] / len(context.members), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("position", range(5))
def test_no_sample_moves_the_weights_further_than_the_limit(
    make_private_net: MakeNet,
    make_defense_context: MakeDefenseContext,
    make_noise: Callable[..., Samples],
    position: int,
) -> None:
    limit, samples = 0.25, make_noise(5, 9)
    alone = Samples(samples.stored[position : position + 1] * 10, samples.y[position : position + 1])
    model = make_private_net()
    start = copy.deepcopy(model)
    trained(model, make_defense_context(ONE_STEP, members=alone), options(max_grad_norm=limit))
    norm = float(torch.cat([change.flatten() for change in moved(start, model).values()]).norm())
    assert 0.99 * limit < norm <= limit * (1 + 1e-5)


class Plainly(Hook):
    """The same batches without privacy: the gradient's sum over a batch, divided by its expected size."""

    def __init__(self, sampling: PoissonSampling) -> None:
        self._sampling = sampling

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        return model, optimizer, self._sampling

    def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
        return cross_entropy(logits, y, reduction="sum") / self._sampling.batch_size


def unmasked(model: nn.Module) -> Compressed:
    return Compressed(model)


def half(model: nn.Module) -> Masks:
    weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
    return Masks({name: weight.abs() > weight.abs().median() for name, weight in weights.items()})


def static(model: nn.Module) -> Compressed:
    masks = half(model)
    masks.apply(model)
    return Compressed(model, masks, (HoldMask(model, masks),))


def growing(model: nn.Module) -> Compressed:
    pruning = Compressed(model)
    pruning.hooks = (GrowingMask(pruning, prunable_weights(model), Ramp(0.7, end=0.5, period_steps=2), "global"),)
    return pruning


def feedback(model: nn.Module) -> Compressed:
    pruning = Compressed(model)
    pruning.hooks = (DenseFeedback(pruning, prunable_weights(model), Ramp(0.7, end=0.5, period_steps=2), "global"),)
    return pruning


@pytest.mark.parametrize("prune", [unmasked, static, growing, feedback])
@pytest.mark.parametrize("more", [{}, ADAM, {"augment": "crop_flip"}], ids=["sgd", "adam", "augmented"])
def test_without_noise_and_limit_it_is_plain_training_on_the_same_batches(
    make_private_net: MakeNet,
    make_defense_context: MakeDefenseContext,
    prune: Callable[[nn.Module], Compressed],
    more: dict[str, Any],
) -> None:
    settings = USUAL.model_validate(USUAL.model_dump() | {"schedule": "constant"} | more)
    private, plain = prune(make_private_net()), prune(make_private_net())
    context = make_defense_context(settings, masks=lambda: private.masks)
    trained(private.model, context, options(), before=private.hooks)
    sampling = PoissonSampling(len(context.members), settings.batch_size)
    order = torch.Generator().manual_seed(5)
    train(plain.model, context.members, settings, order, (*plain.hooks, Plainly(sampling)))
    for change in moved(plain.model, private.model).values():
        assert float(change.abs().max()) < 2e-4


def linear(weight: Tensor) -> nn.Module:
    model = nn.Sequential(nn.Flatten(), nn.Linear(weight.shape[1], len(weight)))
    with torch.no_grad():
        model[1].weight.copy_(weight)
        model[1].bias.zero_()
    return model


def test_removed_weights_use_up_none_of_the_norm(make_defense_context: MakeDefenseContext) -> None:
    # Two of four inputs are removed: the network is one of two inputs, whatever the other inputs are.
    draws = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 4, generator=draws) * torch.tensor([1.0, 1, 20, 20]), torch.arange(30) % 3
    weight = torch.randn(3, 4, generator=draws)
    kept = torch.tensor([True, True, False, False]).expand(3, 4)
    masked, small, dense = linear(weight * kept), linear(weight[:, :2]), linear(weight * kept)
    masks = Masks({"1.weight": kept.clone()})
    settings = Training(epochs=4, batch_size=8, **PLAIN)
    chosen = options(max_grad_norm=0.2)
    trained(masked, make_defense_context(settings, members=Samples(x, y), masks=lambda: masks), chosen)
    trained(small, make_defense_context(settings, members=Samples(x[:, :2].contiguous(), y)), chosen)
    torch.testing.assert_close(masked[1].weight[:, :2], small[1].weight)
    torch.testing.assert_close(masked[1].bias, small[1].bias)
    assert not masked[1].weight[:, 2:].any()
    trained(dense, make_defense_context(settings, members=Samples(x, y)), chosen, before=(HoldMask(dense, masks),))
    difference = (dense[1].weight[:, :2] - small[1].weight).detach().abs().max()
    assert float(difference) > 0.05  # where the mask is not known, the norm is used up


@pytest.mark.parametrize("prune", [static, growing, feedback])
@pytest.mark.parametrize("more", [{}, ADAM], ids=["sgd", "adam"])
def test_noise_brings_no_removed_weight_back(
    make_private_net: MakeNet,
    make_defense_context: MakeDefenseContext,
    prune: Callable[[nn.Module], Compressed],
    more: dict[str, Any],
) -> None:
    settings = Training.model_validate(USUAL.model_dump() | more)
    pruning = prune(make_private_net())
    trained(
        pruning.model,
        make_defense_context(settings, masks=lambda: pruning.masks),
        options(2.0, 1.0),
        before=pruning.hooks,
    )
    assert pruning.masks is not None
    assert pruning.masks.sparsity > 0.4
    for name, mask in pruning.masks.items():
        assert not pruning.model.get_parameter(name)[~mask].any()


def test_noise_gathers_in_no_removed_weights_momentum(
    make_private_net: MakeNet, make_defense_context: MakeDefenseContext
) -> None:
    pruning = static(make_private_net())
    state, _ = trained(pruning.model, make_defense_context(USUAL, masks=lambda: pruning.masks), options(2.0, 1.0))
    assert pruning.masks is not None
    for name, mask in pruning.masks.items():
        weight = pruning.model.get_parameter(name)
        assert not weight[~mask].any()  # held by no hook here
        assert not state.optimizer.state[weight]["momentum_buffer"][~mask].any()


class Empty(Hook):
    """Nobody is drawn, ever."""

    num_batches = 3

    def wrap(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, sampler: Sampler
    ) -> tuple[nn.Module, torch.optim.Optimizer, Sampler]:
        return model, optimizer, self

    def batches(self, generator: torch.Generator) -> Iterator[Tensor]:
        yield from [torch.zeros(0, dtype=torch.int64)] * self.num_batches


@pytest.mark.parametrize("name", ["tinycnn", "mlp"])
def test_an_empty_batch_is_a_step_of_noise(
    make_private_net: MakeNet, make_defense_context: MakeDefenseContext, name: str
) -> None:
    model = make_private_net(name, **({"width": 16} if name == "tinycnn" else {"hidden": [200]}))
    start = copy.deepcopy(model)
    settings = Training(epochs=1, batch_size=4, **PLAIN)
    _, report = trained(model, make_defense_context(settings), options(1.5, 0.4), after=(Empty(),))
    change = torch.cat([part.flatten() for part in moved(start, model).values()])  # three steps of noise
    assert report["steps"] == 3
    assert float(change.std()) == pytest.approx(1.5 * 0.4 / 4 * 3**0.5, rel=0.05)
    assert abs(float(change.mean())) < 5 * float(change.std()) / len(change) ** 0.5


def test_batches_of_one_that_are_often_empty_train(
    make_private_net: MakeNet, make_defense_context: MakeDefenseContext
) -> None:
    model = make_private_net("tinycnn", width=16)  # 1x1 maps before the mean
    state, report = trained(model, make_defense_context(Training(epochs=1, batch_size=1)), options(0.5, 1.0))
    assert report["steps"] == state.step == 41
    assert all(bool(weight.isfinite().all()) for weight in model.parameters())


def bits(state: TrainingState) -> list[Tensor]:
    optimizer = state.optimizer.state_dict()["state"]
    moments = [value for number in sorted(optimizer) for _, value in sorted(optimizer[number].items())]
    return [*state.model.state_dict().values(), *moments, state.generator.get_state()]


def same(one: TrainingState, other: TrainingState) -> bool:
    pairs = zip(bits(one), bits(other), strict=True)
    return one.history == other.history and all(torch.equal(left, right) for left, right in pairs)


def test_the_same_seeds_give_the_same_bits(make_private_net: MakeNet, make_defense_context: MakeDefenseContext) -> None:
    one, other, third = (
        trained(
            make_private_net(), make_defense_context(USUAL, generator=torch.Generator().manual_seed(seed)), options(1.0)
        )
        for seed in (3, 3, 4)
    )
    assert same(one[0], other[0])
    assert one[1] == other[1] == third[1]
    assert not same(one[0], third[0])


@pytest.mark.parametrize(("prune", "more"), [(unmasked, ADAM), (static, {}), (feedback, {})])
def test_a_training_that_was_stopped_ends_with_the_same_bits(
    make_private_net: MakeNet,
    make_defense_context: MakeDefenseContext,
    tmp_path: Path,
    prune: Callable[[nn.Module], Compressed],
    more: dict[str, Any],
) -> None:
    settings = Training.model_validate(USUAL.model_dump() | more)

    def run(folder: Path | None, kill_in: int = 0) -> tuple[TrainingState, dict[str, Any]]:
        pruning = prune(make_private_net())
        context = make_defense_context(settings, masks=lambda: pruning.masks)
        after = (BestOnDev(context.public), KillIn(kill_in))
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        return trained(pruning.model, context, options(1.0, 1.0), pruning.hooks, after, checkpoints)

    undisturbed, report = run(None)
    with pytest.raises(Killed):
        run(tmp_path, kill_in=3)
    resumed, resumed_report = run(tmp_path)
    assert same(resumed, undisturbed)
    assert resumed_report == report


def test_what_is_left_is_a_plain_network(
    make_private_net: MakeNet, make_defense_context: MakeDefenseContext, tmp_path: Path
) -> None:
    model, untouched = make_private_net(), make_private_net()
    context = make_defense_context(USUAL)
    state, _ = trained(model, context, options(1.0, 1.0), after=(BestOnDev(context.public),))
    assert state.model is model
    assert list(model.state_dict()) == list(untouched.state_dict())
    for layer, pristine in zip(model.modules(), untouched.modules(), strict=True):
        assert set(vars(layer)) == set(vars(pristine))
        assert not layer._forward_hooks
        assert not layer._backward_hooks
    assert not any(vars(weight) for weight in model.parameters())
    save_weights(model, tmp_path / "model.safetensors")
    loaded = load_weights(untouched, tmp_path / "model.safetensors").eval()
    x = context.members.inputs(slice(0, 5))
    assert torch.equal(loaded(x), model.eval()(x))
    trained(model, make_defense_context(ONE_STEP), options(1.0, 1.0))  # and can be trained again


def test_the_network_that_was_trained_is_better_than_before(
    make_private_net: MakeNet, make_defense_context: MakeDefenseContext, make_noise: Callable[..., Samples]
) -> None:
    noise = make_noise(400, 1)
    images = 0.3 * noise.stored
    images[torch.arange(400), 2 * noise.y] += 1  # a row says the class
    members = Samples(images, noise.y)
    model = make_private_net()
    settings = Training(epochs=5, batch_size=40, learning_rate=0.5)
    _, report = trained(model, make_defense_context(settings, members=members), options(1.0, 1.0))
    reached = (model.eval()(members.inputs(slice(0, 400))).argmax(1) == members.y).float().mean()
    assert report["epsilon"] < 15
    assert reached > 0.8


def test_each_sample_is_drawn_by_a_coin_of_its_own() -> None:
    sampling = PoissonSampling(num_samples=40, batch_size=10)
    draws = torch.Generator().manual_seed(0)
    rows = []
    for _ in range(500):
        for positions in sampling.batches(draws):
            drawn = torch.zeros(40, dtype=torch.float64)
            drawn[positions] += 1
            rows.append(drawn)
    coins = torch.stack(rows)  # (2000, n)
    assert len(coins) == 500 * sampling.num_batches == 2000
    assert coins.max() == 1  # nobody twice in a batch
    error = (0.25 * 0.75 / 2000) ** 0.5
    assert (coins.mean(0) - 0.25).abs().max() < 5 * error
    sizes = coins.sum(1)
    assert sizes.mean() == pytest.approx(10, abs=5 * (40 * 0.25 * 0.75 / 2000) ** 0.5)
    assert sizes.var() == pytest.approx(40 * 0.25 * 0.75, rel=0.15)  # a fixed size would have none
    together = torch.corrcoef(coins.T) - torch.eye(40)
    assert together.abs().max() < 5 / 2000**0.5
    in_a_row = ((coins[1:] - 0.25) * (coins[:-1] - 0.25)).mean(0) / (0.25 * 0.75)
    assert in_a_row.abs().max() < 5 / 2000**0.5


@pytest.mark.parametrize(
    ("num_samples", "batch_size", "rate", "num_batches"), [(100, 10, 0.1, 10), (7, 10, 1.0, 1), (95, 10, 10 / 95, 10)]
)
def test_an_epoch_has_as_many_steps_as_draw_everybody_once(
    num_samples: int, batch_size: int, rate: float, num_batches: int
) -> None:
    sampling = PoissonSampling(num_samples, batch_size)
    assert (sampling.sample_rate, sampling.num_batches) == (rate, num_batches)
    assert len(list(sampling.batches(torch.Generator()))) == num_batches


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "got neither of noise_multiplier and target_epsilon"),
        ({"noise_multiplier": 1.0, "target_epsilon": 8.0}, "got both"),
        ({"noise_multiplier": -1.0}, "'noise_multiplier': got -1.0"),
        ({"noise_multiplier": 1.0, "delta": 1.0}, "'delta'"),
        ({"noise_multiplier": 1.0, "max_grad_norm": 0}, "'max_grad_norm'"),
    ],
)
def test_wrong_options_are_refused_in_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        validated(DpOptions, given, "defense 'dp'")
    assert "\n" not in str(refused.value)


def test_without_opacus_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, make_net: MakeNet, make_defense_context: MakeDefenseContext
) -> None:
    monkeypatch.setitem(sys.modules, "opacus", None)
    for ask in (
        lambda: DEFENSE.settings(options(), USUAL),
        lambda: DEFENSE.prepare(make_net(), options()),
        lambda: DEFENSE.hooks(make_net(), options(), make_defense_context(USUAL)),
    ):
        with pytest.raises(UserError, match=r"pip install 'pruneaudit\[dp\]'"):
            ask()


def test_a_parameter_without_a_part_in_the_output_is_named(
    make_private_net: MakeNet, make_defense_context: MakeDefenseContext
) -> None:
    model = make_private_net("mlp")
    model[0].add_module("spare", nn.Linear(2, 2))  # which Flatten never calls
    with pytest.raises(UserError, match=r"'0\.spare\.weight'.*requires_grad"):
        trained(model, make_defense_context(ONE_STEP), options())
