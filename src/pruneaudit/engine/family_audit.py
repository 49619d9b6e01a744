"""Attacks the families of a study, and marks repeats and post-processing among the releases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from pruneaudit.attacks.attack import Attack
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.canaries import Bounds
from pruneaudit.evaluation.columns import RELEASE_SEPARATOR
from pruneaudit.evaluation.families import FEWEST_RELEASES, FamilyPlan, family_tables
from pruneaudit.study import DENSE, Study
from pruneaudit.study.lineage import repeats
from pruneaudit.study.post_processing import post_processing

NO_RIVALS: Mapping[str, Attack] = {}


def family_plan(
    study: Study,
    families: Sequence[tuple[str, ...]],
    released: tuple[str, ...] = (),
    rivals: Mapping[str, Attack] = NO_RIVALS,
) -> FamilyPlan:
    """Returns what is to be measured.

    Args:
        study: the study of the releases.
        families: sets of releases.
        released: what is public already; default: the dense networks.
        rivals: other attacks for whole families, by label.
    """
    return FamilyPlan(tuple(families), released or (DENSE,), rivals, repeats(study), post_processing(study))


def families_there(study: Study, there: Collection[str]) -> tuple[list[tuple[str, ...]], list[str]]:
    """Returns the families that a study asks about without releases that failed, and notes on what is left out.

    Args:
        study: the study, with families by name.
        there: the releases that did not fail.
    """
    asked = study.audit.families
    assert not isinstance(asked, str)  # the plan has their names
    found, notes = [], []
    for family in asked:
        left = tuple(name for name in family if name in there)
        failed = ", ".join(name for name in family if name not in left)
        if failed:
            notes.append(f"family {RELEASE_SEPARATOR.join(family)}: {failed} left out, because of failed tasks")
        if len(left) >= FEWEST_RELEASES:
            found.append(left)
        else:
            notes.append(f"family {RELEASE_SEPARATOR.join(family)}: left out; {FEWEST_RELEASES} releases are needed")
    return list(dict.fromkeys(found)), notes


def audit_families(
    study: Study, settings: Sequence[AttackSetting], families: Sequence[tuple[str, ...]]
) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Returns the tables of families, and notes on those that cannot be attacked.

    The run has finished its trainings by then, so nothing is refused here.

    Args:
        study: the study.
        settings: the attack settings of its releases.
        families: from `families_there`.
    """
    parts: list[dict[str, pd.DataFrame]] = []
    notes = []
    for family in families:
        try:
            parts.append(family_tables(settings, family_plan(study, [family]), study.audit.fpr_levels, study.seed))
        except UserError as error:
            notes.append(f"{error}; left out")
    names = parts[0] if parts else ()
    return {name: pd.concat([part[name] for part in parts], ignore_index=True) for name in names}, notes


def with_private_families(
    families: Sequence[tuple[str, ...]], epsilons: Sequence[Mapping[str, Any]]
) -> list[tuple[str, ...]]:
    """Returns the families that were asked about, and those whose epsilon is told.

    Args:
        families: sets of releases.
        epsilons: records from `family_epsilons`.
    """
    private = (tuple(str(record["family"]).split(RELEASE_SEPARATOR)) for record in epsilons)
    return list(dict.fromkeys((*families, *private)))


def canary_bounds(study: Study) -> Bounds:
    """Returns how canaries bound epsilon in a study."""
    audit = study.audit
    return Bounds(audit.canary_guesses, audit.delta, audit.epsilon_thresholds)
