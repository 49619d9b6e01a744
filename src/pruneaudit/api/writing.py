"""Writes the results of a job to its folder: tables, scores, page and seal; defines the finished `Run`."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.api.reuse import keep_identity
from pruneaudit.core.files import make_private_folder, open_to_others, write_atomically, writing
from pruneaudit.data import SOURCES
from pruneaudit.evaluation import Audit
from pruneaudit.evaluation.results import Results
from pruneaudit.report.notebook import run_html
from pruneaudit.report.page.html import write_report
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.names import EVALUATED_FILE, RECORDS_FILE, RELEASE_FILE, REPORT_FILE, TRACKED_FOLDER
from pruneaudit.study import Study


@dataclass(frozen=True, eq=False)
class Run:
    """A finished study.

    Example:
        >>> finished = pruneaudit.run("study.toml", out="runs")
        >>> finished.report.name
        'report.html'
    """

    folder: Path
    """The folder with all results."""
    audit: Audit
    """Findings, comparisons, scores."""
    num_tasks_done: int
    """Number of tasks (trainings, compressions, queries) that this call did; it reused the other parts."""
    failures: tuple[str, ...] = ()
    """Tasks that failed, one line each. Their models are left out of all findings. If a release failed for most models,
    the release is left out instead, and its models stay."""

    @property
    def results(self) -> Results:
        """Findings, comparisons and their provenance."""
        return self.audit.results

    @property
    def report(self) -> Path:
        """The path of the report."""
        return self.folder / REPORT_FILE

    def __repr__(self) -> str:
        """The folder and counts, instead of all tables and scores."""
        failed = f", {len(self.failures)} failed task{'s'[len(self.failures) == 1 :]}" if self.failures else ""
        return f"Run('{self.folder}', {self.results.size}{failed})"

    def _repr_html_(self) -> str:
        """Shows in a notebook the report's answer, the findings and the path of the report."""
        return run_html(self.results, self.report, self.failures)


def write_up(
    found: Audit,
    folder: Path,
    begun: bool = False,
    show_records: bool | None = None,
    identity: str = "",
    learned: Collection[Path] = (),
) -> None:
    """Saves findings, scores and report of an audit, and seals them.

    Args:
        found: the audit.
        folder: the folder to write to.
        begun: whether a run is in progress in the folder, which the same command would continue.
        show_records: as for `write_report`.
        identity: the identity of the results, if they can be reused.
        learned: as for `keep_identity`.
    """
    with writing(folder, begun):
        (folder / EVALUATED_FILE).unlink(missing_ok=True)
        (folder / RECORDS_FILE).unlink(missing_ok=True)  # verdicts of earlier results, as their counts are
        found.save(folder, begun)
        if "release_report" in found.results.about:
            text = json.dumps(found.results.about["release_report"], indent=1, allow_nan=False)
            write_atomically(folder / RELEASE_FILE, text + "\n")
        write_report(found.results, folder / REPORT_FILE, show_records)
        if identity:
            keep_identity(folder, identity, learned)
        RunFolder(folder).seal()


def page_for_trackers(results: Results, folder: Path) -> str:
    """Writes a page without ids and pictures of samples, for trackers; returns its path relative to the folder."""
    page = folder / TRACKED_FOLDER / REPORT_FILE
    with writing(folder, begun=True):
        page.parent.mkdir(exist_ok=True)
        write_report(results, page, show_records=False, run_folder=folder)
    return str(page.relative_to(folder))


def made_private(study: Study, folder: Path) -> list[str]:
    """Makes a study's folder readable by its owner only, unless its data are public; returns warnings."""
    return [] if SOURCES.get(study.data.source.name).is_public else made_for_owner(folder)


def made_for_owner(folder: Path) -> list[str]:
    """Makes a folder readable by its owner only; returns a warning if it existed and stays open to others."""
    with writing(folder):
        make_private_folder(folder)
        note = open_to_others(folder)
    return [note] if note else []
