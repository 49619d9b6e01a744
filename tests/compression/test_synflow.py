"""SynFlow against a naive computation of paths; it leaves the network alone, and survives depth."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.core.errors import UserError
from pruneaudit.study import Training
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]


def context_of(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> CompressionContext:
    return CompressionContext(torch.zeros(1, *shape), torch.Generator().manual_seed(0), lambda *_: None, make)


def pruned(model: nn.Module, context: CompressionContext, sparsity: float, **options: Any) -> Compressed:
    synflow = COMPRESSORS.get("synflow")
    return synflow.compress(model, synflow.Options(sparsity=sparsity, **options), context)


def layered(*widths: int, bias: bool = False) -> nn.Sequential:
    torch.manual_seed(sum(widths))
    layers: list[nn.Module] = []
    for one, other in itertools.pairwise(widths):
        layers += [nn.Linear(one, other, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def naive_kept(matrices: list[np.ndarray], sparsity: float, rounds: int) -> list[np.ndarray]:
    """Scores of a bias-free chain as sums over all paths: |w_ji| x paths into i x paths out of j."""
    matrices = [np.abs(matrix.astype(np.float64)) for matrix in matrices]
    kept = [np.ones(matrix.shape, bool) for matrix in matrices]
    total = sum(matrix.size for matrix in matrices)
    for finished in range(1, rounds + 1):
        masked = [matrix * mask for matrix, mask in zip(matrices, kept, strict=True)]
        entries = []
        for layer, matrix in enumerate(masked):
            before = np.ones(masked[0].shape[1])
            for earlier in masked[:layer]:
                before = earlier @ before
            after = np.ones(masked[-1].shape[0])
            for later in reversed(masked[layer + 1 :]):
                after = after @ later
            for j, i in np.ndindex(matrix.shape):
                score = matrix[j, i] * before[i] * after[j] if kept[layer][j, i] else -1.0
                entries.append((score, len(entries), layer, j, i))
        left = (1 - sparsity) ** (finished / rounds)
        removed = num_removed(total, sparsity if finished == rounds else 1 - left)
        kept = [np.ones(matrix.shape, bool) for matrix in matrices]
        for _, _, layer, j, i in sorted(entries)[:removed]:
            kept[layer][j, i] = False
    return kept


@pytest.mark.parametrize(("sparsity", "rounds"), [(0.5, 1), (0.8, 7), (0.9, 100)])
def test_masks_are_those_of_sums_over_paths(sparsity: float, rounds: int) -> None:
    model = layered(6, 9, 7, 4)
    weights = [weight.detach().numpy().copy() for weight in prunable_weights(model).values()]
    masks = pruned(model, context_of(lambda: layered(6, 9, 7, 4), (6,)), sparsity, rounds=rounds).masks
    assert masks is not None
    for mask, expected in zip(masks.values(), naive_kept(weights, sparsity, rounds), strict=True):
        assert np.array_equal(mask.numpy(), expected)


def test_one_round_is_not_a_hundred() -> None:
    def make() -> nn.Module:
        return layered(6, 9, 7, 4)

    once, often = (pruned(make(), context_of(make, (6,)), 0.8, rounds=rounds).masks for rounds in (1, 100))
    assert once is not None
    assert often is not None
    assert any(not torch.equal(once[name], often[name]) for name in once)
    assert COMPRESSORS.get("synflow").Options(sparsity=0.5).rounds == 100


def test_the_network_is_its_initial_one_with_zeros_and_nothing_else(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    model = make_net()
    train(model, noise, Training(epochs=1, batch_size=8), torch.Generator().manual_seed(0))
    model.train().zero_grad(set_to_none=True)
    made = pruned(model, make_context(lambda: make_net(seed=4)), 0.9)
    assert made.masks is not None
    assert made.masks.num_weights - made.masks.num_kept == num_removed(made.masks.num_weights, 0.9)
    for name, value in make_net(seed=4).state_dict().items():  # signs, BatchNorm and all
        expected = torch.where(made.masks[name], value, 0.0) if name in made.masks else value
        assert torch.equal(made.model.state_dict()[name], expected)
    assert all(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_from_dense_weights_their_absolute_values_and_running_statistics_count(
    make_net: MakeNet, make_context: MakeContext, noise: Samples
) -> None:
    model = make_net()
    train(model, noise, Training(epochs=2, batch_size=8), torch.Generator().manual_seed(0))
    with torch.no_grad():  # running means below zero, and factors of either sign
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                module.running_mean.neg_()
                module.weight[::2].neg_()
    positive, flipped, scaled = (copy.deepcopy(model) for _ in range(3))
    with torch.no_grad():
        for tensor in (*positive.parameters(), *positive.buffers()):
            tensor.abs_()
        for tensor in prunable_weights(flipped).values():
            tensor.neg_()
    masks = [pruned(net, make_context(make_net), 0.8, start="pretrained").masks for net in (model, positive, flipped)]
    assert masks[0] is not None
    for other in masks[1:]:
        assert other is not None
        assert all(torch.equal(masks[0][name], other[name]) for name in masks[0])
    with torch.no_grad():
        scaled.features[1].norm.running_var[:4].mul_(1e6)  # type: ignore[index, union-attr]
    other = pruned(scaled, make_context(make_net), 0.8, start="pretrained").masks
    assert other is not None
    assert any(not torch.equal(masks[0][name], other[name]) for name in masks[0])


def test_depth_does_not_overflow() -> None:
    def make() -> nn.Module:
        deep = layered(*([64] * 40), 5)
        with torch.no_grad():
            for weight in prunable_weights(deep).values():
                weight.mul_(10)
        return deep

    with torch.no_grad():
        x = torch.ones(64)
        for weight in prunable_weights(make()).values():
            x = weight.abs() @ x
    assert not x.isfinite().any()  # in float32
    masks = pruned(make(), context_of(make, (64,)), 0.9, rounds=10).masks
    assert masks is not None
    assert masks.num_weights - masks.num_kept == num_removed(masks.num_weights, 0.9)
    assert all(mask.any() for mask in masks.values())


def test_no_layer_collapses_where_one_round_would() -> None:
    def make() -> nn.Module:
        return layered(50, 50, 8, 50, 5)

    masks = pruned(make(), context_of(make, (50,)), 0.99).masks
    assert masks is not None
    assert all(mask.any() for mask in masks.values())
    with pytest.raises(UserError, match=r"sparsity 0\.9995: 'synflow' removes all [\d,]+ weights of '\d\.weight'"):
        pruned(make(), context_of(make, (50,)), 0.9995)


def test_a_network_that_cannot_be_asked_is_refused() -> None:
    class Stubborn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x.float())

    with pytest.raises(UserError, match=r"'synflow' asks the network in float64, .*\(1, 4\)"):
        pruned(Stubborn(), context_of(Stubborn, (4,)), 0.5)
    with pytest.raises(UserError, match="sum up to -"):
        pruned(Negative(), context_of(Negative, (4,)), 0.5)


class Negative(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return -self.fc(x)


@pytest.mark.parametrize(("start", "origin", "trained"), [("init", "init", True), ("pretrained", "own-dense", False)])
def test_where_a_release_starts(start: str, origin: str, trained: bool) -> None:
    synflow = COMPRESSORS.get("synflow")
    options = synflow.Options(sparsity=0.5, start=start)
    assert (synflow.origin(options), synflow.works_in_training(options)) == (origin, trained)
    assert synflow.data(options) == "none"
    assert synflow.needs_example(options)
