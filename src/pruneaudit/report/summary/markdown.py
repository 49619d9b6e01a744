"""The summary as Markdown."""

from __future__ import annotations

from collections.abc import Iterable

from pruneaudit.report.escaping import markdown_code, markdown_text
from pruneaudit.report.summary.content import BLANK, Fact, Part, Summary, Table

_ALSO = "#~$_&"
"""Letters with a meaning for GitHub or Hugging Face, in addition to those of all Markdown."""


def summary_markdown(summary: Summary, level: int = 1) -> str:
    """The summary as a Markdown document.

    Args:
        summary: what stands on it.
        level: of its title: 1 for a document of its own.
    """
    blocks = [f"{'#' * level} {_text(summary.title)}"]
    blocks += [f"**{_text(alarm)}**" for alarm in summary.alarms]
    for part in summary.parts:
        blocks += _blocks(part, "#" * (level + 1))
    blocks += [f"{label}: {BLANK}" for label in summary.signature]
    return "\n\n".join(blocks) + "\n"


def _blocks(part: Part, marks: str) -> Iterable[str]:
    yield f"{marks} {_text(part.heading)}"
    if len(part.said) == 1:
        yield _text(part.said[0])
    elif part.said:
        yield "\n".join(f"- {_text(sentence)}" for sentence in part.said)
    if part.facts:
        yield "\n".join(_fact(fact) for fact in part.facts)
    for table in part.tables:
        yield _text(table.caption)
        yield _table(table)
        if table.notes:
            yield "\n".join(f"- {_text(note)}" for note in table.notes)


def _fact(fact: Fact) -> str:
    return f"- **{_text(fact.label)}**: {markdown_code(fact.text) if fact.is_code else _text(fact.text)}"


def _table(table: Table) -> str:
    lines = [[_text(title) for title in table.columns], ["---" for _ in table.columns]]
    lines += [[markdown_code(row[0]), *(_text(cell) for cell in row[1:])] for row in table.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(text: str) -> str:
    """Without anything that means something to Markdown, nor an address that becomes a link by itself."""
    return markdown_text(text, _ALSO).replace("://", "\\://").replace("www.", "www\\.").replace("@", "\\@")
