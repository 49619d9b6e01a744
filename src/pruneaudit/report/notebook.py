"""A finished run as a short HTML text for notebooks: the answer, the findings, and the path of the page."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from pruneaudit.evaluation.notebook import code, findings_html
from pruneaudit.evaluation.results import Results
from pruneaudit.report.sentences.answer import answer


def run_html(results: Results, page: Path, failures: Sequence[str] = ()) -> str:
    """The answer in the report's own words, the table of findings, and the path of the page; all texts escaped.

    Args:
        results: the run's.
        page: its report.
        failures: tasks that failed, a line each.
    """
    told = answer(results)
    said = [*told.alarms, *([told.disagreement] if told.disagreement else []), *told.unlearned, told.leakage.whole]
    more = [*filter(None, (told.counts, told.at_equal_size)), *told.collapsed, *told.agreement]
    changes = "".join(f"<li>{code(change.release)}: {escape(change.text)}</li>" for change in told.changes)
    failed = "".join(f"<li>failed: {escape(failure)}</li>" for failure in failures)
    parts = [
        *(f"<p><strong>{escape(sentence)}</strong></p>" for sentence in said),
        *(f"<p>{escape(sentence)}</p>" for sentence in more),
        *(f"<ul>{items}</ul>" for items in (changes, failed) if items),
        findings_html(results.findings, results.about),
        f"<p>Report: {code(str(page))}</p>",
    ]
    return "<div>" + "\n".join(parts) + "</div>"
