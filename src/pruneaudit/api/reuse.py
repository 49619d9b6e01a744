"""Reuses the results of a finished run if nothing that determines them has changed.

A file next to the results records everything that determines them: the study, the identity of every artifact, the
attacks with their versions, and the versions of code and libraries. So a repeated command returns the results of a
finished run without importing torch.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pruneaudit
from pruneaudit.api.page import PageSettings
from pruneaudit.core.files import file_sha256, read_json, write_atomically
from pruneaudit.core.identity import sha256_of
from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.assemble import study_settings
from pruneaudit.engine.attack_needs import attacks_of
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.scheduler import tasks_to_do
from pruneaudit.engine.store import Artifact
from pruneaudit.evaluation.outcome import SCORES_FILE, StoredAudit, read_scores
from pruneaudit.evaluation.results import Results
from pruneaudit.runs.folder import RunFolder
from pruneaudit.runs.names import EVALUATED_FILE, REPORT_FILE

_SOURCES = ("*.py", "*.html", "*.js", "*.css")


def evaluation_identity(plan: Plan, page: PageSettings, versions: Mapping[str, str]) -> str:
    """Returns a hash of everything that determines the results of a study and its page.

    Args:
        plan: the plan of the study.
        page: the settings of the report.
        versions: the versions of Python and of the libraries.
    """
    attacks = attacks_of(plan.study)
    return sha256_of(
        {
            "study": plan.study.model_dump(mode="json"),
            "audit_data": plan.audit_data.identity,
            "artifacts": [task.artifact.identity for task in plan.tasks],
            "attacks": {
                label: [attack.semantics_version, attack.options.model_dump(mode="json"), _source_of(attack)]
                for label, attack in attacks.items()
            },
            "page": {"demonstration": page.demonstration, "show_records": page.show_records},
            "code": _code_sha256(),
            "versions": dict(versions),
        }
    )


def keep_identity(folder: Path, identity: str, learned: Collection[Path] = ()) -> None:
    """Records the identity of the results in a folder, and the checksum of their page.

    Args:
        folder: the run's folder.
        identity: from `evaluation_identity`.
        learned: subfolders with the outputs of learned attacks.
    """
    facts = {
        "identity": identity,
        "report": file_sha256(folder / REPORT_FILE),
        "learned": sorted(path.relative_to(folder).as_posix() for path in learned),
    }
    write_atomically(folder / EVALUATED_FILE, json.dumps(facts, indent=1) + "\n")


def keep_page(folder: Path) -> None:
    """Records that the page was written again; does nothing if the folder has no record."""
    try:
        facts = read_json(folder / EVALUATED_FILE)
    except (OSError, ValueError):
        return
    if isinstance(facts, dict) and facts.get("report") != file_sha256(folder / REPORT_FILE):
        facts["report"] = file_sha256(folder / REPORT_FILE)
        write_atomically(folder / EVALUATED_FILE, json.dumps(facts, indent=1) + "\n")


def results_there(run: RunFolder, plan: Plan, audit_data: AuditData, identity: str) -> StoredAudit | None:
    """Returns the stored results if they are intact and have the same identity, otherwise None. Changes nothing.

    Scores and attack settings are loaded on demand.
    """
    try:
        facts = read_json(run.path / EVALUATED_FILE)
    except (OSError, ValueError):
        return None
    if not isinstance(facts, dict) or facts.get("identity") != identity or any(run.problems().values()):
        return None
    if facts.get("report") != file_sha256(run.path / REPORT_FILE) or tasks_to_do(plan, run.store):
        return None
    besides = (*plan.given, *_learned(run.path, facts))
    if any(run.store.status(artifact)[0] != "whole" for artifact in besides):
        return None
    results = Results.load(run.path)
    scores = run.path / SCORES_FILE
    return StoredAudit(results, lambda: read_scores(scores, study_settings(plan, run.store, audit_data)))


def _learned(folder: Path, facts: Mapping[str, Any]) -> Iterator[Artifact]:
    """Yields the stored outputs of learned attacks; an unreadable one counts as damaged."""
    for place in facts.get("learned", ()):
        try:
            config = read_json(folder / str(place) / "config.json")
        except (OSError, ValueError):
            config = {}
        yield Artifact(str(place), config, ())


@cache
def _code_sha256() -> str:
    """Returns a hash of every source file of the package, path and content."""
    root, digest = Path(pruneaudit.__file__).parent, hashlib.sha256()
    for path in sorted(path for pattern in _SOURCES for path in root.rglob(pattern)):
        digest.update(f"{path.relative_to(root)}\0{file_sha256(path)}\n".encode())
    return digest.hexdigest()


def _source_of(attack: object) -> str:
    """Returns the checksum of the source file of a user's attack; empty for attacks of the package."""
    kind = type(attack)
    if kind.__module__.partition(".")[0] == "pruneaudit":
        return ""
    try:
        return hashlib.sha256(inspect.getsource(inspect.getmodule(kind) or kind).encode()).hexdigest()
    except (OSError, TypeError):  # defined in a console: there is no source file
        return f"{kind.__module__}.{kind.__qualname__} at {id(kind)}"
