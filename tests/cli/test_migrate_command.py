"""`pruneaudit migrate`: a study of the first format, written in the words of this one beside the old file."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from command_line import called, succeed
from pruneaudit.study import Study

FORMER = """
name = "old"  # a comment
model = "mlp"
data = { source = "digits", num_samples = 400, num_reserve = 250 }
training = { epochs = 2, select = "best_dev" }

[[releases]]
pruner = { name = "l1unstructured", options = { exclude = [] } }
sparsity = [0.5, 0.7]
finetune = { epochs = 1 }

[audit]
attacks = ["loss"]
"""
NOW = {"source": "digits", "num_samples": 400, "num_public": 250, "num_holdout": 500, "drawn_first": "public"}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    (tmp_path / "old.toml").write_text(FORMER)
    return tmp_path / "old.toml"


def test_run_names_the_command_and_the_command_makes_it_run(old: Path) -> None:
    code, _, err = called("run", old, "--dry-run")
    assert code == 2 and err.count("\n") == 1
    assert all(
        part in err for part in (str(old), "num_reserve", "num_holdout", "num_public", "compress", "pruneaudit migrate")
    )
    said = succeed("migrate", old)
    new = old.with_name("old.migrated.toml")
    assert "num_reserve = 250" in said and "num_public = 250" in said and str(new) in said
    assert old.read_text() == FORMER
    found = tomllib.loads(new.read_text())
    assert found["data"] == NOW
    assert found["releases"][0]["compress"]["name"] == "l1unstructured" and "pruner" not in found["releases"][0]
    assert len(Study.load(new).releases) == 2
    succeed("run", new, "--dry-run", "--out", old.parent / "runs")


def test_no_file_is_replaced_without_force(old: Path) -> None:
    succeed("migrate", old)
    new = old.with_name("old.migrated.toml")
    new.write_text("mine")
    code, _, err = called("migrate", old)
    assert code == 2 and str(new) in err and "--force" in err and new.read_text() == "mine"
    succeed("migrate", old, "--force")
    assert tomllib.loads(new.read_text())["data"] == NOW
    code, _, err = called("migrate", old, "--out", old)
    assert code == 2 and old.read_text() == FORMER
    said = succeed("migrate", new, "--out", old.parent / "again.toml")
    assert "nothing to translate" in said
    assert (old.parent / "again.toml").read_text() == new.read_text()


def test_json_stays_json(old: Path, tmp_path: Path) -> None:
    (tmp_path / "old.json").write_text(json.dumps(tomllib.loads(FORMER)))
    succeed("migrate", tmp_path / "old.json")
    assert json.loads((tmp_path / "old.migrated.json").read_text())["data"] == NOW


@pytest.mark.parametrize(
    ("change", "data", "words"),
    [
        (("digits", "cifar10"), {"num_public": 250}, ("cifar10", "rmia", "500")),  # no data there
        (("num_samples = 400, ", ""), {"num_public": 250}, ("all rows of digits", "attack_p")),
        (("num_samples = 400", "num_samples = 1547"), {"num_public": 250}, ("no further rows",)),
        (('"loss"', '"loss", "attack_p"'), NOW, ()),
        (
            ("num_samples = 400, ", "", '"loss"', '"attack_p"'),
            {"num_public": 250},
            ("attack_p", "got 0"),
        ),
        ((', select = "best_dev"', ""), {"num_holdout": 250}, ()),
    ],
)
def test_what_it_cannot_add_is_said(
    old: Path, tmp_path: Path, change: tuple[str, ...], data: dict[str, int], words: tuple[str, ...]
) -> None:
    text = FORMER
    for before, after in zip(change[::2], change[1::2], strict=True):
        text = text.replace(before, after)
    old.write_text(text)
    said = succeed("migrate", old, "--data-root", tmp_path / "nothing")
    found = tomllib.loads(old.with_name("old.migrated.toml").read_text())["data"]
    parts = ("num_public", "num_holdout", "drawn_first")
    assert {key: found[key] for key in parts if key in found} == {key: data[key] for key in parts if key in data}
    assert all(word in said for word in words)


def test_a_study_that_is_wrong_otherwise_is_refused(old: Path) -> None:
    old.write_text(FORMER.replace("epochs = 2", "epoch = 2"))
    code, _, err = called("migrate", old)
    assert code == 2 and str(old) in err and "training.epoch" in err
    assert not old.with_name("old.migrated.toml").exists()
