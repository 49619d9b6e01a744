"""The outcome of an audit: result tables, and all scores in one file."""

# V victims, N samples

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pruneaudit.core.files import writing
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.results import Results

SCORES_FILE = "scores.parquet"
_FACTS = ("release", "references", "model_id", "sample_id", "label", "member", "canary")
"""Columns in addition to those of attacks."""
_REPEATED = ("release", "references", "model_id", "label")
"""Columns with few values, which are written as a dictionary and numbers. Scores hardly repeat: to look for repetitions
takes most of the time of writing them."""
ROWS_AT_ONCE = 2**20
"""Rows that are put together at a time, or one victim's if it has more; a row group of the file."""


@dataclass(frozen=True, eq=False)
class SettingScores:
    """All attacks' scores in one attack setting."""

    setting: AttackSetting
    by_attack: dict[str, np.ndarray] = field(default_factory=dict)
    """(V, N) float64 by attack played; higher = more likely a member, NaN = not scored."""


@dataclass(frozen=True, eq=False)
class Audit:
    """Findings, and the scores behind them.

    Example:
        >>> found = pruneaudit.audit(pruneaudit.Signals.load("signals.npz"), attacks="loss")
        >>> found.results.findings.shape[0] == len(found.findings)
        True
    """

    results: Results
    settings: tuple[SettingScores, ...]

    @property
    def findings(self) -> pd.DataFrame:
        """One row per (release, references, attack, victim)."""
        return self.results.findings

    @property
    def comparisons(self) -> pd.DataFrame:
        """Paired differences between releases."""
        return self.results.comparisons

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Scores (V, N) by attack; with several attack settings by "release/references/attack"."""
        if len(self.settings) == 1:
            return dict(self.settings[0].by_attack)
        return {
            f"{scores.setting.release}/{scores.setting.references}/{attack}": array
            for scores in self.settings
            for attack, array in scores.by_attack.items()
        }

    def save(self, folder: str | Path, begun: bool = False) -> Path:
        """Writes findings.csv, findings.json, comparisons.csv, ... and scores.parquet into a folder.

        Args:
            folder: created if needed.
            begun: whether an unfinished run is in it, which the same command would continue.

        Raises:
            UserError, RunError: the folder cannot be written; see `files.writing_error`.
        """
        folder = Path(folder)
        with writing(folder, begun):
            folder.mkdir(parents=True, exist_ok=True)
            _write_scores(self.settings, folder / SCORES_FILE)
            self.results.save(folder)
        return folder

    def __repr__(self) -> str:
        """Counts, instead of all tables and scores."""
        return f"Audit({self.results.size})"

    def _repr_html_(self) -> str:
        """Shows the findings in a notebook, as a table with the answer in words."""
        return self.results._repr_html_()


class StoredAudit(Audit):
    """The audit of a finished run; its scores are read when needed."""

    _load: Callable[[], tuple[SettingScores, ...]]

    def __init__(self, results: Results, load: Callable[[], tuple[SettingScores, ...]]) -> None:
        """Takes the findings, and a function that loads the attack settings with their scores."""
        object.__setattr__(self, "results", results)
        object.__setattr__(self, "_load", load)

    @cached_property
    def settings(self) -> tuple[SettingScores, ...]:
        """Read from the run folder, once."""
        return self._load()


def read_scores(path: Path, settings: Sequence[AttackSetting]) -> tuple[SettingScores, ...]:
    """Reads the scores that `Audit.save` wrote, by attack setting.

    Args:
        path: the file.
        settings: the attack settings of the audit; an attack without any score in one was not played there.
    """
    table = pq.read_table(path)
    attacks = [name for name in table.column_names if name not in _FACTS]
    found = []
    for setting in settings:
        of_it = pc.and_(pc.equal(table["release"], setting.release), pc.equal(table["references"], setting.references))
        rows = table.filter(of_it)
        scored = setting.attack_input.attacked.scored[setting.attack_input.victims]  # (V, N)
        by_attack = {}
        for attack in attacks:
            values = np.full(scored.shape, np.nan)
            values[scored] = rows[attack].to_numpy()
            if not np.isnan(values).all():
                by_attack[attack] = values
        found.append(SettingScores(setting, by_attack))
    return tuple(found)


def _write_scores(settings: Sequence[SettingScores], path: Path) -> None:
    """Writes one row per (release, references, model, sample), one column per attack; completely or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    schema_writer: pq.ParquetWriter | None = None
    played = list(dict.fromkeys(attack for scores in settings for attack in scores.by_attack))
    try:
        for scores in settings:
            for table in _scores_tables(scores, played):
                schema_writer = schema_writer or pq.ParquetWriter(
                    temporary, table.schema, compression="zstd", use_dictionary=list(_REPEATED)
                )
                schema_writer.write_table(table)
        if schema_writer is not None:
            schema_writer.close()
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _scores_tables(scores: SettingScores, attacks: Sequence[str]) -> Iterator[pa.Table]:
    """The rows of one attack setting, some victims at a time; NaN for attacks that were not played in it."""
    setting, signals = scores.setting, scores.setting.attack_input.attacked
    at_once = max(1, ROWS_AT_ONCE // max(1, signals.num_samples))
    for start in range(0, max(1, len(setting.attack_input.victims)), at_once):
        part = slice(start, start + at_once)
        rows = setting.attack_input.victims[part]
        scored = signals.scored[rows]  # (V, N)
        victim, sample = np.nonzero(scored)
        columns: dict[str, Any] = {
            "release": pa.repeat(setting.release, len(victim)).dictionary_encode(),
            "references": pa.repeat(setting.references, len(victim)).dictionary_encode(),
            "model_id": signals.model_names[rows][victim],
            "sample_id": signals.sample_ids[sample],
            "label": signals.labels[sample],
            "member": signals.member[rows][scored],
            "canary": signals.canaries[sample],
        }
        nothing = np.full(scored.shape, np.nan)
        of_attacks = {attack: scores.by_attack[attack][part] for attack in attacks if attack in scores.by_attack}
        columns |= {attack: of_attacks.get(attack, nothing)[scored] for attack in attacks}
        yield pa.table(columns)
