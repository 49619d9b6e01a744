"""Plug-ins are found by file name; finding out which there are imports none of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import Registry, nearest


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    """A package of two plug-ins, a helper, a private file, and a file that cannot be imported."""
    package = tmp_path / "some_plugins"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_private.py").touch()
    (package / "helper.py").touch()
    (package / "one.py").write_text('"""The first.\n\nMore of it."""\nPLUGIN = 1\n')
    (package / "two.py").write_text("PLUGIN = 2\n")
    (package / "broken.py").write_text("raise RuntimeError\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.partition(".")[0] == "some_plugins"]:
        monkeypatch.delitem(sys.modules, name)
    return Registry("gadget", "some_plugins", "PLUGIN", infrastructure={"helper"})


def test_names_are_the_files_and_import_none_of_them(registry: Registry[Any]) -> None:
    assert registry.names() == ("broken", "one", "two")
    assert not {"some_plugins.one", "some_plugins.broken"} & set(sys.modules)
    assert registry.get("one") == 1
    assert "some_plugins.two" not in sys.modules


@pytest.mark.parametrize("name", ["thre", "helper", "_private", "", "one.two", "../one"])
def test_an_unknown_name_lists_the_choices(registry: Registry[Any], name: str) -> None:
    with pytest.raises(UserError, match=r"expected one of: broken, one, two$") as caught:
        registry.get(name)
    assert f"unknown gadget '{name}'" in str(caught.value)


def test_the_nearest_name_is_suggested(registry: Registry[Any]) -> None:
    with pytest.raises(UserError, match=r"unknown gadget 'brokn' \(did you mean 'broken'\?\)"):
        registry.get("brokn")
    assert nearest("brokn", iter(["one", "broken"])) == " (did you mean 'broken'?)"
    assert nearest("xyz", ["one"]) == nearest("one", []) == ""


def test_a_group_is_suggested_too(registry: Registry[Any]) -> None:
    said = str(registry.unknown("scoers", ["scores", "all"]))
    assert said.startswith("unknown gadget 'scoers' (did you mean 'scores'?); ")
    assert said.endswith("expected one of: broken, one, two; or of the groups: scores, all")


def test_a_name_from_elsewhere_is_told_instead_of_a_guess() -> None:
    registry: Registry[Any] = Registry(
        "codec", "json", "CODEC", elsewhere={"decode": "another system's decode is decoder here"}
    )
    with pytest.raises(UserError, match=r"^unknown codec 'decode' \(another system's decode is decoder here\); exp"):
        registry.get("decode")


def test_a_plugin_from_outside(registry: Registry[Any]) -> None:
    def gadget() -> None:
        """Does something.

        At length.
        """

    assert registry.register("mine", gadget) is gadget
    assert registry.get("mine") is gadget
    assert registry.names() == ("broken", "mine", "one", "two")
    assert registry.summary("mine") == "Does something."
    for taken in ("mine", "one"):
        with pytest.raises(ValueError, match=f"gadget '{taken}' exists already"):
            registry.register(taken, gadget)


def test_a_summary_is_the_first_line(registry: Registry[Any]) -> None:
    assert registry.summary("one") == "The first."
    assert registry.summary("two") == ""


@pytest.fixture
def relatives(registry: Registry[Any], tmp_path: Path) -> Registry[Any]:
    """The same package with a file that two plug-ins share; a third is said to be there."""
    (tmp_path / "some_plugins" / "pair.py").write_text(
        '"""A pair."""\n\n\nclass Left:\n    """The left one.\n\n    More."""\n\n\nclass Right:\n    pass\n\n\n'
        'PLUGIN = {"left": Left, "right": Right()}\n'
    )
    shared = {"pair": ("left", "right", "middle")}
    return Registry("gadget", "some_plugins", "PLUGIN", infrastructure={"helper"}, shared=shared)


def test_relatives_share_a_file(relatives: Registry[Any]) -> None:
    assert relatives.names() == ("broken", "left", "middle", "one", "right", "two")
    assert "some_plugins.pair" not in sys.modules
    assert relatives.get("left").__name__ == "Left"
    assert type(relatives.get("right")).__name__ == "Right"
    assert relatives.get("one") == 1
    assert [relatives.summary(name) for name in ("left", "right", "one")] == ["The left one.", "", "The first."]
    with pytest.raises(UserError, match="unknown gadget 'pair'"):
        relatives.get("pair")
    with pytest.raises(ValueError, match="gadget 'left' exists already"):
        relatives.register("left", 3)


def test_a_relative_that_is_not_in_the_file_is_named(relatives: Registry[Any]) -> None:
    with pytest.raises(UserError, match=r"gadget 'middle': .*pair.py has no PLUGIN\['middle'\]"):
        relatives.get("middle")


REAL = """
import sys
from pruneaudit.attacks import ATTACKS
from pruneaudit.data import SOURCES
from pruneaudit.models import MODELS
from pruneaudit.compression import COMPRESSORS
for registry in (ATTACKS, SOURCES, MODELS, COMPRESSORS):
    assert registry.names(), registry.kind
    for name in registry.names():
        assert registry.get(name) is not None and registry.summary(name), name
assert "torch" not in sys.modules
"""


def test_every_plugin_of_the_program_loads_and_tells_what_it_is_without_torch() -> None:
    subprocess.run([sys.executable, "-c", REAL], check=True)


def test_a_file_without_its_plugin_is_named(tmp_path, monkeypatch):
    package = tmp_path / "plugins_of_mine"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "empty.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"attack 'empty': .*empty.py has no ATTACK"):
        Registry("attack", "plugins_of_mine", "ATTACK").get("empty")
