"""What is stable in 1.x (docs/stability.md) does not disappear: public_surface.json lists it."""

import copy
import importlib.util
import json
from pathlib import Path

import pytest

import pruneaudit

HERE = Path(__file__).parent
FROZEN = json.loads((HERE / "public_surface.json").read_text())


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("public_surface", HERE / "public_surface.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def now(script):
    return json.loads(json.dumps(script.surface()))


def test_nothing_that_is_listed_has_disappeared(script, now):
    assert not script.missing(FROZEN, now)


def test_the_list_is_of_this_version():
    """A release lists what is new in it: python tests/golden/public_surface.py."""
    assert FROZEN["version"] == pruneaudit.__version__


def test_the_list_has_what_users_see(now):
    assert {f"pruneaudit.{name}" for name in pruneaudit.__all__} <= set(now["python"])
    assert {"auc_low", "num_nonmembers", "suppressed"} <= set(now["columns"]["findings"])
    assert "tpr_at_1%_fpr" in now["columns of metrics"]
    assert {"--set", "--out", "study"} <= set(now["commands"]["run"])
    assert {"--max-auc", "--max-tpr"} <= set(now["commands"]["check"])
    assert {"data.num_holdout", "releases[].compress", "audit.attacks"} <= set(now["settings"])
    assert "sparsity" in now["plug-ins"]["compressors"]["l1unstructured"]
    assert "study=" not in now["python"]["pruneaudit.run"]["parameters"]


GONE = {
    "a name": lambda at: at["python"].pop("pruneaudit.run"),
    "a method": lambda at: at["python"]["pruneaudit.Study"]["attributes"].pop("load"),
    "a column": lambda at: at["columns"]["findings"].remove("auc"),
    "a table": lambda at: at["columns"].pop("frontier"),
    "a setting": lambda at: at["settings"].remove("seed"),
    "a command": lambda at: at["commands"].pop("power"),
    "an option": lambda at: at["commands"]["run"].remove("--jobs"),
    "an attack": lambda at: at["plug-ins"]["attacks"].pop("rmia"),
    "an option of a method": lambda at: at["plug-ins"]["compressors"]["rtn"].remove("bits"),
    "an exit code": lambda at: at["exit codes"].update({"bad input": 3}),
    "a format": lambda at: at["formats"].update({"certificate.json": 2}),
}


@pytest.mark.parametrize("what", GONE)
def test_what_disappears_is_noticed(script, what):
    without = copy.deepcopy(FROZEN)
    GONE[what](without)
    assert len(script.missing(FROZEN, without)) == 1
    assert not script.missing(without, FROZEN) or what in ("an exit code", "a format")  # additions are fine


@pytest.mark.parametrize(
    ("before", "after", "is_noticed"),
    [
        (["a", "b="], ["a", "b=", "c="], False),
        (["a", "b="], ["a", "b=", "*, c="], False),
        (["a", "b="], ["a=", "b="], False),
        (["a"], ["a", "**more"], False),
        (["a", "b="], ["a"], True),
        (["a", "b="], ["a", "renamed="], True),
        (["a", "b="], ["a", "b"], True),
        (["a", "b="], ["a", "b=", "*, c"], True),
        (["a", "b="], ["a", "*, b="], True),
        (["a", "b=", "c="], ["a", "c=", "b="], True),
        (["a"], ["new=", "a"], True),
    ],
)
def test_a_call_that_was_right_stays_right(script, before, after, is_noticed):
    assert bool(script.changed_parameters(before, after)) == is_noticed
