"""`pruneaudit audit-model`: from a checkpoint, its members and its training to a report."""

import json
import tomllib

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

CODE = """
import torch
from torch import nn

def build(input_shape, num_classes, width=24):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))

def fit(model, x, y, generator, device):
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""
ASKED = ("audit-model", "--weights", "mine.pt", "--factory", "own_digits:build", "--data", "npz:digits.npz")
ASKED += ("--member", "ids.txt", "--jobs", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The working folder of a user, who has trained a network on 300 of 1,200 digits."""
    place = tmp_path_factory.mktemp("own")
    (place / "own_digits.py").write_text(CODE)
    images, labels = load_digits(return_X_y=True)
    rows = np.random.default_rng(0).permutation(len(labels))[:1200]
    x, y = (images[rows] / 16).astype(np.float32), labels[rows]
    np.savez(place / "digits.npz", x=x, y=y)
    (place / "ids.txt").write_text("\n".join(map(str, range(300))) + "\n")
    made = {}
    exec(CODE, made)
    torch.manual_seed(1)
    network = made["build"]((64,), 10)
    made["fit"](network, torch.tensor(x[:300]), torch.tensor(y[:300]), None, "cpu")
    torch.save({"state_dict": network.state_dict()}, place / "mine.pt")
    with torch.no_grad():
        for weight in network.parameters():
            weight[weight.abs() < weight.abs().median()] = 0
    torch.save(network.state_dict(), place / "half.pt")
    return place


@pytest.fixture
def here(folder, monkeypatch):
    monkeypatch.chdir(folder)
    return folder


def test_from_a_checkpoint_to_a_report(call, here):
    versions = (
        "--compressed",
        "half=half.pt",
        "--recipe",
        "half=l1unstructured:sparsity=0.5",
        "--recipe",
        "int4=rtn:bits=4",
    )
    asked = (*ASKED, "--train", "own_digits:fit", "--references", "2", *versions, "--quiet")
    code, out, err = call(*asked)
    assert code == 0, err
    assert "half" in out
    run = here / "runs" / "mine"
    found = pd.read_csv(run / "findings.csv")
    assert set(found["release"]) == {"dense", "half", "int4"}
    assert {"loss", "modified_entropy", "rmia", "rmia:mode=offline"} <= set(found["attack"])
    assert (run / "report.html").exists()
    assert len(list(run.glob("dense-*/model-*/model.safetensors"))) == 3
    # The study stands in a file: the same command goes on, and so does `run`.
    file = here / "runs" / "mine.toml"
    settings = tomllib.loads(file.read_text())
    assert settings["target"] == {"weights": "mine.pt", "member": "ids.txt", "num_references": 2}
    assert settings["releases"][0]["weights"] == "half.pt"
    before = (run / "findings.csv").read_bytes()
    for again in (asked, ("run", "runs/mine.toml", "--quiet", "--jobs", "1")):
        assert call(*again)[0] == 0
        assert (run / "findings.csv").read_bytes() == before
    # An edited file is not replaced.
    file.write_text(file.read_text() + "\n# mine\n")
    code, _, err = call(*asked)
    assert code == 2
    assert "edited" in err
    assert "pruneaudit run runs/mine.toml" in err
    assert file.read_text().endswith("# mine\n")


def test_dry_run_offers_attacks_with_their_time(call, here):
    code, out, err = call(*ASKED, "--name", "offered", "--set", "training.epochs=2", "--dry-run")
    assert code == 0, err
    rows = [line.split() for line in out.splitlines() if line.strip().startswith(("loss", "forgetting", "rmia"))]
    trainings = {(row[0], int(row[1])) for row in rows}
    assert {("loss", 0), ("forgetting", 1), ("rmia:mode=offline", 1), ("rmia", 27)} <= trainings
    minutes = [float(row[2]) for row in rows]
    assert minutes == sorted(minutes)
    assert "4 to do" in out  # dense trainings
    assert not (here / "runs" / "offered").exists()


def test_a_study_file_with_a_target_offers_the_same(call, here):
    file = here / "study.toml"
    file.write_text(
        'name = "file"\nmodel = "own_digits:build"\ntraining = { function = "own_digits:fit" }\n'
        'data = { source = "npz:digits.npz" }\ntarget = { weights = "mine.pt", member = "ids.txt" }\n'
        'audit = { attacks = ["loss", "rmia"] }\n'
    )
    code, out, err = call("run", "study.toml", "--dry-run")
    assert code == 0, err
    shown = [line.split() for line in out.splitlines() if line.strip().startswith("rmia")]
    assert [row[2] for row in shown] == ["?"] * len(shown)  # nobody knows how long the user's function takes
    assert "study file: 9 models" in out


def test_minutes_choose_the_number_of_references(call, here):
    # 27 trainings of 10 minutes on one core do not fit into 50 minutes, and 4 do.
    asked = (*ASKED, "--name", "timed", "--train", "own_digits:fit", "--training-minutes", "10", "--minutes", "50")
    code, out, err = call(*asked, "--dry-run")
    assert code == 0, err
    assert "study timed: 5 models" in out
    code, _, err = call(*ASKED, "--train", "own_digits:fit", "--minutes", "50")
    assert code == 2
    assert "--training-minutes" in err


@pytest.mark.parametrize(
    ("more", "facts"),
    [
        (("--minutes", "5", "--references", "3"), ("--minutes", "--references")),
        (("--recipe", "l1unstructured"), ("--recipe", "NAME=METHOD")),
        (("--recipe", "a=l1unstructured:sparsity=0.5", "--finetune", "b=3"), ("--finetune", "'b'", "a")),
        (("--recipe", "a=l1unstructured:sparsity=0.5", "--finetune", "many"), ("--finetune", "'many'")),
        (("--compressed", "gone=gone.pt"), ("gone.pt",)),
        (("--train", "own_digits:nothing"), ("own_digits", "nothing")),
        (("--set", "target.num_references=1000"), ("num_references", "256")),
    ],
)
def test_bad_input_is_told_in_one_line(call, here, more, facts):
    code, _, err = call(*ASKED, "--name", "bad", "--quiet", *more)
    assert code == 2
    lines = [line for line in err.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert all(fact in lines[0] for fact in facts)
    assert not list((here / "runs").glob("bad*"))


def test_what_was_asked_becomes_settings():
    from pruneaudit.study import Study
    from pruneaudit.study.own_model import OwnModel, own_model_settings

    recipes = {"small": ["l1unstructured:sparsity=0.5", "rtn:bits=8"], "file": []}
    asked = OwnModel(
        "a/prod.v2.pt", "ids.txt", "npz:d.npz", "nets:build", {"width": 4}, recipes={"small": recipes["small"]}
    )
    settings = own_model_settings(asked)
    assert settings["name"] == "prod_v2"
    assert json.loads(json.dumps(settings)) == settings  # plain data, for a file
    study = Study(**settings)
    assert study.membership.num_models == 5
    assert study.model.options == {"target": "nets:build", "arguments": {"width": 4}}
    assert [plugin.name for plugin in study.releases[0].compress] == ["l1unstructured", "rtn"]
