"""How a study of the first format is recognised, and what is said of it.

A run folder holds such a study too, as `study.json`, and so every command on an old run ends with the same line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE
from pruneaudit.study.data import FORMER_KEY

FORMAT: Final = 2
"""Of studies, runs and findings; `docs/migration.md` says what changed with it."""


def former_words(study: Any) -> list[str]:
    """The settings of a study that only the first format has, each with what it is now."""
    if not isinstance(study, Mapping):
        return []
    data, audit, training, releases = (study.get(key) for key in ("data", "audit", "training", "releases"))
    found = []
    if isinstance(data, Mapping) and FORMER_KEY in data:
        found.append(f"data.{FORMER_KEY} (now num_holdout and num_public)")
    if isinstance(audit, Mapping) and "knowledge" in audit:
        found.append("audit.knowledge (now audit.references)")
    if isinstance(training, Mapping) and "engine" in training:
        found.append("training.engine (gone)")
    if isinstance(releases, list | tuple) and any(isinstance(each, Mapping) and "pruner" in each for each in releases):
        found.append("releases.pruner (now compress)")
    return found


def check_format(study: Any, name: str) -> None:
    """Refuses a study of another format in one line.

    Args:
        study: as its file says it.
        name: of the file, for messages.

    Raises:
        UserError: it is of the first format, or of one that this version does not know.
    """
    given = study.get("format", FORMAT) if isinstance(study, Mapping) else FORMAT
    if isinstance(given, int) and given > FORMAT:
        raise UserError(f"{name}: got format = {given}, expected {FORMAT}; a newer version wrote it: use that one")
    words = former_words(study)
    if not words and given == FORMAT:
        return
    what = f": {', '.join(words)}" if words else ""
    kept = "; the CSV files of that run stay readable" if Path(name).name == STUDY_FILE else ""
    raise UserError(f"{name}: a study of the first format{what}{kept}; translate it with: pruneaudit migrate {name}")
