"""Findings as a small piece of HTML, for notebooks: a table of the means over victims.

Every text is escaped, because names can come from other people's files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from pruneaudit.attacks.primary import Primary
from pruneaudit.attacks.reference_free import ReferenceFree, reference_free
from pruneaudit.evaluation.columns import MEAN
from pruneaudit.metrics import all_metrics

MAX_ROWS = 60
"""A notebook has no room for a long table; a line below it says how many rows are left out."""
_READING = " [95% interval]. AUC: 0.5 is guessing, and higher leaks more."


def findings_html(findings: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """The mean over victims of every release, references and attack, the primary attack marked.

    Args:
        findings: a findings table; see `columns.FINDING_COLUMNS`.
        about: the results' `about`; it names the primary attack.
    """
    means = findings[findings["victim"] == MEAN]
    alone = _reference_free(means, about)
    quantities = [
        quantity
        for metric in all_metrics()
        if not metric.needs_threshold
        for quantity in metric.among(findings.columns)
    ]
    heads = ["Release", "References", "Attack", *(quantity.title for quantity in quantities)]
    lines = [f"<p>{escape(' '.join(alone.sentences))}</p>"] if alone else []
    lines += ["<table>", _row("th", [escape(head) for head in heads])]
    had_none = alone is not None and not alone.were_given
    recorded = Primary.recorded(about)
    primary = recorded.attack if recorded else ""
    for _, row in means.head(MAX_ROWS).iterrows():
        names = [escape(row["release"]), escape("none" if had_none else row["references"]), escape(row["attack"])]
        if row["attack"] == primary:
            names[2] = f"<strong>{names[2]}</strong>"
        figures = [_figure(row, quantity.column, quantity.is_percent) for quantity in quantities]
        lines.append(_row("td", names + figures))
    lines.append("</table>")
    what = "Value of one network" if means["num_victims"].max() == 1 else "Mean over victims"
    left_out = len(means) - MAX_ROWS
    if left_out > 0:
        lines.append(f"<p>{left_out:,} more rows in the findings.</p>")
    bold = " Bold: the primary attack, chosen before any result." if primary else ""
    return "<div>" + "\n".join([*lines, f"<p>{what}{_READING}{bold}</p>"]) + "</div>"


def code(name: str) -> str:
    """A name as escaped HTML, marked as code."""
    return f"<code>{escape(name)}</code>"


def _reference_free(means: pd.DataFrame, about: Mapping[str, Any]) -> ReferenceFree | None:
    victims = means["num_victims"].max()
    return reference_free(set(means["attack"]), 0 if math.isnan(victims) else int(victims), about)


def _figure(row: pd.Series, column: str, is_percent: bool) -> str:
    """`0.720 [0.708, 0.732]`; a dash with the reason if there is no figure."""
    numbers = [float(row[f"{column}{end}"]) * (100 if is_percent else 1) for end in ("", "_low", "_high")]
    if math.isnan(numbers[0]):
        return f'<span title="{escape(row["suppressed"])}">-</span>'
    value, low, high = (f"{number:.{2 if is_percent else 3}f}" for number in numbers)
    interval = "" if math.isnan(numbers[1]) or math.isnan(numbers[2]) else f" [{low}, {high}]"
    return f"{value}{'%' if is_percent else ''}{interval}"


def _row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"
