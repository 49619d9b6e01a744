"""The space of a search: templates of releases whose values can be lists or ranges, and the candidates in it.

A template is written like a release, but a value can be a list, or a range `{ low, high, steps, log }`. The candidates
are all combinations. A list of `compress` is a chain, not a choice.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import registry_of
from pruneaudit.study.degrees import as_plugin
from pruneaudit.study.releases import Release

MAX_CANDIDATES = 5000
"""Largest number of candidates: more are taken for a mistake."""
_RANGE = {"low", "high", "steps", "log"}
_PLUGINS = {"compress": "compressor", "defense": "defense", "model": "model"}
"""Kinds of plug-ins by their key in a release."""
_DIGITS = 10
_LONGEST_NAME = 80
_LISTS = {"milestones"}
"""Settings of a training that are lists themselves."""

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Dimension:
    """A value of a template that differs between its candidates."""

    path: Path
    """Its keys in the template, such as ("finetune", "epochs")."""
    values: tuple[Any, ...]

    @property
    def name(self) -> str:
        """Its name in candidates' names and in messages: the last key."""
        return str(self.path[-1])

    @property
    def is_ordered(self) -> bool:
        """Whether its values are numbers in ascending order."""
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)
        return numbers and list(self.values) == sorted(self.values)


@dataclass(frozen=True)
class Candidate:
    """A release that a search can try."""

    release: Release
    entry: int
    """The number of its template, from 0."""
    place: tuple[int, ...]
    """The index of its value in each dimension of the template."""

    @property
    def name(self) -> str:
        """The name of the release."""
        return self.release.name


@dataclass(frozen=True)
class Entry:
    """A template of the space."""

    number: int
    """From 0, in the order of the study."""
    template: Mapping[str, Any]

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        """Its values that are lists or ranges, in the order of the template.

        Raises:
            ValueError: a list is empty, or a range is contradictory.
        """
        found = []
        for path, value, is_list in _values_of(self.template):
            if isinstance(value, Mapping) and {"low", "high"} & value.keys():
                found.append(Dimension(path, _points(value, _written(path))))
            elif isinstance(value, list | tuple) and not (is_list and not _is_nested(value)):
                if not value:
                    raise ValueError(f"{_written(path)}: got an empty list, expected at least one value")
                found.append(Dimension(path, tuple(dict.fromkeys(map(_hashable, value)))))
        return tuple(found)

    @property
    def num_candidates(self) -> int:
        """The number of combinations of its values."""
        return math.prod(len(dimension.values) for dimension in self.dimensions)

    @cached_property
    def _named(self) -> tuple[bool, ...]:
        """For each dimension, whether names must show its values: the template has a name, or default names do not."""
        first = [0] * len(self.dimensions)

        def shows(number: int) -> bool:
            other = [int(number == each) for each in range(len(first))]
            return self._release(first).name != self._release(other).name

        return tuple(
            len(dimension.values) > 1 and (bool(self.template.get("name")) or not shows(number))
            for number, dimension in enumerate(self.dimensions)
        )

    def _release(self, place: Sequence[int]) -> Release:
        """Returns the release with the values at these places, under its default name.

        Raises:
            ValueError: the values make no release.
        """
        chosen = {d.path: d.values[number] for d, number in zip(self.dimensions, place, strict=True)}
        return Release.model_validate({**_replaced(self.template, chosen), "name": ""})

    def candidate(self, place: Sequence[int]) -> Candidate:
        """Returns the candidate with the values at these places.

        Raises:
            ValueError: the values make no release.
        """
        release = self._release(place)
        parts = [str(self.template.get("name") or release.name)]
        for dimension, number, is_shown in zip(self.dimensions, place, self._named, strict=True):
            parts += [f"{dimension.name}={_shown(dimension.values[number])}"] if is_shown else []
        name = _short("+".join(parts))
        return Candidate(release.model_copy(update={"name": name}), self.number, (*place,))

    def candidates(self) -> Iterator[Candidate]:
        """Yields all candidates, the last dimension running fastest."""
        for place in itertools.product(*(range(len(dimension.values)) for dimension in self.dimensions)):
            yield self.candidate(place)


def entries_of(templates: Sequence[Mapping[str, Any]]) -> tuple[Entry, ...]:
    """Returns the entries of a space, after checking them.

    Raises:
        ValueError: an entry is empty or contradictory, or there are too many candidates.
    """
    entries = tuple(Entry(number, template) for number, template in enumerate(templates))
    for entry in entries:
        if entry.template.get("weights"):
            raise ValueError(
                f"entry {entry.number + 1}: got weights = '{entry.template['weights']}', but a candidate is made by its"
                " recipe; leave weights out"
            )
        _in_entry(entry, lambda entry: entry.dimensions)
    total = sum(entry.num_candidates for entry in entries)
    if total > MAX_CANDIDATES:
        raise ValueError(f"got {total:,} candidates, expected at most {MAX_CANDIDATES:,}; give ranges fewer steps")
    return entries


def candidates_of(templates: Sequence[Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """Returns all candidates of a space, each once, in order.

    Raises:
        ValueError: an entry is empty or contradictory, a candidate makes no release, or two differ but have one name.
    """
    found: dict[str, Candidate] = {}
    known: set[str] = set()
    for entry in entries_of(templates):
        for candidate in _in_entry(entry, lambda entry: list(entry.candidates())):
            settings = _without_name(candidate.release)
            other = found.get(candidate.name)
            if other is not None and _without_name(other.release) != settings:
                raise ValueError(
                    f"entries {other.entry + 1} and {entry.number + 1} both have a candidate named '{candidate.name}',"
                    " with different settings; give one of them a name"
                )
            if settings not in known:
                known.add(settings)
                found[candidate.name] = candidate
    return tuple(found.values())


def _shown(value: Any) -> str:
    """Returns a value as part of a name; a list as `8x16`."""
    return "x".join(map(_shown, value)) if isinstance(value, tuple) else str(value)


def _short(name: str) -> str:
    """Returns a name that can name a folder; a long one ends in a hash of the whole."""
    name = re.sub(r"[^A-Za-z0-9._+=-]", "_", name.replace(":", "x"))
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _without_name(release: Release) -> str:
    return release.model_copy(update={"name": ""}).model_dump_json()


def _in_entry(entry: Entry, made: typing.Callable[[Entry], Any]) -> Any:
    """Returns what `made` returns of an entry; its errors name the entry."""
    try:
        return made(entry)
    except UserError as error:
        raise ValueError(f"entry {entry.number + 1}: {error}") from None
    except ValueError as error:
        raise ValueError(f"entry {entry.number + 1}: {_reason(error)}") from None


def _reason(error: ValueError) -> str:
    """Returns an error in one line; that of pydantic in the words of settings files."""
    from pydantic import ValidationError

    from pruneaudit.core.options import explain

    return explain(error, Release, "").removeprefix(": ") if isinstance(error, ValidationError) else str(error)


def _values_of(template: Mapping[str, Any]) -> Iterator[tuple[Path, Any, bool]]:
    """Yields each value of a template that can be a list or a range: its path, itself, and whether it is a list anyway.

    Args:
        template: a release as written.
    """
    for key, value in template.items():
        if key in _PLUGINS:
            yield from _options_of(key, value)
        elif key == "finetune" and isinstance(value, Mapping):
            for name, setting in value.items():
                yield (key, name), setting, name in _LISTS
        elif key != "name":
            yield (key,), value, _is_list_beside(key, template)


def _options_of(key: str, value: Any) -> Iterator[tuple[Path, Any, bool]]:
    """Yields the options of plug-ins that are written as tables."""
    several = enumerate(value) if isinstance(value, list | tuple) else [(None, value)]
    for number, plugin in several:
        if isinstance(plugin, Mapping) and isinstance(plugin.get("options"), Mapping):
            place: Path = (key,) if number is None else (key, number)
            for name, setting in plugin["options"].items():
                yield (*place, "options", name), setting, _is_list(_PLUGINS[key], str(plugin.get("name")), name)


def _is_list_beside(key: str, template: Mapping[str, Any]) -> bool:
    """Whether a degree beside the compressors is a list itself."""
    given = template.get("compress") or ()
    plugins = []
    for each in given if isinstance(given, list | tuple) else [given]:
        try:
            plugins.append(as_plugin(each))
        except ValueError:  # validation of the release reports it
            continue
    return any(_is_list("compressor", plugin.name, key) for plugin in plugins)


def _is_list(kind: str, plugin: str, option: str) -> bool:
    """Whether an option of a plug-in is a list itself; False for unknown ones, which are refused later."""
    try:
        field = registry_of(kind).get(plugin).Options.model_fields.get(option)
    except UserError:
        return False
    return field is not None and _may_be_list(field.annotation)


def _may_be_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType, typing.Annotated):
        return any(_may_be_list(part) for part in typing.get_args(annotation))
    return origin in (tuple, list) or annotation in (tuple, list)


def _is_nested(value: Sequence[Any]) -> bool:
    return bool(value) and all(isinstance(part, list | tuple) for part in value)


def _points(given: Mapping[str, Any], where: str) -> tuple[float, ...]:
    """Returns the points of a range: evenly spaced, with `log` by a constant factor; whole numbers between whole ends.

    Raises:
        ValueError: a key is unknown or missing, or the range is empty.
    """
    wrong = sorted(given.keys() - _RANGE)
    if wrong or not {"low", "high"} <= given.keys():
        what = f"the key '{wrong[0]}'" if wrong else f"only {' and '.join(sorted(given))}"
        raise ValueError(f"{where}: got {what}, expected a range such as {{ low = 0.5, high = 0.9, steps = 5 }}")
    low, high, log = given["low"], given["high"], given.get("log", False)
    for key, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"{where}.{key}: got {value!r}, expected a number")
    if not isinstance(log, bool):
        raise ValueError(f"{where}.log: got {log!r}, expected true or false")
    if low > high:
        raise ValueError(f"{where}: got low = {low} above high = {high}; swap them")
    if log and low <= 0:
        raise ValueError(f"{where}: got low = {low} with log = true, expected a number above 0")
    whole = isinstance(low, int) and isinstance(high, int)
    steps = given.get("steps", high - low + 1 if whole else None)
    if steps is None:
        raise ValueError(f"{where}: got a range without steps, expected the number of its values, such as steps = 5")
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_CANDIDATES:
        raise ValueError(f"{where}.steps: got {steps!r}, expected a number of values from 1 to {MAX_CANDIDATES:,}")
    if steps == 1 and low != high:
        raise ValueError(f"{where}: got steps = 1 between low = {low} and high = {high}, expected 2 or more")
    parts = [number / max(steps - 1, 1) for number in range(steps)]
    points = [low * (high / low) ** part if log else low + (high - low) * part for part in parts]
    shown = [round(point) if whole else float(f"{point:.{_DIGITS}g}") for point in points]
    return tuple(dict.fromkeys(shown))


def _replaced(template: Any, chosen: Mapping[Path, Any], path: Path = ()) -> Any:
    """Returns a copy of a template with the chosen values in their places."""
    if path in chosen:
        return chosen[path]
    if isinstance(template, Mapping):
        return {key: _replaced(value, chosen, (*path, key)) for key, value in template.items()}
    if isinstance(template, list | tuple):
        return [_replaced(value, chosen, (*path, number)) for number, value in enumerate(template)]
    return template


def _hashable(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_hashable, value))
    if isinstance(value, Mapping):
        raise ValueError(f"got a table in a list of values ({dict(value)}), expected numbers or texts")
    return value


def _written(path: Path) -> str:
    return ".".join(str(part) for part in path)
