"""Channels that really go: every architecture, what stays, and networks that are built again from the record."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.compression.macs import count_macs, num_parameters
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.compression.structured import Limits, kept_whole, remove_channels, replay
from pruneaudit.core.errors import UserError
from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.training.checkpoint import load_weights, save_weights
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

# B batch, C channels, H height, W width

# ------------------------------------------------------------------ networks


class Flattening(nn.Module):
    """Convolutions with biases and no BatchNorm, whose maps are flattened into hidden units."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.hidden, self.head = nn.Linear(8 * 4 * 4, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.second(functional.relu(self.first(x))))
        return self.head(functional.relu(self.hidden(x.flatten(1))))


class Concatenating(nn.Module):
    """Two branches side by side and BatchNorm over both, in the manner of DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 6, 3)
        self.norm, self.head = nn.BatchNorm2d(10), nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.norm(torch.cat([self.left(x), self.right(x)], 1)))
        return self.head(x.mean((2, 3)))


class Depthwise(nn.Module):
    """Separable convolutions, spatial padding, and class scores that go through log_softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.deep = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 6, 3, groups=6)
        self.point, self.head = nn.Conv2d(6, 8, 1), nn.Conv2d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.deep(functional.pad(functional.relu(self.stem(x)), (1, 1, 1, 1))))
        return functional.log_softmax(self.head(functional.relu(self.point(x))).mean((2, 3)), 1)


class Grouped(nn.Module):
    """GroupNorm and a grouped convolution: every group must keep the same number of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 8, 3), nn.GroupNorm(2, 8)
        self.middle, self.head = nn.Conv2d(8, 12, 3, groups=4), nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.middle(functional.relu(self.norm(self.stem(x)))))
        return self.head(x.mean((2, 3)))


class Positional(nn.Module):
    """Adds a parameter of its own to the maps: nothing says how it would shrink."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 6, 3), nn.Linear(6, 3)
        self.place = nn.Parameter(torch.ones(1, 4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(functional.relu(self.second(functional.relu(self.first(x) + self.place))).mean((2, 3)))


OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "mlp": ("mlp", {"hidden": [8, 6]}),
    "tinycnn": ("tinycnn", {"width": 4}),
    "convnet": ("convnet", {"width": 4}),
    "resnet8": ("resnet", {"depth": 8}),
    "resnet18": ("resnet18", {"width": 4}),
}
USERS: dict[str, type[nn.Module]] = {
    "flattening": Flattening,
    "concatenating": Concatenating,
    "depthwise": Depthwise,
    "grouped": Grouped,
    "positional": Positional,
}
EVERY = (*OURS, *USERS)
EXAMPLE = torch.zeros(1, 1, 8, 8)
BATCH = torch.randn(5, 1, 8, 8, generator=torch.Generator().manual_seed(1))


def network(name: str, seed: int = 0, classes: int = 3) -> nn.Module:
    if name in OURS:
        model, options = OURS[name]
        return build_model(model, options, (1, 8, 8), classes, torch.Generator().manual_seed(seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return USERS[name]()


def outputs(model: nn.Module, x: Tensor = BATCH) -> Tensor:
    model = copy.deepcopy(model).eval()
    with torch.no_grad():
        return model(x)


def prunable(model: nn.Module) -> int:
    return sum(weight.numel() for weight in prunable_weights(model).values())


def reached(structure: str) -> float:
    return float(json.loads(structure)["reached"])


# ------------------------------------------------------------------ what goes


@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("target", ["channels", "params", "macs"])
@pytest.mark.parametrize("name", EVERY)
def test_every_network_becomes_smaller_by_what_was_asked(name: str, target: Any, scope: Any) -> None:
    model = network(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    smaller, structure = remove_channels(model, EXAMPLE, "l1", 0.5, target, scope)
    assert num_parameters(smaller) < num_parameters(model)
    assert count_macs(smaller, EXAMPLE) < count_macs(model, EXAMPLE)
    assert outputs(smaller).shape == outputs(model).shape == (5, 3)
    assert outputs(smaller).isfinite().all()
    gone = {
        "params": 1 - prunable(smaller) / prunable(model),
        "macs": 1 - count_macs(smaller, EXAMPLE) / count_macs(model, EXAMPLE),
        "channels": reached(structure),
    }[target]
    assert gone == pytest.approx(reached(structure), abs=1e-12)
    assert gone == pytest.approx(0.5, abs={"resnet8": 0.02, "resnet18": 0.02}.get(name, 0.12))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())  # the dense one stays


def kill_every_second_channel(model: nn.Module) -> None:
    """Odd outputs of all layers but the heads become zero for every input."""
    hidden = [m for n, m in model.named_modules() if n not in ("head", "classifier", "5") and hasattr(m, "weight")]
    with torch.no_grad():
        for layer in hidden:
            for parameter in layer.parameters(recurse=False):
                parameter[1::2] = 0


@pytest.mark.parametrize(
    ("name", "importance"),
    [
        *itertools.product([name for name in EVERY if name not in ("grouped", "positional")], ["l1", "l2"]),
        *itertools.product(["tinycnn", "convnet", "resnet8", "resnet18", "concatenating"], ["gamma"]),
    ],
)
def test_removing_dead_channels_changes_no_output(name: str, importance: Any) -> None:
    """A channel that is wrongly matched between two layers would show here."""
    model = network(name)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel()))
    kill_every_second_channel(model)
    smaller, structure = remove_channels(model, EXAMPLE, importance, 0.5, "channels", "layerwise")
    assert reached(structure) == 0.5
    assert all(channel % 2 for _, channels in json.loads(structure)["removed"] for channel in channels)
    torch.testing.assert_close(outputs(smaller), outputs(model))
    assert outputs(model).std() > 1e-3


@pytest.mark.parametrize("norm", [1, 2])
def test_the_filters_of_the_lowest_norm_go(norm: int) -> None:
    model = network("tinycnn")
    smaller, _ = remove_channels(model, EXAMPLE, "l1" if norm == 1 else "l2", 0.5, "channels")
    kept_inputs = torch.arange(1)
    for index in range(3):
        dense = model.get_parameter(f"features.{index}.conv.weight")  # (O, C, 3, 3)
        norms = [float((filter_.detach().abs() ** norm).sum()) for filter_ in dense]
        kept = torch.tensor(sorted(sorted(range(len(norms)), key=norms.__getitem__)[len(norms) // 2 :]))
        assert torch.equal(smaller.get_parameter(f"features.{index}.conv.weight"), dense[kept][:, kept_inputs])
        assert smaller.get_submodule(f"features.{index}.norm").num_features == len(kept)
        kept_inputs = kept
    assert torch.equal(smaller.get_parameter("classifier.weight"), model.get_parameter("classifier.weight")[:, kept])


def test_layers_that_are_added_lose_the_same_channels_by_their_mean_gamma() -> None:
    model = network("resnet18")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
                layer.running_mean.copy_(torch.arange(layer.num_features))  # says afterwards which channels stayed
    first_stage = ("features.0.norm", "features.1.norm2", "features.2.norm2")
    gammas = torch.stack([model.get_parameter(f"{name}.weight").abs() for name in first_stage])
    smaller, _ = remove_channels(model, EXAMPLE, "gamma", 0.5, "channels", "layerwise")
    expected = sorted(gammas.mean(0).topk(2).indices.tolist())
    for name in first_stage:
        assert smaller.get_buffer(f"{name}.running_mean").tolist() == expected


def test_one_threshold_for_all_gammas() -> None:
    model = network("convnet")
    generator = torch.Generator().manual_seed(4)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    with torch.no_grad():
        for layer in norms:
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator))
    smaller, _ = remove_channels(model, EXAMPLE, "gamma", 0.3, "channels", "global")
    every = torch.cat([layer.weight.detach().abs() for layer in norms]).sort().values
    threshold = every[round(0.3 * len(every)) - 1]
    kept = [layer.weight.detach() for layer in smaller.modules() if isinstance(layer, nn.BatchNorm2d)]
    assert [len(weight) for weight in kept] == [int((layer.weight.abs() > threshold).sum()) for layer in norms]
    assert torch.cat(kept).abs().min() > threshold


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_equal_scores_go_by_exact_count(scope: Any) -> None:
    """Every gamma of a new network is 1; a threshold alone would take all channels, or none."""
    smaller, structure = remove_channels(network("convnet"), EXAMPLE, "gamma", 0.5, "channels", scope)
    assert sum(len(channels) for _, channels in json.loads(structure)["removed"]) == 28
    assert reached(structure) == 0.5
    assert outputs(smaller).isfinite().all()


def test_layers_of_another_scale_are_ranked_alike() -> None:
    model = network("convnet")
    record = remove_channels(model, EXAMPLE, "l2", 0.5, scope="global")[1]
    with torch.no_grad():
        model.get_parameter("features.3.conv.weight").mul_(64)
    assert remove_channels(model, EXAMPLE, "l2", 0.5, scope="global")[1] == record


def test_many_layers_that_are_added_weigh_no_more_than_one() -> None:
    model = network("resnet18")
    for name in ("features.0.norm", "features.1.norm2", "features.2.norm2"):
        nn.init.constant_(model.get_parameter(f"{name}.weight"), 0.5)  # elsewhere 1; their sum is 1.5
    record = json.loads(remove_channels(model, EXAMPLE, "gamma", 0.005, "channels", "global")[1])
    assert record["removed"] == [["features.0.conv", [0]]]


def test_no_layer_is_emptied_when_all_are_ranked_together() -> None:
    model = network("convnet")
    with torch.no_grad():
        model.get_parameter("features.1.norm.weight").mul_(1e-6)
    smaller, _ = remove_channels(model, EXAMPLE, "gamma", 0.7, "channels", "global", Limits(max_channel_sparsity=0.85))
    widths = [(m.num_features, 4 << stage // 2) for stage, m in enumerate(norms_of(smaller))]
    assert all(new >= max(1, 0.15 * old) for new, old in widths)
    assert widths[1] == (1, 4)


def norms_of(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]


# ------------------------------------------------------------------ what stays


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("name", OURS)
def test_the_classifier_keeps_its_classes(name: str, classes: int) -> None:
    smaller, _ = remove_channels(network(name, classes=classes), EXAMPLE, "l2", 0.7, "params", "global")
    last = [layer for layer in smaller.modules() if isinstance(layer, nn.Linear)][-1]
    assert last.out_features == last.weight.shape[0] == len(last.bias) == classes


def test_excluded_layers_keep_their_outputs() -> None:
    model = network("convnet")
    smaller, _ = remove_channels(
        model, EXAMPLE, "l1", 0.5, limits=Limits(("first_conv", "features.3.conv", "classifier"))
    )
    before, after = (
        {name: tuple(layer.weight.shape) for name, layer in net.named_modules() if isinstance(layer, nn.Conv2d)}
        for net in (model, smaller)
    )
    assert after["features.0.conv"] == before["features.0.conv"]
    assert after["features.3.conv"][0] == before["features.3.conv"][0]
    assert after["features.3.conv"][1] < before["features.3.conv"][1]


def test_zero_padded_shortcuts_keep_the_stream_that_they_carry() -> None:
    model = network("resnet8")
    smaller, _ = remove_channels(model, EXAMPLE, "l1", 0.9)
    for (name, old), new in zip(model.named_modules(), smaller.modules(), strict=True):
        if isinstance(old, nn.Conv2d):
            assert (new.out_channels < old.out_channels) == name.endswith("conv1"), name


def test_groups_stay_equal() -> None:
    smaller, structure = remove_channels(network("grouped"), EXAMPLE, "l1", 0.6, "channels")
    removed = dict(json.loads(structure)["removed"])
    assert sorted(channel % 2 for channel in removed["stem"]) == sorted([removed["stem"][0] % 2] * 4)  # 4 groups of 2
    assert smaller.get_submodule("norm").num_channels == 4
    assert smaller.get_submodule("middle").weight.shape == (4, 1, 3, 3)


def test_a_parameter_of_the_networks_own_keeps_its_layer_whole() -> None:
    smaller, structure = remove_channels(network("positional"), EXAMPLE, "l1", 0.5, "channels")
    assert [name for name, _ in json.loads(structure)["removed"]] == ["second"]
    assert smaller.get_parameter("place").shape == (1, 4, 1, 1)


def test_modes_frozen_layers_and_random_numbers_are_as_before() -> None:
    model = network("resnet18").train()
    model.get_submodule("features.3").eval()
    for parameter in model.get_submodule("features.1").parameters():
        parameter.requires_grad_(False)
    modes = [module.training for module in model.modules()]
    frozen = [name for name, parameter in model.named_parameters() if not parameter.requires_grad]
    state = torch.get_rng_state()
    with torch.no_grad():  # the library traces by gradients, wherever it is called from
        smaller, structure = remove_channels(model, EXAMPLE, "l1", 0.5)
    again = replay(copy.deepcopy(model), structure)
    assert torch.equal(torch.get_rng_state(), state)
    for network_ in (model, smaller, again):
        assert [module.training for module in network_.modules()] == modes
        assert [name for name, parameter in network_.named_parameters() if not parameter.requires_grad] == frozen
    assert list(smaller.state_dict()) == list(model.state_dict())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in smaller.modules())


def test_a_network_that_is_frozen_whole_can_shrink() -> None:
    model = network("convnet").requires_grad_(False)
    smaller, _ = remove_channels(model, EXAMPLE, "l1", 0.5)
    assert prunable(smaller) < prunable(model)
    assert not any(parameter.requires_grad for parameter in smaller.parameters())


# ------------------------------------------------------------------ built again


@pytest.mark.parametrize("name", EVERY)
def test_the_record_and_the_saved_weights_give_the_same_bits(name: str, tmp_path: Path) -> None:
    smaller, structure = remove_channels(network(name), EXAMPLE, "l2", 0.6, "channels", "global")
    generator = torch.Generator().manual_seed(5)
    samples = Samples(torch.randn(24, 8, 8, 1, generator=generator), torch.randint(3, (24,), generator=generator))
    before = copy.deepcopy(smaller.state_dict())
    state = train(smaller, samples, Training(epochs=2, batch_size=8, learning_rate=0.01), generator)
    assert state.step == 6
    assert all(not torch.equal(p, before[n]) for n, p in smaller.named_parameters() if n.endswith("weight"))

    save_weights(smaller, tmp_path / "model.safetensors")
    again = load_weights(replay(network(name, seed=9), structure), tmp_path / "model.safetensors")
    again.to(memory_format=torch.channels_last)  # as training left the other: other kernels sum in another order
    assert torch.equal(outputs(again), outputs(smaller))
    assert replay(network(name, seed=9), structure).state_dict().keys() == smaller.state_dict().keys()


def test_no_record_changes_nothing() -> None:
    model = network("tinycnn")
    assert replay(model, "") is model


def test_the_same_network_gives_the_same_record() -> None:
    first, second = (remove_channels(network("resnet18"), EXAMPLE, "l1", 0.4, "macs", "global") for _ in range(2))
    assert first[1] == second[1]
    assert all(torch.equal(value, second[0].state_dict()[key]) for key, value in first[0].state_dict().items())


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        ("{", "structure: not a record of removed channels"),
        ('{"removed": []}', "structure: not a record of removed channels"),
        ("cos\nsystem\n(S'ls'\ntR.", "structure: not a record of removed channels"),
        ('["absent", [0]]', "no channels 0 to 0 in a layer 'absent' of this network; it was made for another"),
        ('["features.0.conv", [0, 99]]', "no channels 0 to 99 in a layer 'features.0.conv'"),
        ('["features.0.conv", [-1]]', "no channels -1 to -1 in a layer 'features.0.conv'"),
        ('["features.0.conv", []]', "no channels 0 to 0 in a layer 'features.0.conv'"),
        ('["features.0.norm", [0]]', "no channels 0 to 0 in a layer 'features.0.norm'"),
    ],
)
def test_a_record_of_something_else_is_refused(structure: str, message: str) -> None:
    if structure.startswith("["):
        rest = {"input_shape": [1, 8, 8], "target": "params", "sparsity": 0.5, "reached": 0.5}
        structure = json.dumps({"removed": [json.loads(structure)], **rest})
    with pytest.raises(UserError, match=message):
        replay(network("tinycnn"), structure)


# ------------------------------------------------------------------ random networks


@st.composite
def plain_networks(draw: st.DrawFn) -> tuple[Callable[[], nn.Module], Tensor]:
    """Up to three convolutions with or without BatchNorm, then up to two hidden layers; or hidden layers alone."""
    widths = draw(st.lists(st.integers(2, 7), max_size=3))
    hidden = draw(st.lists(st.integers(2, 9), min_size=0 if widths else 1, max_size=2))
    norm, seed = draw(st.booleans()), draw(st.integers(0, 100))

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise([2, *widths]):
            layers += [nn.Conv2d(before, after, 3, padding=1), nn.BatchNorm2d(after) if norm else nn.Identity()]
            layers += [nn.ReLU()]
        layers += [nn.AdaptiveAvgPool2d(2), nn.Flatten()]
        for before, after in itertools.pairwise([4 * [2, *widths][-1], *hidden]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        layers += [nn.Linear([4 * [2, *widths][-1], *hidden][-1], 4)]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(*layers)

    return build, torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


@given(
    plain_networks(),
    st.sampled_from(["l1", "l2"]),
    st.sampled_from(["channels", "params", "macs"]),
    st.sampled_from(["layerwise", "global"]),
    st.floats(0.02, 0.7),
)
@settings(deadline=None, max_examples=8)
def test_random_networks_come_as_near_as_whole_channels_allow(
    made: tuple[Callable[[], nn.Module], Tensor], importance: Any, target: Any, scope: Any, sparsity: float
) -> None:
    build, x = made
    model = build()

    def pruned(asked: float) -> tuple[nn.Module, str] | None:
        try:
            return remove_channels(model, x[:1], importance, asked, target, scope)
        except UserError as error:
            assert "can be removed from this network in whole channels" in str(error)
            return None

    found = pruned(sparsity)
    others = {asked: reached(other[1]) for asked in (0.1, 0.3, 0.5, 0.7) if (other := pruned(asked))}
    if found is None:
        assert all(other < sparsity for other in others.values())
        return
    smaller, structure = found
    got = reached(structure)
    assert all(abs(got - sparsity) <= abs(other - sparsity) + 1e-9 for other in others.values())
    assert all(other <= got + 1e-9 if asked <= sparsity else other >= got - 1e-9 for asked, other in others.items())
    assert prunable(smaller) < prunable(model)
    again = replay(build(), structure)
    again.load_state_dict(smaller.state_dict())
    assert torch.equal(outputs(again, x), outputs(smaller, x))
    assert outputs(again, x).shape == (3, 4)


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize("sparsity", [0.0, 1.0, -0.5, 2.0, float("nan")])
def test_a_sparsity_out_of_range_is_refused(sparsity: float) -> None:
    with pytest.raises(UserError, match=r"sparsity: got .*, expected above 0 and below 1 \(0.7 removes 70%\)"):
        remove_channels(network("tinycnn"), EXAMPLE, "l1", sparsity)


def test_what_is_out_of_reach_is_said_with_what_would_work() -> None:
    limits = Limits(max_channel_sparsity=0.75)
    with pytest.raises(UserError, match=r"sparsity 0.9 of channels: at most 0\.75 can be removed .* use that or less"):
        remove_channels(network("tinycnn"), EXAMPLE, "l1", 0.9, "channels", limits=limits)
    smaller, _ = remove_channels(network("tinycnn"), EXAMPLE, "l1", 0.75, "channels", limits=limits)
    assert [layer.num_features for layer in norms_of(smaller)] == [1, 2, 4]


def test_a_linear_classifier_has_no_channels() -> None:
    model = build_model("mlp", {"hidden": []}, (1, 8, 8), 3, torch.Generator())
    with pytest.raises(UserError, match=r"no layer of this network can lose channels .* use l1unstructured"):
        remove_channels(model, EXAMPLE, "l1", 0.5)


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(UserError, match=r"exclude: no layer 'features\.0\.cnov' .*did you mean 'features\.0\.conv'"):
        remove_channels(network("tinycnn"), EXAMPLE, "l1", 0.5, limits=Limits(("features.0.cnov",)))


def test_what_a_fixed_size_in_the_code_holds_is_kept_and_the_rest_goes() -> None:
    class Fixed(Flattening):
        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(self.second(functional.relu(self.first(x))))
            return self.head(functional.relu(self.hidden(x.reshape(len(x), 8 * 4 * 4))))

    model = Fixed()
    smaller, structure = remove_channels(model, EXAMPLE, "l1", 0.3)
    assert {name for name, _ in json.loads(structure)["removed"]} == {"first", "hidden"}
    assert any("second" in note and "RuntimeError" in note for note in kept_whole(structure))
    assert smaller.get_parameter("second.weight").shape[0] == 8


def test_a_network_that_does_not_run_is_refused() -> None:
    with pytest.raises(UserError, match=r"channels of this network cannot be removed .* use l1unstructured"):
        remove_channels(Flattening(), torch.zeros(1, 1, 9, 9), "l1", 0.5)
