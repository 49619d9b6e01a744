"""Chains of compressors: zeros stay, states merge and come back from disk, trainings that were killed go on alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression.chain import (
    Chained,
    Step,
    check_order,
    compressed,
    constraints_of,
    described_steps,
    in_config,
)
from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.compression.state import load_state, masks_in, num_left, restored, save_state
from pruneaudit.core.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]
SETTINGS = Training(epochs=4, batch_size=8, learning_rate=0.02, weight_decay=0.01)
SPARSE = {"name": "l1unstructured", "options": {"sparsity": 0.7}}
SMALLER = {"name": "l1structured", "options": {"sparsity": 0.4}}
RTN = {"name": "rtn", "options": {"bits": 4}}
QAT = {"name": "qat", "options": {"bits": "ternary", "granularity": "group", "group_size": 8}}
KMEANS = {"name": "kmeans", "options": {"clusters": 4}}
FACTORS = {"name": "svd", "options": {"fraction": 0.6}}
PATTERN = {"name": "nm", "options": {"pattern": "2:4"}}
BETWEEN = {"name": "finetune", "options": {"epochs": 1}}
CHAINS: dict[str, list[dict[str, Any]]] = {
    "rtn": [RTN],
    "kmeans": [KMEANS],
    "qat": [QAT],
    "sparse, qat": [SPARSE, QAT],
    "sparse, rtn": [SPARSE, RTN],
    "sparse, kmeans": [SPARSE, KMEANS],
    "smaller, sparse, kmeans": [SMALLER, SPARSE, KMEANS],
    "smaller, rtn": [SMALLER, RTN],
    "factors": [FACTORS],
    "smaller, factors, sparse, kmeans": [SMALLER, {"name": "svd", "options": {"fraction": 0.9}}, SPARSE, KMEANS],
    "pattern, kmeans": [PATTERN, KMEANS],
    "sparse, trained, kmeans": [SPARSE, BETWEEN, KMEANS],
    "gradual": [{"name": "gradual", "options": {"sparsity": 0.8, "period_steps": 3}}],
}


def made(name: str, make_net: MakeNet, make_context: MakeContext) -> Chained:
    steps = [Step.of(described) for described in CHAINS[name]]
    return compressed(Chained(make_net()), steps, lambda number: make_context(make_net))


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def is_rebuilt(model: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(model.get_parameter(name), weight) for name, weight in restored(state).items())


@pytest.mark.parametrize("name", CHAINS)
def test_a_state_rebuilds_the_weights_also_from_disk(
    name: str, make_net: MakeNet, make_context: MakeContext, noise: Samples, tmp_path: Path
) -> None:
    chained = made(name, make_net, make_context)
    assert is_rebuilt(chained.model, chained.state())
    train(chained.model, noise, SETTINGS, torch.Generator().manual_seed(0), chained.hooks)
    chained.settle(is_of_an_earlier_epoch=False)
    state = chained.state()
    assert is_rebuilt(chained.model, state)
    save_state(state, tmp_path)
    again = load_state(tmp_path)
    assert again.keys() == state.keys()
    assert all(torch.equal(state[key], value) for key, value in again.items())
    matrices = {key for key, weight in weights_of(chained.model).items() if weight.ndim > 1}
    assert restored(again).keys() == matrices


@pytest.mark.parametrize("name", ["sparse, rtn", "sparse, kmeans", "sparse, qat"])
def test_what_was_removed_first_stays_zero(
    name: str, make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    alone = compressed(Chained(make_net()), [Step.of(SPARSE)], lambda number: make_context(make_net))
    chained = made(name, make_net, make_context)
    train(chained.model, noise, SETTINGS, torch.Generator().manual_seed(0), chained.hooks)
    state = chained.state()
    masks, before = masks_in(state), masks_in(alone.state())
    assert masks is not None
    assert before is not None
    assert all(torch.equal(masks[key], mask) for key, mask in before.items())
    for key, mask in masks.items():
        weight = chained.model.get_parameter(key)
        assert (weight[~mask] == 0).all()
        assert not torch.signbit(weight[~mask]).any()
        assert f"kept/{key}" not in state  # codes and shared values say it
    assert num_left(state) == {key: int(mask.sum()) for key, mask in masks.items()}


@pytest.mark.parametrize("killed_in", [2, 4])
@pytest.mark.parametrize(
    "name", ["rtn", "sparse, rtn", "sparse, kmeans", "sparse, qat", "factors", "sparse, trained, kmeans"]
)
def test_a_killed_training_ends_with_the_same_bits(
    name: str, killed_in: int, make_net: MakeNet, make_context: MakeContext, noise: Samples, tmp_path: Path
) -> None:
    def trained(folder: Path | None, kill_in: int = 0) -> Chained:
        chained = made(name, make_net, make_context)
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        hooks = (*chained.hooks, KillIn(kill_in))
        train(chained.model, noise, SETTINGS, torch.Generator().manual_seed(5), hooks, checkpoints)
        return chained

    with pytest.raises(Killed):
        trained(tmp_path, killed_in)
    resumed, undisturbed = trained(tmp_path), trained(None)
    assert all(torch.equal(weights_of(resumed.model)[k], v) for k, v in weights_of(undisturbed.model).items())
    states = resumed.state(), undisturbed.state()
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())


TRAVELLING = [
    "rtn",
    "qat",
    "sparse, rtn",
    "sparse, kmeans",
    "smaller, sparse, kmeans",
    "smaller, factors, sparse, kmeans",
]


@pytest.mark.parametrize("name", [*TRAVELLING, "factors", "pattern, kmeans", "sparse, trained, kmeans"])
def test_a_constraint_travels_to_what_is_trained_further(
    name: str, make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    parent = made(name, make_net, make_context)
    before, weights = parent.state(), weights_of(parent.model)
    constraints = constraints_of(before, [Step.of(described) for described in CHAINS[name]])
    hooks = tuple(hook for constraint in constraints for hook in constraint.hooks(parent.model))
    child = compressed(Chained(parent.model, list(constraints), hooks), [], lambda number: make_context(make_net))
    train(child.model, noise, SETTINGS, torch.Generator().manual_seed(1), child.hooks)
    after = child.state()
    assert is_rebuilt(child.model, after)
    assert after.keys() == before.keys()
    held = ("mask", "scale", "zero", "grid", "index", "structure")
    assert all(torch.equal(after[key], value) for key, value in before.items() if key.split("/")[0] in held)
    assert any(not torch.equal(weights[name], weight) for name, weight in restored(after).items())


def test_a_mask_on_a_masked_network_keeps_what_both_keep(make_net: MakeNet, make_context: MakeContext) -> None:
    steps = [Step.of(SPARSE), Step.of({"name": "random", "options": {"sparsity": 0.5}})]
    alone = [compressed(Chained(make_net()), [step], lambda number: make_context(make_net)).masks for step in steps]
    both = compressed(Chained(make_net()), steps, lambda number: make_context(make_net))
    assert both.masks is not None
    for name, mask in both.masks.items():
        assert torch.equal(mask, alone[0][name] & alone[1][name])  # type: ignore[index]
        assert torch.equal(both.model.get_parameter(name) != 0, mask)
    assert is_rebuilt(both.model, both.state())


def test_rewinding_brings_no_removed_weight_back(make_net: MakeNet, make_context: MakeContext) -> None:
    steps = [
        Step.of(SPARSE),
        Step.of({"name": "iterative", "options": {"sparsity": 0.8, "rounds": 2, "rewind": "init"}}),
    ]
    chained = compressed(Chained(make_net()), steps, lambda number: make_context(make_net))
    assert chained.masks is not None
    for name, mask in chained.masks.items():
        assert (chained.model.get_parameter(name)[~mask] == 0).all()


@pytest.mark.parametrize("steps", [[], [SPARSE], [RTN], [SPARSE, KMEANS], [SMALLER, SPARSE]])
def test_steps_stand_in_an_identity_and_are_read_from_it(steps: list[dict[str, Any]]) -> None:
    described = [{**step, "semantics_version": 1} for step in steps]
    config = in_config(described)
    assert described_steps(config) == described
    one_pruner_or_none = len(steps) == 0 or (len(steps) == 1 and steps[0] is SPARSE)
    assert config.keys() == ({"pruner", "sparsity"} if one_pruner_or_none else {"compress"})  # as in every older bank


ANEW = {"name": "dpf", "options": {"sparsity": 0.5}}
MOVING = {"name": "nm", "options": {"pattern": "2:4", "sr_ste": True}}


@pytest.mark.parametrize(
    ("steps", "named", "reason"),
    [
        ([SPARSE, FACTORS], ("svd", "l1unstructured"), "zeros"),
        ([KMEANS, FACTORS], ("svd", "kmeans"), "codebook"),
        ([RTN, SPARSE], ("l1unstructured", "rtn"), "rounded weights"),
        ([RTN, PATTERN], ("nm", "rtn"), "rounded weights"),
        ([RTN, KMEANS], ("kmeans", "rtn"), "both restrict the values"),
        ([FACTORS, SMALLER], ("l1structured", "svd"), "put 'l1structured' first"),
        ([FACTORS, FACTORS], ("svd", "svd"), "only one step can split"),
        ([SMALLER, SMALLER], ("l1structured", "l1structured"), "only one step can remove channels"),
        ([SPARSE, SMALLER], ("l1structured", "l1unstructured"), "channels"),
        ([SPARSE, BETWEEN, FACTORS], ("svd", "l1unstructured"), "zeros"),
        ([SPARSE, ANEW], ("dpf", "l1unstructured"), "new weights"),
        ([MOVING, KMEANS], ("kmeans", "nm"), "last step"),
    ],
)
def test_an_order_that_undoes_itself_is_refused_with_both_names_and_the_reason(
    steps: list[dict[str, Any]], named: tuple[str, str], reason: str
) -> None:
    with pytest.raises(UserError) as caught:
        check_order([Step.of(step) for step in steps])
    assert f"'{named[0]}' cannot follow '{named[1]}'" in str(caught.value)
    assert reason in str(caught.value)


def test_a_training_belongs_between_two_steps() -> None:
    for steps in ([BETWEEN], [SPARSE, BETWEEN]):
        with pytest.raises(UserError, match=r"'finetune' trains between two steps, and none follows.*key finetune"):
            check_order([Step.of(step) for step in steps])


def test_the_training_between_two_steps_holds_the_mask_and_comes_before_clustering(
    make_net: MakeNet, make_context: MakeContext
) -> None:
    phases: list[Any] = []
    steps = [Step.of(step) for step in CHAINS["sparse, trained, kmeans"]]
    chained = compressed(Chained(make_net()), steps, lambda number: make_context(make_net, phases))
    ((phase, epochs, before),) = phases
    assert (phase, epochs) == ("between steps", 1)
    assert chained.masks is not None
    for name, mask in chained.masks.items():
        assert (before[name][~mask] == 0).all()
        weight = chained.model.get_parameter(name).detach()
        assert (weight[~mask] == 0).all()
        assert not torch.equal(weight, before[name])
        assert len(weight[mask].unique()) <= 4
