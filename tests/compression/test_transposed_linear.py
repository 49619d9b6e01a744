"""GPT-2's `Conv1D`: every method does to it what it does to an `nn.Linear` with the transposed weight."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import pruneaudit
from pruneaudit.compression.factored import Factored
from pruneaudit.compression.linear_layers import is_linear, is_transposed, linear_widths
from pruneaudit.compression.macs import layer_macs, layer_widths
from pruneaudit.compression.matrices import channel_axes, counted_weights, input_axes

pytest.importorskip("transformers")
from transformers.pytorch_utils import Conv1D

# B batch, T positions

INPUTS, HIDDEN, OUTPUTS = 12, 16, 5


class Net(nn.Module):
    """Two layers with a ReLU between them, over positions, and a mean at the end."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.second(self.first(x).relu()).mean(1)
        return logits


def pair() -> tuple[Net, Net]:
    """The same network, with linear layers and with `Conv1D`."""
    torch.manual_seed(0)
    linear = Net(nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS))
    turned = Net(Conv1D(HIDDEN, INPUTS), Conv1D(OUTPUTS, HIDDEN))
    with torch.no_grad():
        for name in ("first", "second"):
            own, other = linear.get_submodule(name), turned.get_submodule(name)
            other.get_parameter("weight").copy_(own.get_parameter("weight").T)
            other.get_parameter("bias").copy_(own.get_parameter("bias"))
    return linear, turned


def inputs() -> Tensor:
    scale = torch.linspace(0.1, 3, INPUTS)
    return torch.randn(40, 7, INPUTS, generator=torch.Generator().manual_seed(1)) * scale


def test_what_is_known_of_the_layer() -> None:
    linear, turned = pair()
    torch.testing.assert_close(turned(inputs()), linear(inputs()))
    assert is_transposed(turned.first)
    assert not is_transposed(linear.first)
    assert is_linear(turned.first)
    assert is_linear(linear.first)
    assert not is_linear(nn.Conv1d(2, 3, 1))
    assert linear_widths(turned.first) == linear_widths(linear.first) == (INPUTS, HIDDEN)
    assert layer_widths(turned) == layer_widths(linear)
    assert layer_macs(turned, inputs()[:1]) == layer_macs(linear, inputs()[:1])
    assert counted_weights(turned).keys() == counted_weights(linear).keys()
    assert channel_axes(turned) == {"first.weight": 1, "second.weight": 1}
    assert input_axes(turned) == {"first.weight": 0, "second.weight": 0}


LOOKING = ("wanda:sparsity=0.5", "sparsegpt:sparsity=0.5", "obc:sparsity=0.5", "gptq:bits=3", "static8")


@pytest.mark.parametrize(
    "method",
    [
        *LOOKING,
        "gptq:bits=3:group_size=5",
        "gptq:bits=3:act_order=true",
        "rtn:bits=3",
        "rtn:bits=3:symmetry=asymmetric",
        "rtn:bits=3:group_size=5",
        "rtn:bits=ternary",
        "rtn:bits=3:granularity=tensor",
        "kmeans:clusters=4",
        "nm:pattern=2:4",
        "l1unstructured:sparsity=0.5",
    ],
)
def test_the_weights_are_those_of_linear_layers(method: str) -> None:
    linear, turned = pair()
    extra: dict[str, Any] = {"calibration": inputs()} if method.startswith((*LOOKING, "gptq")) else {}
    found = [pruneaudit.compress(model, method, **extra) for model in (linear, turned)]
    for name in ("first.weight", "second.weight"):
        one, other = (each.model.get_parameter(name).detach() for each in found)
        torch.testing.assert_close(other.T, one)
        assert not torch.equal(one, linear.get_parameter(name))
    assert found[0].sparsity == found[1].sparsity
    sizes = [each.summary["after"]["compressed_bytes"] for each in found]
    assert sizes[0] == sizes[1]
    torch.testing.assert_close(found[1].model(inputs()), found[0].model(inputs()))


def test_a_mask_before_error_correction_holds() -> None:
    linear, turned = pair()
    steps = ["l1unstructured:sparsity=0.5", "gptq:bits=3"]
    found = [pruneaudit.compress(model, steps, calibration=inputs()) for model in (linear, turned)]
    for name in ("first.weight", "second.weight"):
        torch.testing.assert_close(found[1].model.get_parameter(name).T, found[0].model.get_parameter(name))
    assert found[1].sparsity == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("data", ["none", "public"])
def test_low_rank_gives_the_same_two_layers(data: str, tmp_path: Path) -> None:
    linear, turned = pair()
    given: dict[str, Any] = {} if data == "none" else {"calibration": inputs()}
    method = f"svd:fraction=0.7:split_ends=true:data={data}"
    found = [pruneaudit.compress(model, method, **given) for model in (linear, turned)]
    made = found[1].model.get_submodule("first")
    assert isinstance(made, Factored)
    assert made.nf == HIDDEN
    assert made.weight.shape == turned.first.get_parameter("weight").shape
    torch.testing.assert_close(made.weight.T, found[0].model.get_submodule("first").weight)
    torch.testing.assert_close(found[1].model(inputs()), found[0].model(inputs()))
    folder = found[1].save(tmp_path / "saved")
    again = pruneaudit.load_compressed(copy.deepcopy(turned), folder)
    assert torch.equal(again.model(inputs()), found[1].model(inputs()))
