"""A certificate as Markdown, for a repository or a ticket."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pruneaudit.evaluation.certificate import Certificate
from pruneaudit.evaluation.search_path import SearchPath
from pruneaudit.report.conclusions.certificate import naive_choice
from pruneaudit.report.escaping import markdown_code, markdown_text, one_line
from pruneaudit.report.sentences.certificate import (
    limits_words,
    meaning_words,
    naive_words,
    outcome_words,
    title_words,
)
from pruneaudit.report.tables.cells import Cell
from pruneaudit.report.tables.certificate import ListTable, list_table, others_table, path_lines


def certificate_markdown(certificate: Certificate, path: SearchPath) -> str:
    """The certificate as a Markdown document.

    Args:
        certificate: what was shown.
        path: the search before it.
    """
    return "\n\n".join(_blocks(certificate, path)) + "\n"


def _blocks(certificate: Certificate, path: SearchPath) -> Iterable[str]:
    limits = certificate.limits
    yield f"# {_text(title_words(certificate))}"
    yield _items(outcome_words(certificate))
    yield "## Limits"
    yield _items(limits_words(limits))
    if certificate.judged:
        yield "## The list, on the models that confirm"
        yield _list(list_table(certificate))
    yield "## What the certificate means"
    yield _items(meaning_words(certificate))
    yield "## Without a confirmation"
    yield _text(naive_words(naive_choice(certificate, path), limits))
    others = others_table(certificate)
    if others:
        yield "## Not chosen"
        yield _table(("candidate", "made by", "why"), [(markdown_code(n), _text(d), _text(w)) for n, d, w in others])
    if path.rungs:
        yield "## The search"
        yield _items([line.words for line in path_lines(path, certificate)])
    scope = certificate.scope
    facts = [
        f"study: {scope.study}",
        f"settings of the study, SHA-256: {scope.study_hash}",
        f"pruneaudit {scope.version}",
    ]
    yield _items(fact for fact in facts if not fact.endswith(": "))


def _list(table: ListTable) -> str:
    head = ("candidate", "outcome", "p", *table.columns)
    rows = [
        (markdown_code(line.name), _text(line.outcome), line.p_value, *(_cell(cell) for cell in line.cells))
        for line in table.lines
    ]
    notes = [f"{number}: {_text(note)}" for number, note in enumerate(table.notes, start=1)]
    return "\n\n".join([_table(head, rows), *notes])


def _cell(cell: Cell) -> str:
    if not cell.value:
        return f"- ({cell.note})"
    return _text(f"{cell.value}, {cell.interval}" if cell.interval else cell.value)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [[_text(title) for title in head], ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _items(said: Iterable[str]) -> str:
    return "\n".join(f"- {_text(one)}" for one in said)


def _text(text: str) -> str:
    return markdown_text(one_line(text), also="_#~$&")
