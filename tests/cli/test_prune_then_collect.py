"""`compress`, `collect` and `audit` read what the one before wrote, under the same names of models."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

import pruneaudit
from npz_files import arrays_in
from pruneaudit.signals.signals import Signals

# M models, N samples

MODULE = "prune_then_collect_network"
NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, num_classes))
"""
NUM_MODELS, NUM_SAMPLES = 3, 60


@pytest.fixture
def bank(tmp_path, monkeypatch):
    """A folder with three networks, saved as Lightning saves them, their samples, and their membership by name."""
    (tmp_path / f"{MODULE}.py").write_text(NETWORK)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(NUM_SAMPLES, 8)).astype(np.float32), np.arange(NUM_SAMPLES) % 2
    np.savez(tmp_path / "data.npz", x=x, y=y)
    member = rng.random((NUM_MODELS, NUM_SAMPLES)) < 0.5
    np.savez(tmp_path / "member.npz", member=member, model_ids=[f"m{row}" for row in range(NUM_MODELS)])
    (tmp_path / "dense").mkdir()
    for row in range(NUM_MODELS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(row)
            network = nn.Sequential(nn.Linear(8, 12), nn.ReLU(), nn.Linear(12, 2))
        state = {f"net.{name}": tensor for name, tensor in network.state_dict().items()}
        torch.save({"state_dict": state, "epoch": np.int64(3)}, tmp_path / "dense" / f"m{row}.ckpt")
    return tmp_path


@pytest.mark.parametrize("method", ["l1unstructured", "l1structured"])
def test_there_and_back(call, bank, method):
    factory = ["--factory", f"{MODULE}:Net", "--data", "npz:data.npz"]
    for row in range(NUM_MODELS):
        weights = ["--weights", f"dense/m{row}.ckpt", "--out", f"pruned/m{row}"]
        code, _, err = call("compress", *factory, *weights, "--method", method, "--sparsity", "0.5")
        assert (code, err) == (0, "")
    for release in ("dense", "pruned"):
        given = ["--weights", release, "--membership", "member.npz", "--out", f"{release}.npz"]
        code, out, err = call("collect", *factory, *given)
        assert code == 0, err
        assert "(m0, m1, m2)" in out
    signals = Signals.load(bank / "pruned.npz")
    assert signals.model_names.tolist() == Signals.load(bank / "dense.npz").model_names.tolist()
    networks = __import__(MODULE)
    x = torch.from_numpy(arrays_in(bank / "data.npz")["x"])
    for row in range(NUM_MODELS):
        pruned = pruneaudit.load_compressed(lambda: networks.Net(2), bank / "pruned" / f"m{row}")
        assert pruned.sparsity > 0.4
        with torch.no_grad():
            np.testing.assert_allclose(signals.logits[row], pruned.model.eval()(x).numpy(), atol=1e-6)
    if method == "l1unstructured":
        return  # the two files are alike; one audit is enough
    code, out, err = call("audit", "pruned.npz", "dense.npz", "--attacks", "loss", "--out", "audit")
    assert code == 0, err
    assert "loss" in out


def test_a_network_with_fewer_channels_is_not_pruned_again(call, bank):
    pruning = ["compress", "--factory", f"{MODULE}:Net", "--data", "npz:data.npz", "--method", "l1structured"]
    assert call(*pruning, "--sparsity", "0.5", "--weights", "dense/m0.ckpt", "--out", "once")[0] == 0
    code, _, err = call(*pruning, "--sparsity", "0.5", "--weights", "once", "--out", "twice")
    assert code == 2
    assert "model.safetensors" in err and "structure.json" in err and "dense" in err
    assert not (bank / "twice").exists()


def test_a_key_of_ones_own(call, bank):
    for file in (bank / "dense").iterdir():
        state = torch.load(file, weights_only=False)["state_dict"]
        torch.save({"student": state, "teacher": {name: -tensor for name, tensor in state.items()}}, file)
    given = ["--factory", f"{MODULE}:Net", "--data", "npz:data.npz", "--weights", "dense"]
    collect = ["collect", *given, "--membership", "member.npz", "--out", "out.npz"]
    code, _, err = call(*collect)
    assert code == 2
    assert "dense/m0.ckpt" in err and "--weights-key student or teacher" in err
    assert call(*collect, "--weights-key", "student")[0] == 0
    pruning = ["compress", *given[:-1], "dense/m0.ckpt", "--method", "l1unstructured", "--sparsity", "0.5"]
    assert call(*pruning, "--out", "pruned")[0] == 2
    assert call(*pruning, "--out", "pruned", "--weights-key", "teacher")[0] == 0
