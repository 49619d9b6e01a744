"""Export of networks of one's own: shared tensors, and answers that are not plain logits."""

import functools
import sys

import numpy as np
import onnxruntime
import pytest
import safetensors.torch
import torch

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.data.audit_data import AuditData
from pruneaudit.runs.export import export
from pruneaudit.study import Study

MODULE = "networks_to_export"
NETWORKS = """
from torch import nn

class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.last = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return {"logits": self.last(self.two(self.one(x).relu()).relu()), "hidden": x}

def tied(): return Tied()
def one_logit(): return nn.Linear(6, 1)
def another(): return Tied()
"""
NUM_CLASSES = {"tied": 3, "one_logit": 2}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Makes a finished run of a network, by its function, once; the functions can be imported."""
    folder = tmp_path_factory.mktemp("own")
    (folder / f"{MODULE}.py").write_text(NETWORKS)
    x = np.random.default_rng(0).normal(size=(60, 6)).astype("f4")

    @functools.cache
    def run_of(name):
        np.savez(folder / f"{name}.npz", x=x, y=np.arange(60) % NUM_CLASSES[name])
        study = Study.model_validate({
            "name": name,
            "model": f"{MODULE}:{name}",
            "data": {"source": f"npz:{folder / name}.npz", "num_holdout": 10},
            "membership": {"num_models": 2},
            "training": {"epochs": 1, "batch_size": 16},
            "audit": {"attacks": ["loss"]},
        })  # fmt: skip
        return run(study, out=folder, runtime=Runtime(executor="serial")).folder

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield run_of
    sys.modules.pop(MODULE, None)


def stored(folder):
    """The samples (N, 6), and what the run has stored of model 0, (N, C)."""
    audit_data = AuditData.load(next(folder.glob("audit_data-*")))
    return np.asarray(audit_data.x), np.load(next(folder.glob("dense-*/signals-*/model-000/logits.npy")))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tied", "one_logit"])
def test_onnx_answers_logits_for_each_class(finished, tmp_path, name):
    exported = export(finished(name), "dense", tmp_path / "m.onnx", factory=f"{MODULE}:{name}")
    assert exported.difference < 1e-5
    x, expected = stored(finished(name))
    session = onnxruntime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    (answer,) = session.run(["logits"], {"input": x})
    assert answer == pytest.approx(expected, abs=1e-5)  # of a single logit z: [0, z]


@pytest.mark.parametrize("format", ["torch", "safetensors"])
def test_the_factory_gives_a_shared_tensor_all_its_names(finished, tmp_path, format):
    def read(file):
        return torch.load(file, weights_only=True) if format == "torch" else safetensors.torch.load_file(file)

    export(finished("tied"), "dense", tmp_path / "named", format, factory=f"{MODULE}:tied")
    export(finished("tied"), "dense", tmp_path / "unnamed", format)
    named, unnamed = read(tmp_path / "named"), read(tmp_path / "unnamed")
    assert torch.equal(named["one.weight"], named["two.weight"])
    assert named.keys() - unnamed.keys() == {"two.weight"}
    network = sys.modules[MODULE].tied()
    network.load_state_dict(named)
    x, expected = stored(finished("tied"))
    with torch.no_grad():
        assert network.eval()(torch.from_numpy(x))["logits"].numpy() == pytest.approx(expected, abs=1e-5)


def test_another_function_than_that_of_the_run_is_refused(finished, tmp_path):
    with pytest.raises(UserError, match=rf"--factory: .*'{MODULE}:another'.*'{MODULE}:tied'"):
        export(finished("tied"), "dense", tmp_path / "m", "torch", factory=f"{MODULE}:another")
    assert not list(tmp_path.iterdir())
