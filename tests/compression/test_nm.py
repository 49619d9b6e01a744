"""N:M sparsity: groups against loops, layers that stay dense, SR-STE against a plain loop, names and errors."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

import pruneaudit
from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.patterns import keep_of_groups
from pruneaudit.compression.storage_size import state_bits
from pruneaudit.core.errors import UserError
from pruneaudit.study import Plugin, Release, Study, Training
from pruneaudit.training.hooks import TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.resume import Checkpoints
from pruneaudit.training.samples import Samples
from scripted_hooks import Killed, KillIn

MakeNet = Callable[..., nn.Module]


def made(model: nn.Module, pattern: str = "2:4", **options: Any) -> Compressed:
    nm = COMPRESSORS.get("nm")
    context: Any = CompressionContext(torch.empty(1, 0), torch.Generator(), lambda *_: None, lambda: model)
    return nm.compress(model, nm.Options(pattern=pattern, **options), context)


def naive(weight: Tensor, kept: int, group: int) -> Tensor:
    """The largest of each group along axis 1, position by position; of equal ones, the later."""
    mask = torch.zeros_like(weight, dtype=torch.bool)
    places = [()] if weight.ndim == 2 else list(torch.cartesian_prod(*map(torch.arange, weight.shape[2:])).tolist())
    for output in range(weight.shape[0]):
        for place in places:
            for start in range(0, weight.shape[1], group):
                members = [(output, i, *place) for i in range(start, start + group)]
                members.sort(key=lambda at: (abs(float(weight[at])), at[1]))
                for at in members[-kept:]:
                    mask[at] = True
    return mask


@given(
    seed=st.integers(0, 2**32), outputs=st.integers(1, 4), groups=st.integers(1, 3), group=st.integers(2, 8),
    kernel=st.one_of(st.just(()), st.tuples(st.integers(1, 3), st.integers(2, 3))), data=st.data(),
)  # fmt: skip
def test_the_largest_of_each_group_along_the_inputs_stay(
    seed: int, outputs: int, groups: int, group: int, kernel: tuple[int, ...], data: Any
) -> None:
    kept = data.draw(st.integers(1, group - 1))
    weight = torch.randn(outputs, groups * group, *kernel, generator=torch.Generator().manual_seed(seed))
    weight = (weight * 2).round() / 2  # with equal ones
    mask = keep_of_groups(weight.abs(), 1, (kept, group))
    assert torch.equal(mask, naive(weight, kept, group))
    assert int(mask.sum()) * group == mask.numel() * kept


def test_layers_that_the_group_does_not_divide_stay_dense_and_are_told(make_net: MakeNet) -> None:
    model = make_net()  # convolutions with 1, 4 and 8 inputs, a classifier with 16
    before = copy.deepcopy(model)
    with pytest.warns(UserWarning, match=r"kept whole: features.0.conv: the number of inputs, 1, is no multiple of 4"):
        found = pruneaudit.compress(model, "nm:pattern=2:4")
    assert found.masks is not None
    assert set(found.masks) == {"features.1.conv.weight", "features.2.conv.weight", "classifier.weight"}
    for name, mask in found.masks.items():
        weight = before.get_parameter(name).detach()
        assert torch.equal(mask, naive(weight, 2, 4))
        assert torch.equal(found.model.get_parameter(name), weight * mask)
    prunable = 36 + 288 + 1152 + 48
    assert found.sparsity == pytest.approx((prunable - 36) / 2 / prunable)
    assert found.summary["after"]["sparsity"] == found.sparsity


class Mixed(nn.Module):
    """Layers whose inputs lie on other axes, or nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(16, 8, 3, groups=2)
        self.up = nn.ConvTranspose2d(8, 6, 2)
        self.attention = nn.MultiheadAttention(12, 2)
        self.gru = nn.GRU(8, 5)
        self.two = nn.Bilinear(8, 8, 4)
        self.own = nn.Parameter(torch.randn(8, 8))


def test_the_axis_of_inputs_of_other_layers() -> None:
    model = Mixed()
    before = copy.deepcopy(model)
    found = made(model)
    assert found.masks is not None
    along = {
        "grouped.weight": 1, "up.weight": 0, "attention.in_proj_weight": 1, "attention.out_proj.weight": 1,
        "gru.weight_ih_l0": 1,
    }  # fmt: skip
    assert found.masks.keys() == along.keys()
    for name, axis in along.items():
        weight = before.get_parameter(name).detach().transpose(1, axis)
        assert torch.equal(found.masks[name].transpose(1, axis), naive(weight, 2, 4))
    notes = " ".join(found.description["kept_whole"])
    assert "gru.weight_hh_l0: the number of inputs, 5, is no multiple of 4" in notes
    assert "own" in notes.partition("which axis")[0]
    assert "two" in notes.partition("which axis")[0]


def test_no_layer_that_fits_is_refused_with_the_nearest_that_does() -> None:
    model = nn.Sequential(nn.Linear(15, 30), nn.Linear(30, 2))
    with pytest.raises(UserError, match=r"a multiple of 4; the largest is 30, of '1' \(2, 30\)") as caught:
        made(model)
    advised = str(caught.value).rpartition(" is ")[2]
    assert advised == "2:3"
    assert made(model, advised).masks is not None
    with pytest.raises(UserError, match="no layer has inputs in a known order"):
        made(nn.Sequential(nn.Linear(1, 3)))


def test_size_counts_kept_weights_and_the_entropy_of_the_mask() -> None:
    found = made(nn.Sequential(nn.Linear(16, 8)), "1:4")
    share = 0.25
    entropy = -share * torch.tensor(share).log2() - (1 - share) * torch.tensor(1 - share).log2()
    assert state_bits(COMPRESSORS.get("nm").state(found)) == pytest.approx(32 * 32 + 128 * float(entropy))


def test_fine_tuning_holds_the_mask(make_net: MakeNet, noise: Samples) -> None:
    found = made(make_net())
    assert found.masks is not None
    settings = Training(epochs=2, batch_size=8, optimizer="adam", weight_decay=0.1)
    train(found.model, noise, settings, torch.Generator(), found.hooks)
    nm = COMPRESSORS.get("nm")
    for name, weight in nm.restore(nm.state(found)).items():
        assert torch.equal(weight, found.model.get_parameter(name))
        assert (weight[~found.masks[name]] == 0).all()


def test_sr_ste_is_the_paper_s_step() -> None:
    """Forward at the masked weights, w -= lr (g + decay (1 - m) w), a new mask each step: in plain torch."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(24, 8, generator=generator), torch.randint(3, (24,), generator=generator)
    start = torch.randn(3, 8, generator=generator) / 4
    decay, rate = 0.3, 0.5
    dense = start.clone()
    for step in range(6):
        weight = (dense * naive(dense, 2, 4)).requires_grad_()
        part = slice(8 * (step % 3), 8 * (step % 3) + 8)
        functional.cross_entropy(x[part] @ weight.T, y[part]).backward()
        assert weight.grad is not None
        dense = dense - rate * (weight.grad + decay * (weight.detach() == 0) * dense)

    model = nn.Sequential(nn.Linear(8, 3, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(start)
    found = made(model, sr_ste=True, decay=decay)
    assert torch.equal(model[0].weight.detach(), start * naive(start, 2, 4))
    (hook,) = found.hooks
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    state = TrainingState(model, optimizer, generator, 2, 3)
    state.history = [{}]
    hook.wrap(model, optimizer, None)  # type: ignore[arg-type]
    for step in range(6):
        optimizer.zero_grad()
        part = slice(8 * (step % 3), 8 * (step % 3) + 8)
        functional.cross_entropy(model(x[part]), y[part]).backward()
        hook.after_backward(state)
        optimizer.step()
        state.step += 1
        hook.after_step(state)
    hook.epoch_end(state)
    hook.finalize(state)
    mask = naive(dense, 2, 4)
    torch.testing.assert_close(model[0].weight.detach(), dense * mask)
    assert found.masks is not None
    assert torch.equal(found.masks["0.weight"], mask)
    assert not torch.equal(mask, naive(start, 2, 4))
    assert state.history == [{"sparsity": 0.5, "reactivation_rate": state.history[0]["reactivation_rate"]}]
    assert 0 < state.history[0]["reactivation_rate"] < 1


@pytest.mark.parametrize("killed_in", [1, 2])
def test_a_killed_training_with_sr_ste_ends_with_the_same_bits(
    killed_in: int, make_net: MakeNet, noise: Samples, tmp_path: Any
) -> None:
    def trained(folder: Any, kill_in: int = 0) -> Compressed:
        found = made(make_net(), sr_ste=True)
        checkpoints = Checkpoints(folder, every_seconds=0) if folder else None
        hooks = (*found.hooks, KillIn(kill_in))
        settings = Training(epochs=3, batch_size=8, learning_rate=0.02)
        train(found.model, noise, settings, torch.Generator().manual_seed(5), hooks, checkpoints)
        return found

    with pytest.raises(Killed):
        trained(tmp_path, killed_in)
    nm = COMPRESSORS.get("nm")
    states = [nm.state(trained(folder)) for folder in (tmp_path, None)]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key], value) for key, value in states[1].items())
    for key, mask in states[0].items():
        if key.startswith("mask/") and mask.ndim == 2:
            assert (mask.view(-1, 4).sum(1) == 2).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pattern": "4:2"}, "N:M with 1 <= N < M"),
        ({"pattern": "0:4"}, "N:M with 1 <= N < M"),
        ({"pattern": "2:65"}, "N:M with 1 <= N < M"),
        ({"pattern": "2/4"}, "N:M with 1 <= N < M"),
        ({"pattern": "2:4", "decay": 0.1}, "decay"),
    ],
)
def test_wrong_options_are_named(options: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        COMPRESSORS.get("nm").Options(**options)
    assert message in str(caught.value)


def test_a_pattern_is_written_with_a_colon_and_named_with_an_x() -> None:
    assert Plugin.model_validate("nm:pattern=2:4:sr_ste=true").options == {"pattern": "2:4", "sr_ste": True}
    assert Plugin.model_validate("nm:sr_ste=true:pattern=4:8") == Plugin(
        name="nm", options={"sr_ste": True, "pattern": "4:8"}
    )
    plugin = Plugin(name="nm", options={"pattern": "1:4"})
    assert Plugin.model_validate(plugin.label) == plugin
    with pytest.raises(UserError, match="'fast' has no '='"):
        Release(compress="nm:pattern=2:4:fast")
    study = Study(name="a", releases=[{"compress": "nm", "pattern": ["2:4", "4:8"]}, {"compress": "nm:pattern=1x4"}])
    assert [release.name for release in study.releases] == ["nm-2x4", "nm-4x8", "nm-1x4"]
    with pytest.raises(UserError, match=r"pattern of 'nm': got '4:2', expected: N:M"):
        Release(compress="nm", pattern="4:2")
