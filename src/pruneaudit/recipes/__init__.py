"""Studies that come with the package, as TOML files."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from pruneaudit.errors import UserError
from pruneaudit.registry import nearest
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


def _recipes() -> dict[str, Traversable]:
    return dict(sorted(_walk(files(__name__), "")))


def recipe_names() -> tuple[str, ...]:
    """The names of all recipes; a folder's name stands before a slash."""
    return tuple(_recipes())


def load_recipe(name: str, overrides: Sequence[str] = ()) -> Study:
    """A recipe's study, with `a.b=value` overrides put in.

    Raises:
        UserError: no recipe has that name, or an override is wrong.
    """
    found = _recipes()
    if name not in found:
        raise UserError(
            f"no study file or recipe '{name}'{nearest(name, found)}; expected a .toml or .json file, "
            f"or one of: {', '.join(found)}"
        )
    return Study.from_text(found[name].read_text(encoding="utf-8"), f"recipe {name}", overrides=overrides)


def load_recipe_or_file(given: str, overrides: Sequence[str] = ()) -> Study:
    """A study from a file, or from the recipe of that name."""
    if Path(given).suffix in (".toml", ".json") or _is_file(given):
        return Study.load(given, overrides)
    return load_recipe(given, overrides)


def _is_file(given: str) -> bool:
    try:
        return Path(given).is_file()
    except OSError:  # a name that is too long, or a folder that may not be read
        return False
