"""Measures what attacks would find with fewer references, from stored signals or from files of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from pruneaudit.api.again import check_all_there
from pruneaudit.api.reuse import keep_page
from pruneaudit.api.saved import PredictionFiles, loaded
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE, file_sha256, writing
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.engine.assemble import study_settings
from pruneaudit.evaluation.attack_setting import AttackSetting, primary_kind, setting_of
from pruneaudit.evaluation.comparison_plan import fewest_references
from pruneaudit.evaluation.given import chosen_baseline, given_settings
from pruneaudit.evaluation.power import Drawing, power_rows
from pruneaudit.evaluation.power_attacks import power_attacks
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.standard import tpr_levels
from pruneaudit.report.page.html import write_report
from pruneaudit.report.selection import num_references, release_names
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.lock import RunLock
from pruneaudit.runs.names import PLANNED_BY, REPORT_FILE
from pruneaudit.signals.signals import Signals
from pruneaudit.study.audit import DEFAULT_LEVELS


@dataclass(frozen=True)
class Curves:
    """How the curves of power against the number of references are drawn.

    Example:
        >>> pruneaudit.Curves(num_subsets=20).at is None
        True
    """

    num_subsets: int | None = None
    """Subsets of each size for each victim; default: 100 over all victims, and at least 5 for each."""
    at: Sequence[int] | None = None
    """Numbers of references for which LiRA's AUC is extrapolated; default: powers of two, up to 8 times the largest."""
    seed: int | None = None
    """The seed of subsets and bootstrap, for files of predictions; default: that of the audit in `out`, or 0."""
    fpr_levels: Sequence[float] | None = None
    """False-positive rates, for files of predictions; default: those of the audit in `out`, or the usual ones."""

    def __post_init__(self) -> None:
        if self.num_subsets is not None and self.num_subsets < 1:
            raise UserError(f"subsets: got {self.num_subsets}, expected 1 or more")
        wrong = [count for count in self.at or () if count < 1]
        if wrong:
            raise UserError(f"at: got {wrong[0]}, expected numbers of references, such as 64")


USUAL_CURVES = Curves()


@dataclass(frozen=True, eq=False)
class Power:
    """What attacks find with fewer references, and LiRA with more.

    Example:
        >>> found = pruneaudit.power(pruneaudit.PredictionFiles("signals.npz"), ["rmia"])
        >>> int(found.table["num_references"].max())
        3
    """

    table: pd.DataFrame
    """The rows of power.csv; see `Results.power`."""
    results: Results | None
    """The results to which the table was added; None if it was added to none."""
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

    The curves of a run are added to its folder: power.csv, findings.json, and a section of the report.

    Args:
        source: the folder of a run; or files of predictions, whose curves are added to `out` if it is given.
        attacks: attacks that use references, such as "lira" or "rmia:mode=offline"; default: LiRA and RMIA.
        out: for files of predictions, the folder of their audit.
        curves: how the curves are drawn.
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
    if isinstance(source, PredictionFiles):
        return _of_files(source, attacks, None if out is None else Path(out), curves, runtime, command)
    folder = Path(source)
    if not (folder / STUDY_FILE).exists():
        raise UserError(_not_a_run(folder))
    if out is not None:
        raise UserError(f"out: got {out} beside the run {folder}, to which its curves are added; leave it out")
    if curves.seed is not None or curves.fpr_levels is not None:
        raise UserError(f"got a seed or rates beside the run {folder}, whose study has them; leave them out")
    return _of_run(RunFolder.open(folder), attacks, curves, runtime, command)


def _not_a_run(folder: Path) -> str:
    if (folder / REPORT_FILE).exists():
        return (
            f"{folder}: holds an audit of predictions, which does not keep them; give their files, with:"
            f" pruneaudit power FILE... --out {folder}"
        )
    return f"{folder}: no {STUDY_FILE} there; expected the folder of a run, such as runs/demo, or files of predictions"


def _of_run(run: RunFolder, attacks: Sequence[str], curves: Curves, runtime: Machine, command: str) -> Power:
    results = run.results()
    run.check_unchanged(PLANNED_BY)
    plan, audit_data = run.planned(data_root=runtime.data_folder)
    check_all_there(run, plan)
    with RunLock(run.path):
        settings = study_settings(plan, run.store, audit_data)
        drawing = Drawing(plan.study.audit.fpr_levels, plan.study.seed, curves.num_subsets, curves.at)
        found = _drawn(settings, attacks, drawing, runtime)
        return replace(found, results=_added(results, run.path, found, drawing, command))


def _of_files(
    files: PredictionFiles, attacks: Sequence[str], out: Path | None, curves: Curves, runtime: Machine, command: str
) -> Power:
    results = None if out is None else RunFolder(out).results()
    if results is not None and results.about.get("study"):
        raise UserError(f"{out}: holds the run of a study, not the audit of these files; use: pruneaudit power {out}")
    name = None
    if results is not None and not isinstance(files.signals, Mapping) and not Path(files.signals).is_dir():
        name = next(iter(release_names(results)))  # audit --name
    paths = files.releases(name)
    base = chosen_baseline(list(paths), files.baseline)
    signals = {release: Signals.load(path) for release, path in paths.items()}
    settings = given_settings(signals, loaded(files.other_models()), base)
    if out is not None and results is not None:
        _check_same(out, results, paths, base, settings)
    audited = _levels_and_seed(results)
    levels = audited[0] if curves.fpr_levels is None else curves.fpr_levels
    drawing = Drawing(levels, audited[1] if curves.seed is None else curves.seed, curves.num_subsets, curves.at)
    found = _drawn(settings, attacks, drawing, runtime)
    if out is None or results is None:
        return found
    return replace(found, results=_added(results, out, found, drawing, command))


def _check_same(
    out: Path, results: Results, paths: Mapping[str, Path], base: str, settings: Sequence[AttackSetting]
) -> None:
    """Refuses an audit of other files.

    Raises:
        UserError: releases, checksums or numbers of references differ.
    """
    audited = release_names(results)
    if set(audited) != set(paths):
        raise UserError(f"{out}: is the audit of {', '.join(audited)}, got {', '.join(paths)}; give the same files")
    if results.about.get("audit_data", {}).get("sha256") != file_sha256(paths[base]):
        raise UserError(f"{paths[base]}: differs from the file that {out} audited; audit it again, or leave --out out")
    given, known = fewest_references(settings), num_references(results)
    if known is not None and known != given:
        raise UserError(f"{out}: each victim had {known} references, got {given}; give the same --references")


def _levels_and_seed(results: Results | None) -> tuple[tuple[float, ...], int]:
    """False-positive rates and seed of an audit; the usual ones without any."""
    if results is None:
        return DEFAULT_LEVELS, 0
    seeds = results.about.get("seeds") or [0]
    return tuple(tpr_levels(results.findings.columns).values()), int(seeds[0])


def _drawn(settings: Sequence[AttackSetting], attacks: Sequence[str], drawing: Drawing, runtime: Machine) -> Power:
    """The curves of every release, under the references that summaries show."""
    kind = primary_kind(setting.references for setting in settings)
    releases = dict.fromkeys(setting.release for setting in settings)
    chosen = [found for name in releases if (found := setting_of(settings, name, kind)) is not None]
    played, notes = power_attacks(attacks, chosen)

    def begin(release: str, attack: str) -> None:
        runtime.progress.say(f"{release}: {attack} with fewer references")

    return Power(pd.DataFrame(power_rows(chosen, played, drawing, begin)), None, tuple(notes))


def _added(results: Results, folder: Path, found: Power, drawing: Drawing, command: str) -> Results:
    """The results with the curves, which are written to the folder."""
    record = {"command": command, "seed": drawing.seed, "notes": list(found.notes)}
    added = replace(results, power=found.table, about=results.about | {"power": record})
    with writing(folder):
        added.save(folder)
        write_report(added, folder / REPORT_FILE)
        keep_page(folder)
        RunFolder(folder).seal()
    return added
