"""What networks of the user's answer in a study: taken, or refused in one line before anything is trained."""

import importlib
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.models import build_model
from pruneaudit.study import Study

CODE = """
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

class Body(nn.Module):
    def __init__(self, i, c): super().__init__(); self.one = nn.Linear(i, 8); self.two = nn.Linear(8, c)
    def logits(self, x): return self.two(self.one(x).relu())
    def forward(self, x): return self.logits(x)
class Pair(Body):
    def forward(self, x): return x, self.logits(x), x.argmax(1), None
class Twice(Body):
    def forward(self, x): return self.logits(x), self.logits(x)
class Neither(Body):
    def forward(self, x): return x.mean(), [self.logits(x)]
class Dict(Body):
    def forward(self, x): return {"logits": self.logits(x), "hidden": x}
class Named(NamedTuple):
    logits: torch.Tensor
    hidden: torch.Tensor
class Output(Body):
    def forward(self, x): return Named(self.logits(x), x) if self.training else self.logits(x)
class Keyless(Body):
    def forward(self, x): return {"scores": self.logits(x)}
class Random(Body):
    def forward(self, x): return self.two(F.dropout(self.one(x).relu()))
class Softmax(Body):
    def forward(self, x): return self.logits(x).softmax(1)
class Sigmoid(Body):
    def forward(self, x): return self.logits(x).sigmoid()
class Flat(Body):
    def forward(self, x): return self.logits(x)[:, 0]

def made(kind, change=0):
    return lambda input_shape, num_classes: kind(input_shape[0], num_classes + change)

plain, pair, dct, output, keyless = made(Body), made(Pair), made(Dict), made(Output), made(Keyless)
twice, neither = made(Twice), made(Neither)
random, softmax, fewer, more = made(Random), made(Softmax), made(Body, -1), made(Body, 1)
one, flat, sigmoid = made(Body, -1), made(Flat, -1), made(Sigmoid, -1)

def broken(input_shape, num_classes): return Body(input_shape[0] + 1, num_classes)
def raises(input_shape, num_classes): return 1 / 0
def views(input_shape, num_classes):
    class Views(nn.Module):
        def __init__(self):
            super().__init__(); self.conv = nn.Conv2d(2, 4, 3); self.head = nn.Linear(64, num_classes)
        def forward(self, x): return self.head(self.conv(x).view(len(x), -1))
    return Views()
"""
MODULE = "answers_of_mine"


@pytest.fixture(scope="module", autouse=True)
def code(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("code")
        (folder / f"{MODULE}.py").write_text(CODE)
        patch.syspath_prepend(folder)
        importlib.invalidate_caches()
        yield
    sys.modules.pop(MODULE, None)


def study(folder, model, num_classes=2, shape=(6,), **more):
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(80) % num_classes)
    x = rng.normal(size=(80, *shape)) + y.reshape(-1, *[1] * len(shape))
    np.savez(folder / "data.npz", x=x.astype(np.float32), y=y)
    values = {
        "name": "own",
        "model": f"{MODULE}:{model}",
        "data": {"source": f"npz:{folder / 'data.npz'}"},
        "membership": {"num_models": 2},
        "training": {"epochs": 2, "batch_size": 16},
        "audit": {"attacks": ["loss"]},
    }
    return Study.model_validate(values | more)


@pytest.mark.parametrize(
    ("model", "num_classes", "words"),
    [
        ("twice", 3, ("tuple of 2", "(64, 3), (64, 3)", "only float tensor", "logits")),
        ("neither", 3, ("tuple of 2", "(), list", "only float tensor")),
        ("keyless", 3, ("scores", "'logits'")),
        ("fewer", 3, ("(64, 2)", "(64, 3)")),
        ("more", 3, ("(64, 4)", "(64, 3)")),
        ("one", 3, ("(64, 2)", "(64, 3)")),
        ("random", 3, ("evaluation mode", "F.dropout")),
        ("softmax", 3, ("probabilities", "softmax")),
        ("sigmoid", 2, ("probabilities", "sigmoid")),
        ("broken", 3, ("(64, 6)", "RuntimeError")),
        ("raises", 3, ("ZeroDivisionError",)),
    ],
)
def test_what_cannot_be_taken_is_refused_before_anything_is_trained(tmp_path, model, num_classes, words):
    with pytest.raises(UserError) as caught:
        run(study(tmp_path, model, num_classes), out=tmp_path / "runs", runtime=Runtime(executor="serial"))
    message = str(caught.value)
    assert "\n" not in message
    assert f"{MODULE}:{model}" in message
    assert [word for word in words if word not in message] == []
    assert not (tmp_path / "runs").exists()


def test_a_view_of_images_is_told_apart(tmp_path):
    with pytest.raises(UserError, match="reshape"):
        run(study(tmp_path, "views", 3, (2, 6, 6)), out=tmp_path / "runs", runtime=Runtime(executor="serial"))


@pytest.mark.parametrize("model", ["dct", "output", "pair"])
@pytest.mark.slow
def test_named_logits_are_taken_and_nothing_else_changes(tmp_path, model):
    releases = [{"compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 1, "learning_rate": 0.01}}]
    found = {
        name: run(
            study(tmp_path, name, 3, releases=releases), out=tmp_path / name, runtime=Runtime(executor="serial")
        ).folder
        for name in ("plain", model)
    }
    for release in ("dense", "l1unstructured-0.5"):
        first, second = (
            load_file(next(folder.glob(f"{release}-*/model-001/model.safetensors"))) for folder in found.values()
        )
        assert first.keys() == second.keys()
        assert all(torch.equal(first[key], second[key]) for key in first)
    first, second = ((folder / "findings.csv").read_bytes() for folder in found.values())
    assert first == second


@pytest.mark.parametrize("model", ["one", "flat"])
def test_one_logit_for_two_classes_is_that_of_class_1(tmp_path, model):
    finished = run(study(tmp_path, model), out=tmp_path / "runs", runtime=Runtime(executor="serial"))
    logits = np.load(next(finished.folder.glob("dense-*/signals-*/model-000/logits.npy")))
    assert logits.shape == (80, 2)
    assert (logits[:, 0] == 0).all()
    with np.load(tmp_path / "data.npz") as data:
        ids = np.load(next(finished.folder.glob("audit_data-*/ids.npy")))
        x, y = torch.from_numpy(data["x"][ids]), data["y"][ids]
    weights = load_file(next(finished.folder.glob("dense-*/model-000/model.safetensors")))
    hidden = (x @ weights["one.weight"].T + weights["one.bias"]).relu()
    z = (hidden @ weights["two.weight"].T + weights["two.bias"])[:, 0]
    np.testing.assert_allclose(logits[:, 1], z, rtol=1e-4, atol=1e-5)
    assert ((z > 0).numpy() == y).mean() > 0.7  # it was trained: the classes are far apart


def test_a_network_that_answers_logits_is_left_as_it_is():
    generator = torch.Generator().manual_seed(0)
    options = {"target": f"{MODULE}:plain"}
    assert not build_model("factory", options, (6,), 3, generator)._forward_hooks
    network = build_model("factory", {"target": f"{MODULE}:dct"}, (6,), 3, generator)
    x = torch.randn(5, 6, generator=generator)
    assert torch.equal(network(x), network.logits(x))
    assert list(network.state_dict()) == ["one.weight", "one.bias", "two.weight", "two.bias"]
