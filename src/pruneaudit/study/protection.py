"""Determines whether DP-SGD did all training on members that a set of releases depends on, and lists these trainings.

The epsilon of a set of releases counts every such training once, however many of the releases descend from it. It is
valid only if the private data reached the releases in no other way; `unprotected` lists the other ways.
"""

from __future__ import annotations

from collections.abc import Iterable

from pruneaudit.core.registry import registry_of
from pruneaudit.study.lineage import depends_on_parent, plugin_options, release_of
from pruneaudit.study.post_processing import compressors_reading_members, touches_private_data, trains_on_members
from pruneaudit.study.releases import DENSE, Release
from pruneaudit.study.study import Study

PRIVATE_DEFENSE = "dp"
"""The defence whose training is differentially private."""


def ancestry(study: Study, names: Iterable[str]) -> tuple[str, ...]:
    """Returns the releases of a set and all releases that their networks depend on, each once, in the study's order.

    Args:
        study: the study.
        names: releases of the study, or `dense`.
    """
    found: set[str] = set()
    for name in names:
        while name not in found:
            found.add(name)
            release = release_of(study, name)
            if release is not None and depends_on_parent(release):
                name = release.parent
    return tuple(name for name in (DENSE, *(release.name for release in study.releases)) if name in found)


def private_trainings(study: Study, names: Iterable[str]) -> tuple[str, ...]:
    """Returns the releases of a set and its ancestry whose own training on members is DP-SGD, each once."""
    return tuple(
        name
        for name in ancestry(study, names)
        if (release := release_of(study, name)) is not None
        and _is_trained_privately(release)
        and trains_on_members(study, release)
    )


def unprotected(study: Study, names: Iterable[str]) -> tuple[str, ...]:
    """Returns what members reached a set of releases without noise, a reason for each release of its ancestry.

    Empty if DP-SGD covers everything. A mask, a channel or a teacher that was chosen or trained without noise lies in
    the ancestry too: then the release that it comes from is named.
    """
    found = (_why_unprotected(study, name) for name in ancestry(study, names))
    return tuple(reason for reason in found if reason)


def protected_releases(study: Study) -> tuple[str, ...]:
    """Returns all releases behind which every training on members is DP-SGD, and there is at least one."""
    names = (release.name for release in study.releases)
    return tuple(name for name in names if private_trainings(study, (name,)) and not unprotected(study, (name,)))


def _is_trained_privately(release: Release) -> bool:
    return release.defense is not None and release.defense.name == PRIVATE_DEFENSE and not release.weights


def _why_unprotected(study: Study, name: str) -> str:
    """Says how a release itself, apart from its ancestors, reads members without noise; empty if it does not."""
    release = release_of(study, name)
    if release is None:
        if study.target:
            return f"'{DENSE}' is your own network, and its training is unknown"
        return f"'{DENSE}' is trained on members without noise"
    if release.weights:
        return f"'{name}' is your own file, and it is unknown how it was made"
    if not touches_private_data(study, release):
        return ""
    if compressors := compressors_reading_members(release):
        return f"'{name}' reads members without noise (compressor '{compressors[0]}')"
    if not _is_trained_privately(release):
        with_defense = f" (defense '{release.defense.name}' adds none)" if release.defense else ""
        return f"'{name}' is trained on members without noise{with_defense}"
    assert release.defense is not None
    options = plugin_options(registry_of("defense"), release.defense, f"release '{name}'")
    if getattr(options, "noise_multiplier", None) == 0:
        return f"'{name}' is trained with noise_multiplier = 0, which adds no noise"
    return ""
