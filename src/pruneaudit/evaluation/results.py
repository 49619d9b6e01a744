"""The result tables of one run, and their files.

findings.csv, comparisons.csv, releases.csv, curves.csv and the others hold the tables; findings.json
holds all of them as lists of records (a missing number is null), and the sanity checks. They do not depend
on the time or speed of the run: the same study gives the same bytes. about.json holds everything else.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import STUDY_FILE, parse_json, read_bytes, write_atomically
from pruneaudit.evaluation.columns import (
    ATTACK_COMPARISON_COLUMNS,
    CANARY_COLUMNS,
    CLASS_COLUMNS,
    DETECTION_CHANGE_COLUMNS,
    FAMILY_COLUMNS,
    FRONTIER_COLUMNS,
    LATER_COLUMNS,
    LONG_TABLES,
    MARGINAL_COLUMNS,
    OPTIONAL_TABLES,
    OUTPUT_COLUMNS,
    POWER_COLUMNS,
    PPV_COLUMNS,
    SAMPLE_DETECTION_COLUMNS,
    TABLES,
    TEXT_COLUMNS,
    VERDICT_COLUMNS,
)
from pruneaudit.evaluation.notebook import findings_html
from pruneaudit.study.former import FORMAT

SANITY_CHECKS = ("sanity_checks", "not_sanity_checked", "data_checks")
"""The parts of `about` that are also in findings.json: sanity checks of attacks, attacks without one, and checks of
the data (`evaluation/data_checks.py`)."""
RESULT_FILES = (*(f"{name}.csv" for name in (*TABLES, *LONG_TABLES)), "findings.json", "about.json")
"""The files of saved results."""
OPTIONAL_FILES = tuple(f"{name}.csv" for name in OPTIONAL_TABLES)
"""The files of tables that are written only if they have rows."""


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that a report needs. Tables and study never change, so values derived from them can be cached."""

    findings: pd.DataFrame
    """One row per (release, references, attack, victim); `victim` is "mean" (over victims), "pooled"
    (one ROC over all (victim, sample) pairs, a different quantity) or a model id. Rates are in 0..1;
    a suppressed or missing number is NaN, and `suppressed` gives the reason."""
    comparisons: pd.DataFrame
    """Paired differences, release minus baseline, each with its interval."""
    releases: pd.DataFrame
    """One row per release: its compression and defence, its size and its accuracies (0..1, bank means)."""
    curves: pd.DataFrame
    """Points of the ROC, mean over victims: fpr ascending within (release, references, attack)."""
    about: dict[str, Any]
    """How the results were made: JSON data, the only place for times, versions and devices."""
    classes: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CLASS_COLUMNS)))
    """AUC within each class, mean over victims."""
    ppv: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(PPV_COLUMNS)))
    """Positive predictive value at each reported false-positive rate: the fraction of accused samples that are
    members, if a fraction `prior` of all samples asked about are. `ppv` (with `low` and `high`) uses each victim's own
    threshold, which no attacker knows, and the nominal rate `fpr`, with the mean TPR. `learned_...` uses the threshold
    that references teach for that rate: mean, standard deviation, lowest and highest over the `num_accused` victims
    with accusations, with the realised rates."""
    attack_comparisons: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(ATTACK_COMPARISON_COLUMNS))
    )
    """Paired differences between attacks on one release: attack minus the one that it is compared with."""

    canaries: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(CANARY_COLUMNS)))
    """The attacks' figures on canaries, and the resulting lower bounds on epsilon: for "epsilon, ..." `value` is a
    bound at 95% confidence for `delta`, from `correct` of `guesses`."""

    frontier: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(FRONTIER_COLUMNS)))
    """Each release's leakage (under the primary attack) and accuracy, and its `difference` to `envelope_release`, the
    undefended dense release of at least its accuracy that leaks least; and its `size_difference` to `size_release`, the
    undefended release of at least its accuracy and at most its `compressed_bytes` that leaks least. `dominated` and
    `is_baseline` are 0 or 1."""

    detection_changes: pd.DataFrame = field(
        default_factory=lambda: pd.DataFrame(columns=list(DETECTION_CHANGE_COLUMNS))
    )
    """Numbers of samples that become exposed from baseline to release, and that stop being exposed, by `class` ("all"
    or a number), with the p-value of equal numbers, and the same counts between two fine-tuning seeds of one
    release."""

    sample_detection: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(SAMPLE_DETECTION_COLUMNS)))
    """Every sample's detection rate (0..1) in baseline and release, and the number of victims behind it."""

    outputs: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(OUTPUT_COLUMNS)))
    """Attacks on reduced outputs: for each of `audit.outputs`, each figure's mean over victims and its paired
    `difference` from the figure on all stored outputs (the first row of each attack). `tied` is the share of
    non-members with the highest score, mean over victims."""

    power: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(POWER_COLUMNS)))
    """Attacks with fewer references, and LiRA's extrapolated AUC with more; `pruneaudit power` adds this table.
    `samples` is "scored" (all that `num_references` allow to score) or "common" (those that the fewest allow).
    `difference` is the paired one from the next smaller number of references, on the same samples. `lowest` and
    `highest` are of single victims; with one victim, of references that play it."""

    families: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(FAMILY_COLUMNS)))
    """Attacks on several releases of the same models together: a row per set of `releases`, attack and figure.
    `difference` is the paired difference from the `best_part`, the release of the set that leaks most alone; for
    attacks other than `family`, from the attack `family` on the same set."""

    marginal_leakage: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(MARGINAL_COLUMNS)))
    """The addition by one release to the `given` ones: the paired difference of the figures with and without the
    `added` release. `p_value` is of the consistency test (`evaluation/families.py`), `step` the place in the greedy
    order."""

    verdicts: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(VERDICT_COLUMNS)))
    """Numbers of records that are named as members; `pruneaudit records` adds this table. A row per release and victim
    of `kind` "model": the list of that victim, at a false discovery rate of `fdr`. A row per release of `kind`
    "recipe": the samples that the recipe exposes, tested over `num_victims`. Counts only; the records themselves are in
    records.csv. `fewest` is the shortest list that is possible, `largest_p` the largest p-value among the named,
    `share_nonmembers` the realised share of non-members among them, `share_found` that of the members that are
    named."""

    def __post_init__(self) -> None:
        for name in (*TABLES, *LONG_TABLES, *OPTIONAL_TABLES):
            object.__setattr__(self, name, _normal(getattr(self, name), name))

    def with_tables(self, tables: Mapping[str, pd.DataFrame]) -> Results:
        """The same results with some tables replaced, by name."""
        replaced: dict[str, Any] = dict(tables)
        return replace(self, **replaced)

    def save(self, folder: Path) -> None:
        """Writes the files of a run folder, each atomically, about.json last."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name in (*TABLES, *LONG_TABLES):
            write_atomically(folder / f"{name}.csv", _csv_text(getattr(self, name)))
        wanted = [name for name in OPTIONAL_TABLES if len(getattr(self, name))]
        for name in OPTIONAL_TABLES:
            if name in wanted:
                write_atomically(folder / f"{name}.csv", _csv_text(getattr(self, name)))
            else:
                (folder / f"{name}.csv").unlink(missing_ok=True)  # of an earlier audit in the same folder
        tables = (*TABLES, *wanted)
        records: dict[str, Any] = {"format": FORMAT} | {name: json_records(getattr(self, name)) for name in tables}
        records |= {name: self.about[name] for name in SANITY_CHECKS if name in self.about}
        write_atomically(folder / "findings.json", json.dumps(records, indent=1, allow_nan=False) + "\n")
        write_atomically(
            folder / "about.json", json.dumps({"format": FORMAT} | self.about, indent=2, allow_nan=False) + "\n"
        )

    @classmethod
    def load(cls, folder: Path) -> Results:
        """Reads the results in a run folder.

        Raises:
            UserError: a file is missing, cannot be read, or lacks a column.
        """
        folder = Path(folder)
        about = _read_about(folder / "about.json")
        if (found := about.pop("format", 1)) != FORMAT:
            raise _of_another_format(folder, found)
        there = [name for name in OPTIONAL_TABLES if (folder / f"{name}.csv").exists()]
        tables = {name: _read_csv(folder / f"{name}.csv") for name in (*TABLES, *LONG_TABLES, *there)}
        return cls(**tables, about=about)

    def __repr__(self) -> str:
        """Counts, instead of all tables: a notebook stores this text beside the HTML."""
        return f"Results({self.size})"

    @property
    def size(self) -> str:
        """How much there is, such as "3 releases, 2 attacks"."""
        counts = ((self.findings[what].nunique(), what) for what in ("release", "attack"))
        return ", ".join(f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts)

    def _repr_html_(self) -> str:
        """Shows the findings in a notebook, as a table with the answer in words."""
        return findings_html(self.findings, self.about)


def changed(folder: Path, name: str, problem: str) -> UserError:
    """The error for a file of a run that has changed since the run, or that its format does not have.

    Args:
        folder: the run's folder.
        name: the file's name.
        problem: the problem that `check_sealed` found.
    """
    try:
        found = _read_about(folder / "about.json").get("format", 1)
    except UserError:
        found = FORMAT
    if found != FORMAT:
        return _of_another_format(folder, found)
    return UserError(f"{folder}: {name} {problem}; expected a finished run (to repair it, run the study again)")


def _of_another_format(folder: Path, found: Any) -> UserError:
    """The error for results of another format; they have other files, which looks like damage."""
    study = folder / STUDY_FILE
    first = f"translate its study with: pruneaudit migrate {study}" if found == 1 and study.exists() else ""
    return UserError(
        f"{folder}: findings of format {found}, expected {FORMAT}; {first or 'run the study again with this version'}"
        " (the CSV files there stay readable)"
    )


def _normal(table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The table with text columns as text (missing: empty) and all others as numbers (missing: NaN)."""
    wanted = (TABLES | LONG_TABLES | OPTIONAL_TABLES)[name]
    absent = [column for column in wanted if column not in table.columns]
    if absent:
        raise UserError(f"{name}: got a table without the column '{absent[0]}', expected at least: {', '.join(wanted)}")
    later = [column for column in LATER_COLUMNS.get(name, ()) if column not in table.columns]
    table = table.reindex(columns=[*table.columns, *later]) if later else table
    if not len(table) and all(map(pd.api.types.is_object_dtype, table.dtypes)):  # most tables of most results
        return _empty(name, tuple(table.columns)).copy()
    return _typed(table, name)


@cache
def _empty(name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    return _typed(pd.DataFrame(columns=list(columns)), name)


def _typed(table: pd.DataFrame, name: str) -> pd.DataFrame:
    columns = {
        column: _texts(table[column]) if column in TEXT_COLUMNS else _numbers(table[column], name)
        for column in table.columns
    }
    return pd.DataFrame(columns).reset_index(drop=True)


def _texts(column: pd.Series) -> pd.Series:
    # A carriage return is written without quotes and would split the row when read.
    values = zip(column.astype(object), column.isna(), strict=True)
    texts = ["" if missing else str(value).replace("\r", " ") for value, missing in values]
    return pd.Series(texts, index=column.index, name=column.name, dtype=str)


def _numbers(column: pd.Series, name: str) -> pd.Series:
    """Numbers unchanged; texts (from a file) parsed to exactly the number that was written."""
    if pd.api.types.is_numeric_dtype(column):
        return column
    try:
        texts = {text: _number(text) for text in set(column) if isinstance(text, str)}  # few, each in many rows
        values = [texts[value] if isinstance(value, str) else _number(value) for value in column]
    except (TypeError, ValueError):
        raise UserError(f"{name}: column '{column.name}' has a value that is not a number") from None
    return pd.Series(values, index=column.index, dtype=None if values else float)


def _number(value: Any) -> float | int:
    if value is None or value == "":
        return math.nan
    if isinstance(value, str):
        return int(value) if value.removeprefix("-").isdecimal() else float(value)
    return value if isinstance(value, int) else float(value)


def _csv_text(table: pd.DataFrame) -> str:
    """CSV with Unix line ends and shortest-repr floats, which can be read back exactly."""
    return table.to_csv(index=False, lineterminator="\n")


def json_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as JSON data, NaN as null."""
    return [
        {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def _read_csv(path: Path) -> pd.DataFrame:
    """Reads all cells as texts, so that a release called "NA" or a victim called "007" does not change."""
    try:
        return pd.read_csv(io.StringIO(_read(path)), dtype=str, keep_default_na=False, na_filter=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UserError(f"{path}: not a CSV table ({error}); expected a file that a run wrote") from None


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = parse_json(_read(path))
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: not JSON ({error}); expected a file that a run wrote") from None
    if not isinstance(about, Mapping):
        raise UserError(f"{path}: got a {type(about).__name__}, expected an object")
    return dict(about)


def _read(path: Path) -> str:
    try:
        return read_bytes(path).decode("utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: not found; expected the folder of a finished run") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
