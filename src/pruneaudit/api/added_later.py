"""Adds tables to a finished run, or to an audit of prediction files, from its stored signals.

`pruneaudit power`, `pruneaudit families` and `pruneaudit records` train nothing. They run attacks again on stored
signals, and add tables and a section to the report.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pruneaudit.api.again import check_all_there
from pruneaudit.api.reuse import keep_page
from pruneaudit.api.saved import PredictionFiles, loaded
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE, file_sha256, writing
from pruneaudit.core.machine import Machine
from pruneaudit.engine.assemble import study_settings
from pruneaudit.engine.plan import Plan
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.comparison_plan import fewest_references
from pruneaudit.evaluation.given import chosen_baseline, given_settings
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics.standard import tpr_levels
from pruneaudit.report.page.html import write_report
from pruneaudit.report.selection import num_references, release_names
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.lock import RunLock
from pruneaudit.runs.names import PLANNED_BY, REPORT_FILE
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE, Study
from pruneaudit.study.audit import DEFAULT_LEVELS


@dataclass(frozen=True)
class Figures:
    """The settings of the measurements that such a command adds."""

    command: str
    """The name of the command, for messages: `power`, `families` or `records`."""
    seed: int | None = None
    """The seed, for files of predictions; None: the seed of the audit in `out`, or 0."""
    fpr_levels: Sequence[float] | None = None
    """False-positive rates, for files of predictions; None: the rates of the audit in `out`, or the usual ones."""


@dataclass(frozen=True, eq=False)
class Stored:
    """Attack settings from stored signals, and the results to which tables are added."""

    settings: Sequence[AttackSetting]
    levels: Sequence[float]
    seed: int
    baseline: str
    """The release with which the others are compared."""
    plan: Plan | None = None
    """The plan of the run, including the baselines that the program added; None for files."""
    asked: Study | None = None
    """The study as the user wrote it, without the added baselines; None for files."""
    folder: Path | None = None
    results: Results | None = None
    """The results in the folder; None if no results get the tables."""

    @property
    def releases(self) -> list[str]:
        """The attacked releases."""
        return list(dict.fromkeys(setting.release for setting in self.settings))

    def with_tables(
        self, tables: Mapping[str, pd.DataFrame], told: Mapping[str, Any], show_records: bool | None = None
    ) -> Results | None:
        """Adds tables to the results, writes the results, the report and the seal, and returns the results.

        Args:
            tables: by their names in `Results`.
            told: parts of `about`, such as how the tables were made.
            show_records: as for `write_report`.
        """
        if self.results is None or self.folder is None:
            return None
        about = self.results.about | dict(told)
        added = replace(self.results.with_tables(tables), about=about)
        with writing(self.folder):
            added.save(self.folder)
            write_report(added, self.folder / REPORT_FILE, show_records)
            keep_page(self.folder)
            RunFolder(self.folder).seal()
        return added


@contextmanager
def stored(
    source: str | Path | PredictionFiles, out: str | Path | None, figures: Figures, runtime: Machine
) -> Iterator[Stored]:
    """Opens a finished run, and keeps it locked, or opens files of predictions.

    Args:
        source: the folder of a run, or files of predictions.
        out: for files of predictions, the folder of their audit.
        figures: how the figures are measured.
        runtime: its `data_root` is as for `attack`.

    Raises:
        UserError: the source is neither, signals are missing, or `out` is the audit of other files.
    """
    if isinstance(source, PredictionFiles):
        yield _of_files(source, None if out is None else Path(out), figures)
        return
    folder = Path(source)
    if not (folder / STUDY_FILE).exists():
        raise UserError(_not_a_run(folder, figures.command))
    if out is not None:
        raise UserError(
            f"out: got {out} together with the run {folder}, but the tables are added to that run; leave it out"
        )
    if figures.seed is not None or figures.fpr_levels is not None:
        raise UserError(f"got a seed or rates together with the run {folder}, but its study sets them; leave them out")
    run = RunFolder.open(folder)
    results = run.results()
    run.check_unchanged(PLANNED_BY)
    plan, audit_data = run.planned(data_root=runtime.data_folder)
    check_all_there(run, plan)
    with RunLock(run.path):
        settings = study_settings(plan, run.store, audit_data)
        measured = plan.study.audit.fpr_levels, plan.study.seed
        yield Stored(settings, *measured, DENSE, plan, run.study, run.path, results)


def _not_a_run(folder: Path, command: str) -> str:
    if (folder / REPORT_FILE).exists():
        return (
            f"{folder}: contains an audit, but not the predictions that it attacked; give their files, with:"
            f" pruneaudit {command} FILE... --out {folder}"
        )
    return f"{folder}: no {STUDY_FILE} there; expected the folder of a run, such as runs/demo, or files of predictions"


def _of_files(files: PredictionFiles, out: Path | None, figures: Figures) -> Stored:
    results = None if out is None else RunFolder(out).results()
    if results is not None and results.about.get("study"):
        raise UserError(
            f"{out}: contains the run of a study, not an audit of these files; use: pruneaudit {figures.command} {out}"
        )
    name = None
    if results is not None and not isinstance(files.signals, Mapping) and not Path(files.signals).is_dir():
        name = next(iter(release_names(results)))  # audit --name
    paths = files.releases(name)
    base = chosen_baseline(list(paths), files.baseline)
    signals = {release: Signals.load(path) for release, path in paths.items()}
    settings = given_settings(signals, loaded(files.other_models()), base)
    if out is not None and results is not None:
        _check_same(out, results, paths, base, settings)
    levels, seed = _levels_and_seed(results)
    levels = levels if figures.fpr_levels is None else tuple(figures.fpr_levels)
    seed = seed if figures.seed is None else figures.seed
    return Stored(settings, levels, seed, base, folder=out, results=results)


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
