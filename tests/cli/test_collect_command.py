"""`pruneaudit collect` as a user meets it: checkpoints in, a file to audit out, or one line of refusal."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from npz_files import arrays_in

# M models, N samples, C classes

NETWORK = """
from torch import nn

def build(num_classes, width=16):
    return nn.Sequential(nn.Linear(12, width), nn.Tanh(), nn.Linear(width, num_classes))
"""
MODULE = "collect_command_network"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a module, eight overfit networks, their samples and their membership."""
    folder = tmp_path_factory.mktemp("bank")
    (folder / f"{MODULE}.py").write_text(NETWORK)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(160, 12)).astype(np.float32), np.arange(160) % 2
    member = rng.random((8, 160)) < 0.5
    for row in range(8):
        torch.manual_seed(row)
        network = nn.Sequential(nn.Linear(12, 16), nn.Tanh(), nn.Linear(16, 2))
        optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
        inputs, labels = (torch.from_numpy(part[member[row]]) for part in (x, y))
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs), labels).backward()
            optimizer.step()
        torch.save(network.state_dict(), folder / f"m{row}.pt")
    np.savez(folder / "data.npz", x=x, y=y)
    np.savez(folder / "member.npz", member=member)
    np.savez(folder / "same.npz", member=member[[0] * 8])
    return folder


@pytest.fixture
def call(call, monkeypatch, trained):
    """Runs a command line in the bank's folder."""
    monkeypatch.chdir(trained)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return call


@pytest.fixture
def collect(call, tmp_path):
    """Runs `collect` on the bank; options given as keywords replace those of the bank, None leaves one out."""

    def run(*more, **options):
        given = {"factory": f"{MODULE}:build", "weights": "m*.pt", "membership": "member.npz", "data": "npz:data.npz"}
        given |= {"out": tmp_path / "signals.npz"} | options
        named = [part for key, value in given.items() if value is not None for part in (f"--{key}", value)]
        return call("collect", *named, *more)

    return run


def refused(outcome, *words):
    """One line that holds these words, exit code 2, nothing on standard output."""
    code, out, err = outcome
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for word in words:
        assert word in err


def test_collect_then_audit(collect, call, tmp_path):
    code, out, err = collect("--factory-option", "width=16")
    assert (code, err) == (0, "")
    assert re.search(r"models +8 \(m0, m1, \.\.\., m7\)", out)
    assert re.search(r"accuracy +\d+\.\d% on members, \d+\.\d% on non-members", out)
    *command, file = out.splitlines()[-1].removeprefix("next: pruneaudit ").split()
    assert file == str(tmp_path / "signals.npz")
    code, out, err = call(*command, file, "--attacks", "lira", "--out", tmp_path / "audit")
    assert code == 0, err
    low = float(re.search(r"lira +0\.\d{3} \[(0\.\d{3}), ", out).group(1))
    assert low > 0.6
    assert [path.name for path in tmp_path.iterdir() if path.name != "audit"] == ["signals.npz"]


def test_a_file_is_replaced_only_when_that_is_asked_for(collect, tmp_path):
    (tmp_path / "signals.npz").write_text("mine")
    refused(collect(), "signals.npz", "exists already", "--force")
    assert (tmp_path / "signals.npz").read_text() == "mine"
    assert collect("--force")[0] == 0
    assert (tmp_path / "signals.npz").read_bytes()[:2] == b"PK"


def test_places_that_cannot_be_written_to(collect, tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused(collect(out=tmp_path / "file" / "signals.npz"), "cannot write", "--out")
    refused(collect(out=tmp_path), "is a folder")
    assert (
        collect(out=tmp_path / "new" / "folder" / "signals")[0] == 0
    )  # the name is the user's, with suffix or without
    assert {path.name for path in tmp_path.rglob("*")} == {"file", "new", "folder", "signals"}


def test_models_of_one_training_set(collect, tmp_path):
    outcome = collect(membership="same.npz")
    refused(outcome, "same samples", "OUT model", "loss", "--weights 'm0.pt'")
    assert not list(tmp_path.iterdir())
    code, out, _ = collect(membership="same.npz", weights="m0.pt")
    assert code == 0
    assert re.search(r"models +1 \(m0\)", out)


def test_few_samples_with_both_sides(collect, trained, tmp_path):
    member = arrays_in(trained / "member.npz")["member"][:2]
    np.savez(tmp_path / "two.npz", member=member, model_ids=["m0", "m1"])
    code, _, err = collect("--weights", "m1.pt", weights="m0.pt", membership=tmp_path / "two.npz")
    assert code == 0
    one_sided = (member[0] == member[1]).sum()
    assert f"warning: {one_sided} of 160 samples are members of every or of no model" in err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"weights": "x*.pt"}, ["x*.pt", "matches none"]),
        ({"weights": "data.npz"}, ["data.npz", "'.npz'", ".safetensors"]),
        ({"membership": "absent.npz"}, ["absent.npz", "no such file"]),
        ({"membership": "data.npz"}, ["data.npz", "unknown key 'x'", "member"]),
        ({"data": "npz:member.npz"}, ["member.npz", "'x'"]),
        ({"data": "cifr10"}, ["cifr10", "did you mean 'cifar10'"]),
        ({"factory": f"{MODULE}:absent"}, [MODULE, "no function 'absent'"]),
        ({"factory": f"{MODULE}.build"}, ["package.module:function"]),
        ({"factory": "nowhere_at_all:build"}, ["nowhere_at_all"]),
        ({"factory-option": "width"}, ["width", "key=value"]),
        ({"factory-option": "width=3"}, ["m0.pt", "does not fit"]),
        ({"factory-option": "widht=3"}, ["widht", "did you mean 'width'"]),
        ({"mean": "0.5", "std": "0.25"}, ["mean", "float data"]),
        ({"mean": "half"}, ["--mean", "half"]),
        ({"queries": "2"}, ["queries", "table"]),
        ({"queries": "0"}, ["queries"]),
        ({"device": "tpu"}, ["tpu", "cuda"]),
        ({"weights": None}, ["--weights"]),
    ],
)
def test_mistakes_are_refused_in_one_line_and_nothing_is_written(collect, tmp_path, options, words):
    refused(collect(**options), *words)
    assert not list(tmp_path.iterdir())


def test_help_and_refusals_import_no_torch(trained):
    program = (
        "import sys\nfrom pruneaudit.cli import main\n"
        "for more, code in ((['--help'], 0), (['--membership', 'same.npz'], 2)):\n"
        "    try:\n        main([*sys.argv[1:], *more])\n"
        "    except SystemExit as end:\n        assert (end.code or 0) == code, (more, end.code)\n"
        "    assert 'torch' not in sys.modules, more\n"
    )
    bank = [
        "--factory",
        f"{MODULE}:build",
        "--weights",
        "m*.pt",
        "--membership",
        "member.npz",
        "--data",
        "npz:data.npz",
    ]
    command = [sys.executable, "-c", program, "collect", *bank]
    done = subprocess.run(command, cwd=trained, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
