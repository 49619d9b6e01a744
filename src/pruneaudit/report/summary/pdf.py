"""The summary as one page of PDF, drawn by fpdf2 (extra `pdf`), without a browser.

The fonts are those that every PDF reader has, so the file embeds none. They have the letters of Latin-1; other letters
become "?", and the page says so. The file is not compressed, and does not depend on the time of writing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pruneaudit.core.errors import UserError
from pruneaudit.report.escaping import printable_only
from pruneaudit.report.sentences.summary import LETTERS_REPLACED
from pruneaudit.report.summary.content import BLANK, Fact, Limits, Part, Summary, Table

if TYPE_CHECKING:
    from fpdf import FPDF

_FONT, _MARGIN, _LINE = "Helvetica", 13.0, 0.43
"""Millimetres of the margins, and of a line for each point of its letters."""
_FIRST_COLUMN = 1.3
"""Width of the names' column of a table, in those of the others."""
_LENGTHS = (Limits(), Limits(6, 4), Limits(4, 3), Limits(2, 2), Limits(1, 1))
_POINTS = (8.5, 8.0, 7.5, 7.0, 6.5)
"""Sizes of letters: they shrink before anything is left out."""
_LATIN = str.maketrans({"\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'})


def require_fpdf() -> None:
    """Checks that the extra is there.

    Raises:
        UserError: it is not.
    """
    try:
        import fpdf  # noqa: F401
    except ImportError:
        raise UserError(
            "summary: PDF files need fpdf2, but it is not installed; install it with: pip install 'pruneaudit[pdf]', or"
            " write a file that ends in .md"
        ) from None


def summary_pdf(summary: Callable[[Limits], Summary], created: str) -> bytes:
    """The summary as a file of one page.

    Args:
        summary: gives what stands on it, by the lengths of its lists.
        created: when the run was made, in ISO format; the file bears this date.

    Raises:
        UserError: even the shortest one does not fit.
    """
    for limits in _LENGTHS:
        content = summary(limits)
        for size in _POINTS:
            drawn = _drawn(content, size, created)
            if drawn is not None:
                return drawn
    raise UserError("summary: does not fit on one page; write a file that ends in .md, which may be longer")


def _drawn(summary: Summary, size: float, created: str) -> bytes | None:
    """The file; None where the letters do not fit on a page."""
    page = _Page(size, created)
    page.text(summary.title, "B", 1.5)
    for alarm in summary.alarms:
        page.text(alarm, "B")
    for part in summary.parts:
        page.part(part)
    page.end(summary.signature)
    return page.finished(summary.title)


class _Page:
    """An A4 page that is written from top to bottom."""

    def __init__(self, size: float, created: str) -> None:
        from fpdf import FPDF

        self.pdf: FPDF = FPDF(format="A4")
        self.size, self.replaced = size, False
        self.pdf.set_compression(False)
        self.pdf.set_creation_date(_date(created))
        self.pdf.set_margin(_MARGIN)
        self.pdf.set_auto_page_break(True, _MARGIN)
        self.pdf.add_page()

    def part(self, part: Part) -> None:
        """A heading and what stands below it."""
        self.pdf.ln(0.12 * self.size)
        self.text(part.heading, "B", 1.1)
        for sentence in part.said:
            self.text(sentence)
        for fact in part.facts:
            self.fact(fact)
        for table in part.tables:
            self.text(table.caption)
            self.table(table)
            for note in table.notes:
                self.text(note, scale=0.9)

    def text(self, text: str, style: str = "", scale: float = 1.0) -> None:
        """A paragraph; `scale` is of its letters."""
        self.pdf.set_font(_FONT, style, self.size * scale)
        self.pdf.multi_cell(0, _LINE * self.size * scale, self.letters(text), align="L", new_x="LMARGIN", new_y="NEXT")

    def fact(self, fact: Fact) -> None:
        """A label with what belongs to it."""
        for text, style in ((f"{fact.label}: ", "B"), (fact.text, "")):
            self.pdf.set_font(_FONT, style, self.size)
            self.pdf.write(_LINE * self.size, self.letters(text))
        self.pdf.ln(_LINE * self.size)

    def table(self, table: Table) -> None:
        """A table of the page's width."""
        from fpdf.fonts import FontFace

        self.pdf.set_font(_FONT, "", self.size * 0.9)
        widths = (_FIRST_COLUMN, *(1.0 for _ in table.columns[1:]))
        look = {"line_height": _LINE * self.size * 0.9, "padding": 0.35, "text_align": "LEFT"}
        with self.pdf.table(
            col_widths=widths, borders_layout="HORIZONTAL_LINES", headings_style=FontFace(emphasis="BOLD"), **look
        ) as drawn:
            for row in (table.columns, *table.rows):
                drawn.row([self.letters(cell) for cell in row])
        self.pdf.ln(0.06 * self.size)

    def letters(self, text: str) -> str:
        """The text in the letters that the font has."""
        plain = printable_only(text).translate(_LATIN)
        drawn = plain.encode("latin-1", errors="replace").decode("latin-1")
        self.replaced |= drawn != plain
        return drawn

    def end(self, labels: Sequence[str]) -> None:
        """A line to fill in by hand, below a note where letters were replaced."""
        if self.replaced:
            self.text(LETTERS_REPLACED, scale=0.9)
        self.pdf.ln(0.6 * self.size)
        self.pdf.set_font(_FONT, "", self.size)
        width = self.pdf.epw / len(labels)
        for label in labels:
            self.pdf.cell(width, _LINE * self.size, f"{label}: {BLANK}")
        self.pdf.ln(_LINE * self.size)

    def finished(self, title: str) -> bytes | None:
        """The file; None where it has more than one page."""
        self.pdf.set_title(self.letters(title))
        return bytes(self.pdf.output()) if self.pdf.page_no() == 1 else None


def _date(created: str) -> datetime:
    """When the run was made; a fixed date where that is unknown, so that the file never bears today's."""
    try:
        found = datetime.fromisoformat(created)
    except ValueError:
        return datetime(1970, 1, 2, tzinfo=UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
