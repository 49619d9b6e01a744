"""What holds for every method that works by mask; random and static pruning; presets."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.mask import Masks
from pruneaudit.compression.selection import num_removed, prunable_weights, select_highest
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]
METHODS = ["l1unstructured", "random", "static", "dpf", "gradual", "iterative"]
OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "learning_rate": 0.01, "weight_decay": 0.01},
}


def pruned(method: str, model: nn.Module, sparsity: float, context: CompressionContext, **options: Any) -> Compressed:
    pruner = COMPRESSORS.get(method)
    return pruner.compress(model, validated(pruner.Options, {"sparsity": sparsity, **options}, method), context)


def zeros(weights: dict[str, Tensor]) -> int:
    return sum(int((weight == 0).sum()) for weight in weights.values())


@given(
    method=st.sampled_from(METHODS),
    name=st.sampled_from(["mlp", "tinycnn"]),
    width=st.integers(2, 9),
    sparsity=st.floats(0.05, 0.9),
    scope=st.sampled_from(["global", "layerwise"]),
    layers=st.sampled_from(["all", "convolutions"]),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
)
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
def test_the_release_has_exactly_the_asked_zeros_where_its_masks_say(
    make_net: MakeNet, make_context: MakeContext, noise: Samples, **drawn: Any
) -> None:
    width, name, sparsity = drawn["width"], drawn["name"], drawn["sparsity"]
    layers = "all" if name == "mlp" else drawn["layers"]
    size: dict[str, Any] = {"hidden": [width]} if name == "mlp" else {"width": width}
    model = make_net(name, **size)
    context = make_context(lambda: make_net(name, **size))
    pruning = pruned(drawn["method"], model, sparsity, context, scope=drawn["scope"], layers=layers)
    training = Training(epochs=2, batch_size=13, **OPTIMIZERS[drawn["optimizer"]])  # 3 steps an epoch
    train(pruning.model, noise, training, torch.Generator().manual_seed(0), pruning.hooks)

    weights = prunable_weights(model, only=layers)
    assert pruning.masks is not None
    assert pruning.masks.keys() == weights.keys()
    assert all(torch.equal(weights[key] != 0, mask) for key, mask in pruning.masks.items())
    if drawn["scope"] == "layerwise":
        removed = sum(num_removed(weight.numel(), sparsity) for weight in weights.values())
    else:
        removed = num_removed(sum(weight.numel() for weight in weights.values()), sparsity)
    assert zeros(weights) == removed
    linear = prunable_weights(model).keys() - weights.keys()
    assert zeros({key: prunable_weights(model)[key] for key in linear}) == 0


class Watching(Hook):
    """Checks after every step that exactly the removed weights are zero."""

    def __init__(self, masks: Masks) -> None:
        self._masks = masks
        self.num_steps = 0

    def after_step(self, state: TrainingState) -> None:
        self.num_steps += 1
        weights = prunable_weights(state.model)
        assert all(torch.equal(weights[name] != 0, mask) for name, mask in self._masks.items())


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(("method", "options"), [("random", {}), ("static", {"start": "init"}), ("iterative", {})])
def test_fixed_masks_hold_for_fifty_steps(
    method: str,
    options: dict[str, Any],
    optimizer: str,
    make_net: MakeNet,
    make_context: MakeContext,
    noise: Samples,
) -> None:
    model = make_net()
    training = Training(epochs=10, batch_size=8, schedule="constant", **OPTIMIZERS[optimizer])
    train(model, noise, training.model_copy(update={"epochs": 2}), torch.Generator().manual_seed(0))
    pruning = pruned(method, model, 0.7, make_context(make_net), **options)
    assert pruning.masks is not None
    watching = Watching(pruning.masks)
    train(model, noise, training, torch.Generator().manual_seed(1), (*pruning.hooks, watching))
    assert watching.num_steps == 50
    assert pruning.masks.sparsity == pytest.approx(0.7, abs=1 / pruning.masks.num_weights)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sparsity", [0.99999, 1.0, -0.1])
def test_a_sparsity_that_cannot_be_is_refused_before_any_training(
    method: str, sparsity: float, make_net: MakeNet, make_context: MakeContext
) -> None:
    phases: list[Any] = []
    with pytest.raises(UserError, match="sparsity"):
        pruned(method, make_net("mlp"), sparsity, make_context(lambda: make_net("mlp"), phases))
    assert not phases


@pytest.mark.parametrize("method", METHODS)
def test_a_network_without_convolutions_has_none_to_prune(
    method: str, make_net: MakeNet, make_context: MakeContext
) -> None:
    context = make_context(lambda: make_net("mlp"))
    with pytest.raises(UserError, match="nothing to prune: the model has no convolutional layer that is not excluded"):
        pruned(method, make_net("mlp"), 0.5, context, layers="convolutions")


@pytest.mark.parametrize(
    ("method", "options", "origin", "works_in_training"),
    [
        ("l1unstructured", {}, "own-dense", False),
        ("random", {}, "own-dense", False),
        ("static", {}, "own-dense", False),
        ("static", {"start": "init"}, "init", True),
        ("static", {"preset": "pruning_mia"}, "init", True),
        ("dpf", {}, "init", True),
        ("dpf", {"start": "pretrained"}, "own-dense", True),
        ("gradual", {}, "own-dense", True),
        ("iterative", {}, "own-dense", True),
        ("iterative", {"rounds": 1}, "own-dense", False),
        ("iterative", {"rounds": 1, "rewind": "init"}, "own-dense", True),
    ],
)
def test_where_a_release_starts_and_whether_it_trains(
    method: str, options: dict[str, Any], origin: str, works_in_training: bool
) -> None:
    pruner = COMPRESSORS.get(method)
    chosen = pruner.Options.model_validate({"sparsity": 0.5, **options})
    assert (pruner.origin(chosen), pruner.works_in_training(chosen)) == (origin, works_in_training)


# ------------------------------------------------------------------ random


def test_random_pruning_is_a_draw_of_the_generator_and_nothing_else(
    make_net: MakeNet, make_context: MakeContext
) -> None:
    one, again = (pruned("random", make_net(), 0.6, make_context(make_net)).masks for _ in range(2))
    of_another_model = pruned("random", make_net(seed=5), 0.6, make_context(make_net)).masks
    more = pruned("random", make_net(), 0.8, make_context(make_net)).masks
    assert one is not None
    for same in (again, of_another_model):  # magnitude plays no part
        assert same is not None
        assert all(torch.equal(one[name], same[name]) for name in one)
    assert more is not None
    assert all((more[name] <= one[name]).all() for name in one)
    context = make_context(make_net)
    first, second = (pruned("random", make_net(), 0.6, context).masks for _ in range(2))
    assert first is not None
    assert second is not None
    assert any(not torch.equal(first[name], second[name]) for name in first)


def test_random_pruning_removes_large_weights_as_often_as_small_ones(
    make_net: MakeNet, make_context: MakeContext
) -> None:
    model = make_net("mlp", hidden=[200])
    before = {name: weight.detach().clone() for name, weight in prunable_weights(model).items()}
    masks = pruned("random", model, 0.5, make_context(make_net)).masks
    assert masks is not None
    weight, mask = before["1.weight"].abs(), masks["1.weight"]  # 12,800 weights: a standard error of 0.006
    large = weight > weight.median()
    assert float(mask[large].double().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(mask[~large].double().mean()) == pytest.approx(0.5, abs=0.03)


# ------------------------------------------------------------------ static


def test_static_from_dense_weights_is_one_shot_magnitude_pruning(make_net: MakeNet, make_context: MakeContext) -> None:
    context = make_context(lambda: make_net(seed=9))
    models = [make_net(), make_net()]
    pruned("static", models[0], 0.8, context)
    pruned("l1unstructured", models[1], 0.8, context)
    states = [model.state_dict() for model in models]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_static_at_initialisation_takes_mask_and_weights_from_there(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    model, initial = make_net(), make_net(seed=4)
    train(model, noise, Training(epochs=1, batch_size=8), torch.Generator().manual_seed(0))  # moves BatchNorm too
    pruned("static", model, 0.8, make_context(lambda: make_net(seed=4)), start="init")
    pruned("l1unstructured", initial, 0.8, make_context(make_net))
    expected = initial.state_dict()
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())


# ------------------------------------------------------------------ presets


def test_mia_prune_removes_the_whole_part_of_every_layer(make_net: MakeNet, make_context: MakeContext) -> None:
    model = make_net()
    others = {name: value.clone() for name, value in model.state_dict().items() if name not in prunable_weights(model)}
    pruned("l1unstructured", model, 0.7, make_context(make_net), preset="mia_prune")
    weights = prunable_weights(model)
    assert {name: (weight.numel(), zeros({name: weight})) for name, weight in weights.items()} == {
        "features.0.conv.weight": (36, 25),  # 25.2
        "features.1.conv.weight": (288, 201),  # 201.6, where the nearest is 202
        "features.2.conv.weight": (1152, 806),  # 806.4
        "classifier.weight": (48, 33),  # 33.6, where the nearest is 34
    }
    assert all(torch.equal(value, others[name]) for name, value in model.state_dict().items() if name in others)


def test_pruning_mia_static_prunes_convolutions_at_initialisation_globally(
    make_net: MakeNet, make_context: MakeContext
) -> None:
    model = make_net()
    pruning = pruned("static", model, 0.9, make_context(lambda: make_net(seed=4)), preset="pruning_mia")
    initial = {key: w.detach() for key, w in prunable_weights(make_net(seed=4)).items() if "conv" in key}
    ordered = torch.cat([weight.flatten() for weight in initial.values()]).abs().sort().values
    removed = num_removed(len(ordered), 0.9)
    assert pruning.masks is not None
    assert pruning.masks.keys() == initial.keys()
    for key, mask in pruning.masks.items():
        assert torch.equal(mask, initial[key].abs() >= ordered[removed])
    assert zeros({"classifier": prunable_weights(model)["classifier.weight"]}) == 0


PRESETS = [("l1unstructured", "mia_prune"), ("static", "pruning_mia"), ("dpf", "pruning_mia")]


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_a_preset_is_its_settings_and_survives_being_written_down(method: str, preset: str) -> None:
    options = COMPRESSORS.get(method).Options
    chosen = options.model_validate({"sparsity": 0.5, "preset": preset})
    assert options.model_validate(chosen.model_dump(mode="json")) == chosen
    given = {key: list(value) if isinstance(value, tuple) else value for key, value in chosen.model_dump().items()}
    assert options.model_validate(given) == chosen
    for key, value in options.PRESETS[preset].items():
        assert getattr(chosen, key) == value


def test_pruning_mia_dpf_by_its_figures() -> None:
    chosen = COMPRESSORS.get("dpf").Options.model_validate({"sparsity": 0.5, "preset": "pruning_mia"}).model_dump()
    assert chosen == {
        "sparsity": 0.5,
        **{"preset": "pruning_mia", "start": "init", "scope": "global", "layers": "convolutions", "exclude": ()},
        **{"period_steps": 16, "ramp_end": 75 / 200, "ramp_by": "epoch", "freeze_at": 180 / 200},
    }


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("l1unstructured", {"preset": "mia_prune", "scope": "global"}, "'mia_prune' means scope = 'layerwise', got"),
        ("l1unstructured", {"preset": "mia_prune", "exclude": ["classifier"]}, "exclude = .*; leave exclude out, or"),
        ("static", {"preset": "pruning_mia", "start": "pretrained"}, "means start = 'init', got 'pretrained'"),
        ("dpf", {"preset": "pruning_mia", "freeze_at": 0.8}, "means freeze_at = 0.9, got 0.8"),
        ("dpf", {"preset": "mia_prune"}, "'preset': got 'mia_prune', expected"),
        ("dpf", {"preset": ["mia_prune"]}, "'preset': got"),
        ("dpf", {"ramp_end": 0.9, "freeze_at": 0.8}, "ramp_end = 0.9 after freeze_at = 0.8"),
        ("gradual", {"begin": 0.5, "end": 0.5}, "begin = 0.5 and end = 0.5; expected begin below end"),
        ("gradual", {"preset": "none"}, "unknown key 'preset'"),
        ("iterative", {"early_epochs": 3}, "early_epochs = 3, but only rewind = 'early' uses it"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        validated(COMPRESSORS.get(method).Options, {"sparsity": 0.5, **options}, "options")


# ------------------------------------------------------------------ masks of a model's own zeros


def test_masks_of_zeros_undo_applying_them(make_net: MakeNet, make_context: MakeContext) -> None:
    model = make_net()
    masks = pruned("l1unstructured", model, 0.6, make_context(make_net), exclude=["classifier"]).masks
    assert masks is not None
    found = Masks.of_zeros(model, iter(masks))
    assert found.keys() == masks.keys()
    assert all(torch.equal(found[name], masks[name]) for name in masks)
    with pytest.raises(ValueError, match="mask of nonesuch: this model has no such parameter"):
        Masks.of_zeros(model, ["nonesuch"])


# ------------------------------------------------------------------ counts


@given(st.integers(1, 5), st.floats(0, 0.95), st.integers(0, 3), st.sampled_from(["global", "layerwise"]))
@settings(deadline=None)
def test_rounding_down_removes_the_whole_part_also_under_ties(
    num_layers: int, sparsity: float, decimals: int, scope: Any
) -> None:
    generator = torch.Generator().manual_seed(num_layers)
    scores = {str(n): torch.rand(3, 7 + n, generator=generator).round(decimals=decimals) for n in range(num_layers)}
    kept = select_highest(scores, sparsity, scope, "down")
    gone = [int((~mask).sum()) for mask in kept.values()]
    sizes = [score.numel() for score in scores.values()]
    expected = [int(n * sparsity) for n in sizes] if scope == "layerwise" else [int(sum(sizes) * sparsity)]
    assert (gone if scope == "layerwise" else [sum(gone)]) == expected
    for name, score in scores.items() if scope == "layerwise" else ():
        assert not kept[name].any() or kept[name].all() or score[~kept[name]].max() <= score[kept[name]].min()


@pytest.mark.parametrize("what", ["normal", "tied"])
def test_twenty_million_weights_are_quick(what: str) -> None:
    weight = torch.rand(20_000_000, generator=torch.Generator().manual_seed(0))
    scores = {"weight": weight if what == "normal" else weight.round(decimals=1)}
    started = time.process_time()  # of this process: other work on the machine plays no part
    kept = select_highest(scores, 0.9, "global")
    assert time.process_time() - started < 2
    assert int(kept["weight"].count_nonzero()) == 2_000_000
