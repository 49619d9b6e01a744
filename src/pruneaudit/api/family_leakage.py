"""Measures how much families of releases reveal, from stored signals or from files of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pruneaudit.api.added_later import Figures, Stored, stored
from pruneaudit.api.saved import PredictionFiles
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.engine.family_audit import canary_bounds, family_plan, with_private_families
from pruneaudit.engine.family_epsilon import FAMILY_EPSILON, family_epsilons
from pruneaudit.engine.store import Store
from pruneaudit.evaluation.asked_families import check_families, rival_attacks
from pruneaudit.evaluation.canaries import Bounds
from pruneaudit.evaluation.families import FamilyPlan, family_tables
from pruneaudit.evaluation.family_canaries import with_family_canaries
from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.families import FAMILIES
from pruneaudit.study.families import ALL, as_families, checked_families, checked_releases


@dataclass(frozen=True)
class FamilySettings:
    """Settings of the attacks on families.

    Example:
        >>> pruneaudit.FamilySettings(attacks=["pair_nn"]).seed is None
        True
    """

    attacks: Sequence[str] = ()
    """Other attacks on all releases of a family, such as "pair_nn", for comparison with the joint attack."""
    seed: int | None = None
    """The seed of folds and bootstrap, for files of predictions; default: the seed of the audit in `out`, or 0."""
    fpr_levels: Sequence[float] | None = None
    """False-positive rates, for files of predictions; default: the rates of the audit in `out`, or the usual ones."""


USUAL_SETTINGS = FamilySettings()


@dataclass(frozen=True, eq=False)
class Families:
    """The leakage of families of releases, as tables.

    Example:
        >>> files = pruneaudit.PredictionFiles({"dense": "signals.npz", "int8": "compressed.npz"})
        >>> sorted(set(pruneaudit.families(files).families["releases"]))
        ['dense', 'dense; int8', 'int8']
    """

    families: pd.DataFrame
    """The rows of families.csv; see `Results.families`."""
    marginal_leakage: pd.DataFrame
    """The rows of marginal_leakage.csv; see `Results.marginal_leakage`."""
    released: tuple[str, ...]
    """The releases that count as public already."""
    results: Results | None
    """The results with the new tables; None if no results got them."""


def families(
    source: str | Path | PredictionFiles,
    families: Sequence[Sequence[str]] | str = (),
    released: Sequence[str] = (),
    out: str | Path | None = None,
    settings: FamilySettings = USUAL_SETTINGS,
    runtime: Machine = HERE,
    command: str = "",
) -> Families:
    """Measures what an attacker with several releases finds, and what each release adds; trains no network.

    In the folder of a run, it writes families.csv and marginal_leakage.csv, and adds the tables to findings.json and to
    the report. They replace earlier ones.

    Args:
        source: the folder of a run, or files of predictions. The tables of files are added to `out`, if given.
        families: sets of releases, such as [["dense", "int8"]], or "all": one family of all releases. Default: the
            families of the study, or "all".
        released: the releases that are public already; default: `dense`, or the baseline of the predictions.
        out: for files of predictions, the folder of their audit.
        settings: settings of the attacks.
        runtime: its `progress` shows every family; its `data_root` is as for `attack`.
        command: the command line that repeats this, for the report.

    Raises:
        UserError: the source is neither, signals are missing, a release does not exist or has no references, an attack
            does not fit, or `out` is the audit of other files.

    Example:
        >>> files = pruneaudit.PredictionFiles({"dense": "signals.npz", "int8": "compressed.npz"})
        >>> found = pruneaudit.families(files, [["dense", "int8"]], released=["dense"])
        >>> found.marginal_leakage.query("metric == 'auc' and given == 'dense'")["added"].item()
        'int8'
    """
    rivals = rival_attacks(settings.attacks)
    with stored(source, out, Figures("families", settings.seed, settings.fpr_levels), runtime) as given:
        asked = _asked(given, families)
        public = _public(given, asked, released)
        check_families(given.settings, asked)
        told: dict[str, Any] = {FAMILIES: {"command": command, "seed": given.seed, "released": list(public)}}
        told_together = list(asked)
        if given.plan is None or given.folder is None:
            together = FamilyPlan(asked, public, rivals)
        else:
            together = family_plan(given.plan.study, asked, public, rivals)
            if epsilons := family_epsilons(given.plan, Store(given.folder), asked):
                told[FAMILY_EPSILON] = epsilons
                told_together = with_private_families(asked, epsilons)
        tables = family_tables(given.settings, together, given.levels, given.seed, runtime.progress.say)
        if given.results is not None:
            tables["canaries"] = with_family_canaries(
                given.results.canaries, given.settings, told_together, _bounds(given), given.seed
            )
        results = given.with_tables(tables, told)
        return Families(tables["families"], tables["marginal_leakage"], public, results)


def _asked(given: Stored, families: Sequence[Sequence[str]] | str) -> tuple[tuple[str, ...], ...]:
    """The families: those that were named, else those of the study, else one of all releases."""
    chosen = as_families(families, "families") if families else ()
    if given.plan is None or given.asked is None:
        return checked_families(chosen or ALL, given.releases, "families")
    chosen = chosen or given.asked.audit.families or ALL
    study = given.asked if chosen == ALL else given.plan.study  # all: without those that were added for comparison
    return study.families_by_name(chosen, "families")


def _bounds(given: Stored) -> Bounds:
    """How canaries bound epsilon: as in the study, or as in the audit of the files."""
    if given.plan is not None:
        return canary_bounds(given.plan.study)
    known = [] if given.results is None else [name for name in given.results.canaries["thresholds"] if name]
    return Bounds(thresholds=known[0]) if known else Bounds()


def _public(given: Stored, families: Sequence[Sequence[str]], released: Sequence[str]) -> tuple[str, ...]:
    """What is public now."""
    known = [name for name in given.releases if any(name in family for family in families)]
    return checked_releases(released, known, "released") if released else (given.baseline,)
