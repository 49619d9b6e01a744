"""The folder of a finished run: the study in it, what it lists beside artifacts, and its seal."""

# M models, N samples

from __future__ import annotations

import io
import json
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from pruneaudit.auditing import Audit
from pruneaudit.auditing.outcome import SCORES_FILE
from pruneaudit.data.population import Population
from pruneaudit.data.splits import splits_of
from pruneaudit.errors import UserError
from pruneaudit.files import SEALED_FILES, check_sealed, read_json, seal_files, write_atomically, writing
from pruneaudit.pipeline.held_population import STUDY_FILE as STUDY_FILE
from pruneaudit.pipeline.held_population import changed_data, held_population, population_to_run
from pruneaudit.pipeline.plan import Plan, check_functions, check_plugins, make_plan
from pruneaudit.pipeline.sources import SOURCES_FILE, keep_sources, recorded_sources
from pruneaudit.report.compare import changed_settings
from pruneaudit.report.html import write_report
from pruneaudit.report.notebook import run_html
from pruneaudit.results import RESULT_FILES, Results, changed
from pruneaudit.study import Study

MEMBERSHIP_FILE = "membership.npz"
"""Who is in whose training set: member, eligible (M, N), is_victim, group (M,), ids, reserve, canary (N,).

Also `copy_of` (N,), the column of the original, where the data hold copies."""
REPORT_FILE = "report.html"
TRACKED_FOLDER = ".tracked"
"""Holds the page as trackers are given it: without ids and pictures of samples."""
RELEASE_FILE = "release.json"
"""What every release is and costs; also in about.json."""
SEALED_ALWAYS = (*RESULT_FILES, SCORES_FILE, REPORT_FILE)
"""What the seal of every finished run lists."""
SEALED_IF_THERE = (STUDY_FILE, MEMBERSHIP_FILE, RELEASE_FILE, SOURCES_FILE)
"""What it lists besides, where it is there."""
PLANNED_BY = (STUDY_FILE, SOURCES_FILE)
"""What the plan of a finished run is made from."""
_MAY_DIFFER: Any = {
    "releases": True,
    "audit": True,
    "description": True,
    "keep_weights": True,
    "membership": {"num_models"},
}
"""Settings in which a study may go on from what is in its folder."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished study."""

    folder: Path
    """Where everything lies."""
    audit: Audit
    """Findings, comparisons, scores."""
    num_tasks_done: int
    """Trainings, prunings and queries that this run had to do; the rest was there."""
    failures: tuple[str, ...] = ()
    """Tasks that failed, a line each; their models are left out of all findings. A release that failed for
    most models is left out itself, and takes no model with it."""

    @property
    def report(self) -> Path:
        """The report to open."""
        return self.folder / REPORT_FILE

    def _repr_html_(self) -> str:
        """A notebook shows the report's answer, the findings and where the report lies."""
        return run_html(self.audit.results, self.report, self.failures)


def prepare(study: Study, data_root: Path | None = None, folder: Path | None = None) -> tuple[Plan, Population]:
    """The plan of a study that the user asks for, and its population; a training function is imported.

    Args:
        study: the study.
        data_root: as for `run`.
        folder: the run folder. It holds the population, where its source is gone.

    Raises:
        UserError: the study names something unknown, or its data are not there or do not suffice.
    """
    check_plugins(study)
    check_functions(study)
    population = population_to_run(study, folder, data_root)
    return make_plan(study, population), population


def prepare_recorded(
    study: Study, folder: Path, data_root: Path | None = None, whole: bool = True
) -> tuple[Plan, Population]:
    """As `prepare`, of a run folder's study and the population that lies there: no function that it names is imported.

    Args:
        study: the run's, or one with other attacks.
        folder: the run's.
        data_root: as for `run`; looked at only where the folder's population cannot be used.
        whole: as for `held_population`.

    Raises:
        UserError: as `prepare`, or the run has not recorded the source of a function.
    """
    check_plugins(study)
    population = held_population(study, folder, data_root, whole)
    return recorded_plan(study, folder, population), population


def recorded_plan(study: Study, folder: Path, population: Population) -> Plan:
    """The plan of a study as a run folder has it; no function that the study names is imported.

    Args:
        study: the run's, or one with other attacks.
        folder: the run's.
        population: the run's.

    Raises:
        UserError: the study names something unknown, or a function whose source the run has not recorded.
    """
    return make_plan(study, population, recorded_sources(folder))


def load_study(folder: Path) -> Study:
    """The study of a run folder."""
    if not (folder / STUDY_FILE).is_file():
        raise UserError(f"{folder}: no {STUDY_FILE} there; expected the folder of a run, such as runs/NAME")
    return Study.load(folder / STUDY_FILE)


def keep_study(plan: Plan, study: Study, population: Population, root: Path) -> None:
    """Writes the study, the sources of its functions, and who is in whose training set, into the run folder."""
    splits = splits_of(study.membership, study.seed, range(study.membership.num_models), population)
    manifest = {field.name: getattr(splits, field.name) for field in fields(splits)}
    manifest |= {"ids": population.ids, "reserve": population.reserve, "canary": population.canary}
    manifest |= {} if population.copy_of is None else {"copy_of": population.copy_of}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **manifest)
    with writing(root):
        keep_sources(plan, root)
        write_atomically(root / STUDY_FILE, study.model_dump_json(indent=1) + "\n")
        write_atomically(root / MEMBERSHIP_FILE, buffer.getvalue())


def replaced(study: Study, population: Population, root: Path) -> list[str]:
    """What leaves the findings of a run folder because another study, or other data, have been run there."""
    if not (root / STUDY_FILE).is_file():
        return []
    try:
        before = load_study(root)
    except UserError:  # of another version, or damaged: it is replaced whatever it was
        return []
    new, old = (json.loads(each.model_dump_json(exclude=_MAY_DIFFER)) for each in (study, before))
    differing = [setting.key for setting in changed_settings(new, old)]
    if not differing:
        return changed_data(study, population, root)
    lost = [release.name for release in before.releases if release not in study.releases]
    leaving = f", and {', '.join(lost)} leave them" if lost else ""
    return [
        f"{root} holds a study that differs in {', '.join(differing[:4])}: these findings replace its{leaving}; to keep"
        " both, give this one another --out or --set name=NAME"
    ]


def measured_before(folder: Path) -> dict[str, Any]:
    """What a run has measured of its releases, as a part of `about`; nothing where it has not."""
    try:
        return {"release_report": read_json(folder / RELEASE_FILE)}
    except (OSError, ValueError):
        return {}


def write_up(
    found: Audit,
    folder: Path,
    num_tasks_done: int,
    failures: tuple[str, ...] = (),
    begun: bool = False,
    show_records: bool | None = None,
) -> Run:
    """Saves findings, scores and report of an audit.

    Args:
        found: the audit.
        folder: where to.
        num_tasks_done: what the run had to do.
        failures: tasks that failed.
        begun: whether a run is at work in the folder, which the same command would go on with.
        show_records: as for `write_report`.
    """
    with writing(folder, begun):
        found.save(folder, begun)
        if "release_report" in found.results.about:
            text = json.dumps(found.results.about["release_report"], indent=1, allow_nan=False)
            write_atomically(folder / RELEASE_FILE, text + "\n")
        write_report(found.results, folder / REPORT_FILE, show_records)
        seal_run(folder)
    return Run(folder, found, num_tasks_done, failures)


def page_for_trackers(results: Results, folder: Path) -> str:
    """Writes the page without ids and pictures of samples, for other programs; its name, relative to the folder."""
    page = folder / TRACKED_FOLDER / REPORT_FILE
    with writing(folder, begun=True):
        page.parent.mkdir(exist_ok=True)
        write_report(results, page, show_records=False, run_folder=folder)
    return str(page.relative_to(folder))


def seal_run(folder: Path) -> None:
    """Writes down the checksums of all results in the folder."""
    seal_files(folder, [*SEALED_ALWAYS, *(name for name in SEALED_IF_THERE if (folder / name).exists())])


def problems_of(folder: Path) -> dict[str, str]:
    """What is wrong with each file of a finished run beside its artifacts, as `check_sealed` says it."""
    return check_sealed(folder, SEALED_ALWAYS, SEALED_IF_THERE)


def check_unchanged(folder: Path, names: Collection[str]) -> None:
    """Refuses a run whose list of checksums, or one of some files, is not as the run left it.

    Raises:
        UserError: one has changed, is missing or not listed.
    """
    for name, problem in problems_of(folder).items():
        if problem and name in (SEALED_FILES, *names):
            raise changed(folder, name, problem)
