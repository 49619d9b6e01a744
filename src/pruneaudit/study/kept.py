"""Determines what kept weights and channels can depend on: the networks' initial weights, and their training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pruneaudit.core.registry import registry_of
from pruneaudit.study.lineage import inherited_compress, plugin_options
from pruneaudit.study.releases import Release
from pruneaudit.study.starts import start_fits_one_network
from pruneaudit.study.starts import starts_are_own as dense_starts_are_own
from pruneaudit.study.study import Study

_PARTS = {"channels": "channels", "heads": "heads", "units": "hidden units"}
"""The parts that a smaller network has fewer of, by the record that its compressor writes."""


def chosen_blindly(study: Study, release: Release) -> bool:
    """Returns whether chance or the initial weights alone decide which weights and channels a release keeps.

    Its structure then says nothing of members: it is the built-in null of attacks on structure. False for a release
    that keeps everything, and for a user's own file.
    """
    blind = [compressor.chooses_blindly(options) for compressor, options in _choosing(study, release)]
    return bool(blind) and all(blind) and not release.weights


def kept_by(study: Study, release: Release) -> str:
    """Returns the words for what a release shows of what it keeps: `mask`, `kept channels`, or both; or empty."""
    choosing = list(_choosing(study, release))
    parts = [compressor.record for compressor, options in choosing if compressor.kind(options) == "structure"]
    kept = [f"kept {_PARTS[part]}" for part in dict.fromkeys(parts)]
    masks = ["mask"] if any(compressor.kind(options) == "mask" for compressor, options in choosing) else []
    return " and ".join([*masks, *kept])


def starts_are_own(study: Study, release: Release) -> bool:
    """Returns whether each network of a release began with initial weights of its own."""
    has_other_network = release.model is not None and start_fits_one_network(study)
    return dense_starts_are_own(study) or has_other_network


def _choosing(study: Study, release: Release) -> Iterator[tuple[Any, Any]]:
    """Yields the compressors that choose which weights or channels a release keeps, each with its options."""
    registry = registry_of("compressor")
    for plugin in (*inherited_compress(study, release), *release.compress):
        compressor: Any = registry.get(plugin.name)
        options = plugin_options(registry, plugin, f"release '{release.name}'")
        if compressor.chooses_what_stays(options):
            yield compressor, options
