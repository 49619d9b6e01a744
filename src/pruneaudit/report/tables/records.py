"""Tables of the numbers of named records, by model and by recipe; and of the names, if the user asked for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pruneaudit.evaluation.records import FOUND_AT, MODEL
from pruneaudit.report.conclusions.records import Judged, judged
from pruneaudit.report.samples import Samples
from pruneaudit.report.sentences.records import p_text, percent, record_words
from pruneaudit.report.tables.cells import NO_REASON, Cell, Notes

NO_SAMPLES = Samples()
NUM_SHOWN = 10
"""Number of named records that the page lists for each release and kind; records.csv has all."""
NONE_NAMED = "no list names a record"
NO_POSSIBLE_LIST = "even if all records had the smallest possible p-value, none would be named"
ONE_SET = "the lists of the two halves name nothing, or there are too few references (for a recipe: networks) to halve"
NO_SEED = "it repeats no release with another finetune_seed, or both lists are empty"


@dataclass(frozen=True)
class RecordLine:
    """The lists of one release."""

    release: str
    detail: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class NamedRecord:
    """A record that a list names."""

    victim: str
    sample_id: str
    class_name: str
    p: str
    q: str


@dataclass(frozen=True)
class NamedRecords:
    """The named records of one release."""

    kind: str
    release: str
    num_named: int
    """In all lists together; a record counts once for each network."""
    lines: tuple[NamedRecord, ...]


@dataclass(frozen=True)
class RecordTables:
    """The section of the report."""

    said: tuple[str, ...]
    score: str
    fdr: str
    model_columns: tuple[str, ...]
    of_models: tuple[RecordLine, ...]
    recipe_columns: tuple[str, ...]
    of_recipes: tuple[RecordLine, ...]
    notes: tuple[str, ...]
    """The reasons that `Cell.note` counts."""
    num_named: int
    """Names in all lists of models."""
    named: tuple[NamedRecords, ...] = ()
    """Empty unless the reader asked for names."""


@dataclass(frozen=True)
class _Column:
    """A column of the tables."""

    title: str
    text: Callable[[float], str]
    missing: str = NO_REASON
    """The reason where a release has no such figure."""


def _count(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def _agreement(value: float) -> str:
    return f"{value:.2f}"


_COLUMNS = {
    "num_victims": _Column("Networks", _count),
    "num_records": _Column("Records", _count),
    "num_nulls": _Column("Nulls", _count),
    "num_references": _Column("References", _count),
    "smallest_p": _Column("Smallest p", p_text),
    "fewest": _Column("Shortest list", _count, NO_POSSIBLE_LIST),
    "num_named": _Column("Named", _count),
    "share_nonmembers": _Column("Non-members among them", percent),
    "share_found": _Column("Members named", percent),
    "ppv_at_1%": _Column("Right if 1% are members", percent, NONE_NAMED),
    "ppv_at_10%": _Column("Right if 10% are", percent, NONE_NAMED),
    "agreement_named": _Column("Agreement of lists", _agreement, ONE_SET),
    "agreement_found": _Column(f"Agreement at {percent(FOUND_AT)} false positives", _agreement, ONE_SET),
    "stability": _Column("Agreement of seeds", _agreement, NO_SEED),
}
"""By column of the table `verdicts`."""
_OF_MODELS = tuple(name for name in _COLUMNS if name != "num_victims")
_BRIEF = ("num_named", "share_nonmembers", "fewest", "ppv_at_10%", "agreement_named", "agreement_found", "stability")
"""What a terminal has room for."""
_OF_RECIPES = ("num_victims", "num_records", "num_references", "smallest_p", "fewest", "num_named", "agreement_named")


def record_tables(verdicts: pd.DataFrame, samples: Samples = NO_SAMPLES, is_brief: bool = False) -> RecordTables | None:
    """The rows of the table `verdicts` for readers; None without any.

    Args:
        verdicts: the table.
        samples: names of classes, and named records if the reader asked for them.
        is_brief: leave out what a terminal has no room for.
    """
    if verdicts.empty:
        return None
    found, notes = judged(verdicts), Notes()
    of_models, of_recipes = ([one for one in found if (one.kind == MODEL) == is_model] for is_model in (True, False))
    columns = list(_BRIEF if is_brief else _OF_MODELS)
    if not any("stability" in one.figures for one in of_models):
        columns.remove("stability")
    return RecordTables(
        said=record_words(found),
        score=found[0].score,
        fdr=percent(found[0].fdr),
        model_columns=tuple(_COLUMNS[name].title for name in columns),
        of_models=tuple(_line(one, columns, notes) for one in of_models),
        recipe_columns=tuple(_COLUMNS[name].title for name in _OF_RECIPES),
        of_recipes=tuple(_line(one, _OF_RECIPES, notes) for one in of_recipes),
        notes=notes.listed(),
        num_named=int(verdicts.loc[verdicts["kind"] == MODEL, "num_named"].sum()),
        named=tuple(_named(samples)),
    )


def _line(one: Judged, columns: Sequence[str], notes: Notes) -> RecordLine:
    several = f"{one.num_lists} networks" if one.num_lists > 1 else ""
    detail = ", ".join(filter(None, (several, f"repeats {one.repeats} with another seed" if one.repeats else "")))
    return RecordLine(one.release, detail, tuple(_cell(one, name, notes) for name in columns))


def _cell(one: Judged, name: str, notes: Notes) -> Cell:
    """The mean over lists, with the lowest and the highest where they differ."""
    column, found = _COLUMNS[name], one.figures.get(name)
    if found is None:
        return Cell("", note=notes.number(one.suppressed or column.missing))
    low, mean, high = (column.text(value) for value in (found.lowest, found.mean, found.highest))
    return Cell(mean, "" if low == high else f"[{low}, {high}]")


def _named(samples: Samples) -> Iterator[NamedRecords]:
    """The first few named records of each release and kind, the smallest q-values first."""
    by_list: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in samples.named:
        by_list.setdefault((row["kind"], row["release"]), []).append(row)
    for (kind, release), rows in by_list.items():
        shown = sorted(rows, key=lambda row: (float(row["q"]), float(row["p"])))[:NUM_SHOWN]
        lines = (
            NamedRecord(
                victim=row["victim"],
                sample_id=row["id"],
                class_name=samples.class_name(float(row["class"])),
                p=p_text(float(row["p"])),
                q=p_text(float(row["q"])),
            )
            for row in shown
        )
        yield NamedRecords(kind, release, len(rows), tuple(lines))
