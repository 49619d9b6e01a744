"""Studies that come with the package: TOML files, and those of published systems, which are found by name.

A study that a user gives is a file of ours (TOML, JSON), a file of a published system, or the name of a recipe.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest, registry_of
from pruneaudit.core.settings_file import parse_settings, read_settings
from pruneaudit.study import Study

_SUFFIX = ".toml"


class System(ABC):
    """A published system, as a source of studies; its file in `published/` sets `SYSTEM`."""

    recipes: Collection[str] = ()
    """The names of its recipes: its own name, a slash, and what tells them apart."""

    @abstractmethod
    def recipe(self, name: str) -> Study:
        """The study of one of its recipes, by the recipe's name."""

    def reads(self, settings: Mapping[str, Any]) -> bool:
        """Whether the settings in a JSON file are its own rather than a study."""
        return False

    def study(self, settings: Mapping[str, Any], where: str) -> Study:
        """The study that settings of its own describe.

        Raises:
            UserError: a setting is unknown or wrong.
        """
        raise NotImplementedError


def _systems() -> list[System]:
    systems = registry_of("published system")
    return [systems.get(name) for name in systems.names()]


def _walk(folder: Traversable, prefix: str) -> list[tuple[str, Traversable]]:
    found = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _walk(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            found.append((prefix + entry.name.removesuffix(_SUFFIX), entry))
    return found


def _packaged() -> dict[str, Traversable]:
    return dict(_walk(files(__name__), ""))


def recipe_names() -> tuple[str, ...]:
    """The names of all recipes; what belongs to a published system has its name before a slash."""
    return tuple(sorted([*_packaged(), *(name for system in _systems() for name in system.recipes)]))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Study:
    """A recipe's study, with `a.b=value` overrides put in.

    Args:
        name: of the recipe.
        overrides: settings of the study.

    Raises:
        UserError: no recipe has that name, or an override is wrong.
    """
    where = f"recipe {name}"
    system = next((system for system in _systems() if name in system.recipes), None)
    if system is not None:
        return system.recipe(name).changed(overrides, where)
    found = _packaged()
    if name not in found:
        known = recipe_names()
        raise UserError(
            f"no study file or recipe '{name}'{nearest(name, known)}; expected a .toml or .json file, "
            f"or one of: {', '.join(known)}"
        )
    return Study.from_text(found[name].read_text(encoding="utf-8"), where, overrides=overrides)


def load_recipe_or_file(given: str, overrides: Sequence[str] = ()) -> Study:
    """A study from a file, ours or mia_prune's, or from the recipe of that name.

    Args:
        given: what the user says.
        overrides: settings of the study, as `a.b=value`.

    Raises:
        UserError: there is no such study, or something in it is wrong.
    """
    path = Path(given)
    if path.suffix not in (".toml", ".json") and not _is_file(given):
        return load_recipe(given, overrides)
    if path.suffix == ".json":
        values = parse_settings(read_settings(path), given, is_json=True)
        for system in _systems():
            if system.reads(values):
                return system.study(values, given).changed(overrides, given)
    return Study.load(given, overrides)


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except OSError:  # a name that is too long, or a folder that may not be read
        return False
