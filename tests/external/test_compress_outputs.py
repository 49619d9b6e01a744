"""`pruneaudit.compress` of networks that return a dict or a tuple: the same as for one that returns logits alone."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

import pruneaudit
from pruneaudit.core.errors import UserError

# B batch, C classes

GENERATOR = torch.Generator().manual_seed(1)
X, Y = torch.randn(40, 1, 8, 8, generator=GENERATOR), torch.arange(40) % 3
METHODS = [
    *(
        "l2structured:sparsity=0.4",
        "snip:sparsity=0.5:start=pretrained",
        "synflow:sparsity=0.5:start=pretrained",
        "wanda:sparsity=0.5",
    ),
    *("static8", "static8:output=int8", "rtn:bits=4", "lamp:sparsity=0.5"),
]
NEEDS_DATA = ("snip", "wanda", "static8")


class Net(nn.Module):
    """Returns its logits in one form or another."""

    def __init__(self, form="plain", outputs=3):
        super().__init__()
        self.form = form
        self.first, self.norm, self.second = nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3)
        self.head = nn.Linear(8, outputs)

    def forward(self, x):
        hidden = functional.relu(self.second(functional.relu(self.norm(self.first(x))))).mean((2, 3))
        logits = self.head(hidden)
        return {
            "plain": logits,
            "dict": {"logits": logits, "hidden": hidden},
            "tuple": (hidden.mean(), logits, None),
            "wide": (hidden, logits),
            "twice": (logits, logits + 1),
        }[self.form]


def network(form="plain", outputs=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(form, outputs)


def compressed(form, method, **given):
    if method.startswith(NEEDS_DATA):
        given["calibration"] = (X, Y) if method.startswith("snip") else X
    return pruneaudit.compress(network(form), method, example=(1, 8, 8), **given)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("form", ["dict", "tuple"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_the_same_weights(method, form):
    expected, found = compressed("plain", method), compressed(form, method)
    assert same(found.model.state_dict(), expected.model.state_dict())
    assert {type(part) for part in found.model.modules()} == {type(part) for part in expected.model.modules()}
    assert not found.model._forward_hooks
    assert type(found.model(X)) is {"dict": dict, "tuple": tuple}[form]


@pytest.mark.parametrize("form", ["dict", "tuple", "wide"])
def test_fine_tuning_and_accuracy_are_the_same(form):
    tuning = pruneaudit.FineTuning((X, Y), epochs=2, learning_rate=0.05)
    expected, found = (
        compressed(each, "l2structured:sparsity=0.4", finetuning=tuning, test=(X, Y)) for each in ("plain", form)
    )
    assert same(found.model.state_dict(), expected.model.state_dict())
    assert found.summary["accuracy"] == expected.summary["accuracy"]


def test_a_teacher_and_a_student_may_differ_in_form():
    tuning = pruneaudit.FineTuning((X, Y), epochs=2, learning_rate=0.05)
    expected, found = (
        pruneaudit.compress(network(one), "distil:data=members", finetuning=tuning, student=network(other))
        for one, other in (("plain", "plain"), ("dict", "tuple"))
    )
    assert same(found.model.state_dict(), expected.model.state_dict())


def test_a_training_function_sees_the_network_as_it_was_written():
    seen = []

    def train(model, hooks, phase, epochs):
        seen.append(type(model(X)))

    compressed("tuple", "l2structured:sparsity=0.4", finetuning=pruneaudit.FineTuning(train=train))
    assert seen == [tuple]


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_a_smaller_network_is_loaded_and_written_as_onnx(form, tmp_path):
    made = compressed(form, "l2structured:sparsity=0.4")
    again = pruneaudit.load_compressed(network(form), made.save(tmp_path / "made"))
    assert same(again.model.state_dict(), made.model.state_dict())
    pytest.importorskip("onnxruntime")
    assert again.to_onnx(tmp_path / "made.onnx", inputs=X).agreement.same_class > 0


def test_what_is_not_clear_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match=r"data: returned a tuple of 2: \(4, 3\), \(4, 3\).*return only the logits"):
        compressed("twice", "rtn:bits=4", finetuning=pruneaudit.FineTuning((X, Y), epochs=1))
    made = compressed("twice", "rtn:bits=4")  # which asks the network nothing
    assert isinstance(copy.deepcopy(made.model)(X), tuple)
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match=r"onnx: the network returned a tuple of 2.*return only them"):
        made.to_onnx(tmp_path / "made.onnx", inputs=X)
