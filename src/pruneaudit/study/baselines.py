"""Baselines: what each compressed release would be without its compression. The rule stands here, and nowhere else.

The baseline of a release is the release without its own `compress`, with the same training phases and the same
defence. A release that is not trained after its compression: its parent. A network from new weights: the same network
from the same new weights, so that a smaller network is compared with itself, uncompressed. What compression alone
changes is the difference between the two.

A study that lacks a baseline has it added. Where a baseline differs in more than the compression, or cannot be made,
`gap` says why, and no report then says what compression alone changed.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import count
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import registry_of
from pruneaudit.study import DENSE, INIT, Release, Study
from pruneaudit.study.lineage import check_release, origin_of, plugin_options, training_of, with_counterparts


@dataclass(frozen=True)
class Baseline:
    """What one compressed release is compared with to see what compression alone changes."""

    name: str
    """A release of the study, `dense`, or the one that `missing` is; empty where it cannot be made."""
    missing: Release | None = None
    """The release, where the study does not have it."""
    gap: str = ""
    """Why the two differ in more than the compression; empty where they do not."""


def baselines(study: Study) -> dict[str, Baseline]:
    """The baseline of each release that is compressed, by the release's name.

    Example:
        >>> study = Study(name="small", releases=[{"compress": "rtn:bits=4"}])
        >>> baselines(study)["rtn-4"].name
        'dense'
    """
    uncompressed = [release for release in study.releases if not release.compress]
    known = {_shape(study, release): release.name for release in reversed(uncompressed)}  # the first of equals
    taken = {DENSE, *(release.name for release in study.releases)}
    found = {}
    for release in study.releases:
        if release.compress:
            baseline = found[release.name] = _baseline_of(study, release, known, taken)
            if baseline.missing:
                known[_shape(study, baseline.missing)] = baseline.name
                taken.add(baseline.name)
    return found


def with_baselines(study: Study) -> Study:
    """The study, with the baselines and the undefended counterparts that it needs and does not name."""
    study = with_counterparts(study)
    missing = [baseline.missing for baseline in baselines(study).values() if baseline.missing]
    return with_counterparts(study.model_copy(update={"releases": (*study.releases, *missing)}) if missing else study)


def added_baselines(asked: Study, completed: Study) -> list[str]:
    """The releases that `with_baselines` has added to a study as baselines."""
    known = {release.name for release in asked.releases}
    return [release.name for release in completed.releases if release.name not in known and not release.compress]


def _baseline_of(study: Study, release: Release, known: dict[Any, str], taken: Collection[str]) -> Baseline:
    """The baseline of a compressed release.

    Args:
        study: the release's.
        release: a compressed one.
        known: the names of uncompressed releases, by what shapes them.
        taken: the names that releases have.
    """
    from_new_weights = origin_of(release) == "init"
    if release.finetune is None and not from_new_weights:
        return Baseline(release.parent)
    gap = _own_trainings(release)
    values = {"parent": INIT if from_new_weights else release.parent, "model": release.model}
    plain = Release.model_validate({**values, "finetune": release.finetune, "defense": release.defense})
    try:
        check_release(study, plain)
        shape = _shape(study, plain)
    except UserError as error:
        return Baseline("", gap=f"without its compression it cannot be made: {error}")
    if shape == _shape_of_dense(study):
        return Baseline(DENSE, gap=gap)
    if shape in known:
        return Baseline(known[shape], gap=gap)
    names = (plain.name if number == 1 else f"{plain.name}-{number}" for number in count(1))
    name = next(name for name in names if name not in taken)
    return Baseline(name, plain.model_copy(update={"name": name}), gap)


def _own_trainings(release: Release) -> str:
    """Why no release without this compression goes through the same training phases; empty where one does."""
    registry = registry_of("compressor")
    for plugin in release.compress:
        options = plugin_options(registry, plugin, f"release '{release.name}'")
        if registry.get(plugin.name).trains(options):
            return f"'{plugin.name}' trains in phases of its own, which a network without it does not go through"
    return ""


def _shape(study: Study, release: Release) -> Any:
    """All that shapes an uncompressed release, so that two that come to the same are equal; its name does not."""
    model = None if release.model in (None, study.model) else release.model.model_dump_json()
    training = training_of(study, release)
    defense = release.defense and release.defense.model_dump_json()
    # One baseline serves all seeds of a release, if it has the usual seed itself.
    return release.parent, model, training and training.model_dump_json(), defense, release.finetune_seed


def _shape_of_dense(study: Study) -> Any:
    return INIT, None, study.training.model_dump_json(), None, 0
