"""Functions of the user's: named by `package.module:function`, or given as they are."""

import importlib
import os.path
import sys

import pytest

from pruneaudit.cli.common import command_line
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import validated
from pruneaudit.study import Release, Study
from pruneaudit.study.training import FUNCTION_PARAMETERS
from pruneaudit.study.user_function import check_takes, function_name_of, function_of, source_sha256

TAKES_ALL = "def train(model, x, y, generator, device, rate=0.1):\n    return None\n"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Writes the module `own_code`, which nothing has imported yet."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_code", raising=False)

    def write(code):
        (tmp_path / "own_code.py").write_text(code)
        importlib.invalidate_caches()

    return write


def test_a_function_stands_for_its_name():
    assert function_name_of(command_line) == "pruneaudit.cli.common:command_line"
    assert function_name_of("a.b:c") == "a.b:c"
    assert function_name_of(None) is None


def test_functions_may_stand_in_a_study_for_their_names():
    given = Study(name="a", model=command_line, training={"function": os.path.join})
    named = {"name": "factory", "options": {"target": "pruneaudit.cli.common:command_line"}}
    assert given.model.model_dump() == named
    assert given.training.function == "posixpath:join"
    assert Study.model_validate_json(given.model_dump_json()) == given
    assert Study(name="a", model="pruneaudit.cli.common:command_line").model == given.model
    assert Study(name="a", model="mlp:hidden=[8]").model.options == {"hidden": [8]}


def test_a_release_may_have_a_network_of_the_users_own():
    release = Release(parent="init", model=command_line)
    assert release.model.options["target"] == "pruneaudit.cli.common:command_line"
    assert release == Release(parent="init", model="pruneaudit.cli.common:command_line")
    assert release.name == "factory-target=pruneaudit.cli.common_command_line"


def local():
    def inner():
        pass

    return inner


@pytest.mark.parametrize("given", [local(), lambda: None])
def test_what_no_other_process_could_import_is_refused(given):
    with pytest.raises(UserError, match=r"expected a function .* top level of a module"):
        validated(Study, {"name": "a", "training": {"function": given}}, "study")


def test_a_function_of_the_program_itself_is_refused_with_what_to_do():
    def train():
        pass

    train.__module__, train.__qualname__ = "__main__", "train"
    message = r"such as networks\.py, and give networks\.train or 'networks:train'"
    with pytest.raises(UserError, match=message) as caught:
        validated(Study, {"name": "a", "training": {"function": train}}, "study")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["train", "a:b:c", "a b:c", ":train", "train:", ""])
def test_a_malformed_name_is_refused(text):
    with pytest.raises(UserError, match=r"training\.function"):
        validated(Study, {"name": "a", "training": {"function": text}}, "study")


def test_what_takes_the_arguments_passes(module):
    module(TAKES_ALL)
    check_takes("own_code:train", FUNCTION_PARAMETERS, "training.function")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def train(net, data): ...", r"got train\(net, data\), expected train\(model, x, y, generator, device\)"),
        ("def train(model, x, y, generator): ...", "got train"),
        ("def train(model, x, y, generator, device, rate): ...", "missing a required argument: 'rate'"),
        ("train = 5", "own_code has no function 'train'"),
        ("", "own_code has no function 'train'"),
        ("def train(:", r"own_code cannot be imported \(SyntaxError"),
        ("import no_such_module_at_all", r"own_code cannot be imported \(ModuleNotFoundError: No module named"),
        ("raise SystemExit(3)", r"own_code cannot be imported \(SystemExit: 3\)"),
    ],
)
def test_what_cannot_be_called_is_said_in_one_line(module, code, message):
    module(code + "\n")
    with pytest.raises(UserError, match=message) as caught:
        check_takes("own_code:train", FUNCTION_PARAMETERS, "training.function")
    assert str(caught.value).startswith("training.function: ")
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(UserError, match=r"training\.function: no module 'nowhere_at_all' with a source file"):
        check_takes("nowhere_at_all:train", FUNCTION_PARAMETERS, "training.function")


def test_a_module_that_was_changed_is_read_again(module):
    module("def answer():\n    return 1\n")
    before = source_sha256("own_code:answer", "test")
    assert function_of("own_code:answer", "test")() == 1
    first = function_of("own_code:answer", "test")
    assert function_of("own_code:answer", "test") is first  # nothing changed: not read again
    module("def answer():\n    return 'another one'\n")
    assert function_of("own_code:answer", "test")() == "another one"
    assert source_sha256("own_code:answer", "test") != before
