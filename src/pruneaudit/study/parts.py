"""Which samples shape the models of a release, and how many of the holdout that leaves for its nulls.

Whatever shapes a model and is no member comes from the public part of the data. Where a study has none, it comes from
the holdout: the samples that were used no longer say what a model thinks of data that it never saw, so they leave every
null of that release.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import registry_of
from pruneaudit.study.lineage import SCORING, origin_of, parent_of, plugin_options, scoring_models_of, training_of
from pruneaudit.study.releases import DENSE, Release
from pruneaudit.study.study import Study

MIN_HOLDOUT = 200
"""Holdout samples that a null needs: with fewer, a rank among them says little about rates of 1%."""


@dataclass(frozen=True)
class Use:
    """Something that shapes a model by samples that are members of none."""

    what: str
    """Who uses them, for messages."""
    num_samples: int | None = None
    """How many, the first of the part; None: all."""


def uses_of(study: Study, release: Release | None) -> tuple[Use, ...]:
    """What shapes the networks of a release, its ancestors' included.

    Args:
        study: the study.
        release: one of its releases; None: the dense bank, and the scoring bank, which is trained as it is.
    """
    if release is None:
        return own_uses(study, None)
    inherited: tuple[Use, ...] = ()
    if origin_of(release) == "own-dense":
        inherited = uses_of(study, parent_of(study, release))
    if scoring_models_of(release):
        inherited += tuple(Use(f"{use.what} of the {SCORING} bank", use.num_samples) for use in own_uses(study, None))
    return tuple(dict.fromkeys((*inherited, *own_uses(study, release))))


def own_uses(study: Study, release: Release | None) -> tuple[Use, ...]:
    """What shapes the networks of a release (None: the dense bank) while they are made from their parents."""
    training = study.training if release is None else training_of(study, release)
    found = [Use("the dev set")] if training and training.select == "best_dev" else []
    if release is None:
        return tuple(found)
    if release.defense and _defense_reads(release):
        found.append(Use(f"defense '{release.defense.name}'"))
    for plugin in release.compress:
        compressor: Any = registry_of("compressor").get(plugin.name)
        options = plugin_options(registry_of("compressor"), plugin, f"release '{release.name}'")
        if compressor.data(options) in ("public", "holdout"):
            found.append(Use(f"compressor '{plugin.name}'", compressor.num_samples(options)))
    return tuple(found)


def _defense_reads(release: Release) -> bool:
    assert release.defense is not None
    return "public" in registry_of("defense").get(release.defense.name).needs


def num_used(uses: tuple[Use, ...], num_there: int) -> int:
    """How many samples of a part are used: the first ones, whoever uses them."""
    return max((num_there if use.num_samples is None else min(use.num_samples, num_there) for use in uses), default=0)


def num_taken(study: Study, release: Release | None) -> int:
    """How many holdout samples, the first ones, have shaped the networks of a release; 0 where there are public ones.

    Args:
        study: the study.
        release: one of its releases; None: the dense bank.
    """
    return 0 if study.data.num_public else num_used(uses_of(study, release), study.data.num_holdout)


def check_has_public(study: Study, release: Release) -> None:
    """Refuses a release that is shaped by samples that are members of none, where the study has no such samples.

    Raises:
        UserError: it has neither public nor holdout samples.
    """
    uses = own_uses(study, release)
    if uses and not study.data.num_public and not study.data.num_holdout:
        raise UserError(
            f"release '{release.name}': {uses[0].what} needs public samples, which shape models and are members of"
            " none; set data.num_public above 0"
        )


def lacking_holdout(study: Study) -> str:
    """What an attack that needs a holdout lacks in a study, and how to mend it; empty where nothing is lacking."""
    has = study.data.num_holdout
    if has < MIN_HOLDOUT:
        return f"at least {MIN_HOLDOUT} holdout samples, got {has}; set data.num_holdout={MIN_HOLDOUT}"
    for release in (None, *study.releases):
        left = has - num_taken(study, release)
        if left < MIN_HOLDOUT:
            name, used_by = release.name if release else DENSE, uses_of(study, release)[0].what
            return (
                f"at least {MIN_HOLDOUT} holdout samples that shaped no model, got {left} of {has} for release"
                f" '{name}', since {used_by} uses the others; set data.num_public={has - left}, which it then uses"
            )
    return ""
