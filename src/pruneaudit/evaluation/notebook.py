"""Findings as a small piece of HTML, for notebooks: the answer in a sentence, then a table.

Every text is escaped, since names may come from files that others wrote.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from pruneaudit.attacks.primary import Primary, attack_by_rule
from pruneaudit.attacks.reference_free import ReferenceFree, reference_free
from pruneaudit.evaluation.columns import MEAN
from pruneaudit.metrics import all_metrics

MAX_ROWS = 60
"""A notebook is no place for a long table; what is left out is said."""
_MOST_NAMED = 3
"""Attacks that a sentence names; the table has them all."""


def findings_html(findings: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """The mean over victims of every release, references and attack, and a sentence about the primary attack.

    Args:
        findings: a findings table; see `columns.FINDING_COLUMNS`.
        about: of the results; says which attack is the primary one.
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
    lines = [f"<p>{_sentence(means, about)}</p>"]
    lines += [f"<p>{escape(' '.join(alone.sentences))}</p>"] if alone else []
    lines += ["<table>", _row("th", [escape(head) for head in heads])]
    had_none = alone is not None and not alone.were_given
    for _, row in means.head(MAX_ROWS).iterrows():
        names = [escape(name) for name in (row["release"], "none" if had_none else row["references"], row["attack"])]
        figures = [_figure(row, quantity.column, quantity.is_percent) for quantity in quantities]
        lines.append(_row("td", names + figures))
    lines.append("</table>")
    left_out = len(means) - MAX_ROWS
    if left_out > 0:
        lines.append(f"<p>{left_out:,} more rows in the findings.</p>")
    return "<div>" + "\n".join([*lines, "<p>Mean over victims [95% interval].</p>"]) + "</div>"


def code(name: str) -> str:
    """A name, marked as one and escaped."""
    return f"<code>{escape(name)}</code>"


def _reference_free(means: pd.DataFrame, about: Mapping[str, Any]) -> ReferenceFree | None:
    victims = means["num_victims"].max()
    return reference_free(set(means["attack"]), 0 if math.isnan(victims) else int(victims), about)


def _sentence(means: pd.DataFrame, about: Mapping[str, Any]) -> str:
    """What the primary attack shows on the first release, and what others show where it shows nothing."""
    labels, recorded = list(dict.fromkeys(means["attack"])), Primary.recorded(about)
    is_known = recorded is not None and recorded.attack in labels
    attack = recorded.attack if recorded and is_known else attack_by_rule(labels, 0)
    rows = means[means["attack"] == attack]
    if rows.empty:
        return "No attack was played, so there is nothing to say about leakage."
    row = rows.iloc[0]
    who, figure = f"{code(attack)} on {code(row['release'])}", _figure(row, "auc", is_percent=False)
    if math.isnan(row["auc"]):
        return f"{who} gave no figure: {escape(row['suppressed'])}."
    if row["auc_low"] > 0.5:
        return f"{who} tells members from non-members: AUC {figure}."
    if row["auc_high"] < 0.5:
        return f"{who} ranks members below non-members: AUC {figure}. Check how membership was joined."
    others = means[(means["release"] == row["release"]) & (means["auc_low"] > 0.5)]
    if others.empty:
        return f"{who} was not shown to do better than guessing: AUC {figure}. That is no proof that nothing leaks."
    named = ", ".join(
        f"{code(other['attack'])} {_figure(other, 'auc', is_percent=False)}"
        for _, other in others.head(_MOST_NAMED).iterrows()
    )
    more = f" and {len(others) - _MOST_NAMED} more" if len(others) > _MOST_NAMED else ""
    return f"Attacks disagree: {who} was not shown to do better than guessing (AUC {figure}), but {named}{more} do."


def _figure(row: pd.Series, column: str, is_percent: bool) -> str:
    """`0.720 [0.708, 0.732]`; a dash with the reason where there is none."""
    numbers = [float(row[f"{column}{end}"]) * (100 if is_percent else 1) for end in ("", "_low", "_high")]
    if math.isnan(numbers[0]):
        return f'<span title="{escape(row["suppressed"])}">-</span>'
    value, low, high = (f"{number:.{2 if is_percent else 3}f}" for number in numbers)
    interval = "" if math.isnan(numbers[1]) or math.isnan(numbers[2]) else f" [{low}, {high}]"
    return f"{value}{'%' if is_percent else ''}{interval}"


def _row(tag: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"
