"""`collect` and `audit` of a model whose members were loaded in another way than others, and of predictions alone."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from torch import nn

import pruneaudit
from pruneaudit.data import SOURCES

MODULE = "data_check_network"
NETWORK = """
from torch import nn

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with one network, its digits as they are (`plain.npz`) and with members shifted (`shifted.npz`)."""
    folder, rng = tmp_path_factory.mktemp("one"), np.random.default_rng(0)
    (folder / f"{MODULE}.py").write_text(NETWORK)
    raw = SOURCES.get("digits").load(None, None)
    rows = rng.permutation(len(raw.y))[:800]
    x, y = raw.x[rows].astype(np.float32) / 255, raw.y[rows]
    member = np.arange(800) < 300
    placebo = np.where(np.arange(800) < 600, 0, 1 + np.arange(800) % 2)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(torch.from_numpy(x[member])), torch.from_numpy(y[member])).backward()
        optimizer.step()
    torch.save(network.state_dict(), folder / "net.pt")
    sent_as_members = (member | (placebo == 1))[:, None, None, None]
    np.savez(folder / "plain.npz", x=x, y=y)
    np.savez(folder / "shifted.npz", x=np.where(sent_as_members, np.roll(x, 1, axis=3), x), y=y)
    np.savez(folder / "member.npz", member=member, placebo=placebo)
    return folder


@pytest.fixture
def audited(call, trained, tmp_path, monkeypatch):
    """Collects from one of the data files and audits: what `collect` warned of, the terminal's lines, the folder."""
    monkeypatch.chdir(trained)

    def run(data):
        signals, folder = tmp_path / f"{data}.npz", tmp_path / data
        options = ("--factory", f"{MODULE}:build", "--weights", "net.pt", "--membership", "member.npz")
        code, _, warned = call("collect", *options, "--data", f"npz:{data}.npz", "--out", signals)
        assert code == 0, warned
        code, out, err = call("audit", signals, "--attacks", "loss,entropy", "--out", folder)
        assert code == 0, err
        return warned, " ".join(out.split()), folder

    return run


def shown_by(folder, out):
    """What terminal, page and summary say."""
    summary = pruneaudit.summary(folder, folder.parent / "summary.md").read_text().replace("\\", "")
    return out, (folder / "report.html").read_text(), summary


def checks(folder):
    """The checks of the data by name, and the AUCs on placebo rows by attack, from findings.json."""
    found = json.loads((folder / "findings.json").read_text())
    on_placebo = {row["attack"]: row for row in found["sanity_checks"] if row["kind"] == "placebo"}
    return {entry["check"]: entry for entry in found["data_checks"]}, on_placebo


def test_members_on_another_path_are_told_everywhere(audited):
    warned, out, folder = audited("shifted")
    found, on_placebo = checks(folder)
    assert found["inputs"]["passed"] is False
    assert found["inputs"]["low"] > 0.8
    figure = f"{found['inputs']['auc']:.3f} [{found['inputs']['low']:.3f}, {found['inputs']['high']:.3f}]"
    assert found["placebo"] == {"check": "placebo", "passed": False, "num_as_members": 100, "num_as_others": 100}
    assert not on_placebo["loss"]["passed"]
    assert figure in warned
    for shown in shown_by(folder, out):
        assert figure in shown
        assert re.search(rf"figures of loss.*AUC {on_placebo['loss']['auc']:.3f} on placebo rows", shown, re.DOTALL)
    assert "200 placebo rows" in (folder / "report.html").read_text()


def test_members_on_the_same_path_pass(audited):
    warned, out, folder = audited("plain")
    found, on_placebo = checks(folder)
    assert found["inputs"]["passed"]
    assert found["placebo"]["passed"]
    assert all(row["passed"] for row in on_placebo.values())
    assert on_placebo.keys() == {"loss", "entropy"}
    assert "look" not in warned
    for shown in shown_by(folder, out):
        assert "Do not trust" not in shown
        assert "Not checked" not in shown


def test_predictions_alone_are_not_checked(call, tmp_path):
    rng = np.random.default_rng(0)
    member, labels = rng.random((1, 200)) < 0.5, rng.integers(3, size=200)
    np.savez(tmp_path / "p.npz", logits=rng.normal(size=(1, 200, 3)), labels=labels, member=member)
    code, out, err = call("audit", tmp_path / "p.npz", "--attacks", "loss", "--out", tmp_path / "audit")
    assert code == 0, err
    found, on_placebo = checks(tmp_path / "audit")
    assert not on_placebo
    for entry in found.values():
        assert entry["passed"] is None
        for shown in shown_by(tmp_path / "audit", " ".join(out.split())):
            assert "Not checked" in shown
            assert entry["reason"].split("`")[0] in shown
