"""Networks whose channels are moved about: each group goes without touching another channel, or is kept and named."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from pruneaudit.compression.channel_check import ChannelCheck, trial_removal
from pruneaudit.compression.channel_graph import channel_groups
from pruneaudit.compression.structured import kept_whole, remove_channels, replay
from pruneaudit.core.errors import UserError

# B batch, C channels, H height, W width, T tokens

IMAGE, ROW, SERIES, VOLUME = (3, 8, 8), (12,), (3, 12), (2, 4, 4, 4)


class Between(nn.Module):
    """A convolution of 8 channels, something done to them, a layer that reads the result, one that can shrink."""

    def __init__(self, between: Callable[[Tensor, Tensor], Tensor], width: int, convolution: type[nn.Module]) -> None:
        super().__init__()
        self.first = convolution(3, 8, 3, padding=1)
        self.between = between
        self.reader = convolution(width, 6, 1) if width < 64 else nn.Linear(width, 6)
        self.last, self.head = nn.Linear(6, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.reader(self.between(functional.relu(self.first(x)), x)))
        x = x.flatten(2).mean(2) if x.ndim > 2 else x
        return self.head(functional.relu(self.last(x)))


def shuffle(x: Tensor) -> Tensor:
    return x.view(len(x), 4, -1, *x.shape[2:]).transpose(1, 2).reshape(x.shape)


def swapped(x: Tensor) -> Tensor:
    left, right = x.chunk(2, 1)
    return torch.cat([right, left], 1)


MIXED: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], int]] = {
    "plain": (lambda x, _: x, 8),
    "input first": (lambda x, raw: torch.cat([raw, x], 1), 11),
    "input last": (lambda x, raw: torch.cat([x, raw], 1), 11),
    "twice": (lambda x, _: torch.cat([x, x], 1), 16),
    "with its negative": (lambda x, _: torch.cat([x, -x], 1), 16),
    "flatten": (lambda x, _: x.flatten(1), 512),
    "channels last": (lambda x, _: x.permute(0, 2, 3, 1).reshape(len(x), -1), 512),
    "transposed": (lambda x, _: x.flatten(2).transpose(1, 2).flatten(1), 512),
    "stacked": (lambda x, _: torch.stack([x, 2 * x], 1).flatten(1), 1024),
    "shuffled": (lambda x, _: shuffle(x), 8),
    "flipped": (lambda x, _: x.flip(1), 8),
    "rolled": (lambda x, _: x.roll(1, 1), 8),
    "swapped": (lambda x, _: swapped(x), 8),
    "half": (lambda x, _: x[:, :4], 4),
    "every second": (lambda x, _: x[:, ::2], 4),
    "gated": (lambda x, _: x[:, :4] * x[:, 4:].sigmoid(), 4),
    "glu": (lambda x, _: functional.glu(x, 1), 4),
    "einsum": (lambda x, _: torch.einsum("bchw,bdhw->bcdhw", x, x[:, :2]).flatten(1, 2), 16),
    "repeated": (lambda x, _: x.repeat(1, 2, 1, 1), 16),
    "interleaved": (lambda x, _: x.repeat_interleave(2, 1), 16),
    "pixel shuffle": (lambda x, _: functional.pixel_shuffle(x, 2), 2),
    "pixel unshuffle": (lambda x, _: functional.pixel_unshuffle(x, 2), 32),
    "broadcast sum": (lambda x, _: x + x.mean(1, keepdim=True), 8),
    "broadcast product": (lambda x, _: x * x.mean((2, 3), keepdim=True), 8),
    "softmax": (lambda x, _: x.softmax(1), 8),
    "sigmoid": (lambda x, _: x.sigmoid(), 8),
    "up and beside": (
        lambda x, raw: torch.cat([functional.interpolate(functional.avg_pool2d(x, 2), None, 2), x], 1),
        16,
    ),
    "space into channels": (lambda x, _: x.reshape(len(x), 16, 8, 4), 16),
}


class Unet(nn.Module):
    """Down, up by a transposed convolution, beside what came before."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.deep = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 8, 3, padding=1)
        self.up, self.out, self.head = nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(12, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        kept = functional.relu(self.down(x))
        x = self.up(functional.relu(self.deep(functional.max_pool2d(kept, 2))))
        return self.head(functional.relu(self.out(torch.cat([x, kept], 1))).mean((2, 3)))


class Normed(nn.Module):
    """GroupNorm, BatchNorm without factors, and LayerNorm over channels, with residual sums."""

    def __init__(self, affine: bool = True) -> None:
        super().__init__()
        self.first, self.group = nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(2, 8, affine=affine)
        self.second, self.batch = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8, affine=False)
        self.hidden, self.layer = nn.Linear(8, 10), nn.LayerNorm(10, elementwise_affine=affine)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.group(self.first(x)))
        x = x + self.batch(self.second(x))
        return self.head(functional.relu(self.layer(self.hidden(x.mean((2, 3))))))


class Grouped(nn.Module):
    """Grouped and depthwise convolutions, PReLU, InstanceNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.grouped = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.depth, self.slope = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.PReLU(8)
        self.norm, self.point, self.head = nn.InstanceNorm2d(8, affine=True), nn.Conv2d(8, 6, 1), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.depth(functional.relu(self.grouped(functional.relu(self.first(x)))))
        return self.head(functional.relu(self.point(self.norm(self.slope(x)))).mean((2, 3)))


class Attention(nn.Module):
    """A block with one layer for queries, keys and values, and a hidden layer."""

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.qkv, self.out = nn.Conv2d(3, 8, 4, 4), nn.Linear(8, 24), nn.Linear(8, 8)
        self.wide, self.narrow, self.head = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)  # (B, T, C)
        q, k, v = self.qkv(x).reshape(len(x), -1, 3, 2, 4).permute(2, 0, 3, 1, 4).unbind(0)
        found = (q @ k.transpose(-2, -1)).softmax(-1) @ v
        x = x + self.out(found.transpose(1, 2).reshape(x.shape))
        return self.head((x + self.narrow(functional.gelu(self.wide(x)))).mean(1))


class Multihead(nn.Module):
    """torch's own attention, in its own encoder layer, whose fused kernel passes over the modules in it."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 8, 4, 4)
        self.block = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.patch(x).flatten(2).transpose(1, 2)).mean(1))


class Viewed(nn.Module):
    """A linear layer whose outputs become maps of a fixed size."""

    def __init__(self) -> None:
        super().__init__()
        self.lift, self.up = nn.Linear(12, 32), nn.ConvTranspose2d(8, 6, 2, 2)
        self.out, self.head = nn.Conv2d(6, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.lift(x)).view(-1, 8, 2, 2)
        return self.head(functional.relu(self.out(functional.relu(self.up(x)))).mean((2, 3)))


def series() -> nn.Module:
    return Between(lambda x, _: x.flip(1), 8, nn.Conv1d)


def volume() -> nn.Module:
    layers = [nn.Conv3d(2, 6, 3, padding=1), nn.ReLU(), nn.Conv3d(6, 8, 1), nn.ReLU(), nn.AdaptiveAvgPool3d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 4))


WHOLE: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], set[str]]] = {
    "U-Net": (Unet, IMAGE, set()),
    "norms": (Normed, IMAGE, set()),
    "norms without factors": (lambda: Normed(affine=False), IMAGE, set()),
    "grouped": (Grouped, IMAGE, set()),
    "attention": (Attention, IMAGE, {"qkv"}),
    "multi-head attention": (Multihead, IMAGE, {"patch"}),
    "viewed": (Viewed, ROW, {"lift"}),
    "series": (series, SERIES, {"first"}),
    "volume": (volume, VOLUME, set()),
}
REMOVED = {"plain", "input last", "twice", "with its negative", "flatten", "broadcast product"}
KEPT = {
    "input first",
    "channels last",
    "transposed",
    "stacked",
    "shuffled",
    "flipped",
    "rolled",
    "half",
    "softmax",
    "sigmoid",
}


def drawn(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make().double().eval()
        for parameter in model.parameters():  # no two biases are alike: they tell which channels stayed
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model


def silenced(model: nn.Module, smaller: nn.Module) -> nn.Module:
    """The oracle: filters and biases of channels whose bias is gone are zero; norms look at the channels that stay."""
    silent = copy.deepcopy(model)
    for name, layer in silent.named_modules():
        left = getattr(smaller.get_submodule(name), "bias", None)
        if isinstance(layer, nn.modules.conv._ConvNd | nn.Linear):
            gone = ~torch.isin(layer.bias, left)
            weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
            weight.data[gone] = 0
            layer.bias.data[gone] = 0
        elif isinstance(layer, nn.GroupNorm | nn.LayerNorm | nn.BatchNorm2d | nn.InstanceNorm2d):
            layer.register_forward_hook(over_live_channels)
    return silent


def over_live_channels(norm: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
    """Norms again, over channels that are not zero everywhere; zero elsewhere."""
    x, result = inputs[0], torch.zeros_like(output)
    across = x.ndim - 1 if isinstance(norm, nn.LayerNorm) else 1
    live = (x.transpose(0, across).flatten(1) != 0).any(1).nonzero()[:, 0]
    if isinstance(norm, nn.LayerNorm):
        mean, var = x[..., live].mean(-1, keepdim=True), x[..., live].var(-1, unbiased=False, keepdim=True)
        normed = (x[..., live] - mean) / (var + norm.eps).sqrt()
        result[..., live] = normed if norm.weight is None else normed * norm.weight[live] + norm.bias[live]
    elif isinstance(norm, nn.GroupNorm):
        for part in live.view(norm.num_groups, -1):
            values = x[:, part]
            mean, var = values.mean((1, 2, 3), keepdim=True), values.var((1, 2, 3), unbiased=False, keepdim=True)
            normed = (values - mean) / (var + norm.eps).sqrt()
            scale = 1 if norm.weight is None else norm.weight[part].view(1, -1, 1, 1)
            result[:, part] = normed * scale + (0 if norm.bias is None else norm.bias[part].view(1, -1, 1, 1))
    else:
        result[:, live] = output[:, live]
    return result


def check_exact(model: nn.Module, shape: tuple[int, ...]) -> tuple[set[str], str]:
    """Removes what can go and compares with the oracle; which layers lost channels, and what was said of the others."""
    smaller, structure = remove_channels(model, torch.zeros(1, *shape), "l1", 0.3, "channels")
    x = torch.randn(5, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        torch.testing.assert_close(smaller(x), silenced(model, smaller)(x), rtol=1e-9, atol=1e-9)
        assert (smaller(x) - model(x)).abs().max() > 1e-3
    again = replay(copy.deepcopy(model), structure)
    assert {n: p.shape for n, p in again.named_parameters()} == {n: p.shape for n, p in smaller.named_parameters()}
    return {name for name, _ in json.loads(structure)["removed"]}, " ".join(kept_whole(structure))


@pytest.mark.parametrize("name", MIXED)
@pytest.mark.slow
def test_channels_that_are_moved_about_go_rightly_or_not_at_all(name: str) -> None:
    between, width = MIXED[name]
    removed, said = check_exact(drawn(lambda: Between(between, width, nn.Conv2d)), IMAGE)
    assert "last" in removed
    assert ("first" in removed) != ("first" in said)
    assert ("first" in removed) or name not in REMOVED
    assert ("first" not in removed) or name not in KEPT


@pytest.mark.parametrize("name", WHOLE)
def test_whole_networks_lose_what_they_can(name: str) -> None:
    make, shape, kept = WHOLE[name]
    removed, said = check_exact(drawn(make), shape)
    assert removed
    assert not kept & removed
    assert all(layer in said for layer in kept)
    if not kept:
        assert said == ""


def test_a_whole_network_is_refused_only_where_nothing_is_left() -> None:
    model = drawn(lambda: nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Sigmoid(), nn.Flatten(), nn.Linear(512, 4)))
    with pytest.raises(UserError, match=r"no layer of this network can lose channels .*kept whole: 0: ") as caught:
        remove_channels(model, torch.zeros(1, *IMAGE), "l1", 0.3)
    assert "\n" not in str(caught.value)


def test_a_sparsity_out_of_reach_names_what_is_kept() -> None:
    model = drawn(lambda: Between(*MIXED["flipped"], nn.Conv2d))
    with pytest.raises(UserError, match=r"at most 0\.\d+ can be removed .*kept whole: first: "):
        remove_channels(model, torch.zeros(1, *IMAGE), "l1", 0.99)


def test_a_check_that_sees_nothing_keeps_the_channels() -> None:
    model = drawn(lambda: Between(lambda x, _: x * 1e-12, 8, nn.Conv2d))
    removed, said = check_exact(model, IMAGE)
    assert "first" not in removed
    assert "first" in said


def test_the_check_leaves_network_and_random_numbers_as_they_were() -> None:
    model = drawn(Normed).train()
    before, state = {key: value.clone() for key, value in model.state_dict().items()}, torch.get_rng_state()
    groups, _ = channel_groups(model, IMAGE, "l1", ())
    accepted, kept = ChannelCheck(model, IMAGE).accepted(groups, trial_removal(groups))
    assert accepted == groups
    assert not kept
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(module.training and not module._forward_hooks for module in model.modules())


def test_a_network_that_computes_in_its_own_precision_is_checked_in_it() -> None:
    class Single(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second, self.head = nn.Linear(12, 8), nn.Linear(8, 6), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = functional.relu(self.first(x.float()))
            return self.head(functional.relu(self.second(x.flip(1))))

    model = drawn(Single).float()
    _, structure = remove_channels(model, torch.zeros(1, 12), "l1", 0.3, "channels")
    record: dict[str, Any] = json.loads(structure)
    assert [name for name, _ in record["removed"]] == ["second"]
    assert record["kept"][0]["layers"] == ["first"]
