"""Checkpoints of other programs: their tensors are those of the network that the factory makes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from safetensors.torch import save_file, save_model
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from pruneaudit.core.errors import UserError
from pruneaudit.external.filling import filled

# B batch


class Net(nn.Module):
    """Layers under names that wrappers use too."""

    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten())
        self.net = nn.Linear(48, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.net(self.model(x))
        return out


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.second(self.first(x))
        return out


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2))


def trained(make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose weights and buffers are all its own."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = make()
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor))
    return network.eval()


def prefixed(prefix: str) -> Callable[[nn.Module], dict[str, Tensor]]:
    return lambda network: {prefix + name: tensor for name, tensor in network.state_dict().items()}


def inside(network: nn.Module) -> dict[str, Tensor]:
    """DataParallel around layers: `model.module.0.weight`."""
    return {name.replace(".", ".module.", 1): tensor for name, tensor in network.state_dict().items()}


def profiled(network: nn.Module) -> dict[str, Tensor]:
    counts = {"total_ops": torch.zeros(1, dtype=torch.float64), "0.total_params": torch.zeros(1)}
    return {**network.state_dict(), **counts}


SAVED: dict[str, Callable[[nn.Module], Any]] = {
    "plain": nn.Module.state_dict,
    "DataParallel": lambda network: nn.DataParallel(network).state_dict(),
    "wrapped twice": prefixed("module._orig_mod."),
    "Opacus": prefixed("_module."),
    "torch.compile": prefixed("_orig_mod."),
    "AveragedModel": lambda network: torch.optim.swa_utils.AveragedModel(network).state_dict(),
    "Lightning": lambda network: {"epoch": 3, "state_dict": prefixed("model.")(network), "loops": {}},
    "Lightning, net": lambda network: {"state_dict": prefixed("net.")(network), "hyper_parameters": {"lr": 0.1}},
    "other wrapper": prefixed("backbone."),
    "wrapped layers": inside,
    "all of it": lambda network: {"model": {f"module.{name}": value for name, value in inside(network).items()}},
    "with optimizer": lambda network: {
        "model": network.state_dict(),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3, 1, 3, 3)}}, "param_groups": [{"lr": 0.1}]},
    },
    "net": lambda network: {"net": network.state_dict(), "acc": 91.2},
    "ema": lambda network: {"ema": network.state_dict()},
    "params": lambda network: {"params": network.state_dict()},
    "deep": lambda network: {"a": {"b": {"weights of mine": network.state_dict()}}},
    "beside": lambda network: {**network.state_dict(), "epoch": 3},
    "profiled": profiled,
    "old BatchNorm": lambda network: {n: t for n, t in network.state_dict().items() if "num_batches" not in n},
}


@pytest.mark.parametrize("make", [plain, Net])
@pytest.mark.parametrize("saved", SAVED)
def test_what_programs_write(tmp_path, saved, make):
    network = trained(make)
    torch.save(SAVED[saved](network), tmp_path / "m.pt")
    read = filled(make(), tmp_path / "m.pt").state_dict()
    for name, tensor in network.state_dict().items():
        assert torch.equal(read[name], tensor), name


def test_a_state_dict_in_parts(tmp_path):
    network = trained(Net)
    torch.save({"model": network.model.state_dict(), "net": network.net.state_dict()}, tmp_path / "m.pt")
    assert torch.equal(filled(Net(), tmp_path / "m.pt").net.weight, network.net.weight)


def test_a_wrapper_that_only_the_network_has(tmp_path):
    network = trained(plain)
    torch.save(network.state_dict(), tmp_path / "m.pt")
    read = filled(nn.DataParallel(plain()), tmp_path / "m.pt")
    assert torch.equal(read.module[4].weight, network[4].weight)


@pytest.mark.parametrize("nni", [False, True])
def test_weights_beside_their_masks(tmp_path, nni):
    network, pruned = trained(plain), trained(plain)
    for layer in (pruned[0], pruned[4]):
        torch_prune.l1_unstructured(layer, "weight", amount=0.4)
    state = pruned.state_dict()
    if nni:
        wrapped = {name.replace(".", ".module.", 1): tensor for name, tensor in network.state_dict().items()}
        state = wrapped | {name: tensor for name, tensor in state.items() if name.endswith("_mask")}
    torch.save(state, tmp_path / "m.pt")
    read = filled(plain(), tmp_path / "m.pt")
    kept = pruned.state_dict()["4.weight_mask"]
    assert 0 < kept.mean() < 1
    assert torch.equal(read[4].weight, network[4].weight * kept)
    x = torch.rand(2, 1, 6, 6)
    assert torch.equal(read.eval()(x), pruned.eval()(x))


def test_masks_under_a_parametrization(tmp_path):
    network = trained(plain)
    state = network.state_dict()
    kept = torch.rand_like(state["4.weight"]) < 0.5
    state |= {"4.parametrizations.weight.original": state.pop("4.weight"), "4.parametrizations.weight.0.mask": kept}
    torch.save(state, tmp_path / "m.pt")
    assert torch.equal(filled(plain(), tmp_path / "m.pt")[4].weight, network[4].weight * kept)


def test_a_network_that_has_masks_of_its_own_keeps_them(tmp_path):
    def masked() -> nn.Module:
        network = plain()
        torch_prune.identity(network[4], "weight")
        return network

    network = masked()
    network[4].weight_mask[0] = 0
    torch.save(network.state_dict(), tmp_path / "m.pt")
    read = filled(masked(), tmp_path / "m.pt")
    assert torch.equal(read[4].weight_mask, network[4].weight_mask)
    assert torch.equal(read[4].weight_orig, network[4].weight_orig)


@pytest.mark.parametrize("write", ["save_model", "first name", "second name", "both"])
def test_tied_weights(tmp_path, write):
    network = trained(Tied)
    path = tmp_path / "m.safetensors"
    if write == "save_model":
        save_model(network, path)
    else:
        left_out = {"first name": "second.weight", "second name": "first.weight"}.get(write)
        save_file({n: t.clone() for n, t in network.state_dict().items() if n != left_out}, path)
    read = filled(Tied(), path)
    assert torch.equal(read.first.weight, network.first.weight)
    assert read.first.weight is read.second.weight


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_converted(tmp_path, dtype):
    network = trained(plain)
    torch.save(copy.deepcopy(network).to(dtype).state_dict(), tmp_path / "m.pt")
    read = filled(plain(), tmp_path / "m.pt")
    assert read[4].weight.dtype == torch.float32
    assert torch.equal(read[4].weight, network[4].weight.to(dtype).float())


def two_sets(other: str) -> dict[str, Any]:
    return {"state_dict": trained(plain).state_dict(), other: plain().state_dict(), "epoch": 3}


def test_several_sets_of_weights_are_told_and_can_be_chosen(tmp_path):
    held, notes = two_sets("state_dict_ema"), []
    torch.save(held, tmp_path / "m.pt")
    assert torch.equal(filled(plain(), tmp_path / "m.pt", "", notes.append)[4].bias, held["state_dict"]["4.bias"])
    assert len(notes) == 1 and "'state_dict_ema'" in notes[0] and "--weights-key" in notes[0]
    chosen = filled(plain(), tmp_path / "m.pt", "state_dict_ema", notes.append)
    assert torch.equal(chosen[4].bias, held["state_dict_ema"]["4.bias"])
    assert len(notes) == 1


def test_several_sets_under_keys_of_ones_own(tmp_path):
    torch.save({"mine": two_sets("b")["b"], "yours": two_sets("b")["b"]}, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"m\.pt: .*--weights-key mine or yours"):
        filled(plain(), tmp_path / "m.pt")
    filled(plain(), tmp_path / "m.pt", "mine")
    with pytest.raises(UserError, match=r"'others'.*'mine', 'yours'"):
        filled(plain(), tmp_path / "m.pt", "others")


def test_parts_of_a_network_are_chosen_by_name(tmp_path):
    student, teacher = trained(plain), plain()
    state = prefixed("student.")(student) | prefixed("teacher.")(teacher)
    torch.save({"state_dict": state}, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"--weights-key state_dict\.student or state_dict\.teacher"):
        filled(plain(), tmp_path / "m.pt")
    assert torch.equal(filled(plain(), tmp_path / "m.pt", "state_dict.student")[4].weight, student[4].weight)


def test_a_profiler_is_told(tmp_path):
    notes: list[str] = []
    torch.save(profiled(trained(plain)), tmp_path / "m.pt")
    filled(plain(), tmp_path / "m.pt", "", notes.append)
    assert len(notes) == 1 and "'total_ops'" in notes[0]


MISFITS = {
    "lacks one": ({"4.bias": None}, ["does not fit", "lacks '4.bias'"]),
    "one too many": ({"5.bias": torch.zeros(2)}, ["does not fit", "'5.bias'", "does not have"]),
    "another shape": ({"4.weight": torch.zeros(2, 47)}, ["does not fit", "[2, 47]", "[2, 48]"]),
    "NaN": ({"4.bias": torch.full((2,), torch.nan)}, ["'4.bias'", "NaN", "2 of 2"]),
    "infinite": ({"4.weight": torch.full((2, 48), torch.inf)}, ["'4.weight'", "infinity", "96 of 96"]),
    "float16 too small": ({"4.bias": torch.tensor([1e6, 1.0]).half()}, ["'4.bias'", "1 of 2"]),
    "a mask": ({"4.weight": torch.ones(2, 48, dtype=torch.bool)}, ["'4.weight'", "mask"]),
    "quantised": ({"4.weight": torch.ones(2, 48, dtype=torch.int8)}, ["'4.weight'", "torch.int8"]),
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_weights_that_are_not_the_networks(tmp_path, misfit):
    changes, words = MISFITS[misfit]
    state = {name: value for name, value in {**trained(plain).state_dict(), **changes}.items() if value is not None}
    torch.save({"state_dict": state}, tmp_path / "m.pt")
    with pytest.raises(UserError, match=r"m\.pt: ") as caught:
        filled(plain(), tmp_path / "m.pt")
    for word in words:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_best_part_of_another_network_is_not_taken(tmp_path):
    torch.save(trained(Net).state_dict(), tmp_path / "m.pt")
    with pytest.raises(UserError, match="does not fit") as caught:
        filled(nn.Linear(48, 2), tmp_path / "m.pt")
    assert str(caught.value).endswith("--weights-key net")


def test_an_infinite_buffer_is_no_broken_weight(tmp_path):
    def network() -> nn.Module:
        made = plain()
        made.register_buffer("attention", torch.full((2, 2), -torch.inf).triu(1))
        return made

    torch.save(network().state_dict(), tmp_path / "m.pt")
    filled(network(), tmp_path / "m.pt")
