"""Determines which public or holdout samples influence a release, and whether enough of the holdout are left.

Samples that influence a model without being members come from the public part of the data. If a study has none, they
come from the holdout. A model treats such samples differently from new data, so they are excluded from every null of
that release.

The rest of the holdout has two halves (`data.audit_data.holdout_halves`): attacks fit on half A, and take nulls from
half B.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import registry_of
from pruneaudit.study.data import num_given
from pruneaudit.study.lineage import (
    SCORING,
    depends_on_parent,
    network_of,
    origin_of,
    parent_of,
    plugin_options,
    scoring_models_of,
    training_of,
)
from pruneaudit.study.releases import DENSE, Release
from pruneaudit.study.study import Study

MIN_HOLDOUT = 200
"""Minimum number of samples in a half of the holdout that an attack uses; with fewer nulls, ranks are too coarse for
rates of 1%."""
SUFFICIENT_HOLDOUT = 500
"""Size of a holdout whose halves both have at least `MIN_HOLDOUT` samples, with probability 1 - 6e-6."""


@dataclass(frozen=True)
class Use:
    """A use of non-member samples that influences a model."""

    what: str
    """The user of the samples, for messages."""
    num_samples: int | None = None
    """The number of samples that it uses, from the start of the part, at most half of it; None: all."""


def uses_of(study: Study, release: Release | None) -> tuple[Use, ...]:
    """Returns the uses that influence the networks of a release, including its ancestors'.

    Args:
        study: the study.
        release: one of its releases; None: the dense bank, and the scoring bank, which is trained in the same way.
    """
    if release is None:
        return own_uses(study, None)
    inherited: tuple[Use, ...] = ()
    if depends_on_parent(release):
        inherited = uses_of(study, parent_of(study, release))
    if scoring_models_of(release):
        inherited += tuple(Use(f"{use.what} of the {SCORING} bank", use.num_samples) for use in own_uses(study, None))
    return tuple(dict.fromkeys((*inherited, *own_uses(study, release))))


def own_uses(study: Study, release: Release | None) -> tuple[Use, ...]:
    """Returns the uses of a release itself (None: the dense bank), without its ancestors'."""
    training = study.training if release is None else training_of(study, release)
    found = [Use("the base")] if starts_from_base(study, release) else []
    found += [Use("the dev set")] if training and training.select == "best_dev" else []
    if release is None:
        return tuple(found)
    if release.defense and _defense_reads(release):
        found.append(Use(f"defense '{release.defense.name}'"))
    for plugin in release.compress:
        compressor: Any = registry_of("compressor").get(plugin.name)
        options = plugin_options(registry_of("compressor"), plugin, f"release '{release.name}'")
        if compressor.reads_public(options):
            found.append(Use(f"compressor '{plugin.name}'", compressor.num_samples(options)))
    return tuple(found)


def starts_from_base(study: Study, release: Release | None) -> bool:
    """Returns whether the networks of a release (None: the dense bank) start from the study's base themselves."""
    if study.base is None or release is None:
        return study.base is not None
    return origin_of(release) == "init" and network_of(study, release) == study.model


def _enough_public(study: Study, release: Release | None, taken: int) -> int:
    """Returns how many public samples give every use as many samples as it takes from the holdout."""
    return max(taken if use.num_samples is None else 2 * min(use.num_samples, taken) for use in uses_of(study, release))


def _defense_reads(release: Release) -> bool:
    assert release.defense is not None
    return "public" in registry_of("defense").get(release.defense.name).needs


def num_used(uses: tuple[Use, ...], num_there: int) -> int:
    """Returns how many samples of a part are used in total; every use takes the first ones."""
    return max((num_given(use.num_samples, num_there) for use in uses), default=0)


def num_taken(study: Study, release: Release | None) -> int:
    """Returns how many holdout samples (the first ones) influenced a release; 0 if the study has public samples.

    Args:
        study: the study.
        release: one of its releases; None: the dense bank.
    """
    return 0 if study.data.num_public else num_used(uses_of(study, release), study.data.num_holdout)


def check_has_public(study: Study, release: Release) -> None:
    """Refuses a release that needs public samples if the study has neither public nor holdout samples.

    Raises:
        UserError: it has neither public nor holdout samples.
    """
    uses = own_uses(study, release)
    if uses and not study.data.num_public and not study.data.num_holdout and not study.has_open_holdout:
        raise UserError(
            f"release '{release.name}': {uses[0].what} needs public samples, which are in no training set;"
            " set data.num_public above 0"
        )


def lacking_holdout(study: Study, num_in_half: Callable[[int], int] | None = None) -> str:
    """Says what a study lacks for attacks that need one half of the holdout, and how to fix it; empty if nothing.

    Args:
        study: the study.
        num_in_half: number of samples in that half of a holdout without its first so many samples. None: the samples
            are not known yet, and it counts as exactly half.
    """
    if num_in_half is None and study.has_open_holdout:
        return ""
    has = study.data.num_holdout
    for release in (None, *study.releases):
        taken = num_taken(study, release)
        usable = num_in_half(taken) if num_in_half else (has - taken) // 2
        if usable >= MIN_HOLDOUT:
            continue
        lacking = f"at least {MIN_HOLDOUT} samples in its half of the holdout"
        if not taken:
            enough = SUFFICIENT_HOLDOUT if has < SUFFICIENT_HOLDOUT else 2 * has
            return f"{lacking}, got {usable} of {has}; set data.num_holdout={enough}"
        name, used_by = release.name if release else DENSE, uses_of(study, release)[0].what
        enough = max(SUFFICIENT_HOLDOUT, has)
        return (
            f"{lacking} that influenced no model, got {usable} of {has} for release '{name}', because {used_by} uses"
            f" {taken}; set data.num_public={_enough_public(study, release, taken)} for it instead, and"
            f" data.num_holdout={enough}"
        )
    return ""
