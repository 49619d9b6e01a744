"""Baselines: each compressed release without its compression. Only this module defines the rule.

The baseline of a release is the release without its own `compress`, with the same training phases and the same
defence. If a release is not trained after its compression, its baseline is its parent. For a network that starts from
new weights, the baseline is the same network from the same new weights. So a smaller network is compared with itself,
uncompressed. The difference between the two is the effect of compression alone.

Missing baselines are added to the study. If a baseline differs in more than the compression, or cannot be made, `gap`
says why. Reports then attribute no change to compression alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import registry_of
from pruneaudit.study import DENSE, INIT, Release, Study
from pruneaudit.study.lineage import check_release, origin_of, plugin_options, training_of, with_counterparts


@dataclass(frozen=True)
class Baseline:
    """The release with which to compare one compressed release, to see the effect of compression alone."""

    name: str
    """The baseline: a release of the study, `dense`, or the release in `missing`; empty if it cannot be made."""
    missing: Release | None = None
    """The release to add, if the study does not have it."""
    before: tuple[Release, ...] = ()
    """Releases to add before it, for chains with training between two steps: these trainings, without the steps."""
    gap: str = ""
    """Why the two differ in more than the compression; empty if they do not."""

    @property
    def added(self) -> tuple[Release, ...]:
        """All releases to add, parents first."""
        return (*self.before, self.missing) if self.missing else self.before


def baselines(study: Study) -> dict[str, Baseline]:
    """Returns the baseline of each compressed release, by the release's name.

    Example:
        >>> study = Study(name="small", releases=[{"compress": "rtn:bits=4"}])
        >>> baselines(study)["rtn-4"].name
        'dense'
    """
    uncompressed = [release for release in study.releases if not release.compress and not release.weights]
    known = {_shape(study, release): release.name for release in reversed(uncompressed)}  # the first of equals
    taken = {DENSE, *(release.name for release in study.releases)}
    found = {}
    for release in study.releases:
        if release.compress:
            baseline = found[release.name] = _baseline_of(study, release, known, taken)
            for added in baseline.added:
                known[_shape(study, added)] = added.name
                taken.add(added.name)
    return found


def with_baselines(study: Study) -> Study:
    """Returns the study with the missing baselines and undefended counterparts added."""
    study = with_counterparts(study)
    missing = [added for baseline in baselines(study).values() for added in baseline.added]
    return with_counterparts(study.model_copy(update={"releases": (*study.releases, *missing)}) if missing else study)


def added_baselines(asked: Study, completed: Study) -> list[str]:
    """Returns the names of the releases that `with_baselines` added as baselines."""
    known = {release.name for release in asked.releases}
    return [release.name for release in completed.releases if release.name not in known and not release.compress]


def _baseline_of(study: Study, release: Release, known: dict[Any, str], taken: Collection[str]) -> Baseline:
    """Returns the baseline of a compressed release.

    Args:
        study: the study of the release.
        release: a compressed release.
        known: the names of uncompressed releases, by the settings that determine them.
        taken: the names already in use.
    """
    if release.weights:
        return Baseline("", gap="you gave no file of a network with the same training but without the compression")
    from_new_weights = origin_of(release) == "init"
    if release.finetune is None and not from_new_weights:
        return Baseline(release.parent)
    between = _trainings_between(release)
    gap = "" if between else _own_trainings(release)
    values = {"parent": INIT if from_new_weights else release.parent, "model": release.model}
    before: list[Release] = []
    for settings in between:
        step = Release.model_validate({**values, "finetune": settings})
        name, missing = _placed(study, step, known, taken, before)
        before += [missing] if missing else []
        values["parent"] = name
    finetune = release.finetune
    if finetune and from_new_weights and finetune.lora is None:  # a compressed network trains all of its weights
        finetune = finetune.model_copy(update={"lora": False if study.training.lora else None})
    plain = Release.model_validate({**values, "finetune": finetune, "defense": release.defense})
    try:
        check_release(study, plain)
        name, missing = _placed(study, plain, known, taken, before)
    except UserError as error:
        return Baseline("", gap=f"it cannot be made without its compression: {error}")
    return Baseline(name, missing, tuple(before), gap)


def _placed(
    study: Study, plain: Release, known: dict[Any, str], taken: Collection[str], before: list[Release]
) -> tuple[str, Release | None]:
    """Returns the name of an uncompressed release, and the release itself if it has to be added.

    Args:
        study: the study.
        plain: the release, with any name.
        known: the names of uncompressed releases, by the settings that determine them.
        taken: the names already in use.
        before: releases that will be added too.
    """
    shape = _shape(study, plain)
    if shape == _shape_of_dense(study):
        return DENSE, None
    if shape in known:
        return known[shape], None
    used = {*taken, *(release.name for release in before)}
    name = next(name for name in _names(plain) if name not in used)
    return name, plain.model_copy(update={"name": name})


def _names(plain: Release) -> Iterator[str]:
    """Yields names to choose from: the default, the same with the epochs of its fine-tuning, and then with a number."""
    yield plain.name
    epochs = plain.finetune.epochs if plain.finetune else 0
    length = f"-{epochs}-epoch{'s' if epochs > 1 else ''}" if epochs else ""
    if length:
        yield plain.name[: 80 - len(length)] + length
    for number in count(2):
        suffix = f"{length}-{number}"
        yield plain.name[: 80 - len(suffix)] + suffix


def _trainings_between(release: Release) -> list[dict[str, Any]]:
    """Returns the settings of the trainings between steps, if a release without the steps can have them too.

    Empty if a step trains in another way, or a defence works in all trainings.
    """
    if release.finetune is None or release.defense or origin_of(release) == "init":
        return []
    registry, found = registry_of("compressor"), []
    for plugin in release.compress:
        compressor, options = registry.get(plugin.name), plugin_options(registry, plugin, f"release '{release.name}'")
        if compressor.kind(options) == "training":
            own = getattr(options, "epochs", None)
            found.append(release.finetune.model_dump() | ({"epochs": own} if own else {}))
        elif compressor.trains(options):
            return []
    return found


def _own_trainings(release: Release) -> str:
    """Says why a release without this compression has other training phases; empty if it has the same."""
    registry = registry_of("compressor")
    for plugin in release.compress:
        options = plugin_options(registry, plugin, f"release '{release.name}'")
        if registry.get(plugin.name).trains(options):
            return f"'{plugin.name}' has its own training phases, which a network without it does not have"
    return ""


def _shape(study: Study, release: Release) -> Any:
    """Returns the settings that determine an uncompressed release, apart from its name: equal for equal networks."""
    model = None if release.model in (None, study.model) else release.model.model_dump_json()
    training = training_of(study, release)
    defense = release.defense and release.defense.model_dump_json()
    # A baseline with the default seed is used for all seeds of a release.
    return release.parent, model, training and training.model_dump_json(), defense, release.finetune_seed


def _shape_of_dense(study: Study) -> Any:
    return INIT, None, study.training.of_release.model_dump_json(), None, 0
