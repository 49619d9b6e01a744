"""Recognises and refuses studies of the first format.

The folder of an old run contains such a study as `study.json`, so every command on it gives the same error.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE
from pruneaudit.study.data import FORMER_KEY

FORMAT: Final = 2
"""The format of studies, runs and findings; `docs/migration.md` lists its changes."""


def former_words(study: Any) -> list[str]:
    """Returns the settings that only the first format has, each with its present name."""
    if not isinstance(study, Mapping):
        return []
    data, audit, training, releases = (study.get(key) for key in ("data", "audit", "training", "releases"))
    found = []
    if isinstance(data, Mapping) and FORMER_KEY in data:
        found.append(f"data.{FORMER_KEY} (now num_holdout and num_public)")
    if isinstance(audit, Mapping) and "knowledge" in audit:
        found.append("audit.knowledge (now audit.references)")
    if isinstance(training, Mapping) and "engine" in training:
        found.append("training.engine (removed)")
    if isinstance(releases, list | tuple) and any(isinstance(each, Mapping) and "pruner" in each for each in releases):
        found.append("releases.pruner (now compress)")
    return found


def check_format(study: Any, name: str) -> None:
    """Refuses a study of another format in one line.

    Args:
        study: the parsed file.
        name: the name of the file, for messages.

    Raises:
        UserError: it has the first format, or one that this version does not know.
    """
    given = study.get("format", FORMAT) if isinstance(study, Mapping) else FORMAT
    if isinstance(given, int) and given > FORMAT:
        raise UserError(
            f"{name}: got format = {given}, expected {FORMAT}; it was written by a newer version; use that version"
        )
    words = former_words(study)
    if not words and given == FORMAT:
        return
    what = f": {', '.join(words)}" if words else ""
    kept = "; the CSV files of that run stay readable" if Path(name).name == STUDY_FILE else ""
    raise UserError(f"{name}: a study of the first format{what}{kept}; translate it with: pruneaudit migrate {name}")
