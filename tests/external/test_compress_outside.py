"""`pruneaudit.compress` with compressors that are no pruners, and with chains."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import nn

import pruneaudit
from pruneaudit.compression.state import restored
from pruneaudit.core.errors import UserError

MASKED = "l1unstructured:sparsity=0.7"
METHODS = {
    "rtn": "rtn:bits=4",
    "rtn, asymmetric": "rtn:bits=3:symmetry=asymmetric",
    "kmeans": "kmeans:clusters=4",
    "sparse, rtn": [MASKED, "rtn:bits=4"],
    "sparse, kmeans": [MASKED, "kmeans:clusters=4"],
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 3))


def samples():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(40, 10, generator=generator), torch.randint(3, (40,), generator=generator)


@pytest.mark.parametrize("is_tuned", [False, True])
@pytest.mark.parametrize("name", METHODS)
def test_it_is_saved_and_comes_back_as_it_was(name, is_tuned, tmp_path):
    model, data = network(), samples()
    before = copy.deepcopy(model.state_dict())
    tuning = pruneaudit.FineTuning(data, epochs=2, learning_rate=0.02) if is_tuned else None
    made = pruneaudit.compress(model, METHODS[name], finetuning=tuning, test=data)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    made.save(tmp_path / "made")
    again = pruneaudit.load_compressed(network, tmp_path / "made")
    for key, weight in restored(again.state).items():
        assert torch.equal(made.model.get_parameter(key), weight)
        assert torch.equal(again.model.get_parameter(key), weight)
    assert torch.equal(again.model(data[0]), made.model(data[0]))
    summary = json.loads((tmp_path / "made" / "summary.json").read_text())
    assert summary["before"]["effective_bits"] == 32
    assert summary["after"]["effective_bits"] < 8
    assert summary["before"]["compression_ratio"] == 1 and summary["after"]["compression_ratio"] > 2
    assert summary["after"]["compressed_bytes"] < summary["before"]["compressed_bytes"] / 2
    assert made.sparsity == pytest.approx(0.7 if "sparse" in name else 0, abs=0.01)
    assert ("after_finetuning" in summary["accuracy"]) == is_tuned


@pytest.mark.parametrize("name", METHODS)
def test_a_loop_of_the_users_own_can_hold_it(name):
    made, (x, y) = pruneaudit.compress(network(), METHODS[name]), samples()
    kept = {key: weight.clone() for key, weight in restored(made.state).items()}
    optimizer = torch.optim.SGD(made.model.parameters(), 0.1, momentum=0.9)
    handle = made.hold(optimizer)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(made.model(x), y).backward()
        optimizer.step()
    for key, weight in kept.items():
        now = made.model.get_parameter(key)
        assert (now[weight == 0] == 0).all() or "sparse" not in name
        if "kmeans" in name:
            assert len(now.unique()) <= 5
        else:
            assert torch.equal(made.constraints[-1].grids[key].rounded(now), now)
    handle.remove()


def test_a_training_that_lets_go_of_the_grid_is_refused():
    def careless(model, hooks, phase, epochs):
        with torch.no_grad():
            model[0].weight.add_(0.001)

    with pytest.raises(UserError, match=r"'0\.weight' .*; call every method of each hook"):
        pruneaudit.compress(network(), "rtn:bits=4", finetuning=pruneaudit.FineTuning(train=careless))


@pytest.mark.parametrize(
    ("method", "sparsity", "message"),
    [
        ("rtn", None, "'rtn' needs bits"),
        ("rtn:bits=9", None, "bits of 'rtn': got 9, expected: a whole number from 2 to 8"),
        ("kmeans:clusters=1", None, "clusters of 'kmeans': got 1, expected: greater than or equal to 2"),
        ("rtn:bits=4", 0.5, "its degree is bits"),
        (["rtn:bits=4", MASKED], None, "'l1unstructured' cannot follow 'rtn'"),
        (["rtn:bits=4", "kmeans:clusters=4"], None, "'kmeans' cannot follow 'rtn'"),
    ],
)
def test_what_cannot_be_is_refused(method, sparsity, message):
    with pytest.raises(UserError) as caught:
        pruneaudit.compress(network(), method, sparsity)
    assert message in str(caught.value)


def test_its_folder_of_an_earlier_version_is_read(tmp_path):
    """It had its masks alone, and the sparsity beside the method."""
    made = pruneaudit.compress(network(), "l1unstructured", 0.5)
    made.save(tmp_path / "old")
    (tmp_path / "old" / "compressed.safetensors").unlink()
    summary = json.loads((tmp_path / "old" / "summary.json").read_text())
    del summary["files"]["compressed.safetensors"], summary["method"]["options"]["sparsity"]
    (tmp_path / "old" / "summary.json").write_text(json.dumps(summary))
    again = pruneaudit.load_compressed(network, tmp_path / "old")
    assert again.state.keys() == made.state.keys()
    assert all(torch.equal(again.state[key], value) for key, value in made.state.items())
    assert len(again.hooks) == 1
