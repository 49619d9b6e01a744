import re

import pytest

from pruneaudit.study import Study

NETWORK = """
import os
import signal
from pathlib import Path

import torch
from torch import nn

HERE = Path(__file__).parent


def build(input_shape, num_classes):
    # The weights' seed tells which model is being built; files beside this one say what becomes of it.
    seed = torch.initial_seed()
    if (HERE / f"once-{seed}").exists():
        (HERE / f"once-{seed}").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    if (HERE / f"always-{seed}").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if (HERE / f"raise-{seed}").exists():
        raise RuntimeError("no such luck")
    if (HERE / f"error-{seed}").exists():
        raise OSError(int((HERE / f"error-{seed}").read_text()), "the machine fails")
    kind = Interrupting if (HERE / "interrupt").exists() else nn.Sequential
    network = kind(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, num_classes))
    if (HERE / f"spoil-{seed}").exists():
        nn.init.constant_(network[1].weight, float("inf"))
    return network


class Interrupting(nn.Sequential):
    def forward(self, x):
        if torch.is_grad_enabled() and (HERE / "interrupt").exists():  # a step, not a trial
            left = int((HERE / "interrupt").read_text()) - 1
            (HERE / "interrupt").write_text(str(left))
            if not left:
                (HERE / "interrupt").unlink()
                raise KeyboardInterrupt
        return super().forward(x)
"""


@pytest.fixture
def network_of_files(tmp_path, monkeypatch, request):
    """A network that does what files in its folder say: (its target `module:build`, that folder)."""
    module = re.sub(r"\W", "_", request.node.name)  # imported modules stay: each test needs its own
    place = tmp_path / "networks"
    place.mkdir()
    (place / f"{module}.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(place)
    return f"{module}:build", place


def small_study(**changes):
    """Four tiny networks on digits: seconds, not minutes."""
    values = {
        "name": "small",
        "seed": 3,
        "data": {"source": "digits", "num_samples": 200, "num_holdout": 60},
        "membership": {"num_models": 4},
        "model": {"name": "mlp", "options": {"hidden": [16]}},
        "training": {"epochs": 3, "batch_size": 32},
        "releases": [
            {"name": "dense+finetune", "finetune": {"epochs": 1, "learning_rate": 0.02}},
            {"compress": "l1unstructured", "sparsity": 0.8, "finetune": {"epochs": 1, "learning_rate": 0.02}},
        ],
        "audit": {"attacks": ["loss", "lira"], "references": ["matched", "dense"]},
    }
    return Study.model_validate(values | changes)


@pytest.fixture(scope="session")
def make_study():
    """A function from changed top-level settings to a small study."""
    return small_study


@pytest.fixture
def study():
    return small_study()
