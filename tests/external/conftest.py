"""A bank of tiny networks that know their members by heart, saved as anybody would save them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

# M models, N samples, C classes

NUM_MODELS, NUM_SAMPLES, NUM_CLASSES = 6, 120, 3
MODULE = "collecting_networks"
NETWORKS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4, outputs=3):
        super().__init__()
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.drop = nn.Dropout(0.5)  # answers differ from call to call unless the network is in evaluation mode
        self.head = nn.Linear(width * 36, outputs)

    def forward(self, x):
        return self.head(self.drop(self.conv(x).relu()).view(len(x), -1))  # `attack_input` needs plain memory order

class Softmax(Net):
    def forward(self, x):
        return super().forward(x).softmax(1)

class Percent(Softmax):
    def forward(self, x):
        return 100 * super().forward(x)

class Single(Net):
    def __init__(self):
        super().__init__(outputs=1)

class Sigmoid(Single):
    def forward(self, x):
        return super().forward(x).sigmoid()[:, 0]

class Wrapped(Net):
    def forward(self, x):
        return {"logits": super().forward(x)}

class Pair(Net):
    def forward(self, x):
        return x.flatten(1), super().forward(x)

class Twice(Net):
    def forward(self, x):
        return super().forward(x), super().forward(x)

class Random(Net):
    def forward(self, x):
        return super().forward(x) + torch.rand(3)

def build():
    return Net()

def sized(input_shape, num_classes, width=4):
    assert input_shape == (1, 6, 6)
    return Net(width, num_classes)

def anything(**options):
    return Net(**options)

def seven():
    return Net(outputs=7)

def none():
    return None

def broken():
    return 1 / 0

def lacking(width):
    return Net(width)
"""


def answers(network: nn.Module, x: np.ndarray) -> np.ndarray:
    """Logits (N, C) of uint8 images, asked plainly."""
    with torch.no_grad():
        scaled: np.ndarray = network.eval()((torch.from_numpy(x) / 255 - 0.5) / 0.25).numpy()
    return scaled


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """Files and arrays: `folder` (weights alone), `x`, `y`, `member` (M, N), `logits` (M, N, C), `names`."""
    modules = tmp_path_factory.mktemp("networks")
    (modules / f"{MODULE}.py").write_text(NETWORKS)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(modules)
        networks = importlib.import_module(MODULE)
    folder = tmp_path_factory.mktemp("weights")
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (NUM_SAMPLES, 1, 6, 6), dtype=np.uint8)
    y = rng.permutation(np.arange(NUM_SAMPLES) % NUM_CLASSES)  # labels are noise: nothing but memory helps
    member = rng.random((NUM_MODELS, NUM_SAMPLES)) < 0.5
    inputs, labels = (torch.from_numpy(x) / 255 - 0.5) / 0.25, torch.from_numpy(y)
    logits = []
    for row in range(NUM_MODELS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(row)
            network = networks.build()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        chosen = torch.from_numpy(np.flatnonzero(member[row]))
        network.drop.p = 0.0
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[chosen]), labels[chosen]).backward()
            optimizer.step()
        logits.append(answers(network, x))
        save_file(network.state_dict(), folder / f"net-{row + 6}.safetensors")  # net-6 ... net-11
    names = [f"net-{row + 6}" for row in range(NUM_MODELS)]
    return SimpleNamespace(
        folder=folder, modules=modules, x=x, y=y, member=member, logits=np.stack(logits), names=names
    )


@pytest.fixture
def bank(trained: SimpleNamespace, tmp_path: Path) -> SimpleNamespace:
    """The trained bank as arguments: `given` goes into `collect_signals`, and single ones may be replaced."""
    np.savez(tmp_path / "data.npz", x=trained.x, y=trained.y)
    np.savez(tmp_path / "member.npz", member=trained.member)
    given = {
        "factory": f"{MODULE}:build",
        "weights": str(trained.folder / "*.safetensors"),
        "membership": str(tmp_path / "member.npz"),
        "data": f"npz:{tmp_path / 'data.npz'}",
    }
    return SimpleNamespace(given=given, networks=importlib.import_module(MODULE), answers=answers, **vars(trained))
