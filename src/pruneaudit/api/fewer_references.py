"""Measures what attacks would find with fewer references, from stored signals or from files of predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from pruneaudit.api.added_later import Figures, stored
from pruneaudit.api.saved import PredictionFiles
from pruneaudit.core.errors import UserError
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.evaluation.attack_setting import AttackSetting, primary_kind, setting_of
from pruneaudit.evaluation.power import Drawing, power_rows
from pruneaudit.evaluation.power_attacks import power_attacks
from pruneaudit.evaluation.results import Results


@dataclass(frozen=True)
class Curves:
    """Settings of the curves of power against the number of references.

    Example:
        >>> pruneaudit.Curves(num_subsets=20).at is None
        True
    """

    num_subsets: int | None = None
    """Random subsets of references, per size and victim; default: 100 over all victims, at least 5 for each."""
    at: Sequence[int] | None = None
    """Numbers of references for which LiRA's AUC is extrapolated; default: powers of two, up to 8 times those that
    there are."""
    seed: int | None = None
    """The seed of subsets and bootstrap, for files of predictions; default: the seed of the audit in `out`, or 0."""
    fpr_levels: Sequence[float] | None = None
    """False-positive rates, for files of predictions; default: the rates of the audit in `out`, or the usual ones."""

    def __post_init__(self) -> None:
        if self.num_subsets is not None and self.num_subsets < 1:
            raise UserError(f"subsets: got {self.num_subsets}, expected 1 or more")
        wrong = [count for count in self.at or () if count < 1]
        if wrong:
            raise UserError(f"at: got {wrong[0]}, expected numbers of references, such as 64")


USUAL_CURVES = Curves()


@dataclass(frozen=True, eq=False)
class Power:
    """The power of attacks with fewer references, and of LiRA with more, as a table.

    Example:
        >>> found = pruneaudit.power(pruneaudit.PredictionFiles("signals.npz"), ["rmia"])
        >>> int(found.table["num_references"].max())
        3
    """

    table: pd.DataFrame
    """The rows of power.csv; see `Results.power`."""
    results: Results | None
    """The results with the new table; None if no results got it."""
    notes: tuple[str, ...] = field(default=())
    """Attacks that were left out, each with the reason."""


def power(
    source: str | Path | PredictionFiles,
    attacks: Sequence[str] = (),
    out: str | Path | None = None,
    curves: Curves = USUAL_CURVES,
    runtime: Machine = HERE,
    command: str = "",
) -> Power:
    """Measures what attacks find with 1, 2, 4, ... and all references; trains no network.

    In the folder of a run, it writes power.csv, and adds the curves to findings.json and to the report.

    Args:
        source: the folder of a run, or files of predictions. The curves of files are added to `out`, if given.
        attacks: attacks that use references, such as "lira" or "rmia:mode=offline"; default: LiRA and RMIA.
        out: for files of predictions, the folder of their audit.
        curves: settings of the curves.
        runtime: its `progress` shows every curve; its `data_root` is as for `attack`.
        command: the command line that repeats this, for the report.

    Raises:
        UserError: the source is neither, signals are missing, an attack has no curve, or `out` is the audit of other
            files.

    Example:
        >>> found = pruneaudit.power("runs/first", ["rmia"])
        >>> sorted(set(found.table["num_references"]))
        [1, 2, 3]
    """
    with stored(source, out, Figures("power", curves.seed, curves.fpr_levels), runtime) as given:
        drawing = Drawing(given.levels, given.seed, curves.num_subsets, curves.at)
        found = _drawn(given.settings, attacks, drawing, runtime)
        record = {"command": command, "seed": drawing.seed, "notes": list(found.notes)}
        return replace(found, results=given.with_tables({"power": found.table}, {"power": record}))


def _drawn(settings: Sequence[AttackSetting], attacks: Sequence[str], drawing: Drawing, runtime: Machine) -> Power:
    """The curves of every release, under the references that summaries show."""
    kind = primary_kind(setting.references for setting in settings)
    releases = dict.fromkeys(setting.release for setting in settings)
    chosen = [found for name in releases if (found := setting_of(settings, name, kind)) is not None]
    played, notes = power_attacks(attacks, chosen)

    def begin(release: str, attack: str) -> None:
        runtime.progress.say(f"{release}: {attack} with fewer references")

    return Power(pd.DataFrame(power_rows(chosen, played, drawing, begin)), None, tuple(notes))
