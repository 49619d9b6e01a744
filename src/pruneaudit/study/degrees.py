"""Degrees of compressors: how much each compresses. They are among its options, or next to its name."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest, registry_of
from pruneaudit.study.chains import CHAINS, steps_of_chain
from pruneaudit.study.plugins import Plugin

_USUAL_DEGREE = "sparsity"
"""The degree assumed for an unknown compressor; its name is refused later."""


def without_degree(plugin: Plugin) -> Plugin:
    """Returns a compressor with its options, without its degree."""
    return Plugin(name=plugin.name, options=without(plugin.options, degree_of(plugin.name)))


def method_label(compress: Sequence[Plugin]) -> str:
    """Returns compressors with options, without degrees, as one text; empty if there are none."""
    return "+".join(without_degree(plugin).label for plugin in compress)


def degree_words(plugin: Plugin) -> str:
    """Returns a compressor with options and degree in words: `rtn 4 bits`, `l1unstructured 70%`."""
    degree, label = degree_of(plugin.name), without_degree(plugin).label
    if degree not in plugin.options:
        return label
    value = plugin.options[degree]
    if degree == _USUAL_DEGREE:
        return f"{label} {100 * float(value):.10g}%"
    if isinstance(value, str):
        return f"{label} {value}"
    return f"{label} {value} {degree}" if isinstance(value, int) else f"{label} {degree} {value}"


def degree_of(compressor: str) -> str:
    """Returns the name of a compressor's degree; `sparsity` for an unknown compressor."""
    try:
        return str(registry_of("compressor").get(compressor).degree)
    except UserError:
        return _USUAL_DEGREE


def learns_from_parent(compressor: str) -> bool:
    """Whether a compressor's network learns from the parent's; False for an unknown one."""
    try:
        found = registry_of("compressor").get(compressor)
    except UserError:
        return False
    return bool(found.learns_from_parent)


def check_degree(plugin: Plugin) -> None:
    """Checks the degree of a known compressor; its other options are checked later, with all plug-ins."""
    try:
        compressor = registry_of("compressor").get(plugin.name)
    except UserError:
        return
    try:
        compressor.Options.model_validate(plugin.options)
    except ValidationError as error:
        of_degree = [found for found in error.errors(include_url=False) if found["loc"][:1] == (compressor.degree,)]
        if not of_degree:
            return
        degree, name, what = compressor.degree, plugin.name, of_degree[0]
        if what["type"] == "missing":
            raise ValueError(
                f"compress: '{name}' needs {degree}: give it next to compress, or as '{name}:{degree}=...'"
                " (for the uncompressed baseline, leave compress out)"
            ) from None
        expected = str(what["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
        raise ValueError(f"{degree} of '{name}': got {what['input']!r}, expected: {expected}") from None


def one_release_per_degree(release: Any) -> Iterator[Any]:
    """Expands `sparsity = [0.7, 0.9]` beside a compressor into two releases.

    Args:
        release: an entry of a study, as written.

    Raises:
        ValueError: a list is empty, or the entry has a name.
    """
    if not isinstance(release, Mapping):
        yield release
        return
    degrees = [degree_of(plugin.name) for plugin in _readable(_in_order(release))]
    lists = {key: release[key] for key in dict.fromkeys(degrees) if isinstance(release.get(key), list | tuple)}
    for key, values in lists.items():
        if not values:
            raise ValueError(f"a release got {key} = [], expected at least one")
    if lists and release.get("weights"):
        raise ValueError(
            f"a release with several values of {' and '.join(lists)} cannot have weights = '{release['weights']}': make"
            " one release of each, with its own file"
        )
    if lists and release.get("name"):
        several = " and ".join(f"several values of {key}" for key in lists)
        raise ValueError(f"a release with {several} cannot have a name: leave it out")
    for combination in itertools.product(*lists.values()):
        yield {**release, **dict(zip(lists, combination, strict=True))}


def with_degrees_beside(release: Mapping[str, Any]) -> dict[str, Any]:
    """Moves the degrees of a dumped release beside its compressors, where an override finds them."""
    found = dict(release)
    plugins = _readable(_in_order(release))
    degrees = [degree_of(plugin.name) for plugin in plugins]
    for plugin, degree in zip(plugins, degrees, strict=True):
        if degree in plugin.options and degrees.count(degree) == 1:
            found[degree] = plugin.options[degree]
    found["compress"] = [
        {"name": p.name, "options": without(p.options, degree) if degrees.count(degree) == 1 else p.options}
        for p, degree in zip(plugins, degrees, strict=True)
    ]
    return found if plugins else dict(release)


def with_degrees_inside(value: Mapping[str, Any], settings: Collection[str]) -> dict[str, Any]:
    """Moves the degrees beside the compressors of a release, as written, into their options.

    Args:
        value: the release.
        settings: the keys of a release.

    Raises:
        ValueError: a degree belongs to no compressor of the release, or stands in two places.
    """
    if "pruner" in value:
        raise ValueError(f"got pruner = {value['pruner']!r}; it is now called compress, with the same value")
    compress = _in_order(value)
    rest = {key: part for key, part in value.items() if key != "compress"}
    if not compress:
        if asked := rest.pop(_USUAL_DEGREE, None):
            raise ValueError(f"{_USUAL_DEGREE} = {asked} needs a compressor, for example compress = 'l1unstructured'")
        return rest
    plugins = _readable(compress)
    if len(plugins) < len(compress):  # validation of the unreadable one reports the error
        rest.pop(_USUAL_DEGREE, None)
        return {**rest, "compress": tuple(compress)}
    degrees = [degree_of(plugin.name) for plugin in plugins]
    _check_degrees_beside([key for key in rest if key not in settings], plugins, degrees)
    options = [dict(plugin.options) for plugin in plugins]
    for degree in dict.fromkeys(degrees):
        if degree not in rest:
            continue
        if degrees.count(degree) > 1:
            raise ValueError(
                f"{degree}: got one value for {degrees.count(degree)} compressors; give each its own, such as"
                f" '{plugins[0].name}:{degree}={rest[degree]}'"
            )
        number = degrees.index(degree)
        if options[number].get(degree, rest[degree]) != rest[degree]:
            raise ValueError(
                f"{degree}: got {rest[degree]} next to '{plugins[number].name}' and {options[number][degree]} among "
                f"its options; keep one"
            )
        options[number][degree] = rest.pop(degree)
    steps = zip(plugins, options, strict=True)
    return {**rest, "compress": tuple({"name": plugin.name, "options": own} for plugin, own in steps)}


def _check_degrees_beside(beside: Collection[str], plugins: Sequence[Plugin], degrees: Sequence[str]) -> None:
    """Refuses a mistyped degree beside compressors, and that of another compressor; names theirs."""
    for key in beside:
        if key in degrees:
            continue
        for plugin in plugins:
            if plugin.name not in registry_of("compressor").names():  # the meaning of the key depends on it
                raise ValueError(str(registry_of("compressor").unknown(plugin.name)))
        hint = nearest(str(key), degrees)
        if hint or key in _degrees_of_all():
            raise ValueError(f"unknown key '{key}'{hint}; the degree of {_degrees_in_words(plugins, degrees)}")


def _degrees_of_all() -> set[str]:
    return {degree_of(name) for name in registry_of("compressor").names()}


def _degrees_in_words(plugins: Sequence[Plugin], degrees: Sequence[str]) -> str:
    """Returns for example `'rtn' is bits, that of 'kmeans' clusters`."""
    named = [f"'{plugin.name}' is {degree or 'none'}" for plugin, degree in zip(plugins, degrees, strict=True)]
    return ", that of ".join(dict.fromkeys(named))


def _in_order(value: Mapping[str, Any]) -> list[Any]:
    """Returns the compressors of a release, as written, as a list; a chain's name stands for its steps."""
    return steps_in(as_written(value), value)


def as_written(value: Mapping[str, Any]) -> Sequence[Any]:
    """Returns the compressors and chains of a release, as written, as a list."""
    given = value.get("compress")
    if given is None:
        return []
    return given if isinstance(given, list | tuple) else [given]


def steps_in(given: Sequence[Any], beside: Mapping[str, Any]) -> list[Any]:
    """Returns compressors, as written, with the steps of each chain in the place of its name.

    Args:
        given: compressors and chains, as texts, tables or plug-ins.
        beside: the settings beside them, among which degrees can stand.

    Raises:
        ValueError: a chain has an unknown option.
    """
    found: list[Any] = []
    for each in given:
        try:
            plugin = as_plugin(each)
        except ValueError:  # validation of the unreadable one reports the error
            found.append(each)
            continue
        found += steps_of_chain(plugin, beside) if plugin.name in CHAINS else [each]
    return found


def _readable(given: Sequence[Any]) -> list[Plugin]:
    """Returns the compressors that can be parsed."""
    found = []
    for each in given:
        try:
            found.append(as_plugin(each))
        except ValueError:
            continue
    return found


def as_plugin(given: Any) -> Plugin:
    """Returns a plug-in that may be given as a text or a table."""
    return given if isinstance(given, Plugin) else Plugin.model_validate(given)


def without(options: Mapping[str, Any], degree: str) -> dict[str, Any]:
    """Returns options without a degree."""
    return {key: value for key, value in options.items() if key != degree}
