"""`pruneaudit collect` of several releases of the same models: a folder, which `audit` takes as it is."""

import json
import stat
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

MODULE = "collect_several_network"
NUM_MODELS = 4


@pytest.fixture
def bank(tmp_path, monkeypatch):
    """Checkpoints of two releases with the same names, samples and membership; the folder is the working folder."""
    (tmp_path / f"{MODULE}.py").write_text("from torch import nn\n\n\ndef build():\n    return nn.Linear(6, 3)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for row in range(NUM_MODELS):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(row)
            network = nn.Linear(6, 3)
        for name, decimals in (("fp32", 8), ("rounded", 1)):
            (tmp_path / name).mkdir(exist_ok=True)
            state = {key: value.round(decimals=decimals) for key, value in network.state_dict().items()}
            torch.save(state, tmp_path / name / f"m{row}.pt")
    rng = np.random.default_rng(0)
    np.savez("data.npz", x=rng.normal(size=(90, 6)).astype(np.float32), y=np.arange(90) % 3)
    np.savez("member.npz", member=rng.random((NUM_MODELS, 90)) < 0.5)
    return tmp_path


@pytest.fixture
def collect(call, bank):
    def run(*weights, **options):
        given = {"factory": f"{MODULE}:build", "membership": "member.npz", "data": "npz:data.npz", **options}
        return call(
            "collect",
            *(part for text in weights for part in ("--weights", text)),
            *(part for name, value in given.items() for part in (f"--{name}", value)),
        )

    return run


def test_a_folder_of_releases_is_enough_for_an_audit(call, collect, bank):
    code, out, err = collect("fp32=fp32", "rounded=rounded/*.pt", out="bank")
    assert code == 0, err
    assert "fp32" in out and "rounded" in out and "pruneaudit audit bank --baseline fp32" in out
    assert {path.name for path in (bank / "bank").iterdir()} == {"fp32.npz", "rounded.npz", "releases.json"}
    assert stat.S_IMODE((bank / "bank").stat().st_mode) == 0o700
    for name in ("fp32", "rounded"):
        assert collect(name, out=f"{name}.npz")[0] == 0
        with np.load(f"{name}.npz") as alone, np.load(f"bank/{name}.npz") as together:
            assert set(alone) == set(together)
            for key in alone:
                np.testing.assert_array_equal(alone[key], together[key])
    code, out, err = call("audit", "bank", "--baseline", "fp32", "--attacks", "loss", "--out", "audit")
    assert code == 0, err
    assert set(pd.read_csv("audit/comparisons.csv")["release"]) == {"rounded"}
    assert list(dict.fromkeys(pd.read_csv("audit/findings.csv")["release"])) == ["fp32", "rounded"]
    other = ["audit", "bank", "--references", "bank", "--attacks", "loss", "--baseline", "fp32", "--out", "second"]
    assert call(*other)[0] == 0


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (["fp32=fp32", "rounded"], ["'rounded'", "beside fp32"]),
        (["a=fp32", "b=fp32"], ["fp32 for a and for b"]),
        (["a=fp32", "b=absent"], ["absent"]),
        (["a=fp32", "b/c=rounded"], ["'b/c'"]),
        (["a=fp32", "b=other"], ["m0, m1, m2, m3", "n0, n1, n2, n3"]),
    ],
)
def test_what_does_not_fit_leaves_nothing(collect, bank, weights, words):
    (bank / "other").mkdir()
    for path in (bank / "rounded").iterdir():
        (bank / "other" / path.name.replace("m", "n")).write_bytes(path.read_bytes())
    before = sorted(bank.iterdir())
    code, out, err = collect(*weights, out="bank")
    assert (code, out, err.count("\n")) == (2, "", 1)
    for word in words:
        assert word in err
    assert sorted(bank.iterdir()) == before


def test_a_folder_that_holds_something_is_replaced_only_with_force(call, collect, bank):
    assert collect("fp32=fp32", out="bank")[0] == 0
    code, out, err = collect("rounded=rounded", out="bank")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "--force" in err


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"releases": {}}', '{"releases": {"a": "../a.npz"}}'])
def test_a_damaged_list_of_releases_is_refused(call, bank, text):
    (bank / "bank").mkdir()
    (bank / "bank" / "releases.json").write_text(text)
    code, out, err = call("audit", "bank", "--attacks", "loss")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "releases.json" in err


def test_the_list_keeps_the_order(collect, bank):
    assert collect("rounded=rounded", "fp32=fp32", out="bank")[0] == 0
    assert list(json.loads((bank / "bank" / "releases.json").read_text())["releases"]) == ["rounded", "fp32"]
