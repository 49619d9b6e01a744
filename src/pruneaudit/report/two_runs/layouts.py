"""A comparison of two runs for a terminal, as Markdown, as CSV and as JSON data."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pruneaudit.report.escaping import markdown_text, terminal_text
from pruneaudit.report.quantities import TEST_ACCURACY, TRAIN_ACCURACY, Quantity
from pruneaudit.report.selection import holds_zero
from pruneaudit.report.two_runs.differences import Comparison
from pruneaudit.report.words import counted

_ACCURACIES = (TEST_ACCURACY.column, TRAIN_ACCURACY.column)
_NO_FIGURE = "-"


def print_comparison(found: Comparison, console: Console) -> None:
    """Prints the answer, a line per figure with intervals below the values, settings that differ, and notes.

    Numbers are never cut: where the console is too narrow, cells wrap. Names are shown without control characters.
    """
    for line in _heading(found):
        console.print(terminal_text(line), highlight=False, soft_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("Release / figure", overflow="fold")
    for head in ("A", "B", "A - B"):
        table.add_column(head, justify="right", overflow="fold")
    for head, rows in _groups(found.table):
        table.add_row(terminal_text(head, "bold"))
        for row in rows:
            first, second, difference = _cells(row, _quantity(found, row), "\n")
            style = "" if holds_zero(row) else "bold"
            table.add_row(terminal_text(f"  {_figure_name(found, row)}"), first, second, Text(difference, style))
    console.print(table)
    if found.settings:
        settings = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
        for head in ("Setting", "A", "B"):
            settings.add_column(head, overflow="fold")
        for item in found.settings:
            settings.add_row(*(terminal_text(text) for text in (item.key, item.first, item.second)))
        console.print(settings)
    for line in _remarks(found):
        console.print(terminal_text(line), style="dim", highlight=False)


def comparison_markdown(found: Comparison) -> str:
    """The same as Markdown."""
    lines = ["## Two runs compared", "", *(f"{_escaped(line)}  " for line in _heading(found)), ""]
    lines += ["| release | references | figure | A | B | A - B | method |", "|" + " --- |" * 7]
    for _, row in found.table.iterrows():
        cells = [_escaped(row["release"]), _escaped(row["references"]), _escaped(_figure_name(found, row))]
        lines.append(f"| {' | '.join([*cells, *_cells(row, _quantity(found, row), ' '), row['method']])} |")
    if found.settings:
        lines += ["", "| setting | A | B |", "| --- | --- | --- |"]
        lines += [f"| {' | '.join(map(_escaped, (item.key, item.first, item.second)))} |" for item in found.settings]
    return "\n".join([*lines, "", *(f"- {_escaped(remark)}" for remark in _remarks(found))]).rstrip() + "\n"


def comparison_csv(found: Comparison) -> str:
    """The table of differences as CSV, numbers in full precision."""
    return found.table.to_csv(index=False, lineterminator="\n")


def comparison_record(found: Comparison) -> dict[str, Any]:
    """The same as JSON data; missing values are null."""
    rows = [
        {str(key): None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        for row in found.table.to_dict("records")
    ]
    return {
        "first": found.first,
        "second": found.second,
        "differences": rows,
        "settings": [{"key": item.key, "first": item.first, "second": item.second} for item in found.settings],
        "only_first": {word: list(names) for word, names in found.only_first.items()},
        "only_second": {word: list(names) for word, names in found.only_second.items()},
        "notes": list(found.notes),
    }


def _heading(found: Comparison) -> tuple[str, ...]:
    return (f"A: {found.first}", f"B: {found.second}", _answer(found.table))


def _answer(table: pd.DataFrame) -> str:
    """In how many figures of leakage the runs are shown to differ: counts only, so that none is picked out."""
    leakage = table[~table["metric"].isin(_ACCURACIES)]
    less, more = int((leakage["high"] < 0).sum()), int((leakage["low"] > 0).sum())
    unknown = int(leakage["difference"].isna().sum())
    alike = len(leakage) - less - more - unknown
    missing = f", and {unknown} could not be computed" if unknown else ""
    return (
        f"Of {counted(len(leakage), 'figure')} of leakage, A is lower in {less} and higher in {more}; in {alike} no"
        f" difference is shown{missing}. The 95% intervals are not corrected for the number of comparisons."
    )


def _groups(table: pd.DataFrame) -> list[tuple[str, list[pd.Series]]]:
    """The rows under their headings, in their order: a release's accuracies, then each attack setting."""
    groups: dict[str, list[pd.Series]] = {}
    for _, row in table.iterrows():
        head = f"{row['release']}, references: {row['references']}" if row["attack"] else row["release"]
        groups.setdefault(head, []).append(row)
    return list(groups.items())


def _quantity(found: Comparison, row: pd.Series) -> Quantity:
    return next(quantity for quantity in found.quantities if quantity.column == row["metric"])


def _figure_name(found: Comparison, row: pd.Series) -> str:
    title = _quantity(found, row).title
    return f"{row['attack']}: {title}" if row["attack"] else title


def _cells(row: pd.Series, quantity: Quantity, between: str) -> tuple[str, str, str]:
    """Both figures and their difference, each with its interval."""
    figures = [
        _NO_FIGURE
        if math.isnan(row[name])
        else between.join(filter(None, (quantity.value(row[name]), quantity.interval(row[low], row[high]))))
        for name, low, high in (("first", "first_low", "first_high"), ("second", "second_low", "second_high"))
    ]
    if math.isnan(row["difference"]):
        return figures[0], figures[1], _NO_FIGURE
    told = quantity.difference(row["difference"]), quantity.signed_interval(row["low"], row["high"])
    return figures[0], figures[1], between.join(filter(None, told))


def _remarks(found: Comparison) -> list[str]:
    """How differences were computed, what only one run has, and why figures are missing."""
    methods = set(found.table["method"])
    remarks = []
    if "paired" in methods:
        remarks.append("paired: same models and members, so the influence of shared samples cancels.")
    if "independent" in methods:
        remarks.append(
            "independent: the interval is computed from the intervals of both runs (root of summed squares), as if "
            "they shared nothing; if they share members, it is wider than necessary."
        )
    for name, only in (("A", found.only_first), ("B", found.only_second)):
        remarks += [f"only in {name}: {word} {', '.join(names)}" for word, names in only.items() if names]
    suppressed = found.table[found.table["suppressed"] != ""]
    for reason in dict.fromkeys(suppressed["suppressed"]):
        remarks.append(f"missing: {reason}")
    return remarks + list(found.notes)


def _escaped(text: str) -> str:
    return markdown_text(text, also="_")
