"""`pruneaudit sanity-check` as a user meets it."""

import json
from functools import partial

import pytest

from command_line import succeed
from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import Scores
from pruneaudit.attacks.lira import Lira
from run_bytes import all_bytes

STUDY = """
name = "tiny"
[data]
source = "digits"
num_samples = 200
num_holdout = 500
[membership]
num_models = 4
[model]
name = "mlp"
options = { hidden = [8] }
[training]
epochs = 1
[audit]
attacks = ["loss"]
"""


class Flipped(Lira):
    """Turns LiRA's sign."""

    def score(self, attack_input, rng):
        return Scores(-super().score(attack_input, rng).victims)


class Cheat(Attack):
    """Reads the victims' membership."""

    def score(self, attack_input, rng):
        return Scores(attack_input.attacked.member[attack_input.victims].astype(float))


@pytest.fixture
def call(call):
    """Runs `pruneaudit sanity-check`."""
    return partial(call, "sanity-check")


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(ATTACKS, "_registered", {})
    ATTACKS.register("flipped", Flipped)
    ATTACKS.register("cheat", Cheat)


@pytest.mark.parametrize("learning", [(), pytest.param(("samia",), marks=pytest.mark.slow)])
def test_attacks_that_work_end_with_0(call, learning):
    attacks = ("loss", "lira", "modified_entropy", *learning)
    code, out, err = call("--attacks", ",".join(attacks))
    assert code == 0
    assert err == ""
    assert out.count(" works") == len(attacks)
    assert out.endswith(f"all {len(attacks)} attacks that could be tested work (seed 0)\n")
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_attacks_that_do_not_work_are_named_in_one_line(call, registered):
    code, out, err = call("--attacks", "loss,flipped,cheat")
    assert code == 1
    assert err.startswith("error: sanity check: flipped (sign reversed: AUC 0.")
    assert "cheat (false alarm: AUC 1.000 " in err
    assert err.count("\n") == 1
    assert "sign reversed" in out
    assert "false alarm" in out
    assert out.count(" works") == 1


def test_json_alone_on_standard_output(call, registered):
    code, out, err = call("--attacks", "loss,lira", "--json", "--seed", "2")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["passed"] is True
    assert found["seed"] == 2
    assert [verdict["attack"] for verdict in found["trials"][0]["verdicts"]] == ["loss", "lira"]
    code, out, err = call("--attacks", "loss,cheat", "--json")
    assert code == 1
    assert json.loads(out)["passed"] is False
    assert "cheat" in err


def test_the_stored_signals_of_a_run(call, registered, tmp_path):
    (tmp_path / "study.toml").write_text(STUDY)
    succeed("run", tmp_path / "study.toml", "--out", tmp_path / "runs", "--executor", "serial", "-q")
    folder = tmp_path / "runs" / "tiny"
    before = all_bytes(folder)
    code, out, err = call(folder, "--attacks", "loss,lira,attack_p")
    assert code == 0, err
    assert "tiny, membership redrawn: 4 models, 700 samples" in out
    assert out.count(" works") == 6
    assert all_bytes(folder) == before
    code, out, err = call(folder, "--attacks", "cheat", "--json")
    assert code == 1
    assert [len(trial["verdicts"]) for trial in json.loads(out)["trials"]] == [1, 1]
    for path in folder.glob("dense-*/signals-*"):
        path.rename(path.with_name("elsewhere-" + path.name))
    for path in folder.glob("dense-*/*/signals-*"):
        path.rename(path.with_name("elsewhere-" + path.name))
    code, out, err = call(folder, "--attacks", "loss")
    assert code == 2
    assert "signals of 0 dense models" in err
    assert err.count("\n") == 1


def test_what_cannot_be_tested_is_refused(call, tmp_path):
    for arguments, word in ((["--attacks", "lyra"], "did you mean 'lira'"), ([tmp_path], "study.json")):
        code, out, err = call(*arguments)
        assert (code, out) == (2, "")
        assert word in err
        assert err.count("\n") == 1
