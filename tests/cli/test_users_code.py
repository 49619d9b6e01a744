"""Whose code is run: functions that the user names are found in the working folder, and nothing else there is run."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from command_line import called, succeed
from pruneaudit.engine.processes import search_path
from pruneaudit.study.lineage import calls_users_function
from pruneaudit.study.user_function import working_folder_searched

NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.layer = nn.Linear(inputs, classes)

    def forward(self, x):
        import helper_of_forward
        return self.layer(x.flatten(1))

def net(input_shape, num_classes):
    import helper_of_net
    return Net(input_shape[0] * input_shape[1] * input_shape[2], num_classes)

def train(model, x, y, generator, device):
    import helper_of_train
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""
STUDY = """
name = "own"
data = { source = "digits", num_samples = 90, num_holdout = 20 }
membership = { num_models = 2 }
model = "users_network:net"
training = { function = "users_network:train" }
releases = [{ compress = "l1unstructured", sparsity = 0.5 }]
audit = { attacks = ["loss"] }
"""
HOSTILE = ("numexpr", "bottleneck", "users_network")
MARK = "import pathlib; pathlib.Path(__file__).with_suffix('.ran').touch()\n"


@pytest.fixture(scope="module")
def owned(tmp_path_factory):
    """A run of a study with a network and a training of the user's, made in the folder of their module."""
    folder = tmp_path_factory.mktemp("owned")
    (folder / "users_network.py").write_text(NETWORK)
    for name in ("net", "forward", "train"):
        (folder / f"helper_of_{name}.py").write_text("")
    (folder / "study.toml").write_text(STUDY)
    before = list(sys.path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        succeed("run", "study.toml", "--out", "runs", "--executor", "serial", "--quiet")
    assert sys.path == before
    sys.modules.pop("users_network", None)
    return folder / "runs" / "own"


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """The working folder: modules in it leave a mark when they are run."""
    for name in HOSTILE:
        (tmp_path / f"{name}.py").write_text(MARK)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def forgotten():
    """Modules of these tests are imported anew."""
    yield
    for name in [name for name in sys.modules if name in HOSTILE or name.startswith("helper_of_")]:
        del sys.modules[name]


def marks(folder):
    return sorted(path.name for path in folder.glob("*.ran"))


def commands(run):
    """All that reads the folder of a finished run."""
    return (
        ("verify", run),
        ("attack", run, "--attacks", "loss,confidence", "--out", "attacked", "--jobs", "1", "--quiet"),
        ("report", run),
        ("report", run, "--compare", run),
        ("check", run, "--max-auc", "1.0"),
        ("sanity-check", run, "--attacks", "loss", "--quiet"),
        ("frontier", run),
        ("figures", run, "--out", "figures", "--format", "svg"),
        ("pruning-mia", "mia", "--runs-dir", run, "--attacks", "loss", "--results-dir", "results"),
        ("pruning-mia", "mia", "--runs-dir", run, "--attacks", "loss", "--dry-run"),
        ("export", run, "--release", "dense", "--format", "torch", "--out", "dense.pt"),
        ("export", run, "--release", "l1unstructured-0.5", "--format", "safetensors", "--out", "pruned.safetensors"),
        ("pruning-mia", "export", run, "--out", "tree"),
        ("list", "attacks"),
    )


QUICK, LATER = (
    ("verify", "attack", "report", "check", "sanity-check"),
    ("frontier", "figures", "pruning-mia", "export", "list"),
)


def test_a_run_records_the_sources_of_the_functions_that_it_called(owned):
    found = json.loads((owned / "sources.json").read_text())
    assert set(found) == {"users_network:net", "users_network:train"}
    assert "sources.json" in (owned / "SHA256SUMS").read_text()


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in LATER)])
def test_no_command_on_a_finished_run_imports_what_its_folder_names(owned, hostile, name):
    before = list(sys.path)
    for command in (command for command in commands(owned) if command[0] == name):
        succeed(*command)
        assert (marks(hostile), sys.path) == ([], before), command
    assert "users_network" not in sys.modules


def test_onnx_of_a_users_network_needs_its_factory_named(owned, hostile):
    asked = ("export", owned, "--release", "dense", "--out", "dense.onnx")
    code, _, err = called(*asked)
    assert code == 2
    assert "--factory users_network:net" in err
    assert err.count("\n") == 1
    code, _, err = called(*asked, "--factory", "users_network:net")  # what lies here is another module
    assert code == 2
    assert "SHA-256" in err
    assert marks(hostile) == []


@pytest.mark.slow
def test_onnx_of_a_users_network_is_built_by_the_factory_that_is_named(owned, tmp_path, monkeypatch):
    monkeypatch.chdir(owned.parents[1])
    asked = ("export", owned, "--release", "dense", "--out", tmp_path / "dense.onnx")
    assert "written" in succeed(*asked, "--factory", "users_network:net")


def test_a_run_without_recorded_sources_says_so(owned, tmp_path):
    shutil.copytree(owned, tmp_path / "own")
    (tmp_path / "own" / "sources.json").unlink()
    code, _, err = called("verify", tmp_path / "own")
    assert code == 2
    assert "sources.json" in err
    assert "users_network:net" in err
    assert err.count("\n") == 1


def test_steps_call_no_function_that_only_the_run_folder_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = STUDY.replace('model = "users_network:net"\n', "").replace('{ function = "users_network:train" }', "{}")
    (tmp_path / "study.toml").write_text(plain)
    (tmp_path / "runs" / "own").mkdir(parents=True)
    (tmp_path / "users_network.py").write_text(MARK)
    (tmp_path / "named.toml").write_text(STUDY)
    from pruneaudit.study import Study

    (tmp_path / "runs" / "own" / "study.json").write_text(Study.load("named.toml").model_dump_json())
    code, _, err = called("mia-prune", "prune", "study.toml")
    assert code == 2
    assert "users_network:net" in err
    assert marks(tmp_path) == []


def test_workers_have_the_working_folder_for_the_tasks_that_need_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = str(tmp_path / "elsewhere")
    monkeypatch.setattr(sys, "path", ["", elsewhere, str(tmp_path), *sys.path])
    assert elsewhere in search_path().split(os.pathsep)
    assert str(tmp_path) not in search_path().split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))  # named by the user
    assert str(tmp_path) in search_path().split(os.pathsep)
    network = {"name": "factory", "options": {"target": "users_network:net"}}
    assert calls_users_function({"model": network})
    assert calls_users_function({"function_source": "0" * 64})
    assert not calls_users_function({"model": {"name": "mlp", "options": {}}})
    assert not calls_users_function({"queries": 1})


def test_each_use_takes_away_its_own_entry_of_the_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, before = str(tmp_path), list(sys.path)
    with working_folder_searched():
        with working_folder_searched():
            assert sys.path == [*before, here, here]
        assert sys.path == [*before, here]
    monkeypatch.setattr(sys, "path", [here, *before])  # as a user's own program may have it
    with working_folder_searched():
        pass
    assert sys.path == [here, *before]


def console_script():
    return [str(Path(sys.executable).parent / "pruneaudit")]


ENTRIES = {"console script": console_script, "python -m": lambda: [sys.executable, "-m", "pruneaudit"]}


def run_apart(entry, folder, *arguments):
    done = subprocess.run(
        [*ENTRIES[entry](), *map(str, arguments)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_hostile_folder_runs_nothing(owned, hostile, entry):
    assert run_apart(entry, hostile, "report", owned) == (0, "")
    assert marks(hostile) == []


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_hostile_folder_runs_nothing_in_any_command(owned, hostile, entry):
    for command in commands(owned):
        code, err = run_apart(entry, hostile, *command)
        assert code == 0, (command, err)
        assert marks(hostile) == [], command


@pytest.mark.slow
@pytest.mark.parametrize("entry", ENTRIES)
def test_what_the_user_names_is_imported_and_nothing_beside_it(owned, hostile, entry):
    home = owned.parents[1]
    (hostile / "users_network.py").write_text((home / "users_network.py").read_text())
    for name in ("net", "forward", "train"):
        (hostile / f"helper_of_{name}.py").write_text("")
    (hostile / "study.toml").write_text(STUDY)
    asked = ("run", "study.toml", "--out", "runs", "--jobs", "1", "--quiet")
    assert run_apart(entry, hostile, *asked) == (0, "")
    assert marks(hostile) == []
