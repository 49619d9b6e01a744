"""The whole job in one call: train, prune, attack, write up."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pruneaudit import __version__
from pruneaudit.auditing import Audit
from pruneaudit.errors import UserError
from pruneaudit.files import write_atomically
from pruneaudit.pipeline.plan import Plan, check_plugins, make_plan
from pruneaudit.pipeline.store import file_sha256
from pruneaudit.study import Study

LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "safetensors")
STUDY_FILE = "study.json"
REPORT_FILE = "report.html"


@dataclass(frozen=True, eq=False)
class Run:
    """A finished study."""

    folder: Path
    """Where everything lies."""
    audit: Audit
    """Findings, comparisons, scores."""
    num_tasks_done: int
    """Trainings, prunings and queries that this run had to do; the rest was there."""

    @property
    def report(self) -> Path:
        """The report to open."""
        return self.folder / REPORT_FILE


def prepare(study: Study, data_root: Path | None = None) -> tuple[Plan, Any]:
    """The plan of a study, and its population.

    Raises:
        UserError: the study names something unknown, or its data are not there or do not suffice.
    """
    from pruneaudit.data.population import load_population

    check_plugins(study)
    population = load_population(study.data, study.seed, data_root)
    return make_plan(study, population), population


def run(
    study: Study,
    out: str | Path = "runs",
    executor: str = "processes",
    jobs: int | None = None,
    device: str = "cpu",
    data_root: str | Path | None = None,
    progress: Any = None,
    command: str = "",
    demonstration: bool = False,
) -> Run:
    """Runs a study, or finishes one that was interrupted; what is on disk already is not made again.

    Args:
        study: what to do.
        out: the run's folder is made in it, named after the study.
        executor: `processes` (one worker process per core) or `serial` (in this process).
        jobs: worker processes; default: one per core, on a GPU one.
        device: `cpu`, `cuda`, or `cuda:N`.
        data_root: where downloaded data sets lie; default: PRUNEAUDIT_DATA or ~/.cache/pruneaudit.
        progress: a `pipeline.driver.Progress`; default: silent.
        command: the command line that repeats this, for the report.
        demonstration: the report says that it is a demonstration.

    Returns:
        The finished run; findings, scores and report are in its folder.

    Raises:
        UserError: study, data, device or folder cannot be used.
        TaskFailedError: a training or another task failed; finished tasks are kept.
    """
    from pruneaudit.pipeline.assemble import audit_study
    from pruneaudit.pipeline.driver import Silent, carry_out
    from pruneaudit.pipeline.executors import make_executor
    from pruneaudit.pipeline.store import Store

    check_device(device)
    workers = jobs if jobs is not None else 1 if device != "cpu" else usable_cores()
    chosen = make_executor(executor, workers)
    plan, population = prepare(study, Path(data_root) if data_root else None)
    store = Store(Path(out) / study.name)
    store.open_for_writing()
    write_atomically(store.root / STUDY_FILE, study.model_dump_json(indent=1) + "\n")
    progress = progress or Silent()
    notes = study.warnings()
    for note in notes:
        progress.say(f"warning: {note}")
    done = carry_out(plan, population, store, chosen, device, progress)
    progress.say(f"attacking {len(plan.releases)} releases of {study.membership.num_models} models")
    facts = {"device": device, "command": command, "demonstration": demonstration, "warnings": notes}
    audit = audit_study(plan, store, population, lambda *_: {**about(plan, population), **facts})
    return Run(write_up(audit, store.root), audit, done)


def attack_again(
    folder: str | Path,
    attacks: list[str],
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    command: str = "",
) -> Run:
    """Plays other attacks on the signals that a run has stored; nothing is trained.

    Args:
        folder: the run's folder.
        attacks: names such as "rmia" or "lira:mode=offline".
        out: where findings and report go; default: the run's folder.
        data_root: as for `run`.
        command: the command line that repeats this, for the report.

    Raises:
        UserError: the folder is no run, signals are missing, or an attack is unknown.
    """
    from pruneaudit.options import validated
    from pruneaudit.pipeline.assemble import audit_study
    from pruneaudit.pipeline.driver import missing_tasks
    from pruneaudit.pipeline.store import Store

    folder = Path(folder)
    values = load_study(folder).model_dump(mode="json")
    values["audit"]["attacks"] = attacks
    study = validated(Study, values, "attacks")
    plan, population = prepare(study, Path(data_root) if data_root else None)
    store = Store(folder)
    lacking = missing_tasks(plan, store)
    if lacking:
        raise UserError(
            f"{folder}: {len(lacking)} of {len(plan.tasks)} parts of this study are not there, first {lacking[0].name};"
            f" finish it with: pruneaudit run {folder / STUDY_FILE} --out {folder.parent}"
        )
    facts = {"device": "cpu", "command": command, "demonstration": False, "warnings": study.warnings()}
    audit = audit_study(plan, store, population, lambda *_: {**about(plan, population), **facts})
    return Run(write_up(audit, Path(out) if out else folder), audit, 0)


def audit_files(
    file: Path,
    attacks: str = "all",
    references: Path | None = None,
    paired: Path | None = None,
    out: str | Path = "audit",
    seed: int = 0,
    command: str = "",
) -> Run:
    """Audits saved predictions: findings, scores and report into a folder, no training.

    Args:
        file: predictions in the exchange format of `Signals`, `.npz`.
        attacks: comma-separated names, or "all" that the predictions allow.
        references: predictions of other models on the same samples.
        paired: predictions of the same models in another public release.
        out: the folder.
        seed: seed of folds and bootstrap.
        command: the command line that repeats this, for the report.

    Raises:
        UserError: a file is not usable, or an attack lacks what it needs.
    """
    from pruneaudit.auditing import audit
    from pruneaudit.signals.signals import Signals

    signals = Signals.load(file)
    other_models, other_release = (None if path is None else Signals.load(path) for path in (references, paired))
    found = audit(signals, other_models, other_release, attacks=attacks, seed=seed)
    found.results.about.update(
        {
            "name": file.stem,
            "protocol": "as in the file",
            "num_models": signals.num_models,
            "seeds": [seed],
            "population": {
                "name": file.name,
                "num_samples": int((~signals.reserve).sum()),
                "num_reserve": int(signals.reserve.sum()),
                "num_classes": signals.num_classes,
                "sha256": file_sha256(file),
            },
            **_this_machine(),
            "command": command,
            "warnings": [],
            "demonstration": False,
        }
    )
    return Run(write_up(found, Path(out)), found, 0)


def load_study(folder: Path) -> Study:
    """The study of a run folder."""
    if not (folder / STUDY_FILE).is_file():
        raise UserError(f"{folder}: no {STUDY_FILE} there; expected the folder of a run, such as runs/NAME")
    return Study.load(folder / STUDY_FILE)


def write_up(audit: Audit, folder: Path) -> Path:
    """Saves findings, scores and report of an audit."""
    from pruneaudit.report.html import write_report

    audit.save(folder)
    write_report(audit.results, folder / REPORT_FILE)
    return folder


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def versions() -> dict[str, str]:
    """Versions of everything that results could depend on."""
    found = {name: version(name) for name in LIBRARIES}
    return {"pruneaudit": __version__, "python": platform.python_version(), **found}


def about(plan: Plan, population: Any) -> Mapping[str, Any]:
    """How a study's results came to be, as JSON data."""
    study = plan.study
    reserve = int(population.reserve.sum())
    return {
        "study": study.model_dump(mode="json"),
        "name": study.name,
        "description": study.description,
        "protocol": study.membership.protocol,
        "num_models": study.membership.num_models,
        "seeds": [study.seed],
        "population": {
            "name": study.data.source.label,
            "num_samples": len(population.y) - reserve,
            "num_reserve": reserve,
            "num_classes": population.num_classes,
            "sha256": population.sha256,
        },
        **_this_machine(),
    }


def _this_machine() -> dict[str, Any]:
    return {
        "versions": versions(),
        "platform": platform.platform(),
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "failures": [],
    }


def check_device(device: str) -> None:
    """Checks that a device can be used; torch is imported only where a GPU is asked for.

    Raises:
        UserError: there is no such device.
    """
    kind, _, index = device.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdigit()) or (kind == "cpu" and index):
        raise UserError(f"device: got '{device}', expected cpu, cuda, or cuda:N")
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise UserError("device: 'cuda' was asked for, and torch finds no CUDA device here; use --device cpu")
        if index and int(index) >= torch.cuda.device_count():
            raise UserError(f"device: there is no '{device}', only {torch.cuda.device_count()} CUDA devices")
