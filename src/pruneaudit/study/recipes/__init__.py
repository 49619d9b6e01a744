"""Recipes: studies that come with the package, as TOML files or from published systems, found by name.

Users give a study as a study file (TOML, JSON), a file of a published system, or the name of a recipe.
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
    """A published system as a source of studies; its module in `published/` sets `SYSTEM`."""

    recipes: Collection[str] = ()
    """The names of its recipes, each starting with the system's name and a slash."""

    @abstractmethod
    def recipe(self, name: str) -> Study:
        """Returns the study of one of its recipes, by the recipe's name."""

    def reads(self, settings: Mapping[str, Any]) -> bool:
        """Returns whether the settings of a JSON file are in its own format, not a study."""
        return False

    def study(self, settings: Mapping[str, Any], where: str) -> Study:
        """Returns the study that settings in its own format describe.

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
    """Returns the names of all recipes; those of a published system start with its name and a slash."""
    return tuple(sorted([*_packaged(), *(name for system in _systems() for name in system.recipes)]))


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Study:
    """Loads the study of a recipe, with `a.b=value` overrides applied.

    Args:
        name: the name of the recipe.
        overrides: settings of the study, as `a.b=value`.

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
    """Loads a study from a study file, a file of mia_prune, or the recipe of that name.

    Args:
        given: the path or name.
        overrides: settings of the study, as `a.b=value`.

    Raises:
        UserError: the study does not exist, or something in it is wrong.
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
    except OSError:  # the name is too long, or the folder is unreadable
        return False
