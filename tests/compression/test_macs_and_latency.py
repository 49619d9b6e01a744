"""Parameters, MACs and layer tables against two other counters, and times that are measured in turns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch_pruning
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from pruneaudit.compression.latency import latency
from pruneaudit.compression.layer_sizes import layer_table
from pruneaudit.compression.macs import count_macs, layer_macs, num_nonzero, num_parameters
from pruneaudit.models import build_model

MODELS: list[tuple[str, dict[str, Any]]] = [
    ("mlp", {"hidden": [8, 6]}),
    ("tinycnn", {"width": 4}),
    ("convnet", {"width": 4}),
    ("resnet20", {}),
    ("resnet18", {"width": 4}),
]


def network(name: str, options: dict[str, Any]) -> nn.Module:
    return build_model(name, options, (3, 8, 8), 5, torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("name", "options"), MODELS)
def test_three_counters_agree(name: str, options: dict[str, Any]) -> None:
    model, x = network(name, options), torch.zeros(1, 3, 8, 8)
    macs = layer_macs(model, x)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(x)
    assert 2 * count_macs(model, x) == 2 * sum(macs.values()) == counter.get_total_flops()  # FLOPs are 2 x MACs

    _, parameters, theirs, _ = torch_pruning.utils.count_ops_and_params(model, (x,), layer_wise=True)
    assert num_parameters(model) == parameters
    layers = {name: m for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    assert macs.keys() == layers.keys()
    for key, layer in layers.items():  # of each layer, they count the addition of a bias as well
        bias = layer.out_features if isinstance(layer, nn.Linear) else 0
        assert theirs[layer] == macs[key] + bias


class Odd(nn.Module):
    """Strided, dilated, grouped and transposed convolutions, and a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.strided, self.grouped = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 8, (1, 3), groups=2, dilation=(1, 1))
        self.up, self.twice = nn.ConvTranspose2d(8, 6, 2, stride=2), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.up(self.grouped(self.strided(x)))
        return self.twice(self.twice(maps.mean((2, 3))))


def test_odd_layers_by_hand_and_by_another_counter() -> None:
    model, x = Odd(), torch.zeros(2, 3, 9, 9)
    expected = {
        "strided": 2 * 16 * (3 * 4 * 9),  # 4 x 4 positions
        "grouped": 2 * 8 * (2 * 8 * 3),  # 4 x 2 positions, 2 inputs to a filter
        "up": 2 * 8 * (8 * 6 * 4),  # from 4 x 2 positions
        "twice": 2 * 2 * 36,
    }
    assert layer_macs(model, x) == expected
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert counter.get_total_flops() == 2 * count_macs(model, x)


def test_counting_leaves_the_model_as_it_was() -> None:
    model = network("tinycnn", {"width": 4}).train()
    model.get_submodule("features.1").eval()
    modes = [module.training for module in model.modules()]
    before = {key: value.clone() for key, value in model.state_dict().items()}
    count_macs(model, torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_the_table_has_what_is_left_of_each_layer() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        model[0].weight.fill_(1)[1] = 0
        model[0].bias.zero_()
        model[4].weight.zero_()[0, 0] = 1
        model[4].bias.fill_(1)
    rows = layer_table(model)
    assert [(row.name, row.type, row.shape, row.weights, row.nonzero) for row in rows] == [
        ("0", "Conv2d", (2, 1, 3, 3), 18, 9),
        ("1", "BatchNorm2d", (2,), 2, 2),
        ("4", "Linear", (3, 8), 24, 1),
    ]
    assert [row.sparsity for row in rows] == pytest.approx([0.5, 0, 23 / 24])
    assert (num_parameters(model), num_nonzero(model)) == (18 + 2 + 4 + 24 + 3, 9 + 2 + 0 + 1 + 3)


class Counting(nn.Module):
    """Notes when it runs, and in which mode."""

    def __init__(self, name: str, log: list[str], work: int) -> None:
        super().__init__()
        self.name, self.log, self.work = name, log, work

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        assert not torch.is_grad_enabled()
        self.log.append(self.name)
        for _ in range(self.work):
            x = x @ x
        return x


def test_models_take_turns_and_the_larger_takes_longer() -> None:
    log: list[str] = []
    models = {"small": Counting("small", log, 1), "large": Counting("large", log, 60).eval()}
    found = latency(models, torch.zeros(96, 96), rounds=9)
    assert len(log) == 2 * (9 + 2)
    assert all(set(log[turn : turn + 2]) == {"small", "large"} for turn in range(0, len(log), 2))
    assert log.index("large") != log.index("small", 2)
    assert {log[turn] for turn in range(0, len(log), 2)} == {"small", "large"}  # each begins some rounds
    for times in found.values():
        assert 0 < times.min_seconds <= times.median_seconds <= times.max_seconds
        assert (times.rounds, times.threads) == (9, torch.get_num_threads())
    assert found["large"].median_seconds > 3 * found["small"].median_seconds
    assert models["small"].training
    assert not models["large"].training


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds: got 0, expected at least 1"):
        latency({}, torch.zeros(1), rounds=0)
    assert latency({}, torch.zeros(1)) == {}
