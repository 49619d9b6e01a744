"""Determines which releases are functions of other releases, and which touch private data.

A release made from another one without any data is *post-processing* of it. An attacker with the weights of the other
release can make it too, so it reveals nothing more about members (data processing inequality). An attacker with access
to outputs only can still learn more from it.

A release that is calibrated on public samples uses data, so it does not count as post-processing. It touches no private
data, so it costs no privacy either (`touches_private_data`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from pruneaudit.core.registry import registry_of
from pruneaudit.study.lineage import origin_of, plugin_options, scoring_models_of, training_of
from pruneaudit.study.releases import INIT, Release
from pruneaudit.study.study import Study

_PRIVATE = ("members", "members-soft", "mixed")
"""The uses of data (`Compressor.data`) with members among the samples."""


def post_processing_of(study: Study, release: Release) -> str:
    """Returns the release from which a release is made without any data, `dense` included; empty if there is none.

    That is its parent, if nothing but compressors without data and without training lies between the two. A file of the
    target's owner counts as made with data, because its making is not known.

    Example:
        >>> study = Study(name="small", releases=[{"compress": "rtn:bits=4"}, {"compress": "gptq:bits=4"}])
        >>> [post_processing_of(study, release) for release in study.releases]
        ['dense', '']
    """
    if release.weights or release.defense or release.parent == INIT or origin_of(release) == INIT:
        return ""
    uses_data = training_of(study, release) is not None or any(
        compressor.data(options) != "none" or compressor.trains(options) for compressor, options in _steps(release)
    )
    return "" if uses_data else release.parent


def post_processing(study: Study) -> dict[str, str]:
    """Returns the releases that are made from another one without any data, with that one's name."""
    found = {release.name: post_processing_of(study, release) for release in study.releases}
    return {name: source for name, source in found.items() if source}


def source_in(released: Collection[str], name: str, mapping: Mapping[str, str]) -> str:
    """Returns the release of a set from which another one is made without any data; empty if there is none.

    Args:
        released: the set, by name.
        name: the release; itself in the set or not.
        mapping: as from `post_processing`. Releases between the two need not be in the set.

    Example:
        >>> source_in({"dense"}, "l1-0.9-int8", {"l1-0.9-int8": "l1-0.9", "l1-0.9": "dense"})
        'dense'
    """
    seen, source = {name}, mapping.get(name, "")
    while source and source not in released and source not in seen:
        seen.add(source)
        source = mapping.get(source, "")
    return source if source in released else ""


def touches_private_data(study: Study, release: Release | None) -> bool:
    """Returns whether the making of a release reads members, in its own step; its ancestors' steps do not count.

    Members are read by training on them, by calibration or saliency on them, and by a defence that needs scores of
    them. The dev set, public samples and the holdout are not private. A file of the target's owner counts as private,
    because its making is not known.

    Args:
        study: the study.
        release: one of its releases; None: the dense bank, which is trained on members.
    """
    if release is None or release.weights or scoring_models_of(release):
        return True
    return trains_on_members(study, release) or bool(compressors_reading_members(release))


def trains_on_members(study: Study, release: Release) -> bool:
    """Returns whether the training of a release is on members. A student can be taught on other samples alone."""
    if training_of(study, release) is None:
        return False
    teaching = [compressor.data(options) for compressor, options in _steps(release) if compressor.learns_from_parent]
    return not any(data in ("public", "holdout") for data in teaching)


def compressors_reading_members(release: Release) -> tuple[str, ...]:
    """Returns the compressors of a release that read members before its training, or train on them themselves."""
    return tuple(
        plugin.name
        for plugin, (compressor, options) in zip(release.compress, _steps(release), strict=True)
        if compressor.trains(options) or (compressor.data(options) in _PRIVATE and not compressor.learns_from_parent)
    )


def _steps(release: Release) -> Iterator[tuple[Any, Any]]:
    """Yields the compressors of a release with their options."""
    registry = registry_of("compressor")
    for plugin in release.compress:
        yield registry.get(plugin.name), plugin_options(registry, plugin, f"release '{release.name}'")
