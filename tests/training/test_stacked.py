"""Models trained side by side end where each would have ended alone, and take nothing from each other.

Most comparisons are in float64, where what differs by rounding differs by less than 1e-9: in float32, networks with
BatchNorm soon drift apart from a single rounding, and a tolerance wide enough for that would hide mistakes.
"""

# n samples, B batch, C channels

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruneaudit.errors import UserError
from pruneaudit.models import build_model
from pruneaudit.pruning.mask import HoldMask, Masks
from pruneaudit.study import Training
from pruneaudit.training import engine
from pruneaudit.training.engine import choose_engine, worth_stacking
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import DivergedTrainingError, train
from pruneaudit.training.samples import Samples
from pruneaudit.training.selection import BestOnDev, StopOnDev
from pruneaudit.training.stackable import obstacle
from pruneaudit.training.stacked import diverged, raise_if_diverged, train_stacked

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {"hidden": [8]}),
    "tinycnn": ("tinycnn", {"width": 4}),
    "tinycnn, GroupNorm": ("tinycnn", {"width": 4, "norm": "group"}),
    "convnet": ("convnet", {"width": 4}),
    "columnfc": ("columnfc", {"hidden": [8, 6], "dropout": 0.3}),
}
SIZES = (32, 40, 33, 9)
"""Samples of four models: whole batches of 16; a short last batch; one that joins the batch before; a single batch."""
SETTINGS = Training(epochs=3, batch_size=16, learning_rate=0.05)


def make_samples(n: int, seed: int, shape: tuple[int, ...] = (2, 8, 8), dtype: torch.dtype = torch.float64) -> Samples:
    """Noise with a class-dependent mean."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.randint(3, (n,), generator=draws)
    x = torch.randn(n, *shape, generator=draws, dtype=torch.float64) + y.view(-1, *[1] * len(shape)) / 2
    return Samples((x.permute(0, 2, 3, 1).contiguous() if x.ndim == 4 else x).to(dtype), y)


def network(name: str, seed: int, dtype: torch.dtype = torch.float64) -> nn.Module:
    kind, options = NETWORKS[name]
    return build_model(kind, options, (2, 8, 8), 3, torch.Generator().manual_seed(seed)).to(dtype)


def generators(number: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(100 + g) for g in range(number)]


def one_by_one(
    models: Sequence[nn.Module],
    samples: Sequence[Samples],
    settings: Training,
    draws: Sequence[torch.Generator],
    hooks: Callable[[int, nn.Module], Sequence[Hook]] = lambda g, model: (),
) -> list[TrainingState]:
    return [
        train(model, own, settings, generator, hooks(g, model))
        for g, (model, own, generator) in enumerate(zip(models, samples, draws, strict=True))
    ]


def assert_close(one: nn.Module, other: nn.Module, tolerance: float = 1e-9) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.allclose(a.double(), b.double(), rtol=0, atol=tolerance), name


def identical(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def assert_same_course(one: TrainingState, other: TrainingState, tolerance: float = 1e-9) -> None:
    assert one.step == other.step
    assert one.epoch == other.epoch
    assert [set(row) for row in one.history] == [set(row) for row in other.history]
    for row, same in zip(one.history, other.history, strict=True):
        assert row == pytest.approx(same, rel=0, abs=tolerance)
    assert torch.equal(one.generator.get_state(), other.generator.get_state())  # they drew as many numbers


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(
    "changes",
    [
        {"weight_decay": 0.01},
        {"schedule": "step", "milestones": (1, 2), "momentum": 0.0, "augment": "flip"},
        {"optimizer": "adam", "learning_rate": 0.01, "schedule": "constant", "augment": "crop_flip"},
    ],
    ids=["sgd cosine", "step, no momentum", "adam"],
)
def test_equals_training_one_by_one(name: str, changes: dict[str, Any]) -> None:
    chosen = SETTINGS.model_copy(update=changes)
    samples = [make_samples(n, seed) for seed, n in enumerate(SIZES)]
    alone, together = ([network(name, g) for g in range(4)] for _ in range(2))
    expected = one_by_one(alone, samples, chosen, generators(4))
    got = train_stacked(together, samples, chosen, generators(4))
    for g in range(4):
        assert_close(alone[g], together[g])
        assert_same_course(expected[g], got[g])


@pytest.mark.parametrize("name", NETWORKS)
def test_float32_differs_by_rounding(name: str) -> None:
    samples = [make_samples(n, seed, dtype=torch.float32) for seed, n in enumerate(SIZES)]
    alone, together = ([network(name, g, torch.float32) for g in range(4)] for _ in range(2))
    brief = SETTINGS.model_copy(update={"epochs": 1})
    expected = one_by_one(alone, samples, brief, generators(4))
    got = train_stacked(together, samples, brief, generators(4))
    for g in range(4):
        assert_close(alone[g], together[g], 2e-4)
        assert_same_course(expected[g], got[g], 1e-4)


@settings(max_examples=15)
@given(
    sizes=st.lists(st.integers(2, 23), min_size=1, max_size=5),
    batch_size=st.integers(2, 9),
    num_empty=st.integers(0, 3),
)
def test_any_sizes(sizes: list[int], batch_size: int, num_empty: int) -> None:
    chosen = Training(epochs=2, batch_size=batch_size, learning_rate=0.1)
    samples = [make_samples(n, seed) for seed, n in enumerate(sizes)]
    number = len(sizes)
    models = [build_model("mlp", {"hidden": [3]}, (2, 8, 8), 3, g).double() for g in generators(number)]
    together = copy.deepcopy(models)
    expected = one_by_one(models, samples, chosen, generators(number))
    got = train_stacked(together, samples, chosen, generators(number), num_places=number + num_empty)
    for g in range(number):
        assert_close(models[g], together[g])
        assert_same_course(expected[g], got[g])


def test_tables() -> None:
    samples = [make_samples(n, seed, (5,)) for seed, n in enumerate(SIZES)]
    layers = nn.Sequential(
        nn.Linear(5, 6, bias=False), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.GroupNorm(2, 6), nn.Linear(6, 3)
    )
    alone = [copy.deepcopy(layers).double() for _ in range(4)]
    together = copy.deepcopy(alone)
    one_by_one(alone, samples, SETTINGS, generators(4))
    train_stacked(together, samples, SETTINGS, generators(4))
    for one, other in zip(alone, together, strict=True):
        assert_close(one, other)


@pytest.mark.parametrize("name", ["mlp", "tinycnn"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_masks_are_held_as_by_the_hook(name: str, optimizer: str) -> None:
    chosen = Training(epochs=3, batch_size=16, optimizer=optimizer, learning_rate=0.01, weight_decay=0.1)
    samples = [make_samples(n, seed) for seed, n in enumerate(SIZES)]
    alone = [network(name, g) for g in range(4)]
    masks = []
    for g, model in enumerate(alone):
        draws = torch.Generator().manual_seed(g)
        weights = {key: w for key, w in model.named_parameters() if w.ndim > 1}
        masks.append(Masks({key: torch.rand(w.shape, generator=draws) < 0.3 for key, w in weights.items()}))
        masks[-1].apply(model)
    together = copy.deepcopy(alone)
    one_by_one(alone, samples, chosen, generators(4), lambda g, model: [HoldMask(model, masks[g])])
    train_stacked(together, samples, chosen, generators(4), masks)
    for g, model in enumerate(together):
        assert_close(alone[g], model)
        for key, weight in model.named_parameters():
            if key in masks[g]:
                removed = weight[~masks[g][key]]
                assert not removed.any()
                assert not removed.signbit().any()  # not even the sign of a removed weight is released


def test_one_model_alone() -> None:
    samples, one = make_samples(40, 0), network("tinycnn", 0)
    other = copy.deepcopy(one)
    expected = train(one, samples, SETTINGS, generators(1)[0])
    (got,) = train_stacked([other], [samples], SETTINGS, generators(1))
    assert_close(one, other)
    assert_same_course(expected, got)


@pytest.mark.parametrize("name", NETWORKS)
def test_neighbours_change_no_bit(name: str) -> None:
    """Nor does it matter whether they have samples left, or end early, or are there at all."""
    own, found = make_samples(40, 0, dtype=torch.float32), []
    for sizes in ((33, 9), (160, 48), ()):
        model = network(name, 0, torch.float32)
        others = [network(name, 1 + g, torch.float32) for g in range(len(sizes))]
        samples = [own, *(make_samples(n, 7, dtype=torch.float32) for n in sizes)]
        places = [2, 0, 3][: len(samples)]
        train_stacked([model, *others], samples, SETTINGS, generators(len(samples)), places=places, num_places=4)
        found.append(model)
    assert identical(found[0], found[1])
    assert identical(found[0], found[2])


@pytest.mark.parametrize("places", [[0, 0], [0], [1, 4], [-1, 0]])
def test_each_model_needs_a_place(places: list[int]) -> None:
    models, samples = [network("mlp", 0), network("mlp", 1)], [make_samples(20, 0), make_samples(20, 1)]
    with pytest.raises(ValueError, match="expected one for each"):
        train_stacked(models, samples, SETTINGS, generators(2), places=places, num_places=4)


def test_a_model_that_diverges_harms_no_other() -> None:
    samples = [make_samples(n, seed, dtype=torch.float32) for seed, n in enumerate(SIZES)]
    spoiled = Samples(samples[1].stored.clone(), samples[1].y)
    spoiled.stored[5] = torch.inf
    well, ill = ([network("tinycnn", g, torch.float32) for g in range(4)] for _ in range(2))
    train_stacked(well, samples, SETTINGS, generators(4))
    states = train_stacked(ill, [samples[0], spoiled, *samples[2:]], SETTINGS, generators(4))
    assert [diverged(state) for state in states] == [False, True, False, False]
    assert len(states[1].history) == 1  # it is left where the plain loop would have stopped
    with pytest.raises(DivergedTrainingError, match="epoch 1"):
        raise_if_diverged(states[1])
    for g in (0, 2, 3):
        raise_if_diverged(states[g])
        assert identical(well[g], ill[g])


def test_the_best_epoch_and_patience() -> None:
    """Models leave at different epochs; each keeps its best weights."""
    chosen = Training(epochs=12, batch_size=16, learning_rate=0.2, schedule="constant")
    samples = [make_samples(n, seed) for seed, n in enumerate(SIZES)]
    dev = make_samples(30, 99)
    alone, together = ([network("tinycnn", g) for g in range(4)] for _ in range(2))
    expected = one_by_one(alone, samples, chosen, generators(4), lambda g, model: [StopOnDev(dev, 1), BestOnDev(dev)])
    hooks = [[StopOnDev(dev, 1), BestOnDev(dev)] for _ in range(4)]
    got = train_stacked(together, samples, chosen, generators(4), hooks=hooks)
    assert len({len(state.history) for state in expected}) > 1
    for g in range(4):
        assert_close(alone[g], together[g])
        assert_same_course(expected[g], got[g])


def test_callers_see_their_own_models() -> None:
    """The same parameters as before, with memory of their own; the global generator is as it was."""
    models = [network("tinycnn", g) for g in range(2)]
    before = [parameter for model in models for parameter in model.parameters()]
    state = torch.get_rng_state()
    train_stacked(models, [make_samples(20, 0), make_samples(21, 1)], SETTINGS, generators(2))
    after = [parameter for model in models for parameter in model.parameters()]
    assert all(one is other for one, other in zip(before, after, strict=True))
    storages = [value.untyped_storage() for model in models for value in model.state_dict().values()]
    assert len({storage.data_ptr() for storage in storages}) == len(storages)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(model.training for model in models)


class Residual(nn.Module):
    """Of layers that have a stacked form, but put together in a way that has none."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        logits: Tensor = self.last((x + self.inner(x)).relu().mean((2, 3)))
        return logits


@pytest.mark.parametrize("make", [Residual, lambda: network("tinycnn", 0)], ids=["residual", "tinycnn"])
def test_vmap_equals_training_one_by_one(make: Callable[[], nn.Module]) -> None:
    samples = [make_samples(n, seed) for seed, n in enumerate(SIZES[:3])]
    alone = [make().double() for _ in range(3)]
    together = copy.deepcopy(alone)
    expected = one_by_one(alone, samples, SETTINGS, generators(3))
    got = train_stacked(together, samples, SETTINGS, generators(3), by="vmap")
    for g in range(3):
        assert_close(alone[g], together[g])
        assert_same_course(expected[g], got[g])


class Twice(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


class AfterStep(Hook):
    def after_step(self, state: TrainingState) -> None:
        """Does nothing, but might."""


def frozen() -> nn.Module:
    model = network("mlp", 0)
    next(model.parameters()).requires_grad_(False)
    return model


def shared() -> nn.Module:
    layer = nn.Linear(128, 128)
    return nn.Sequential(nn.Flatten(), layer, layer, nn.Linear(128, 3)).double()


def watched() -> nn.Module:
    model = network("mlp", 0)
    model.register_forward_hook(lambda *_: None)
    return model


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (Residual, "no stacked form of its layer .Residual."),
        (lambda: nn.Sequential(nn.Flatten(), Twice(128, 3)).double(), "layer '1' .Twice."),
        (lambda: nn.Sequential(nn.Flatten(0), nn.Linear(128, 3)).double(), "one sample at a time"),
        (lambda: nn.Sequential(nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Flatten()), "padding"),
        (lambda: nn.Sequential(nn.BatchNorm2d(2, momentum=None), nn.Flatten()), "cumulative"),
        (lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.Dropout(), nn.Flatten()).double(), "dropout of feature maps"),
        (lambda: nn.Sequential(nn.Conv2d(2, 3, 1), nn.Linear(8, 3), nn.Flatten()).double(), "does not run"),
        (frozen, "frozen"),
        (shared, "share"),
        (watched, "registered"),
    ],
)
def test_what_cannot_be_stacked_is_refused(make: Callable[[], nn.Module], reason: str) -> None:
    models, samples = [make(), make()], [make_samples(20, 0), make_samples(20, 1)]
    if reason == "no stacked form of its layer .Residual.":
        models = [model.double() for model in models]
    with pytest.raises(UserError, match=f"engine 'stacked' cannot train these models: .*{reason}.*; use engine"):
        train_stacked(models, samples, SETTINGS, generators(2))


def test_what_else_is_refused() -> None:
    models, samples = [network("mlp", 0), network("mlp", 1)], [make_samples(20, 0), make_samples(20, 1)]
    assert obstacle(models, samples) is None
    assert "one architecture" in str(obstacle([models[0], network("columnfc", 0)], samples))
    assert "1 training samples" in str(obstacle(models, [samples[0], make_samples(1, 0)]))
    assert "AfterStep changes the steps" in str(obstacle(models, samples, [[AfterStep()], []]))
    assert "HoldMask" in str(obstacle(models, samples, [[HoldMask(models[0], Masks({}))], []]))
    assert "dropout" in str(obstacle([network("columnfc", 0)], samples[:1], by="vmap"))
    with pytest.raises(ValueError, match="2 models, 1 training sets"):
        obstacle(models, samples[:1])


def test_the_engine_is_as_asked() -> None:
    samples = make_samples(40, 0)

    def make() -> nn.Module:
        return network("mlp", 0)

    assert choose_engine("plain", make, samples, SETTINGS).engine == "plain"
    assert choose_engine("stacked", make, samples, SETTINGS).engine == "stacked"
    chosen = choose_engine("auto", make, samples, SETTINGS, [AfterStep()])
    assert chosen.engine == "plain"
    assert "AfterStep" in chosen.reason
    with pytest.raises(UserError, match="AfterStep"):
        choose_engine("stacked", make, samples, SETTINGS, [AfterStep()])


def test_a_trial_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which way depends on the machine: only bounds that no machine passes decide it here."""
    samples, state = make_samples(40, 0), torch.get_rng_state()

    def make() -> nn.Module:
        return network("mlp", 0)

    monkeypatch.setattr(engine, "LEAST_GAIN", 0.0)
    assert worth_stacking(make, samples, SETTINGS, 2)
    assert choose_engine("auto", make, samples, SETTINGS, num_places=2).engine == "stacked"
    monkeypatch.setattr(engine, "LEAST_GAIN", 1e9)
    assert choose_engine("auto", make, samples, SETTINGS, num_places=2).engine == "plain"
    monkeypatch.setattr(engine, "LEAST_GAIN", 0.0)
    monkeypatch.setattr(engine, "SLOW_STEP_SECONDS", 0.0)
    assert not worth_stacking(make, samples, SETTINGS, 2)
    assert torch.equal(torch.get_rng_state(), state)
