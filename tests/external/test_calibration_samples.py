"""Calibration samples of a user's network: which of them a method sees, and what is refused before anything runs."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import pruneaudit
from pruneaudit.compression import COMPRESSORS
from pruneaudit.core.errors import UserError
from pruneaudit.models._attention import EncoderBlock

# N samples


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).eval()


class Columns(nn.Module):
    """A block of a transformer over the columns of a table."""

    def __init__(self):
        super().__init__()
        self.columns = nn.Linear(1, 8)
        self.block, self.head = EncoderBlock(8, heads=2, hidden=12), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.block(self.columns(x[:, :, None])).mean(1))


def attentive():
    torch.manual_seed(0)
    return Columns().eval()


@pytest.fixture
def x():
    return torch.randn(40, 4, generator=torch.Generator().manual_seed(2))


def ranges(compressed):
    """(scale, code of 0) of the first layer's inputs."""
    return float(compressed.model[0].input_scale), float(compressed.model[0].input_zero)


def range_of(x):
    low, high = min(0.0, float(x.min())), max(0.0, float(x.max()))
    scale = (high - low) / 255
    return pytest.approx((scale, round(-low / scale)), rel=1e-6)


def test_a_method_sees_its_first_samples_in_order_and_no_more(x):
    x = x * torch.linspace(1, 5, 40)[:, None]  # later ones have a wider range
    assert ranges(pruneaudit.compress(network(), "static8:num_samples=10", calibration=x)) == range_of(x[:10])
    found = pruneaudit.compress(network(), "static8:num_samples=1000", calibration=x)
    assert ranges(found) == range_of(x), "all of the file, not half"
    assert found.summary["calibration"] == {"static8": 40}
    assert pruneaudit.compress(network(), "static8:num_samples=10", calibration=x).summary["calibration"] == {
        "static8": 10
    }


def test_labels_are_taken_and_not_needed(x):
    alone = pruneaudit.compress(network(), "static8", calibration=x)
    for given in ((x, torch.arange(40) % 3), (x.numpy(), np.arange(40) % 3), x.numpy()):
        assert ranges(pruneaudit.compress(network(), "static8", calibration=given)) == ranges(alone)
    assert pruneaudit.compress(network(), "rtn", bits=4).summary["calibration"] is None


def test_members_are_the_users_samples_too(x):
    """A file is what the user gives: the option says which samples a study would take."""
    compressed = pruneaudit.compress(network(), "static8:data=members", calibration=x)
    assert ranges(compressed) == range_of(x)


def with_nan(x):
    return torch.cat([x, torch.full((1, 4), float("nan"))])


@pytest.mark.parametrize(
    ("method", "given", "words"),
    [
        ("static8", lambda x: None, ("'static8' needs 256 samples", "calibration=x", "--calibration FILE.npz")),
        ("rtn:bits=4", lambda x: x, ("'rtn' uses no samples", "leave them out")),
        ("static8", lambda x: x[:0], ("(0, 4)", "N above 0")),
        ("static8", lambda x: x[:, :3], ("shape (4, 3)", "fails on them")),
        ("static8", with_nan, ("NaN or infinity in x",)),
        ("static8", lambda x: x.to(torch.uint8), ("torch.uint8", "floats, normalised as in training")),
        ("static8", lambda x: (x, x, x), ("expected a pair (x, y) of arrays or tensors or x alone",)),
        ("static8", lambda x: (x, torch.zeros(39, dtype=torch.int64)), ("(40, 4)", "(39,)")),
        ("static8", lambda x: (x, torch.zeros(40)), ("integer labels",)),
        ("static8", lambda x: "file.npz", ("calibration: x",)),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(x, method, given, words):
    model = network()
    before = model.state_dict()
    with pytest.raises(UserError) as caught:
        pruneaudit.compress(model, method, calibration=given(x))
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in words), message
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("method", "degree"), [("rtn", {"bits": 4}), ("kmeans", {"clusters": 4}), ("svd", {"fraction": 0.5})]
)
def test_every_degree_can_be_given_by_its_name(method, degree):
    ((name, value),) = degree.items()
    by_name = pruneaudit.compress(network(), method, **degree)
    as_option = pruneaudit.compress(network(), f"{method}:{name}={value}")
    assert by_name.summary["method"] == as_option.summary["method"]
    assert all(torch.equal(by_name.state[key], tensor) for key, tensor in as_option.state.items())


def test_a_degree_of_another_method_names_the_right_one():
    for method, degree, words in (
        ("rtn", {"clusters": 4}, ("clusters: got 4", "'rtn' has no such degree", "its degree is bits", "rtn:bits=...")),
        ("svd", {"sparsity": 0.5}, ("sparsity: got 0.5", "its degree is fraction")),
        ("rtn", {"bit": 4}, ("bit: got 4", "did you mean 'bits'")),
    ):
        with pytest.raises(UserError) as caught:
            pruneaudit.compress(network(), method, **degree)
        assert all(word in str(caught.value) for word in words), str(caught.value)


def test_every_compressor_that_looks_at_samples_runs_on_a_users_network(x):
    """A degree that fits each; labels for those that need them."""
    degrees = {"sparsity": 0.5, "bits": 8, "clusters": 4, "fraction": 0.5, "pattern": "2:4"}
    ran = []
    for name in COMPRESSORS.names():
        compressor = COMPRESSORS.get(name)
        degree = {compressor.degree: degrees[compressor.degree]} if compressor.degree in degrees else {}
        options = compressor.Options.model_validate({**degree, **({"data": "public"} if name == "distil" else {})})
        looks = compressor.data(options) != "none" and not compressor.trains(options)
        if not looks or compressor.learns_from_parent:
            continue
        y = torch.arange(40) % 3
        given = (x, y) if compressor.needs_labels(options) else x
        trains = compressor.works_in_training(options)
        tuning = pruneaudit.FineTuning((x, y), epochs=1) if trains else None
        build = network if compressor.record not in ("heads", "units") else attentive
        made = pruneaudit.compress(build(), name, finetuning=tuning, example=(4,), calibration=given, **degree)
        assert made.summary["calibration"] == {name: min(40, compressor.num_samples(options) or 40)}
        if compressor.needs_labels(options):
            with pytest.raises(UserError, match="expected a pair"):
                pruneaudit.compress(build(), name, finetuning=tuning, calibration=x, **degree)
        ran.append(name)
    assert {"static8", "gptq", "snip", "wanda"} <= set(ran), ran


def test_methods_that_compute_a_loss_need_a_logit_for_each_class(x):
    model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 1))
    with pytest.raises(UserError, match=r"'snip' needs a network that returns logits \(N, C\)"):
        pruneaudit.compress(model, "snip:start=pretrained", 0.5, calibration=(x, torch.arange(40) % 2))


def test_the_summary_names_the_shape_of_an_input(x, tmp_path):
    folder = pruneaudit.compress(network(), "static8", calibration=x).save(tmp_path / "out")
    assert json.loads((folder / "summary.json").read_text())["input"] == {"shape": [4], "type": "float32"}
