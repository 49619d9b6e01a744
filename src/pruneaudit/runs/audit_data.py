"""The copy of the audit data in a run folder.

A finished run is attacked, verified and tested on its own copy of the data: the original file can be missing, changed,
or on another machine, and its relative path can lead to a different file in another working folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pruneaudit.core.errors import RunError, UserError
from pruneaudit.core.files import SEALED_FILES, STUDY_FILE, check_sealed, read_json
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.drawing import load_audit_data
from pruneaudit.engine.plan import audit_data_artifact
from pruneaudit.engine.store import Store
from pruneaudit.runs.names import ABOUT_FILE
from pruneaudit.study import Study


def held_audit_data(study: Study, folder: Path, data_root: Path | None = None, whole: bool = True) -> AuditData:
    """Loads the audit data of a run: its own copy, or, if that is damaged, identical data from the source.

    Args:
        study: the study of the run.
        folder: the run's folder.
        data_root: as for `run`.
        whole: whether to refuse a damaged copy.

    Raises:
        UserError: neither the copy nor the source can be used.
    """
    sha256 = held_sha256(folder)
    if not sha256:
        return load_audit_data(study.data, study.seed, data_root, study.target)
    artifact = audit_data_artifact(sha256)
    status, reason = Store(folder).status(artifact)
    if status == "whole" or (status == "damaged" and not whole):
        try:
            return AuditData.load(folder / artifact.folder, mmap=True, sha256=sha256)
        except UserError as error:
            reason = str(error)
    state = f"{status} ({reason})" if reason else status
    wrong = f"{folder / artifact.folder}: the run's copy of its data is {state}"
    try:
        audit_data = load_audit_data(study.data, study.seed, data_root, study.target)
    except (UserError, RunError) as error:
        raise UserError(f"{wrong}, and the original data cannot be read: {error}") from None
    if audit_data.sha256 != sha256:
        raise UserError(f"{wrong}, and {study.data.source.label} now gives different data; copy the run folder again")
    return audit_data


def audit_data_to_run(study: Study, folder: Path | None, data_root: Path | None = None) -> AuditData:
    """Loads the audit data for a new run: from the source or, if that is missing, from the copy in the run folder.

    Args:
        study: the study.
        folder: its run folder, which need not exist.
        data_root: as for `run`.

    Raises:
        UserError: the data cannot be read, and the folder has no copy for the same settings.
    """
    try:
        return load_audit_data(study.data, study.seed, data_root, study.target)
    except (UserError, RunError):
        if folder is None or not _is_of(study, folder) or not (sha256 := held_sha256(folder)):
            raise
        artifact = audit_data_artifact(sha256)
        if Store(folder).status(artifact)[0] != "whole":
            raise
        return AuditData.load(folder / artifact.folder, mmap=True, sha256=sha256)


def changed_data(study: Study, audit_data: AuditData, folder: Path) -> list[str]:
    """Returns a warning if the source now gives other data than those of the run folder, for the same settings."""
    if not _is_of(study, folder) or held_sha256(folder) in ("", audit_data.sha256):
        return []
    return [
        f"{folder}: {study.data.source.label} gives different data from those that this run was made with, so every "
        f"model is made again; to avoid that, run it on the original data, or give this study another --out"
    ]


def held_sha256(folder: Path) -> str:
    """Returns the checksum of the audit data of a run; empty if unknown.

    An unfinished run can contain audit data of several studies; then it is unknown which belong to it.
    """
    problems = check_sealed(folder)
    if not any(problems.get(name, "is missing") for name in (SEALED_FILES, STUDY_FILE, ABOUT_FILE)):
        found = [folder / ABOUT_FILE]
    else:
        found = list(folder.glob("audit_data-*/config.json"))
    if len(found) != 1:
        return ""
    try:
        facts = read_json(found[0])
        return str((facts["audit_data"] if found[0].name == ABOUT_FILE else facts)["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _is_of(study: Study, folder: Path) -> bool:
    """Returns whether the study of a folder draws the same samples."""
    try:
        held = Study.load(folder / STUDY_FILE)
    except UserError:  # missing, damaged, or of another version
        return False
    return _drawn_by(held) == _drawn_by(study, held) and held.seed == study.seed


def _drawn_by(study: Study, settled_as: Study | None = None) -> tuple[Any, ...]:
    """Returns the settings that samples are drawn by; an open holdout has the size that `settled_as` says."""
    data, target = study.data, study.target
    if settled_as is not None and study.has_open_holdout:
        data = data.model_copy(update={"num_holdout": settled_as.data.num_holdout})
    return data.model_dump(), target and (target.member, target.canaries, target.mean, target.std)


def settled(study: Study, audit_data: AuditData) -> Study:
    """Returns the study with the size of its holdout, which is known only with the data if there is a target."""
    if not study.has_open_holdout:
        return study
    data = study.data.model_copy(update={"num_holdout": int(audit_data.holdout.sum())})
    return study.model_copy(update={"data": data})
