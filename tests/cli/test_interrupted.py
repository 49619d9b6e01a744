"""Ctrl-C: a command that keeps nothing does not say that it goes on."""

import gc
import signal
import sys

import numpy as np
import pytest
import torch
from torch import nn

MODULE = "interrupted_network"
NETWORK = """
import os, signal
from torch import nn

class Interrupted(nn.Linear):
    def forward(self, x):
        os.kill(os.getpid(), signal.SIGINT)
        return super().forward(x)

def build():
    return Interrupted(4, 2)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two networks that are interrupted as soon as they are asked, their samples, and their membership."""
    (tmp_path / f"{MODULE}.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    (tmp_path / "weights").mkdir()
    for row in range(2):
        torch.save(nn.Linear(4, 2).state_dict(), tmp_path / "weights" / f"m{row}.pt")
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(40, 4)).astype(np.float32), y=np.arange(40) % 2)
    np.savez(tmp_path / "member.npz", member=rng.random((2, 40)) < 0.5)
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["collect", "--weights", "weights", "--membership", "member.npz", "--out", "out.npz"],
        [
            "compress",
            "--weights",
            "weights/m0.pt",
            "--method",
            "l1unstructured",
            "--sparsity",
            "0.5",
            "--out",
            "out",
        ],
    ],
    ids=["collect", "compress"],
)
def test_what_keeps_nothing_says_so(call, folder, command, interruptible):
    before = {path.name for path in folder.iterdir()}
    code, _, err = call(*command, "--factory", f"{MODULE}:build", "--data", "npz:data.npz")
    assert code == 130
    assert err.splitlines()[-1].startswith("error: interrupted; ")
    assert "nothing was written" in err
    assert "kept" not in err and "goes on" not in err
    assert {path.name for path in folder.iterdir()} - {"__pycache__"} == before


@pytest.fixture
def interrupted_soon(monkeypatch):
    """What Ctrl-C raises, after a third of a second."""
    gc.disable()  # hypothesis watches the collector, and an interrupt in what it calls would be lost
    earlier = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, earlier)
    gc.enable()


def test_sanity_checks_keep_nothing(call, interrupted_soon):
    code, _, err = call("sanity-check")
    assert code == 130
    assert "interrupted" in err and "kept" not in err


def test_a_run_is_kept(call, tmp_path, interrupted_soon):
    code, _, err = call("run", "demo", "--out", tmp_path)
    assert code == 130
    assert "interrupted" in err and "kept" in err
