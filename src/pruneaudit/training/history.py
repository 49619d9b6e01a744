"""Writes the history of a training, one row per epoch, and a summary of the model."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pruneaudit.core.files import HISTORY_FILE, SUMMARY_FILE


def write_history(history: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Writes one row per epoch."""
    with (folder / HISTORY_FILE).open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(history[0]) if history else ["epoch", "loss", "learning_rate"])
        writer.writeheader()
        writer.writerows(history)


def write_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Writes the facts about the model, as JSON."""
    (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=1) + "\n")
