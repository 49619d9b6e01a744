"""Ranks and windows by hand, weight decay on the right batches only, and the same bits after a kill."""

# n samples of one model, B batch

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pruneaudit.compression.mask import HoldMask, Masks
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.defenses._wemem_passes import Passes, in_window, ranks_in_class
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.defenses.wemem import DEFENSE, WememOptions
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., nn.Module]
MakeDefenseContext = Callable[..., DefenseContext]

Y = np.array([0, 1, 0, 0, 1, 0, 0])
SCORES = np.array([0.3, 0.9, -0.1, 0.7, 0.2, 0.3, 0.0])
VARIANTS: dict[str, dict[str, Any]] = {
    "rsw": {"variant": "rsw", "stride": 2, "width": 5},
    "rmr": {"variant": "rmr", "tau": 0.3},
    "swmr": {"variant": "swmr", "stride": 2, "width": 5, "tau": 0.3},
}


def test_ranks_by_hand() -> None:
    # Class 0: -0.1, 0.0, 0.3, 0.3 (equals in their order), 0.7; class 1: 0.2, 0.9.
    np.testing.assert_array_equal(ranks_in_class(SCORES, Y), [2, 1, 0, 4, 0, 3, 1])
    np.testing.assert_array_equal(ranks_in_class(SCORES, Y, descending=True), [1, 0, 4, 0, 1, 2, 3])


def test_windows_by_hand() -> None:
    ranks, sizes = ranks_in_class(SCORES, Y), np.bincount(Y)[Y]
    windows = [set(np.flatnonzero(in_window(ranks, sizes, epoch, stride=2, width=3))) for epoch in range(4)]
    both = {1, 4}  # class 1 is smaller than the window
    # Ranks 0 1 2, then 2 3 4, then 4 and from the beginning 0 1, then 6 = 1, 2, 3 of class 0.
    assert windows == [{2, 6, 0} | both, {0, 5, 3} | both, {3, 2, 6} | both, {6, 0, 5} | both]


@given(
    y=st.lists(st.integers(0, 3), min_size=1, max_size=40).map(np.array),
    stride=st.integers(1, 6),
    more=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_windows_are_of_one_size_and_miss_nobody(y: np.ndarray, stride: int, more: int, seed: int) -> None:
    width, sizes = stride + more, np.bincount(y)[y]
    ranks = ranks_in_class(np.random.default_rng(seed).integers(0, 5, len(y)) / 4, y)
    for label in set(y):
        assert sorted(ranks[y == label]) == list(range((y == label).sum()))
    cycle = -(-int(sizes.max()) // stride)
    windows = np.stack([in_window(ranks, sizes, epoch, stride, width) for epoch in range(cycle)])
    for label in set(y):
        size = int((y == label).sum())
        for epoch, window in enumerate(windows):
            wanted = {(stride * epoch + place) % size for place in range(width)}
            assert set(ranks[window & (y == label)]) == wanted
    assert windows.any(axis=0).all()


def passes_of(memorised: list[int], chosen: list[list[int]], batch_size: int) -> Passes:
    """The passes over 12 samples of which these are memorised, with these samples in each epoch."""

    def of(places: list[int]) -> np.ndarray:
        return np.isin(np.arange(12), places)

    return Passes(of(memorised), lambda epoch: of(chosen[epoch]), len(chosen), batch_size)


def epoch_of(passes: Passes, epoch: int) -> list[tuple[bool, list[int]]]:
    passes.epoch = epoch
    draws = torch.Generator().manual_seed(1)
    return [(passes.over_memorised, batch.tolist()) for batch in passes.batches(draws)]


def samples_of(batches: Iterable[tuple[Any, list[int]]]) -> list[int]:
    """All samples of some batches, in rising order."""
    return sorted(place for _, batch in batches for place in batch)


def test_batches_are_of_one_kind_and_each_sample_comes_once() -> None:
    passes = passes_of([0, 1, 2, 3, 4], [list(range(12)), *2 * [[0, 1, 6, 7, 8, 9]]], batch_size=3)
    one, other = epoch_of(passes, 0), epoch_of(passes, 1)
    assert [(kind, len(batch)) for kind, batch in one] == [(True, 3), (True, 2), (False, 3), (False, 4)]
    assert [(kind, len(batch)) for kind, batch in other] == [(True, 2), (False, 4)]
    for kind, batch in one + other:
        assert all((place < 5) is kind for place in batch)
    assert samples_of(one) == list(range(12))
    assert samples_of(other) == [0, 1, 6, 7, 8, 9]
    assert passes.num_batches == 3  # the mean of 4, 2 and 2, rounded up
    assert passes.facts == {"num_memorised": 5, "samples_per_epoch": 12, "num_left_out": 0}


@pytest.mark.parametrize(
    ("memorised", "kinds"),
    [
        ([], {False}),
        ([0], {False}),  # alone, it joins the others
        (list(range(11)), {True}),  # and so does a single other one
        (list(range(12)), {True}),
        ([0, 1], {True, False}),
    ],
)
def test_passes_without_samples_and_with_one(memorised: list[int], kinds: set[bool]) -> None:
    batches = epoch_of(passes_of(memorised, [list(range(12))], batch_size=4), 0)
    assert {kind for kind, _ in batches} == kinds
    assert samples_of(batches) == list(range(12))
    assert all(len(batch) > 1 for _, batch in batches)


class Watching(Hook):
    """Notes epoch, weight decay and members of every step."""

    def __init__(self, context: DefenseContext) -> None:
        self._stored = context.members.stored.flatten(1)
        self._places: list[int] = []
        self.steps: list[tuple[int, float, list[int]]] = []

    def batch(self, state: TrainingState, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        self._places = torch.cdist(x.flatten(1), self._stored).argmin(1).tolist()
        return x, y

    def after_step(self, state: TrainingState) -> None:
        (decay,) = {group["weight_decay"] for group in state.optimizer.param_groups}
        self.steps.append((state.epoch, decay, self._places))


def scores_of(context: DefenseContext) -> np.ndarray:
    return np.random.default_rng(4).uniform(-0.2, 1, len(context.members))


@pytest.fixture
def fine_tune(make_net: MakeNet, make_defense_context: MakeDefenseContext) -> Callable[..., Any]:
    """Trains a half-masked network under the defence: network, state, what was watched, scores, labels, masks."""

    def trained(
        given: dict[str, Any] | None, folder: Path | None = None, kill_in: int = 0, net: str = "tinycnn", **changed: Any
    ) -> Any:
        settings = Training(**{"epochs": 5, "batch_size": 8, "learning_rate": 0.05, **changed})
        plain = make_defense_context(settings)
        scores = scores_of(plain)
        context = make_defense_context(settings, sample_scores=scores)
        model = make_net(net)
        weights = {name: weight for name, weight in model.named_parameters() if weight.ndim > 1}
        masks = Masks({name: weight.abs() > weight.abs().median() for name, weight in weights.items()})
        masks.apply(model)
        watching = Watching(context)
        defended = () if given is None else DEFENSE.hooks(model, validated(WememOptions, given, "wemem"), context)
        hooks: list[Hook] = [HoldMask(model, masks), *defended, watching, KillIn(kill_in)]
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        state = train(model, context.members, settings, torch.Generator().manual_seed(5), hooks, checkpoints)
        return {
            "model": model,
            "state": state,
            "steps": watching.steps,
            "scores": scores,
            "y": context.members.y.numpy(),
            "masks": masks,
            "report": DEFENSE.report(defended),
        }

    return trained


def same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    pairs = zip(one["model"].state_dict().values(), other["model"].state_dict().values(), strict=True)
    return one["state"].history == other["state"].history and all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("variant", ["rmr", "swmr"])
def test_memorised_samples_alone_have_more_weight_decay(fine_tune: Callable[..., Any], variant: str) -> None:
    outcome = fine_tune(VARIANTS[variant], weight_decay=1e-3)
    memorised = outcome["scores"] >= 0.3
    assert {decay for _, decay, _ in outcome["steps"]} == {0.1, 1e-3}
    for _, decay, places in outcome["steps"]:
        assert (memorised[places] == (decay == 0.1)).all()
    for epoch in range(5):
        decays = [decay for at, decay, _ in outcome["steps"] if at == epoch]
        assert decays == sorted(decays, reverse=True)  # the memorised ones first
    assert outcome["report"]["num_memorised"] == memorised.sum()


@pytest.mark.parametrize("variant", ["rsw", "swmr"])
def test_each_epoch_is_trained_on_its_window(fine_tune: Callable[..., Any], variant: str) -> None:
    outcome = fine_tune(VARIANTS[variant])
    scores, y = outcome["scores"], outcome["y"]
    for epoch in range(5):
        trained_on = samples_of((at, places) for at, _, places in outcome["steps"] if at == epoch)
        wanted: list[int] = []
        for label in range(3):
            own = sorted(np.flatnonzero(y == label).tolist(), key=lambda place: scores[place])
            wanted += {own[(2 * epoch + step) % len(own)] for step in range(5)}
        assert trained_on == sorted(wanted)
    if variant == "rsw":
        assert {decay for _, decay, _ in outcome["steps"]} == {5e-4}
    seen = {place for _, _, places in outcome["steps"] for place in places}
    assert outcome["report"]["samples_per_epoch"] == 15
    assert outcome["report"]["num_left_out"] == 41 - len(seen)


def test_all_or_nobody_memorised_is_plain_training(fine_tune: Callable[..., Any]) -> None:
    everybody = fine_tune({"variant": "rmr", "tau": -1, "weight_decay": 0.02})
    assert same(everybody, fine_tune(None, weight_decay=0.02))
    nobody = fine_tune({"variant": "rmr", "tau": 1})
    assert nobody["report"]["num_memorised"] == 0
    assert same(nobody, fine_tune(None))
    assert not same(everybody, nobody)


@pytest.mark.parametrize("variant", VARIANTS)
def test_removed_weights_stay_zero(fine_tune: Callable[..., Any], variant: str) -> None:
    outcome = fine_tune(VARIANTS[variant], optimizer="adam" if variant == "rmr" else "sgd")
    parameters = dict(outcome["model"].named_parameters())
    for name, mask in outcome["masks"].items():
        assert (parameters[name].detach()[~mask] == 0).all()
        assert (parameters[name].detach()[mask] != 0).any()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_killed_training_ends_with_the_same_bits(fine_tune: Callable[..., Any], tmp_path: Path, variant: str) -> None:
    undisturbed = fine_tune(VARIANTS[variant])
    for epoch in (1, 3, 5):
        with pytest.raises(Killed):
            fine_tune(VARIANTS[variant], tmp_path / str(epoch), kill_in=epoch)
        again = fine_tune(VARIANTS[variant], tmp_path / str(epoch))
        assert same(again, undisturbed)
        assert again["steps"] == undisturbed["steps"][-len(again["steps"]) :]


def test_the_schedule_is_never_overrun(fine_tune: Callable[..., Any]) -> None:
    state = fine_tune(VARIANTS["swmr"], batch_size=3)["state"]
    assert state.num_epochs * (state.steps_per_epoch - 1) < state.step <= state.num_epochs * state.steps_per_epoch


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variant": "rsw", "tau": 0.2}, "got tau = 0.2, but variant = 'rsw' does not use it"),
        ({"variant": "rmr", "order": "descending"}, "got order = descending, but variant = 'rmr' does not use it"),
        ({"stride": 6, "width": 5}, "got stride = 6 and width = 5, expected a stride of at most the width"),
        ({"scoring_models": 1}, "'scoring_models': got 1, expected: greater than or equal to 2"),
        ({"variant": "both"}, "'variant': got 'both'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        validated(WememOptions, given, "defense 'wemem'")
    assert message in str(refused.value)


def test_what_cannot_work_is_refused(make_net: MakeNet, make_defense_context: MakeDefenseContext) -> None:
    model, settings = make_net(), Training(weight_decay=0.2)
    with pytest.raises(UserError, match=r"got weight_decay = 0\.1, expected at least the training's own 0\.2"):
        DEFENSE.settings(WememOptions(), settings)
    assert DEFENSE.settings(WememOptions(variant="rsw"), settings) == settings
    with pytest.raises(UserError, match="got no scores of the samples"):
        DEFENSE.hooks(model, WememOptions(), make_defense_context(settings))
    scored = make_defense_context(settings, sample_scores=np.zeros(41))
    largest = int(scored.members.y.bincount().max())
    with pytest.raises(UserError, match=f"got width = 500, expected less than {largest}"):
        DEFENSE.hooks(model, WememOptions(), scored)
    assert DEFENSE.hooks(model, WememOptions(stride=1, width=largest - 1), scored)


def test_options_survive_json_and_the_main_one_is_among_them() -> None:
    for values in ({}, *VARIANTS.values()):
        options = validated(WememOptions, values, "wemem")
        assert WememOptions.model_validate(json.loads(options.model_dump_json())) == options
    assert DEFENSE.main in WememOptions.model_fields
    assert DEFENSE.needs == {"sample_scores"}
