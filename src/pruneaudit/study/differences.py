"""Finds the differences between two trees of settings, key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_ABSENT, _PRESENT = "-", "there"


@dataclass(frozen=True)
class Setting:
    """One setting that differs, as texts; `-` if a run does not have it."""

    key: str
    first: str
    second: str


def changed_settings(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Returns the differences between two trees of settings; list entries are matched by name."""
    return tuple(_differing(first, second, ""))


def _differing(mine: Any, other: Any, key: str) -> list[Setting]:
    if mine == other:
        return []
    keyed = [_named(value) for value in (mine, other)]
    if all(parts is not None for parts in keyed):
        first, second = (parts or {} for parts in keyed)
        both = [name for name in dict.fromkeys([*first, *second]) if name in first and name in second]
        found = [setting for name in both for setting in _differing(first[name], second[name], f"{key}[{name}]")]
        found += [Setting(f"{key}[{name}]", _PRESENT, _ABSENT) for name in first if name not in second]
        return found + [Setting(f"{key}[{name}]", _ABSENT, _PRESENT) for name in second if name not in first]
    if all(isinstance(value, Mapping) and not _is_plugin(value) for value in (mine, other)):
        names = dict.fromkeys([*mine, *other])
        parts = [(f"{key}.{name}" if key else str(name), mine.get(name, ...), other.get(name, ...)) for name in names]
        return [setting for name, one, two in parts for setting in _differing(one, two, name)]
    return [Setting(key, _text(mine), _text(other))]


def _named(value: Any) -> dict[str, Any] | None:
    """Returns a list of named entries as a dict by name; None for anything else."""
    if not isinstance(value, list) or not all(isinstance(part, Mapping) and "name" in part for part in value):
        return None
    return {_text(part) if _is_plugin(part) else str(part["name"]): part for part in value}


def _is_plugin(value: Mapping[str, Any]) -> bool:
    return set(value) == {"name", "options"} and isinstance(value["options"], Mapping)


def _text(value: Any) -> str:
    """Returns a value as a study file writes it; a plug-in as its label, such as `lira:mode=offline`."""
    if value is ...:
        return _ABSENT
    if isinstance(value, Mapping) and _is_plugin(value):
        return ":".join([str(value["name"]), *(f"{key}={part}" for key, part in sorted(value["options"].items()))])
    return value if isinstance(value, str) else json.dumps(value)
