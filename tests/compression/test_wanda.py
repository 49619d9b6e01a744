"""Wanda against loops over every output, input and position; rows, ties, and layers in their order."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.selection import num_removed, prunable_weights
from pruneaudit.compression.wanda import keep_in_rows, removed_by_row
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
MakeContext = Callable[..., CompressionContext]


def pruned(model: nn.Module, samples: Samples, **options: Any) -> Compressed:
    wanda = COMPRESSORS.get("wanda")
    context: Any = CompressionContext(samples.inputs(slice(0, 1)), torch.Generator(), lambda *_: None, nn.Module)
    return wanda.compress(model, validated(wanda.Options, options, "wanda"), replace(context, samples=samples))


def images(n: int = 6) -> Samples:
    generator = torch.Generator().manual_seed(2)
    stored = torch.randn(n, 6, 6, 2, generator=generator) * torch.tensor([1.0, 5.0])
    return Samples(stored, torch.zeros(n, dtype=torch.int64))


class Net(nn.Module):
    """A strided padded convolution, a grouped dilated one, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, stride=2, padding=1)
        self.two = nn.Conv2d(4, 6, 2, dilation=2, groups=2)
        self.fc = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.two(torch.relu(self.one(x)))).flatten(1))


def make() -> Net:
    torch.manual_seed(3)
    return Net()


def naive_convolution(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, how: dict[str, int]) -> Any:
    """Output (N, O, H, W) and the squared length of each weight's input (O, I, k, k), by loops."""
    stride, padding, dilation, groups = (how[key] for key in ("stride", "padding", "dilation", "groups"))
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    num_out, num_in, k, _ = weight.shape
    side = (x.shape[2] - dilation * (k - 1) - 1) // stride + 1
    out, squares = np.zeros((len(x), num_out, side, side)), np.zeros(weight.shape)
    for n, o, r, c in np.ndindex(*out.shape):
        out[n, o, r, c] = bias[o]
        for i, a, b in np.ndindex(num_in, k, k):
            channel = i + o // (num_out // groups) * num_in
            value = x[n, channel, r * stride + a * dilation, c * stride + b * dilation]
            squares[o, i, a, b] += value**2
            out[n, o, r, c] += weight[o, i, a, b] * value
    return out, squares


def naive_rows(weight: np.ndarray, squares: np.ndarray, sparsity: float) -> np.ndarray:
    """Row by row, by sorting; counts are those whose running sum is nearest to sparsity x weights so far."""
    kept, gone = np.ones((len(weight), weight[0].size), bool), 0
    for row in range(len(weight)):
        until = math.floor(sparsity * weight[0].size * (row + 1) + 0.5)
        scores = [abs(w) * math.sqrt(s) for w, s in zip(weight[row].flat, squares[row].flat, strict=True)]
        for place in sorted(range(len(scores)), key=lambda place: (scores[place], place))[: until - gone]:
            kept[row, place] = False
        gone = until
    return kept.reshape(weight.shape)


def naive(net: Net, samples: Samples, sparsity: float) -> dict[str, np.ndarray]:
    """Layer by layer; each one's inputs come from the layers before as they are pruned."""
    p = {name: value.detach().double().numpy() for name, value in net.named_parameters()}
    x, found = samples.inputs(slice(None)).double().numpy(), {}
    for name, how in (
        ("one", {"stride": 2, "padding": 1, "dilation": 1, "groups": 1}),
        ("two", {"stride": 1, "padding": 0, "dilation": 2, "groups": 2}),
    ):
        weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
        _, squares = naive_convolution(weight, bias, x, how)
        found[f"{name}.weight"] = naive_rows(weight, squares, sparsity)
        x = np.maximum(naive_convolution(weight * found[f"{name}.weight"], bias, x, how)[0], 0)
    flat = x.reshape(len(x), -1)
    squares = np.broadcast_to((flat**2).sum(0), p["fc.weight"].shape)
    return found | {"fc.weight": naive_rows(p["fc.weight"], squares, sparsity)}


@pytest.mark.parametrize("sparsity", [0.3, 0.5, 0.8])
def test_masks_are_those_of_loops_over_everything(sparsity: float) -> None:
    model = make()
    masks = pruned(model, images(), sparsity=sparsity).masks
    assert masks is not None
    for name, expected in naive(make(), images(), sparsity).items():
        assert np.array_equal(masks[name].numpy(), expected), name
    for name, value in make().named_parameters():  # nothing is updated
        expected_value = torch.where(masks[name], value, 0.0) if name in masks else value
        assert torch.equal(model.get_parameter(name), expected_value)


def test_inputs_come_after_earlier_layers_are_pruned() -> None:
    def network() -> nn.Sequential:
        two = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
        with torch.no_grad():
            # Input 1 is tiny, so its weights go: then unit 0 is 1 x input 0, and unit 1 is 3 x input 0.
            two[0].weight.copy_(torch.tensor([[1.0, 1e4], [3.0, 1.0]]))
            two[1].weight.copy_(torch.tensor([[1.0, 0.9], [1.0, 0.2]]))
        return two

    samples = Samples(torch.tensor([[1.0, 1e-6], [1.0, 1e-6]]), torch.zeros(2, dtype=torch.int64))
    masks = pruned(network(), samples, sparsity=0.5).masks
    assert masks is not None
    assert masks["0.weight"].tolist() == [[True, False], [True, False]]
    assert masks["1.weight"].tolist() == [[False, True], [True, False]]  # 1 against 2.7, 1 against 0.6
    # With |w| alone unit 0's weight of input 1 would have stayed, and both rows of the second layer their first weight.
    samples = Samples(torch.tensor([[1.0, 1.0], [1.0, 1.0]]), torch.zeros(2, dtype=torch.int64))
    plain = pruned(network(), samples, sparsity=0.5).masks
    assert plain is not None
    assert plain["0.weight"].tolist() == [[False, True], [True, False]]
    assert plain["1.weight"].tolist() == [[True, False], [True, False]]


@given(num_rows=st.integers(1, 40), length=st.integers(1, 300), sparsity=st.floats(0.01, 0.99))
def test_rows_differ_by_at_most_one_and_sum_up_exactly(num_rows: int, length: int, sparsity: float) -> None:
    if math.floor(sparsity * (num_rows * length) + 0.5) >= num_rows * length:
        with pytest.raises(UserError, match=r"leaves none of .* weights of conv"):
            removed_by_row(num_rows, length, sparsity, "conv")
        return
    removed = removed_by_row(num_rows, length, sparsity, "conv")
    assert sum(removed) == num_removed(num_rows * length, sparsity)
    assert max(removed) - min(removed) <= 1
    assert all(0 <= number <= length for number in removed)


def test_among_equal_scores_the_first_go_first() -> None:
    scores = torch.tensor([[1.0, 1.0, 2.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert keep_in_rows(scores, [2, 3]).tolist() == [[False, False, True, True], [False, False, False, True]]


def test_a_global_ranking_would_empty_rows_that_this_one_keeps() -> None:
    model, scaled = make(), make()
    with torch.no_grad():
        scaled.two.weight.mul_(torch.logspace(-4, 4, 6)[:, None, None, None])
    masks = [pruned(net, images(), sparsity=0.5, exclude=["fc"]).masks for net in (model, scaled)]
    assert masks[0] is not None
    assert masks[1] is not None
    assert torch.equal(masks[0]["two.weight"], masks[1]["two.weight"])
    assert masks[1]["two.weight"].flatten(1).sum(1).tolist() == [4] * 6


def test_whole_networks_lose_exactly_what_was_asked_of_each_layer(make_net: MakeNet, noise: Samples) -> None:
    model = make_net()
    before = copy.deepcopy(model.state_dict())
    masks = pruned(model, noise, sparsity=0.7).masks
    assert masks is not None
    assert {name: int((~mask).sum()) for name, mask in masks.items()} == {
        name: num_removed(weight.numel(), 0.7) for name, weight in prunable_weights(model).items()
    }
    others = {name: value for name, value in model.state_dict().items() if name not in masks}
    assert all(torch.equal(value, before[name]) for name, value in others.items())


def test_layers_without_columns_are_refused_by_name(noise: Samples) -> None:
    model = nn.Sequential(nn.ConvTranspose2d(1, 2, 2), nn.Flatten(), nn.LazyLinear(3))
    model(noise.inputs(slice(0, 1)))
    with pytest.raises(UserError, match=r"'0\.weight' has no inputs to measure"):
        pruned(model, noise, sparsity=0.5)
    pruned(model, noise, sparsity=0.5, exclude=["0"])


def test_what_it_sees() -> None:
    wanda = COMPRESSORS.get("wanda")
    for options, expected in (({}, ("public", 128)), ({"data": "members", "num_samples": 9}, ("members", 9))):
        chosen = wanda.Options(sparsity=0.5, **options)
        assert (wanda.data(chosen), wanda.num_samples(chosen)) == expected
        assert (wanda.origin(chosen), wanda.works_in_training(chosen)) == ("own-dense", False)
    with pytest.raises(UserError, match="unknown key 'scope'"):
        validated(wanda.Options, {"sparsity": 0.5, "scope": "global"}, "options")
