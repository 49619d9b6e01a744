"""Plug-ins are found by the name of the file they live in.

A registry looks over one package: every module in it that is not infrastructure is a plug-in, and
holds its one object under an agreed attribute. Listing imports nothing; `get` imports that one
module. So adding a method means adding a file, and `--help` stays fast. Close relatives may share a
file: the registry is told their names, and the attribute holds a dict of them.
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
"""The registries of what a study names: by kind, the package and what the registry is called in it."""


def nearest(name: str, choices: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the choice closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


@cache
def _public_files(folders: tuple[str, ...]) -> frozenset[str]:
    """The modules in the folders of a package, by name; each folder is read once per process."""
    return frozenset(module.name for module in pkgutil.iter_modules(folders) if not module.name.startswith("_"))


class Registry(Generic[T]):
    """The plug-ins of one kind, by name.

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
            kind: what one plug-in is called in messages, such as "attack".
            package: the package whose modules are the plug-ins.
            attribute: the module attribute that holds the plug-in object.
            infrastructure: modules of the package that are not plug-ins.
            elsewhere: names that other systems use for a plug-in, and what each is here, in words.
            shared: modules that hold several plug-ins, and what these are called; the attribute of such a module is
                a dict of them by name.
        """
        self.kind = kind
        self._package = package
        self._attribute = attribute
        self._infrastructure = frozenset(infrastructure)
        self._elsewhere = dict(elsewhere or {})
        self._shared = {name: module for module, names in (shared or {}).items() for name in names}
        self._registered: dict[str, T] = {}

    def names(self) -> tuple[str, ...]:
        """All known names, sorted."""
        files = _public_files(tuple(importlib.import_module(self._package).__path__))
        alone = files - self._infrastructure - set(self._shared.values())
        return tuple(sorted(alone | self._shared.keys() | self._registered.keys()))

    def get(self, name: str) -> T:
        """The plug-in called `name`.

        Raises:
            UserError: no plug-in has that name (the message lists the choices), or its file holds none.
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
                f"{self.kind} '{name}': {module.__file__} has no {self._attribute}; name the plug-in so in its last"
                " line, or begin the file's name with '_' if it is none"
            )
        return cast(T, getattr(module, self._attribute))

    def _among_relatives(self, name: str) -> T:
        """A plug-in that shares its file."""
        module = importlib.import_module(f"{self._package}.{self._shared[name]}")
        relatives: Mapping[str, T] = getattr(module, self._attribute, {})
        if name not in relatives:
            raise UserError(
                f"{self.kind} '{name}': {module.__file__} has no {self._attribute}['{name}']; name the plug-in so in"
                " its last lines, or take the name out of the registry's `shared`"
            )
        return relatives[name]

    def unknown(self, name: str, groups: Iterable[str] = ()) -> UserError:
        """What to say of a name that no plug-in has: the nearest one, and the choices.

        Args:
            name: what was asked for.
            groups: names that stand for several plug-ins, and would have done as well.
        """
        choices, groups = self.names(), tuple(groups)
        hint = f" ({self._elsewhere[name]})" if name in self._elsewhere else nearest(name, (*choices, *groups))
        or_group = f"; or of the groups: {', '.join(groups)}" if groups else ""
        return UserError(f"unknown {self.kind} '{name}'{hint}; expected one of: {', '.join(choices)}{or_group}")

    def register(self, name: str, plugin: T) -> T:
        """Adds a plug-in from outside the package; it lives as long as this process.

        Raises:
            ValueError: the name is taken.
        """
        if name in self.names():
            raise ValueError(f"{self.kind} '{name}' exists already; choose another name")
        self._registered[name] = plugin
        return plugin

    def summary(self, name: str) -> str:
        """The first line of what the plug-in's module says of itself, or its class where it has no file of its own."""
        plugin: Any = self.get(name)
        if name in self._registered or name in self._shared:
            text = plugin.__doc__
        else:
            text = importlib.import_module(f"{self._package}.{name}").__doc__
        return (text or "").strip().split("\n", 1)[0]


def registry_of(kind: str) -> Registry[Any]:
    """The registry of one kind of plug-in, for a study, which knows plug-ins by name alone and imports none of them.

    Args:
        kind: "model", "compressor", "defense" or "published system".
    """
    package, name = _HOMES[kind]
    return cast("Registry[Any]", getattr(importlib.import_module(package), name))
