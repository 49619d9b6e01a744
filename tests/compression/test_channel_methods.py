"""The methods that work on channels: l1structured, l2structured and slim, and their presets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.gamma_penalty import GammaPenalty
from pruneaudit.compression.layer_sizes import layer_table
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.compression.structured import replay
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.models import build_model
from pruneaudit.study import Training
from pruneaudit.training.hooks import Hook, TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

# n samples, O output channels

METHODS = ("l1structured", "l2structured", "slim")
SETTINGS = Training(epochs=2, batch_size=8, learning_rate=0.05)


def network(name: str = "tinycnn", seed: int = 0) -> nn.Module:
    options: dict[str, Any] = {"mlp": {"hidden": [8]}, "resnet": {"depth": 8}}.get(name, {"width": 4})
    return build_model(name, options, (1, 8, 8), 3, torch.Generator().manual_seed(seed))


def noise() -> Samples:
    generator = torch.Generator().manual_seed(1)
    return Samples(torch.randn(24, 8, 8, 1, generator=generator), torch.randint(3, (24,), generator=generator))


class Phases:
    """Trains for real, and notes what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int | None, tuple[Hook, ...]]] = []

    def __call__(self, model: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None) -> None:
        self.asked.append((phase, epochs, tuple(hooks)))
        settings = SETTINGS.model_copy(update={"epochs": epochs} if epochs else {})
        train(model, noise(), settings, torch.Generator().manual_seed(0), hooks)


def pruned(
    method: str, model: nn.Module, sparsity: float = 0.5, phases: Phases | None = None, **options: Any
) -> Compressed:
    pruner = COMPRESSORS.get(method)
    context = CompressionContext(torch.zeros(1, 1, 8, 8), torch.Generator(), phases or Phases(), lambda: network())
    return pruner.compress(model, validated(pruner.Options, {"sparsity": sparsity, **options}, method), context)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in model.state_dict().items()}


# ------------------------------------------------------------------ removing


@pytest.mark.parametrize("name", ["tinycnn", "convnet", "resnet", "resnet18", "mlp"])
@pytest.mark.parametrize("method", METHODS)
def test_the_network_that_comes_out_is_smaller_and_can_be_trained(method: str, name: str) -> None:
    if (method, name) == ("slim", "mlp"):
        with pytest.raises(
            UserError, match=r"slim: got a network without BatchNorm.* use l1structured, l2structured or"
        ):
            pruned(method, network(name))
        return
    model = network(name)
    weights = sum(row.weights for row in layer_table(model))
    pruning = pruned(method, model)
    assert pruning.masks is None
    assert not pruning.hooks
    assert sum(row.weights for row in layer_table(pruning.model)) == pytest.approx(weights / 2, rel=0.25)
    state = train(pruning.model, noise(), SETTINGS, torch.Generator().manual_seed(2), pruning.hooks)
    assert state.history[-1]["loss"] < 3
    again = replay(network(name, seed=4), pruning.structure)
    again.load_state_dict(pruning.model.state_dict())
    assert [row.shape for row in layer_table(again)] == [row.shape for row in layer_table(pruning.model)]


PUBLISHED: dict[str, dict[str, Any]] = {
    "densenet121": {"growth": 2},
    "resnet": {"depth": 20, "width": 4, "shortcut": "B"},
    "resnet18": {"width": 4, "max_pool": True},
    "vgg16": {"width": 4, "hidden": 16},
    "wideresnet": {"depth": 10, "width_factor": 1},
}


PUBLISHED_NAMES = [pytest.param(name, marks=pytest.mark.slow if name == "densenet121" else ()) for name in PUBLISHED]


def published(name: str, seed: int = 0, **options: Any) -> nn.Module:
    return build_model(name, PUBLISHED[name] | options, (1, 8, 8), 3, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_networks_of_the_published_systems_become_smaller(name: str, norm: str) -> None:
    options: dict[str, Any] = {"norm": norm, "init": "kaiming_normal"}
    if (name, norm) in (("resnet18", "group"), ("vgg16", "group")):
        options["width"] = 32  # several groups, each of which must lose as much as the others
    model = published(name, **options)
    pruning = pruned("l1structured", model)
    before, after = (sum(w.numel() for w in prunable_weights(net).values()) for net in (model, pruning.model))
    assert after == pytest.approx(before / 2, rel=0.05)
    again = replay(published(name, seed=4, **options), pruning.structure)
    again.load_state_dict(pruning.model.state_dict())
    x = noise().inputs(slice(0, 4))
    with torch.no_grad():
        torch.testing.assert_close(again.eval()(x), pruning.model.eval()(x))
    one_epoch = SETTINGS.model_copy(update={"epochs": 1})
    assert train(pruning.model, noise(), one_epoch, torch.Generator().manual_seed(2)).history[-1]["loss"] < 6


@pytest.mark.parametrize("name", PUBLISHED_NAMES)
def test_dead_channels_of_published_networks_go_without_a_trace(name: str) -> None:
    """A channel that is wrongly matched between two layers would show here."""
    model = published(name, init="kaiming_normal").eval()
    head = [layer for layer in model.modules() if isinstance(layer, nn.Linear)][-1]
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in model.modules():
            for parameter in layer.parameters(recurse=False):
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
                if layer is not head:
                    parameter[1::2] = 0
        x = noise().inputs(slice(0, 4))
        before = model(x)
        smaller = pruned("l1structured", model, 0.5, target="channels").model
        assert before.std() > 1e-3
        torch.testing.assert_close(smaller.eval()(x), before)


@pytest.mark.slow
def test_between_layers_side_by_side_all_convolutions_shrink_under_group_norm() -> None:
    """In DenseNet a group holds channels of several layers, so that these can hardly shrink; those between them can."""
    pruning = pruned("l1structured", published("densenet121", growth=16, norm="group"), 0.3)
    removed = [name for name, _ in json.loads(pruning.structure)["removed"]]
    assert sum(name.endswith("conv1") for name in removed) == 6 + 12 + 24 + 16
    assert sum(not name.endswith("conv1") for name in removed) < 6
    assert pruning.model(torch.zeros(2, 1, 8, 8)).isfinite().all()


def test_slim_needs_batch_norm() -> None:
    with pytest.raises(UserError, match=r"slim: got a network without BatchNorm"):
        pruned("slim", published("vgg16", norm="group"))


@pytest.mark.parametrize("method", METHODS)
def test_what_a_method_does_to_the_architecture_depends_on_its_preset(method: str) -> None:
    pruner = COMPRESSORS.get(method)
    own, preset = pruner.Options(sparsity=0.5), pruner.Options(sparsity=0.5, preset="mia_prune")
    assert (pruner.changes_architecture(own), pruner.kind(own)) == (True, "structure")
    assert (pruner.changes_architecture(preset), pruner.kind(preset)) == (False, "mask")
    assert pruner.works_in_training(own) == (method == "slim")
    assert not pruner.works_in_training(preset)
    assert pruner.origin(own) == pruner.origin(preset) == "own-dense"
    plain = COMPRESSORS.get("l1unstructured")
    assert plain.kind(plain.Options(sparsity=0.5)) == "mask"


def test_options_reach_the_removal() -> None:
    pruning = pruned("l2structured", network("convnet"), 0.4, target="channels", scope="global", exclude=["first_conv"])
    record = json.loads(pruning.structure)
    assert record["target"] == "channels"
    assert "features.0.conv" not in dict(record["removed"])
    with pytest.raises(UserError, match=r"at most 0\.\d+ can be removed"):
        pruned("l1structured", network(), 0.6, target="channels", max_channel_sparsity=0.5)


# ------------------------------------------------------------------ slim


def test_slim_trains_with_the_penalty_first_and_then_removes() -> None:
    model, phases = network("convnet"), Phases()
    before = values(model)
    pruning = pruned("slim", model, 0.5, phases, strength=0.01, sparsity_epochs=3)
    (phase, epochs, hooks) = phases.asked[0]
    assert (len(phases.asked), phase, epochs) == (1, "sparsity training", 3)
    assert isinstance(hooks[0], GammaPenalty)
    assert hooks[0].strength == 0.01
    assert any(
        not torch.equal(value, before[key]) for key, value in model.state_dict().items()
    )  # the model was trained
    gammas = {n: v for n, v in pruning.model.state_dict().items() if n.endswith("norm.weight")}
    assert all(torch.isin(value, model.state_dict()[name]).all() for name, value in gammas.items())
    assert Phases().asked == []
    pruned("slim", network("convnet"), 0.5, phases)
    assert phases.asked[-1][:2] == ("sparsity training", None)


def test_slim_refuses_before_it_trains() -> None:
    phases = Phases()
    for sparsity, options in ((1.5, {}), (0.9, {"max_channel_sparsity": 0.5}), (0.5, {"exclude": ["head"]})):
        with pytest.raises(UserError):
            pruned("slim", network(), sparsity, phases, **options)
    assert not phases.asked


def test_the_penalty_against_a_hand_computation() -> None:
    model = nn.Sequential(nn.Conv1d(1, 3, 1), nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False), nn.BatchNorm1d(3))
    frozen = model[3].weight.requires_grad_(False)
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([2.0, -0.5, 0.0]))
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.25) if parameter is not frozen else None
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    state = TrainingState(model, optimizer, torch.Generator(), num_epochs=1, steps_per_epoch=1)
    GammaPenalty(0.125).after_backward(state)
    torch.testing.assert_close(model[1].weight.grad, torch.tensor([0.375, 0.125, 0.25]), rtol=0, atol=0)
    optimizer.step()
    torch.testing.assert_close(model[1].weight.detach(), torch.tensor([1.9625, -0.5125, -0.025]))
    for other in (model[0].weight, model[0].bias, model[1].bias):
        assert (other.grad == 0.25).all()
    assert frozen.grad is None


def test_the_penalty_is_the_gradient_of_the_penalised_loss() -> None:
    class Penalised(Hook):
        def loss(self, state: TrainingState, logits: Tensor, y: Tensor, loss: Tensor) -> Tensor:
            norms = [layer.weight for layer in state.model.modules() if isinstance(layer, nn.BatchNorm2d)]
            return loss + 0.01 * sum(weight.abs().sum() for weight in norms)

    found = []
    for hook in (GammaPenalty(0.01), Penalised()):
        model = network()
        train(model, noise(), SETTINGS, torch.Generator().manual_seed(0), (hook,))
        found.append(values(model))
    for key in found[0]:
        torch.testing.assert_close(found[0][key], found[1][key])


def test_a_strong_penalty_drives_factors_to_zero() -> None:
    sizes = []
    for strength in (1e-6, 0.1):
        model = network()
        train(model, noise(), SETTINGS.model_copy(update={"epochs": 20}), torch.Generator(), (GammaPenalty(strength),))
        sizes.append(
            sum(float(w.detach().abs().sum()) for n, w in model.named_parameters() if n.endswith("norm.weight"))
        )
    assert sizes[1] < 0.5 * sizes[0]


# ------------------------------------------------------------------ presets


class WithBiases(nn.Module):
    """Convolutions with and without bias, 7 and 5 filters, and a linear classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 7, 3), nn.BatchNorm2d(7)
        self.second, self.head = nn.Conv2d(7, 5, 3, bias=False), nn.Linear(5, 3)
        nn.init.constant_(self.norm.bias, 0.5)  # what a masked filter's channel still gives

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.norm(self.first(x)).relu()).mean((2, 3)))


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.7, 0.95])
@pytest.mark.parametrize("method", ["l1structured", "l2structured"])
def test_mia_prune_masks_whole_filters_with_their_biases(method: str, sparsity: float) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = WithBiases()
    before = values(model)
    pruning = pruned(method, model, sparsity, preset="mia_prune")
    assert pruning.model is model
    assert pruning.structure == ""
    assert pruning.masks is not None
    assert pruning.masks.keys() == {"first.weight", "first.bias", "second.weight"}
    p = 1 if method == "l1structured" else 2
    for name, filters in (("first", 7), ("second", 5)):
        norms = [float((filter_.abs() ** p).sum()) for filter_ in before[f"{name}.weight"]]
        gone = sorted(range(filters), key=norms.__getitem__)[: int(filters * sparsity)]
        kept = torch.tensor([index not in gone for index in range(filters)])
        assert torch.equal(
            pruning.masks[f"{name}.weight"], kept.view(-1, 1, 1, 1).expand(before[f"{name}.weight"].shape)
        )
    assert torch.equal(pruning.masks["first.bias"], pruning.masks["first.weight"][:, 0, 0, 0])
    train(model, noise(), SETTINGS, torch.Generator().manual_seed(0), pruning.hooks)
    for name, parameter in model.named_parameters():
        if name in pruning.masks:
            assert torch.equal(parameter != 0, pruning.masks[name]), name
        else:
            assert (parameter != 0).all(), name  # BatchNorm and the classifier


def test_mia_prune_leaves_batch_norm_and_linear_layers_as_they_were() -> None:
    model = network("convnet")
    before = values(model)
    pruned("l1structured", model, 0.6, preset="mia_prune")
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == {f"features.{index}.conv.weight" for index in (0, 1, 3, 4, 6, 7)}


@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_mia_prune_slim_masks_the_smallest_gammas_of_all_layers(sparsity: float) -> None:
    model, phases = network("convnet"), Phases()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".norm." in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    before = values(model)
    pruning = pruned("slim", model, sparsity, phases, preset="mia_prune")
    assert pruning.masks is not None
    assert not phases.asked
    gammas = torch.cat([before[name].abs() for name in pruning.masks if name.endswith("weight")])
    removed = int(sparsity * len(gammas))
    assert len(gammas) == 56
    assert sum(int((~mask).sum()) for name, mask in pruning.masks.items() if name.endswith("weight")) == removed
    threshold = gammas.sort().values[removed]
    for name, mask in pruning.masks.items():
        assert torch.equal(mask, before[name.replace("bias", "weight")].abs() >= threshold)
        assert torch.equal(model.state_dict()[name], torch.where(mask, before[name], 0.0))
    assert all(torch.equal(v, before[key]) for key, v in model.state_dict().items() if key not in pruning.masks)
    train(model, noise(), SETTINGS, torch.Generator().manual_seed(0), pruning.hooks)
    assert all(torch.equal(model.state_dict()[name] != 0, mask) for name, mask in pruning.masks.items())


def test_equal_gammas_go_by_exact_count() -> None:
    pruning = pruned("slim", network("convnet"), 0.5, preset="mia_prune")
    assert pruning.masks is not None
    assert pruning.masks.num_weights - pruning.masks.num_kept == 2 * 28


# ------------------------------------------------------------------ mistakes


@pytest.mark.parametrize("preset", ["none", "mia_prune"])
@pytest.mark.parametrize("sparsity", [0.0, 1.0, -1.0])
@pytest.mark.parametrize("method", METHODS)
def test_a_sparsity_out_of_range_is_refused(method: str, sparsity: float, preset: str) -> None:
    with pytest.raises(UserError, match=r"'sparsity': got .*expected: (greater|less) than"):
        pruned(method, network(), sparsity, preset=preset)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("l1structured", r"preset mia_prune: got a network without Conv2d, .* leave the preset out"),
        ("slim", r"slim: got a network without BatchNorm2d, .* use l1structured, l2structured or l1unstructured"),
    ],
)
def test_a_preset_that_does_not_fit_the_network_is_refused(method: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pruned(method, network("mlp"), preset="mia_prune")


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("l1structured", {"preset": "mia_prune", "scope": "global"}, "'mia_prune' .*scope; leave it out"),
        ("slim", {"preset": "mia_prune", "strength": 0.1, "exclude": ["a"]}, "'mia_prune' .*exclude, strength;"),
        ("l2structured", {"target": "flops"}, "'target': got 'flops', expected: 'params', 'channels' or 'macs'"),
        ("l2structured", {"max_channel_sparsity": 1.0}, "'max_channel_sparsity': got 1.0, expected: less than 1"),
        ("slim", {"scope": "layerwise"}, "unknown key 'scope'"),
        ("slim", {"strength": 0}, "'strength': got 0, expected: greater than 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        validated(COMPRESSORS.get(method).Options, {"sparsity": 0.5, **options}, method)


@pytest.mark.parametrize("method", METHODS)
def test_options_survive_being_written_out_and_read_again(method: str) -> None:
    options = COMPRESSORS.get(method).Options
    for chosen in (
        options(sparsity=0.5),
        options(sparsity=0.5, preset="mia_prune"),
        options(sparsity=0.5, target="macs", exclude=("a",)),
    ):
        assert options.model_validate(chosen.model_dump(mode="json")) == chosen
