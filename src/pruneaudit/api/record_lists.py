"""Names the records that a model exposes, and bounds the share of false names, from stored signals or predictions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pruneaudit.api.added_later import Figures, Stored, stored
from pruneaudit.api.saved import PredictionFiles
from pruneaudit.attacks.record_scores import SCORES, WITHOUT_REFERENCES
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import file_sha256, writing
from pruneaudit.core.machine import HERE, Machine
from pruneaudit.core.registry import nearest
from pruneaudit.evaluation.attack_setting import AttackSetting, setting_of, shown_kinds
from pruneaudit.evaluation.records import Judging, chosen_rows, lacking, lists
from pruneaudit.evaluation.results import Results
from pruneaudit.runs.names import RECORDS_FILE
from pruneaudit.runs.records_file import new_records
from pruneaudit.study.lineage import repeats

USUAL_RATE = 0.1
USUAL_SCORE = "rmia"
"""With references. It names several times as many records as the moderated t, on trained networks with 16 to 128
references, at realised rates below the nominal one (docs/records.md)."""


@dataclass(frozen=True)
class RecordLists:
    """Settings of the lists of exposed records.

    Example:
        >>> pruneaudit.RecordLists(fdr=0.05, releases=["dense"]).score is None
        True
    """

    fdr: float = USUAL_RATE
    """The false discovery rate of each list: at most this share of the named records is expected to be non-members."""
    releases: Sequence[str] = ()
    """The releases; default: all."""
    victims: Sequence[str] = ()
    """Ids of the models to make lists for; default: all models, and also the list of the recipe."""
    score: str | None = None
    """The score: `rmia` (offline), `lira` (moderated t over OUT references) or `loss`. Default for the lists of models:
    rmia, or loss if there are no references. Default for the lists of recipes: loss, because it compares all models of
    the bank. `rmia` and `lira` compare one half of the bank; the other half are the references."""
    seed: int | None = None
    """The seed of the random draws, for files of predictions; default: the seed of the audit in `out`, or 0."""

    def __post_init__(self) -> None:
        if not 0 < self.fdr < 1:
            raise UserError(f"fdr: got {self.fdr:g}, expected a rate between 0 and 1, such as 0.1")
        if self.score is not None and self.score not in SCORES:
            raise UserError(
                f"score: got '{self.score}'{nearest(self.score, list(SCORES))}, expected one of: {', '.join(SCORES)}"
            )


USUAL_LISTS = RecordLists()


@dataclass(frozen=True, eq=False)
class Records:
    """The numbers of named records. Their names are in a file that only its owner can read.

    Example:
        >>> found = pruneaudit.records("runs/first", pruneaudit.RecordLists(fdr=0.2))
        >>> found.file.name
        'records.csv'
    """

    table: pd.DataFrame
    """The rows of verdicts.csv; see `Results.verdicts`."""
    file: Path | None
    """records.csv: a row per judged record; None for files of predictions without `out`."""
    results: Results | None
    """The results with the counts; None if no results got them."""


def records(
    source: str | Path | PredictionFiles,
    asked: RecordLists = USUAL_LISTS,
    out: str | Path | None = None,
    show_records: bool = False,
    runtime: Machine = HERE,
    command: str = "",
) -> Records:
    """Names the records that each model exposes, and the samples that a recipe exposes; trains no network.

    Args:
        source: the folder of a run; or files of predictions, with rows of the holdout.
        asked: settings of the lists.
        out: for files of predictions, the folder of their audit, which gets records.csv and the counts.
        show_records: also list the named records in the report.
        runtime: its `progress` shows every release; its `data_root` is as for `attack`.
        command: the command line that repeats this, for the report.

    Raises:
        UserError: the source is neither, a release or victim is unknown, signals or nulls are missing, or `out` is the
            audit of other files.

    Example:
        >>> found = pruneaudit.records("runs/first")
        >>> int(found.table["num_records"].max())
        200
    """
    with stored(source, out, Figures("records", asked.seed), runtime) as given:
        settings = _chosen(given, asked)
        judging = _judging(given, asked, settings)
        _check_possible(settings, judging)
        rows: list[dict[str, Any]] = []
        with _written(given.folder if given.results is not None else None) as append:
            for one in lists(settings, judging, lambda name: runtime.progress.say(f"{name}: verdicts on records")):
                rows.append(one.row)
                append(one.records)
        table = pd.DataFrame(rows)
        if given.results is None or given.folder is None:
            return Records(table, None, None)
        file = given.folder / RECORDS_FILE
        record = {"command": command, "seed": given.seed, "records_sha256": file_sha256(file)}
        results = given.with_tables({"verdicts": table}, {"verdicts": record}, show_records or None)
        return Records(table, file, results)


@contextmanager
def _written(folder: Path | None) -> Iterator[Any]:
    """Writes records.csv in a folder; without one it writes nothing."""
    with nullcontext() if folder is None else writing(folder):
        if folder is None:
            yield lambda records: None
        else:
            with new_records(folder) as append:
                yield append


def _chosen(given: Stored, asked: RecordLists) -> list[AttackSetting]:
    """Returns the attack settings of the requested releases, each with the references that summaries show.

    Raises:
        UserError: a release is unknown.
    """
    names = given.releases
    for name in asked.releases:
        if name not in names:
            raise UserError(f"release: got '{name}'{nearest(name, names)}, expected one of: {', '.join(names)}")
    kinds = shown_kinds((setting.release, setting.references) for setting in given.settings)
    wanted = [name for name in names if not asked.releases or name in asked.releases]
    found = [setting_of(given.settings, name, kinds[name]) for name in wanted]
    return [setting for setting in found if setting is not None]


def _judging(given: Stored, asked: RecordLists, settings: Sequence[AttackSetting]) -> Judging:
    """Returns how records are judged: by loss if no model has references.

    Raises:
        UserError: a victim is in none of the releases.
    """
    for victim in asked.victims:
        if not any(chosen_rows(setting.attack_input, [victim]) for setting in settings):
            inputs = [setting.attack_input for setting in settings]
            names = dict.fromkeys(
                str(name) for each in inputs for name in each.attacked.model_names[each.victims].tolist()
            )
            raise UserError(f"victim: got '{victim}', expected the id of an attacked model: {_few(list(names))}")
    has_references = bool(settings[0].attack_input.references)
    score = asked.score or (USUAL_SCORE if has_references else WITHOUT_REFERENCES)
    of_study = {} if given.plan is None else repeats(given.plan.study)
    recipe_score = asked.score or WITHOUT_REFERENCES
    return Judging(asked.fdr, score, given.seed, recipe_score, tuple(asked.victims), of_study)


def _few(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= 8 else [*names[:3], "...", names[-1]])


def _check_possible(settings: Sequence[AttackSetting], judging: Judging) -> None:
    """Refuses a request if none of its releases can have lists.

    Raises:
        UserError: all lack something; the message says what the first one lacks, and the remedy.
    """
    reasons = {setting.release: lacking(setting.attack_input, judging.score) for setting in settings}
    if all(reasons.values()):
        name, why = next(iter(reasons.items()))
        raise UserError(f"records: release '{name}' needs {why}")
