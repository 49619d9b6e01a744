"""Default names of releases: the parts that name compressors, chains and their degrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pruneaudit.study.chains import CHAINS, steps_of_chain
from pruneaudit.study.degrees import as_plugin, as_written, degree_of, without
from pruneaudit.study.plugins import Plugin


def names_of_compressors(steps: Sequence[Plugin], written: Mapping[str, Any]) -> list[str]:
    """Returns the parts of a default name: one for each compressor and each chain.

    Args:
        steps: the compressors, with the steps of chains in their places.
        written: the release as written.
    """
    left, parts = iter(steps), []
    for plugin in map(as_plugin, as_written(written)):
        own = [next(left) for _ in steps_of_chain(plugin, written)]
        parts.append(_name_of_chain(plugin, own, written) if plugin.name in CHAINS else _named_with_degree(own[0]))
    return parts


def _name_of_chain(chain: Plugin, steps: Sequence[Plugin], beside: Mapping[str, Any]) -> str:
    """Returns a chain's name with its degrees up to the last that is given, then its other options."""
    options = {key: value for step in steps for key, value in step.options.items()}
    given = {key: options[key] for key in sorted(options.keys() & {*chain.options, *beside})} | chain.options
    degrees = CHAINS[chain.name].degrees
    shown = degrees[: max((number for number, key in enumerate(degrees, 1) if key in given), default=0)]
    name = "-".join([chain.name, *(str(options[key]) for key in shown)])
    return with_options(Plugin(name=name, options={key: given[key] for key in given if key not in shown}))


def _named_with_degree(plugin: Plugin) -> str:
    """Returns a compressor with its degree and other options, as part of a name."""
    degree = degree_of(plugin.name)
    value = str(plugin.options.get(degree, "")).replace(":", "x")  # 2:4 names a folder as 2x4
    named = f"{plugin.name}-{value}" if value else plugin.name
    return with_options(Plugin(name=named, options=without(plugin.options, degree)))


def with_options(plugin: Plugin) -> str:
    """Returns a plug-in's name with its options, as part of a name."""
    return plugin.name + "".join(f"-{key}={value}" for key, value in sorted(plugin.options.items()))
