"""Studies of networks that share weights, compute them, or keep them in attention and tables."""

import json
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pruneaudit.api import Runtime, run
from pruneaudit.core.errors import UserError
from pruneaudit.engine.identities import MATRICES_SEMANTICS
from pruneaudit.runs.beginning import plan_study
from pruneaudit.runs.export import export
from pruneaudit.study import Study

CODE = """
import torch
from torch import nn


class Tied(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.enc, self.dec = nn.Linear(inputs, 8, bias=False), nn.Linear(inputs, 8, bias=False)
        self.dec.weight = self.enc.weight
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        return self.head(torch.cat([self.enc(x), self.dec(x.flip(1))], 1).relu())


def tied(input_shape, num_classes):
    return Tied(input_shape[0], num_classes)


def normed(input_shape, num_classes):
    first = nn.utils.parametrizations.weight_norm(nn.Linear(input_shape[0], 8))
    return nn.Sequential(first, nn.ReLU(), nn.Linear(8, num_classes))


def broken(input_shape, num_classes):
    network = nn.Sequential(nn.Linear(input_shape[0], 8), nn.ReLU(), nn.Linear(8, num_classes))
    network[2].weight.data[0, 0] = float("nan")
    return network
"""
PRUNED = {"name": "pruned", "compress": "l1unstructured", "sparsity": 0.5, "finetune": {"epochs": 1}}


@pytest.fixture
def study(tmp_path, monkeypatch):
    (tmp_path / "users_weights.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "users_weights", raising=False)  # that of an earlier test
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "data.npz", x=rng.normal(size=(80, 10)).astype(np.float32), y=np.arange(80) % 3)

    def made(network, *releases):
        return Study.model_validate(
            {
                "name": network,
                "data": {"source": f"npz:{tmp_path / 'data.npz'}"},
                "membership": {"num_models": 2},
                "model": f"users_weights:{network}",
                "training": {"epochs": 1, "batch_size": 16},
                "releases": list(releases),
                "audit": {"attacks": ["loss"]},
            }
        )

    return made


def test_a_network_with_shared_weights_is_trained_pruned_attacked_and_exported(study, tmp_path):
    excluded = {**PRUNED, "name": "excluded", "compress": "l1unstructured:exclude=['dec']"}
    finished = run(study("tied", PRUNED, excluded), tmp_path / "runs", runtime=Runtime("serial"))
    results = finished.results
    table = results.releases.set_index("release")
    assert table.loc["pruned", "sparsity"] == pytest.approx(0.5)
    assert table.loc["excluded", "sparsity"] == pytest.approx(24 / 128)
    assert table.loc["pruned", "parameters"] == 80 + 48 + 3
    assert table.loc["pruned", "sparsity_all"] == pytest.approx(64 / 131)
    entries = {entry["name"]: entry for entry in results.about["release_report"]["releases"]}
    assert [row["name"] for row in entries["excluded"]["left_whole"]] == ["enc"]
    assert [(row["name"], row["shared_with"]) for row in entries["pruned"]["layers"]] == [
        ("enc", ["dec"]),
        ("head", []),
    ]
    assert all(not entry["gaps"] for entry in entries.values())

    files = list((tmp_path / "runs" / "tied").glob("pruned-*/model-000/model.safetensors"))
    stored = load_file(files[0])
    assert stored.keys() == {"enc.weight", "head.weight", "head.bias"}
    written = export(
        tmp_path / "runs" / "tied", "pruned", tmp_path / "out.safetensors", "safetensors", factory="users_weights:tied"
    ).files[0]
    import users_weights

    network = users_weights.tied((10,), 3)
    network.load_state_dict(load_file(written))  # strictly, as any other program reads it
    assert torch.equal(network.dec.weight, stored["enc.weight"])


def test_computed_and_broken_weights_are_refused_before_anything_is_trained(study, tmp_path):
    for network, words in (
        ("normed", r"^release 'pruned': '0\.weight' .*weight_norm .*exclude layer '0'"),
        ("broken", r"^release 'pruned': '2\.weight' .*NaN .* 1 of 24 weights"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            run(study(network, PRUNED), tmp_path / "runs", runtime=Runtime("serial"))
        assert "\n" not in str(caught.value)
        assert not list((tmp_path / "runs").glob(f"{network}/dense-*"))


def test_the_advice_to_exclude_a_computed_weight_works(study, tmp_path):
    excluded = {**PRUNED, "compress": "l1unstructured:exclude=['0']"}
    finished = run(study("normed", excluded), tmp_path / "runs", runtime=Runtime("serial"))
    results = finished.results
    (entry,) = (one for one in results.about["release_report"]["releases"] if one["name"] == "pruned")
    assert entry["sparsity_prunable"] == pytest.approx(12 / 104)
    assert [(row["name"], row["weights"]) for row in entry["left_whole"]] == [("0", 80)]
    assert not entry["gaps"]
    assert json.loads((tmp_path / "runs" / "normed" / "release.json").read_text())["releases"]


def test_identities_change_for_pruned_networks_of_the_users_own_alone(study):
    plan, _ = plan_study(study("tied", PRUNED, {"name": "control", "finetune": {"epochs": 1}}))
    configs = {name: plan.models(name)[0].artifact.config for name in ("dense", "pruned", "control")}
    assert configs["pruned"]["matrices"] == MATRICES_SEMANTICS
    assert "matrices" not in configs["dense"] and "matrices" not in configs["control"]
