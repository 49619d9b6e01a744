"""Rounding to nearest: codes and scales by hand, a naive oracle, and what rounding must leave alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext
from pruneaudit.compression.grid_rules import grid_for
from pruneaudit.compression.grids import HoldGrids
from pruneaudit.core.errors import UserError
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.models import build_model
from pruneaudit.study import Data, Training
from pruneaudit.training.hooks import TrainingState
from pruneaudit.training.loop import train
from pruneaudit.training.predict import accuracy
from pruneaudit.training.samples import Samples

MakeNet = Callable[..., nn.Module]
SYMMETRIES = ["narrow", "full", "asymmetric"]


def rounded(model: nn.Module, context: Any = None, **options: Any) -> Compressed:
    rtn = COMPRESSORS.get("rtn")
    return rtn.compress(model, rtn.Options(**options), context or CONTEXT)


CONTEXT: Any = CompressionContext(torch.empty(1, 0), torch.Generator(), lambda *_: None, nn.Module)  # asked for nothing


@pytest.mark.parametrize(
    ("symmetry", "bits", "codes", "scale"),
    [
        ("narrow", 2, [[-1, 0, 1, 1]], 0.75),
        ("narrow", 3, [[-2, -1, 3, 2]], 0.25),
        ("full", 2, [[-1, 0, 1, 1]], 0.5),
        ("full", 3, [[-2, -1, 3, 2]], 0.75 / 3.5),
        ("asymmetric", 2, [[0, 1, 3, 2]], 1.25 / 3),
    ],
)
def test_codes_and_scales_by_hand(symmetry: Any, bits: int, codes: list[list[int]], scale: float) -> None:
    weight = torch.tensor([[-0.5, -0.15, 0.75, 0.45]])
    grid = grid_for(weight, bits, symmetry, 0)
    assert grid.scale.item() == pytest.approx(scale, rel=1e-6)
    assert grid.codes(weight).tolist() == codes
    assert grid.zero.item() == (1 if symmetry == "asymmetric" else 0)  # round(0.5 / 0.4167)
    expected = torch.tensor(codes).sub(grid.zero.item()) * grid.scale
    assert torch.equal(grid.rounded(weight), expected)


def test_a_half_is_rounded_to_even() -> None:
    weight = torch.tensor([[3.0, 0.5, 1.5, 2.5, -0.5, -1.5]])
    assert grid_for(weight, 3, "narrow", 0).codes(weight).tolist() == [[3, 0, 2, 2, 0, -2]]


def naive(weight: np.ndarray, bits: int, symmetry: str) -> np.ndarray:
    """One weight at a time; quotients in float32, for on a full grid the extreme lies halfway."""
    found = np.empty_like(weight, dtype=np.float64)
    for channel, row in enumerate(weight.astype(np.float64)):
        largest, low, high = max(abs(row)), min(*row, 0.0), max(*row, 0.0)
        least, most, zero = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 0
        if symmetry == "narrow":
            least, scale = -most, largest / most
        elif symmetry == "full":
            scale = largest / ((2**bits - 1) / 2)
        else:
            least, most, scale = 0, 2**bits - 1, (high - low) / (2**bits - 1)
            zero = round(-low / max(scale, 1e-12))
        scale = np.float32(max(scale, 1e-12))
        for place, number in enumerate(row):
            code = min(max(round(float(np.float32(number) / scale)) + zero, least), most)
            found[channel, place] = float(scale) * (code - zero)
    return found


@given(
    seed=st.integers(0, 2**32), bits=st.integers(2, 8), symmetry=st.sampled_from(SYMMETRIES), scale=st.floats(1e-6, 1e3)
)
@settings(deadline=None, max_examples=60)
def test_rounding_is_what_a_naive_one_gives(seed: int, bits: int, symmetry: Any, scale: float) -> None:
    weight = scale * torch.randn(4, 7, generator=torch.Generator().manual_seed(seed))
    weight[0] = 0
    grid = grid_for(weight, bits, symmetry, 0)
    got = grid.rounded(weight)
    step = grid.scale.view(-1, 1)
    expected = torch.from_numpy(naive(weight.numpy(), bits, symmetry))
    equally_near = ((got - weight).abs() - (expected - weight).abs()).abs() <= 1e-4 * step  # halfway, either will do
    assert equally_near.all()
    assert ((got - expected).abs() <= 1e-4 * step).float().mean() > 0.9
    clipped = (grid.unclamped(weight) < grid.low) | (grid.unclamped(weight) > grid.high)
    assert ((got - weight).abs()[~clipped] <= (0.5 + 1e-4) * step.expand_as(got)[~clipped]).all()
    assert all(len(row.unique()) <= 2**bits for row in got)


@given(seed=st.integers(0, 2**32), bits=st.integers(2, 8), symmetry=st.sampled_from(SYMMETRIES))
@settings(deadline=None, max_examples=100)
def test_rounding_twice_changes_nothing_and_zero_stays_zero(seed: int, bits: int, symmetry: Any) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(5, 3, 3, 3, generator=generator) * torch.rand(5, 1, 1, 1, generator=generator)
    weight[weight.abs() < 0.1] = 0
    grid = grid_for(weight, bits, symmetry, 0)
    once = grid.rounded(weight)
    assert torch.equal(grid.rounded(once), once)
    if symmetry != "full":  # whose lowest code lies outside of what the scale is made from
        assert torch.equal(grid_for(once, bits, symmetry, 0).rounded(once), once)
    assert (once[weight == 0] == 0).all()
    assert not torch.signbit(once[weight == 0]).any()


def test_two_bits_are_full_and_more_are_narrow_unless_asked(make_net: MakeNet) -> None:
    assert rounded(make_net("mlp"), bits=2).description == {"symmetry": "full"}
    assert rounded(make_net("mlp"), bits=3).description == {"symmetry": "narrow"}
    assert rounded(make_net("mlp"), bits=2, symmetry="narrow").description == {"symmetry": "narrow"}


class Transposed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(3, 2, 2)
        self.fc = nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.up(x).mean((2, 3)))


def test_channels_of_a_transposed_convolution_lie_along_its_second_axis() -> None:
    model = Transposed()
    with torch.no_grad():
        model.up.weight[:, 1] *= 100  # a channel that must not coarsen the other one
    before = model.up.weight.detach().clone()
    state = COMPRESSORS.get("rtn").state(rounded(model, bits=8))
    assert state["scale/up.weight"].shape == (2,)
    assert state["scale/fc.weight"].shape == (3,)
    assert state["grid/up.weight"].tolist() == [-127, 127, 1]
    assert (model.up.weight - before)[:, 0].abs().max() <= before[:, 0].abs().max() / 127


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 4)
        self.head = nn.Linear(4, 6, bias=False)
        self.again = nn.Linear(4, 6, bias=False)
        self.head.weight = self.again.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.table(x)) + self.again(self.table(x))


@pytest.mark.parametrize("method", ["rtn:bits=4", "kmeans:clusters=3"])
def test_tied_weights_are_one_and_tables_stay_unless_asked(method: str) -> None:
    name, _, option = method.partition(":")
    key, _, value = option.partition("=")
    compressor = COMPRESSORS.get(name)
    for layers, names in (("all", {"head.weight"}), ("with_embeddings", {"head.weight", "table.weight"})):
        model = Tied()
        made = compressor.compress(model, compressor.Options(layers=layers, **{key: int(value)}), CONTEXT)
        state = compressor.state(made)
        assert compressor.restore(state).keys() == names
        assert model.head.weight is model.again.weight
        for parameter, weight in compressor.restore(state).items():
            assert torch.equal(model.get_parameter(parameter), weight)


@pytest.mark.parametrize(("method", "degree"), [("rtn", {"bits": 4}), ("kmeans", {"clusters": 4})])
def test_computed_weights_are_refused_by_name(method: str, degree: dict[str, int]) -> None:
    model = nn.Sequential(weight_norm(nn.Linear(4, 3)), nn.Linear(3, 3))
    compressor = COMPRESSORS.get(method)
    with pytest.raises(UserError, match=r"'0\.weight' .*weight_norm computes it"):
        compressor.compress(model, compressor.Options(**degree), CONTEXT)
    compressor.compress(model, compressor.Options(exclude=["0"], **degree), CONTEXT)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
@pytest.mark.parametrize("bits", [2, 5, 8])
def test_weights_are_rebuilt_bit_for_bit_also_after_training(
    bits: int, symmetry: str, make_net: MakeNet, noise: Samples
) -> None:
    rtn, model = COMPRESSORS.get("rtn"), make_net("tinycnn")
    made = rounded(model, bits=bits, symmetry=symmetry)
    first = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    assert all(torch.equal(first[name], weight) for name, weight in rtn.restore(rtn.state(made)).items())
    train(model, noise, Training(epochs=2, batch_size=8, learning_rate=0.05), torch.Generator(), made.hooks)
    state = rtn.state(made)
    assert {value.dtype for key, value in state.items() if key.startswith("codes/")} <= {torch.int8, torch.uint8}
    for name, weight in rtn.restore(state).items():
        assert torch.equal(model.get_parameter(name), weight)
        assert not torch.equal(first[name], weight)  # training reached it
    assert rtn.size(state) < sum(weight.numel() for weight in rtn.restore(state).values()) * bits * 2


def test_the_gradient_is_that_of_fake_quantisation(make_net: MakeNet, noise: Samples) -> None:
    """One step of plain SGD moves the unrounded weights by the gradient at the rounded ones, as in torch."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    unrounded = model[1].weight.detach().clone()
    made = rounded(model, bits=3, symmetry="narrow")
    grid = made.constraint.grids["1.weight"]  # type: ignore[union-attr]
    x, y = noise.batch(torch.arange(8))
    reference = unrounded.clone().requires_grad_()
    fake = torch.fake_quantize_per_channel_affine(reference, grid.scale, grid.zero.int(), 0, grid.low, grid.high)
    nn.functional.cross_entropy(x.flatten(1) @ fake.T + model[1].bias.detach(), y).backward()

    hook = made.hooks[0]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    state = TrainingState(model, optimizer, torch.Generator(), 1, 1)
    hook.wrap(model, optimizer, None)  # type: ignore[arg-type]
    nn.functional.cross_entropy(model(x), y).backward()
    hook.after_backward(state)
    optimizer.step()
    hook.after_step(state)
    assert isinstance(hook, HoldGrids)
    assert reference.grad is not None
    assert torch.allclose(hook.kept()["1.weight"], unrounded - 0.5 * reference.grad, atol=1e-7)
    assert torch.equal(model[1].weight.detach(), grid.rounded(hook.kept()["1.weight"]))


def test_eight_bits_leave_the_outputs_almost_as_they_were(make_net: MakeNet, noise: Samples) -> None:
    model = make_net("tinycnn").eval()
    with torch.no_grad():
        before = copy.deepcopy(model)(noise.inputs(slice(None)))
        rounded(model, bits=8)
        after = model(noise.inputs(slice(None)))
    assert (after - before).abs().max() < 0.05 * before.abs().max()
    assert (after.argmax(1) == before.argmax(1)).float().mean() >= 0.95


def test_eight_bits_keep_the_accuracy_of_a_trained_network() -> None:
    """Within .3 points, on 2,000 images that it was not trained on."""
    audit_data = load_audit_data(Data(source="fashion_mnist_5k", num_samples=4000), seed=0)
    model = build_model("mlp", {"hidden": [64]}, (1, 28, 28), 10, torch.Generator().manual_seed(0))
    is_member = np.arange(len(audit_data.y)) < 2000
    settings = Training(epochs=5, batch_size=64, learning_rate=0.05)
    train(model, Samples.of(audit_data, is_member), settings, torch.Generator().manual_seed(1))
    others = Samples.of(audit_data, ~is_member)
    assert len(others.y) == 2000
    before = accuracy(model, others)
    assert before > 0.6
    rounded(model, bits=8)
    assert abs(accuracy(model, others) - before) <= 0.003 + 1e-9


def test_weights_of_half_precision_keep_their_type() -> None:
    model = nn.Sequential(nn.Linear(5, 4)).half()
    rtn = COMPRESSORS.get("rtn")
    state = rtn.state(rounded(model, bits=8))
    assert model[0].weight.dtype == torch.float16
    assert torch.equal(rtn.restore(state)["0.weight"].half(), model[0].weight)
