"""Studies that come with the package: TOML files, and the published systems' own.

A study that a user gives is a file of ours (TOML, JSON), one of mia_prune's JSON files, or the name of a recipe.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from pruneaudit.errors import UserError
from pruneaudit.published import mia_prune, pruning_mia
from pruneaudit.registry import nearest
from pruneaudit.settings_file import parse_settings, read_settings
from pruneaudit.study import Study

_SUFFIX = ".toml"


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
    return tuple(sorted([*_packaged(), *mia_prune.RECIPES, *pruning_mia.RECIPES]))


def load_recipe(name: str, overrides: Sequence[str] = (), config: Mapping[str, Any] | None = None) -> Study:
    """A recipe's study, with `a.b=value` overrides put in.

    Args:
        name: of the recipe.
        overrides: settings of the study.
        config: settings of mia_prune's own; only its recipes take them.

    Raises:
        UserError: no recipe has that name, or an override is wrong.
    """
    if name in mia_prune.RECIPES:
        values = mia_prune.RECIPES[name].model_dump(exclude_unset=True) | dict(config or {})
        return _of_mia_prune(values, f"recipe {name}", overrides)
    _refuse(config, f"recipe {name}")
    if name in pruning_mia.RECIPES:
        return pruning_mia.study_of(pruning_mia.RECIPES[name]).changed(overrides, f"recipe {name}")
    found = _packaged()
    if name not in found:
        known = recipe_names()
        raise UserError(
            f"no study file or recipe '{name}'{nearest(name, known)}; expected a .toml or .json file, "
            f"or one of: {', '.join(known)}"
        )
    return Study.from_text(found[name].read_text(encoding="utf-8"), f"recipe {name}", overrides=overrides)


def load_recipe_or_file(given: str, overrides: Sequence[str] = (), config: Mapping[str, Any] | None = None) -> Study:
    """A study from a file, ours or mia_prune's, or from the recipe of that name.

    Args:
        given: what the user says.
        overrides: settings of the study, as `a.b=value`.
        config: settings of mia_prune's own, which its files and recipes take.

    Raises:
        UserError: there is no such study, or something in it is wrong.
    """
    path = Path(given)
    if path.suffix not in (".toml", ".json") and not _is_file(given):
        return load_recipe(given, overrides, config)
    if path.suffix == ".json":
        values = parse_settings(read_settings(path), given, is_json=True)
        if mia_prune.is_config(values):
            return _of_mia_prune(values | dict(config or {}), given, overrides)
    _refuse(config, given)
    return Study.load(given, overrides)


def _of_mia_prune(values: Mapping[str, Any], where: str, overrides: Sequence[str]) -> Study:
    return mia_prune.study_of(mia_prune.config_of(values, where)).changed(overrides, where)


def _refuse(config: Mapping[str, Any] | None, given: str) -> None:
    if config:
        raise UserError(
            f"{given}: got {', '.join(config)}, which belong to mia_prune's configurations; in any other study use"
            " --set, such as --set training.epochs=5"
        )


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except OSError:  # a name that is too long, or a folder that may not be read
        return False
