"""Registries: find plug-ins by the name of their file.

A registry covers one package: every module in it that is not infrastructure is a plug-in, with its
object under a fixed attribute. Listing imports nothing; `get` imports one module. So adding a method
means adding a file, and `--help` stays fast. Related plug-ins can share a file: the registry lists
their names, and the attribute is a dict of them.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Generic, TypeVar, cast

from pruneaudit.core.errors import UserError

T = TypeVar("T")
_HOMES = {
    "model": ("pruneaudit.models", "MODELS"),
    "compressor": ("pruneaudit.compression", "COMPRESSORS"),
    "defense": ("pruneaudit.defenses", "DEFENSES"),
    "published system": ("pruneaudit.published", "SYSTEMS"),
}
"""The registries of the plug-ins in a study: by kind, the package and the registry's name in it."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns ` (did you mean 'x'?)` for the choice closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


@cache
def _public_files(folders: tuple[str, ...]) -> frozenset[str]:
    """Returns the names of the public modules of a package; reads each folder once per process."""
    return frozenset(module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_"))


class Registry(Generic[T]):
    """Finds the plug-ins of one kind by name: `names()` lists them, `get(name)` returns one.

    Example:
        >>> "rtn" in pruneaudit.COMPRESSORS.names()
        True
        >>> pruneaudit.ATTACKS.get("rmia")
        <class 'pruneaudit.attacks.rmia.Rmia'>
    """

    def __init__(
        self,
        kind: str,
        package: str,
        attribute: str,
        infrastructure: Iterable[str] = (),
        elsewhere: Mapping[str, str] | None = None,
        shared: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Describes where the plug-ins are; imports nothing.

        Args:
            kind: the word for a plug-in in messages, such as "attack".
            package: the package whose modules are the plug-ins.
            attribute: the module attribute with the plug-in object.
            infrastructure: modules of the package that are not plug-ins.
            elsewhere: names of plug-ins in other systems, each with a hint on its name here.
            shared: modules with several plug-ins, and the names of these; the attribute of such a module is a dict of
                them by name.
        """
        self.kind = kind
        self._package = package
        self._attribute = attribute
        self._infrastructure = frozenset(infrastructure)
        self._elsewhere = dict(elsewhere or {})
        self._shared = {name: module for module, names in (shared or {}).items() for name in names}
        self._registered: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """Returns all known names, sorted."""
        files = _public_files(tuple(importlib.import_module(self._package).__path__))
        alone = files - self._infrastructure - set(self._shared.values())
        return tuple(sorted(alone | self._shared.keys() | self._registered.keys()))

    def get(self, name: str) -> T:
        """Returns the plug-in called `name`.

        Raises:
            UserError: no plug-in has that name (the message lists the choices), or its file defines none.
        """
        if name in self._registered:
            return self._registered[name]
        if name not in self.names():
            raise self.unknown(name)
        if name in self._shared:
            return self._among_relatives(name)
        module = importlib.import_module(f"{self._package}.{name}")
        if not hasattr(module, self._attribute):
            raise UserError(
                f"{self.kind} '{name}': {module.__file__} has no {self._attribute}; assign the plug-in to that name in"
                " its last line, or start the file's name with '_' if it is not a plug-in"
            )
        return cast(T, getattr(module, self._attribute))

    def _among_relatives(self, name: str) -> T:
        """Returns a plug-in that shares its file with others."""
        module = importlib.import_module(f"{self._package}.{self._shared[name]}")
        relatives: Mapping[str, T] = getattr(module, self._attribute, {})
        if name not in relatives:
            raise UserError(
                f"{self.kind} '{name}': {module.__file__} has no {self._attribute}['{name}']; add the plug-in to that"
                " dict, or remove the name from the registry's `shared`"
            )
        return relatives[name]

    def unknown(self, name: str, groups: Iterable[str] = ()) -> UserError:
        """Returns the error for an unknown name, with the nearest name and the choices.

        Args:
            name: the unknown name.
            groups: names of groups of plug-ins, which are also allowed.
        """
        choices, groups = self.names(), tuple(groups)
        hint = f" ({self._elsewhere[name]})" if name in self._elsewhere else nearest(name, (*choices, *groups))
        or_group = f"; or of the groups: {', '.join(groups)}" if groups else ""
        return UserError(f"unknown {self.kind} '{name}'{hint}; expected one of: {', '.join(choices)}{or_group}")

    def register(self, name: str, plugin: T) -> T:
        """Adds a plug-in from outside the package, for the life of this process.

        Raises:
            ValueError: the name is taken.
        """
        if name in self.names():
            raise ValueError(f"{self.kind} '{name}' exists already; choose another name")
        self._registered[name] = plugin
        return plugin

    def summary(self, name: str) -> str:
        """Returns the first line of the docstring of the plug-in's module (of its class if it shares a module)."""
        plugin: Any = self.get(name)
        if name in self._registered or name in self._shared:
            text = plugin.__doc__
        else:
            text = importlib.import_module(f"{self._package}.{name}").__doc__
        return (text or "").strip().split("\n", 1)[0]


def registry_of(kind: str) -> Registry[Any]:
    """Returns the registry of one kind of plug-in; for `study`, which knows plug-ins by name and must not import them.

    Args:
        kind: "model", "compressor", "defense" or "published system".
    """
    package, name = _HOMES[kind]
    return cast("Registry[Any]", getattr(importlib.import_module(package), name))
