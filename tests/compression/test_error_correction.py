"""GPTQ, SparseGPT and OBC against naive loops that invert a matrix per step, and on real inputs."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Chained, Step, compressed
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.corrected_grids import ColumnOrder, rounded_with_correction
from pruneaudit.compression.error_correction import (
    Removal,
    corrected,
    damped,
    least_loss_removed,
    removed_by_block,
    rows_of,
    upper_factor,
)
from pruneaudit.compression.grid_rules import GridRule
from pruneaudit.compression.grids import Grids
from pruneaudit.compression.layer_inputs import layers_in_order
from pruneaudit.compression.selection import prunable_weights
from pruneaudit.compression.state import not_rebuilt
from pruneaudit.core.errors import UserError
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.models import build_model
from pruneaudit.study import Data, Training
from pruneaudit.training.loop import train
from pruneaudit.training.predict import accuracy, predict
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., Any]
MakeContext = Callable[..., CompressionContext]
RULES = {
    "channel": GridRule(3),
    "tensor": GridRule(4, "asymmetric", "tensor"),
    "group": GridRule(3, "full", "group", 4),
    "clipped": GridRule(2, "narrow", clips=True),
    "ternary": GridRule(0),
    "ternary groups": GridRule(0, granularity="group", group=5, ternary="absmean"),
}


def problem(rows: int = 5, width: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    """A weight matrix, and the second moment of correlated inputs."""
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=generator, dtype=torch.float64)
    inputs = mixed @ torch.randn(width, 4 * width, generator=generator, dtype=torch.float64)
    return torch.randn(rows, width, generator=generator), (inputs @ inputs.T).unsqueeze(0)


def asked(rows: Tensor, sparsity: float, before: Tensor | None = None, name: str = "layer") -> Removal:
    return Removal(name, sparsity, torch.zeros(1, rows.shape[2], dtype=torch.bool), before)


def loss(change: Tensor, hessian: Tensor) -> float:
    return float((change.double() @ hessian[0] * change.double()).sum())


def naive(weight: np.ndarray, hessian: np.ndarray, target: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
    """Fixes one column after another; the inverse of what is left is computed anew each time."""
    left, fixed = weight.astype(np.float64).copy(), np.zeros(weight.shape)
    for j in range(weight.shape[1]):
        fixed[:, j] = target(j, left[:, j])
        inverse = np.linalg.inv(hessian[j:, j:])
        left[:, j:] -= np.outer((left[:, j] - fixed[:, j]) / inverse[0, 0], inverse[0])
    return fixed


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("order", [ColumnOrder(), ColumnOrder(True, True), ColumnOrder(False, True)])
def test_with_uncorrelated_inputs_gptq_is_rounding(rule: str, order: ColumnOrder) -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(1))
    hessian, dead = damped(torch.eye(36, dtype=torch.float64)[None], 0.01, "layer")
    found = rounded_with_correction(weight, None, hessian, dead, RULES[rule], order)
    assert torch.equal(found.rounded, RULES[rule].grid(weight).rounded(weight))
    assert torch.equal(found.unrounded, weight)


@pytest.mark.parametrize("block", [3, 128])
def test_correction_is_what_a_naive_loop_gives_whatever_the_block(block: int) -> None:
    weight, moment = problem()
    hessian, _ = damped(moment, 0.01, "layer")
    grid = GridRule(3).grid(weight)

    def begin(first: int, part: Tensor) -> Any:
        return lambda j, column: grid.rounded(column.view(-1, 1)).double().view(column.shape)

    fixed = corrected(rows_of(weight, 1), upper_factor(hessian), begin, block)
    expected = naive(
        weight.numpy(), hessian[0].numpy(), lambda j, column: grid.rounded(torch.from_numpy(column)[:, None])[:, 0]
    )
    assert np.allclose(fixed[0].numpy(), expected, atol=1e-6)
    assert loss(fixed[0] - weight, moment) < loss(grid.rounded(weight) - weight, moment)


def test_columns_by_activity_are_the_same_loop_over_permuted_columns() -> None:
    weight, moment = problem(seed=2)
    hessian, dead = damped(moment, 0.01, "layer")
    rule = GridRule(3, granularity="group", group=4)
    grid = rule.grid(weight)
    order = hessian[0].diagonal().argsort(descending=True)
    scale = grid.scale.repeat_interleave(4, 1)[:, order].double().numpy()
    expected = naive(
        weight[:, order].numpy(),
        hessian[0][order][:, order].numpy(),
        lambda j, column: scale[:, j] * np.clip(np.round(column / scale[:, j]), -3, 3),
    )
    found = rounded_with_correction(weight, None, hessian, dead, rule, ColumnOrder(True, True))
    assert np.allclose(found.rounded[:, order].numpy(), expected, atol=1e-5)
    assert torch.equal(found.grid.scale, grid.scale)


def test_scales_of_groups_are_chosen_when_their_turn_comes() -> None:
    weight, moment = problem(seed=3)
    hessian, dead = damped(moment, 0.01, "layer")
    rule = GridRule(3, granularity="group", group=5)
    found = rounded_with_correction(weight, None, hessian, dead, rule, ColumnOrder())
    first, static = found.grid.scale, rule.grid(weight).scale
    assert first.shape == static.shape == (5, 3)
    assert torch.equal(first[:, 0], static[:, 0])
    assert not torch.isclose(first[:, 1:], static[:, 1:]).any()
    assert torch.allclose(first, rule.grid(found.unrounded).scale, rtol=0.6)  # the group's later columns move on
    assert torch.equal(found.grid.rounded(found.rounded), found.rounded)
    assert torch.equal(found.grid.rounded(found.unrounded), found.rounded)


def test_removed_weights_stay_zero_and_inputs_that_never_occur_get_no_weight() -> None:
    weight, moment = problem(20, 60, seed=4)
    moment[0, 3], moment[0, :, 3] = 0, 0
    kept = torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) > 0.4
    hessian, dead = damped(moment, 0.01, "layer")
    assert dead.nonzero().tolist() == [[0, 3]]
    found = rounded_with_correction(weight * kept, kept, hessian, dead, GridRule(4), ColumnOrder())
    assert (found.rounded[~kept] == 0).all()
    assert (found.rounded[:, 3] == 0).all()
    assert (found.rounded[kept] != 0).float().mean() > 0.5
    grid = GridRule(4).grid(weight * kept)
    assert loss(found.rounded - weight * kept, moment) < loss(grid.rounded(weight * kept) - weight * kept, moment)


def test_damping_is_a_fraction_of_the_mean_square_of_inputs_that_occur() -> None:
    moment = torch.diag(torch.tensor([1.0, 3.0, 0.0], dtype=torch.float64))[None]
    hessian, dead = damped(moment, 0.1, "layer")
    assert torch.allclose(hessian[0], torch.diag(torch.tensor([1.2, 3.2, 2.2], dtype=torch.float64)))
    assert dead.tolist() == [[False, False, True]]
    assert torch.equal(damped(0 * moment, 0.1, "layer")[0][0].diagonal(), torch.full((3,), 1.1, dtype=torch.float64))
    with pytest.raises(UserError, match=r"'layer'.*finite"):
        damped(moment / 0, 0.1, "layer")


def naive_obc(weight: np.ndarray, hessian: np.ndarray, total: int) -> np.ndarray:
    """Over and over removes the one weight whose loss is least; the row is then fitted anew to the inputs left."""
    fixed, kept = weight.astype(np.float64).copy(), np.ones(weight.shape, dtype=bool)
    for _ in range(total):
        costs = np.full(weight.shape, np.inf)
        for r in range(len(weight)):
            left = np.flatnonzero(kept[r])
            inverse = np.linalg.inv(hessian[np.ix_(left, left)])
            costs[r, left] = fixed[r, left] ** 2 / np.diag(inverse)
        r, j = np.unravel_index(costs.argmin(), costs.shape)
        kept[r, j] = False
        left = np.flatnonzero(kept[r])
        fixed[r] = 0
        fixed[r, left] = np.linalg.solve(hessian[np.ix_(left, left)], hessian[left] @ weight[r].astype(np.float64))
    return fixed


@pytest.mark.parametrize("width", [12, 50])
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.9])
def test_obc_removes_what_a_naive_search_removes(width: int, sparsity: float) -> None:
    weight, moment = problem(4, width, seed=5)
    hessian, _ = damped(moment, 0.01, "layer")
    rows = rows_of(weight, 1)
    fixed, kept = least_loss_removed(rows, hessian, asked(rows, sparsity))
    total = round(sparsity * weight.numel())
    expected = naive_obc(weight.numpy(), hessian[0].numpy(), total)
    assert int((~kept).sum()) == total
    assert np.array_equal(kept[0].numpy(), expected != 0)
    assert np.allclose(fixed[0].numpy(), expected, atol=1e-8)


def test_sparsegpt_removes_what_a_naive_loop_removes() -> None:
    weight, moment = problem(4, 200, seed=6)
    hessian, _ = damped(moment, 0.01, "layer")
    rows = rows_of(weight, 1)
    fixed, kept = removed_by_block(rows, upper_factor(hessian), asked(rows, 0.5))
    mask = np.ones(weight.shape, dtype=bool)
    left = weight.double().numpy().copy()
    for first, last in ((0, 128), (128, 200)):
        inverses = [np.linalg.inv(hessian[0].numpy()[j:, j:]) for j in range(first, last)]
        scores = left[:, first:last] ** 2 / np.array([inverse[0, 0] for inverse in inverses])
        mask[:, first:last] = scores > np.sort(scores.flatten())[4 * (last - first) // 2 - 1]
        for j, inverse in zip(range(first, last), inverses, strict=True):
            error = np.where(mask[:, j], 0, left[:, j])
            left[:, j:] -= np.outer(error / inverse[0, 0], inverse[0])
    assert np.array_equal(kept[0].numpy(), mask)
    assert np.allclose(fixed[0].numpy(), left * mask, atol=1e-8)


@pytest.mark.parametrize("method", [removed_by_block, least_loss_removed])
def test_counts_are_exact_and_earlier_removals_count(method: Any) -> None:
    weight, moment = problem(5, 30, seed=7)
    hessian, _ = damped(moment, 0.01, "layer")
    prepared = upper_factor(hessian) if method is removed_by_block else hessian
    before = torch.rand(1, 5, 30, generator=torch.Generator().manual_seed(1)) < 0.4
    rows = rows_of(weight, 1) * ~before
    for sparsity in (0.2, 0.41, 0.77):
        fixed, kept = method(rows.clone(), prepared, asked(rows, sparsity, before))
        assert int((~kept).sum()) == max(int(before.sum()), round(sparsity * 150))
        assert not kept[before].any()
        assert (fixed[~kept] == 0).all()
    with pytest.raises(UserError, match=r"leaves none.*layer"):
        method(rows, prepared, asked(rows, 0.999))


def test_layers_too_large_for_obc_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pruneaudit.compression.error_correction.MOST_WORK", 1000)
    with pytest.raises(UserError, match=r"'a\.b\.weight' with 5 rows of 12 .*sparsegpt.*'a\.b'"):
        rows = torch.zeros(1, 5, 12)
        least_loss_removed(rows, torch.eye(12)[None], asked(rows, 0.5, name="a.b.weight"))


@pytest.mark.parametrize("method", [removed_by_block, least_loss_removed])
def test_weights_of_inputs_that_never_occur_go_first_and_do_not_change_otherwise(method: Any) -> None:
    weight, moment = problem(5, 30, seed=8)
    weight[:, 7] = 100.0
    moment[0, 7], moment[0, :, 7] = 0, 0
    hessian, dead = damped(moment, 0.01, "layer")
    prepared = upper_factor(hessian) if method is removed_by_block else hessian
    for sparsity, gone in ((0.5, 5), (0.02, 3)):
        fixed, kept = method(rows_of(weight, 1), prepared, Removal("layer", sparsity, dead))
        assert int((~kept[..., 7]).sum()) == gone
        assert (fixed[..., 7][kept[..., 7]] == 100).all()


# ------------------------------------------------------------------ whole networks


@pytest.fixture(scope="module")
def images() -> Samples:
    """Correlated inputs: noise, smoothed."""
    x = torch.randn(60, 1, 10, 10, generator=torch.Generator().manual_seed(2))
    smooth = nn.functional.avg_pool2d(x, 3, stride=1)
    return Samples(smooth.permute(0, 2, 3, 1).contiguous(), torch.arange(60) % 3)


@pytest.fixture
def done(make_context: MakeContext, images: Samples) -> Callable[..., Compressed]:
    def make(name: str, model: nn.Module, **options: Any) -> Compressed:
        found = COMPRESSORS.get(name)
        return found.compress(model, found.Options(**options), replace(make_context(lambda: model), samples=images))

    return make


class Grouped(nn.Module):
    """A depthwise and a grouped convolution, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(1, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.grouped = nn.Conv2d(4, 6, 1, groups=2)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.grouped(torch.relu(self.depthwise(torch.relu(self.first(x))))))
        return self.fc(x.mean((2, 3)))


METHODS: list[tuple[str, dict[str, Any]]] = [
    ("gptq", {"bits": 3}),
    ("gptq", {"bits": 3, "act_order": True, "granularity": "group", "group_size": 4}),
    ("gptq", {"bits": "ternary", "granularity": "group", "group_size": 4}),
    ("sparsegpt", {"sparsity": 0.5}),
    ("obc", {"sparsity": 0.5}),
]


@pytest.mark.parametrize(("name", "options"), METHODS)
@pytest.mark.parametrize("kind", ["tinycnn", "grouped"])
def test_networks_keep_their_outputs_and_rebuild_from_states(
    name: str, options: dict[str, Any], kind: str, done: Callable[..., Compressed], make_net: MakeNet, images: Samples
) -> None:
    model = Grouped() if kind == "grouped" else make_net("tinycnn")
    method, simple = COMPRESSORS.get(name), "rtn" if name == "gptq" else "l1unstructured"
    alone = done(simple, Grouped() if kind == "grouped" else make_net("tinycnn"), **{
        key: value for key, value in options.items() if key != "act_order"
    } | ({} if name == "gptq" else {"scope": "layerwise"}))  # fmt: skip
    dense = predict(Grouped() if kind == "grouped" else make_net("tinycnn"), images)
    made = done(name, model, **options)
    error = [((predict(each, images) - dense) ** 2).mean() for each in (made.model, alone.model)]
    assert error[0] < error[1]
    assert not_rebuilt(model, method.state(made)) == []
    train(model, images, Training(epochs=1, batch_size=16, learning_rate=0.05), torch.Generator(), made.hooks)
    state = method.state(made)
    assert not_rebuilt(model, state) == []
    if name == "gptq":
        again = method.constraint(state, method.Options(**options))
        assert isinstance(again, Grids)
        assert all(torch.equal(state[key], value) for key, value in again.state(model).items())
    else:
        for mask in made.masks.values():  # type: ignore[union-attr]
            assert abs(int(mask.sum()) - 0.5 * mask.numel()) <= 0.5


def test_later_layers_see_the_rounded_earlier_ones(
    done: Callable[..., Compressed], make_net: MakeNet, images: Samples
) -> None:
    """The last layer is what rounding it alone gives, in the network that is already rounded."""
    model = make_net("tinycnn")
    whole = done("gptq", make_net("tinycnn"), bits=2).model
    name = "classifier.weight"
    weight = model.get_parameter(name).detach().clone()
    with torch.no_grad():
        for key, parameter in whole.named_parameters():
            if key != name:
                model.get_parameter(key).copy_(parameter)
    (layer,) = layers_in_order(model, images, [name])
    hessian, dead = damped(layer.moment(), 0.01, name)
    found = rounded_with_correction(weight, None, hessian, dead, GridRule(2, "full"), ColumnOrder())
    assert torch.equal(found.rounded, whole.get_parameter(name))


@pytest.mark.parametrize("name", ["gptq", "sparsegpt", "obc"])
def test_it_follows_a_mask(name: str, make_net: MakeNet, make_context: MakeContext, images: Samples) -> None:
    options: dict[str, Any] = {"bits": 4} if name == "gptq" else {"sparsity": 0.8}
    steps = [{"name": "l1unstructured", "options": {"sparsity": 0.6}}, {"name": name, "options": options}]
    context = replace(make_context(make_net), samples=images)
    chained = compressed(Chained(make_net()), [Step.of(step) for step in steps], lambda number: context)
    assert not_rebuilt(chained.model, chained.state()) == []
    first = compressed(Chained(make_net()), [Step.of(steps[0])], lambda number: context).masks
    assert first is not None
    for key, mask in first.items():
        assert (chained.model.get_parameter(key)[~mask] == 0).all()
    assert chained.masks is not None
    assert chained.masks.sparsity == pytest.approx(0.6 if name == "gptq" else 0.8, abs=0.03)


def test_on_a_trained_network_it_keeps_more_than_rounding() -> None:
    """On images that neither training nor calibration used: the first layer's outputs, and accuracy."""
    audit_data = load_audit_data(Data(source="fashion_mnist_5k", num_samples=3256), seed=0)
    place = np.arange(len(audit_data.y))
    members, others, public = (
        Samples.of(audit_data, (place >= first) & (place < last))
        for first, last in ((0, 1500), (1500, 3000), (3000, 3256))
    )
    model = build_model("mlp", {"hidden": [64]}, (1, 28, 28), 10, torch.Generator().manual_seed(0))
    settings = Training(epochs=5, batch_size=64, learning_rate=0.05)
    train(model, members, settings, torch.Generator().manual_seed(1))
    context: Any = CompressionContext(
        public.inputs(slice(0, 1)), torch.Generator(), lambda *_: None, lambda: model, samples=public
    )
    first = next(iter(prunable_weights(model)))
    x = others.inputs(slice(None)).flatten(1).double()
    for bits in (4, 2):
        errors, accuracies = [], []
        for name in ("rtn", "gptq"):
            found, copied = COMPRESSORS.get(name), copy.deepcopy(model)
            found.compress(copied, found.Options(bits=bits), context)
            change = copied.get_parameter(first).detach() - model.get_parameter(first).detach()
            errors.append(float((x @ change.double().T).square().mean()))
            accuracies.append(accuracy(copied, others))
        assert errors[1] < 0.7 * errors[0]
        assert accuracies[1] > accuracies[0] - 0.01
    assert accuracies[1] > accuracies[0]  # 2 bits


def test_gptq_takes_at_most_a_second_and_refuses_settings_without_effect(
    done: Callable[..., Compressed], make_net: MakeNet
) -> None:
    model = make_net("tinycnn", width=16)
    began = time.process_time()
    done("gptq", model, bits=4)
    assert time.process_time() - began < 1
    with pytest.raises(UserError, match="static_groups"):
        COMPRESSORS.get("gptq").Options(bits=4, static_groups=True)
