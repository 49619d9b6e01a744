r"""The tables of the report as LaTeX: one `tabular` a file, with the rules of the package booktabs.

Rows, columns and reasons are those of the page (`report/tables.py`). Intervals are below their
numbers, so that a table stays narrow. No other package is needed. For names in letters that pdfLaTeX lacks, use XeLaTeX
or LuaLaTeX and a font that has these letters.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pruneaudit.evaluation.results import Results
from pruneaudit.report.escaping import one_line
from pruneaudit.report.paper.names import file_stems
from pruneaudit.report.tables.cells import Cell, Row
from pruneaudit.report.tables.families import family_tables
from pruneaudit.report.tables.findings import differences_table, findings_table
from pruneaudit.report.tables.releases import releases_table
from pruneaudit.report.tables.ways import ways_table

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\string" + '"{}',  # babel gives the plain sign a meaning in some languages
    # After a line end, a bracket or a star is read as its argument.
    **{letter: f"{{{letter}}}" for letter in "[]*"},
    **{letter: f"\\{letter}" for letter in "{}$&#%_"},
}
_FUSING = re.compile(r"([-`',])(?=\1)|[?!](?=`)")
"""Signs that LaTeX merges with the next sign."""
_OF_RELEASES = ("Sparsity", "Nonzero parameters", "Training accuracy", "Test accuracy")
_STEPS = ("Accuracy when dense", "Accuracy after pruning", "Accuracy after fine-tuning")
_RULE = "\\midrule"
_Block = tuple[str, Sequence[Row]]
"""A line of LaTeX over the rows (empty: none), and the rows."""


def latex_tables(results: Results) -> dict[str, str]:
    """By file name: findings (mean over victims) and differences for each kind of references, releases, ways, families.

    Of families: `sets-RELEASES` and `added-RELEASES`.
    """
    kinds_of_references = list(dict.fromkeys(results.findings["references"]))
    findings, differences = file_stems("findings", kinds_of_references), file_stems("differences", kinds_of_references)
    texts = {}
    for references in kinds_of_references:
        part = _of_references(results, references)
        texts[f"{findings[references]}.tex"] = _findings(part)
        if not part.comparisons.empty:
            texts[f"{differences[references]}.tex"] = _differences(part)
    if not results.releases.empty:
        texts["releases.tex"] = _releases(results)
    table = ways_table(results)
    if table is not None:
        blocks = [(escaped(group.release), [replace(row, detail="") for row in group.rows]) for group in table.groups]
        texts["ways.tex"] = _tabular("Release", table.columns, blocks, table.notes)
    return texts | _families(results)


def escaped(text: str) -> str:
    """A text from outside as LaTeX that shows it; never a command, a line end or a comment."""
    return _FUSING.sub(r"\g<0>{}", "".join(_SPECIAL.get(letter, letter) for letter in one_line(text)))


def _of_references(results: Results, references: str) -> Results:
    """The results under one kind of references; differences of accuracies have none and always stay."""
    findings, comparisons = results.findings, results.comparisons
    return replace(
        results,
        findings=findings[findings["references"] == references],
        comparisons=comparisons[comparisons["references"].isin([references, ""])],
    )


def _findings(results: Results) -> str:
    table = findings_table(results)
    blocks = []
    for group in table.groups:
        accuracy = f"; test accuracy {_inline(group.extra)}" if group.extra is not None else ""
        blocks.append((f"{_name(group.release)}{accuracy}", group.rows))
    return _tabular("Attack", table.columns, blocks, table.notes)


def _differences(results: Results) -> str:
    table = differences_table(results)
    blocks = []
    for group in table.groups:
        accuracy = f"; test accuracy {_inline(group.extra)} points" if group.extra is not None else ""
        # All rows of the file have the same references: they need not say so one by one.
        rows = [replace(row, detail="") for row in group.rows]
        blocks.append((f"{_name(group.release)} minus {_name(group.against)}{accuracy}", rows))
    return _tabular("Attack", table.columns, blocks, table.notes)


def _releases(results: Results) -> str:
    lines, notes = releases_table(results)
    rows = []
    for line in lines:
        sizes = (line.sparsity,) if line.nonzero is None else (line.sparsity, line.nonzero)
        rows.append(Row(line.release, "", (*sizes, *line.cells)))
    return _tabular("Release", (*_OF_RELEASES, *_STEPS), [("", rows)], notes)


def _families(results: Results) -> dict[str, str]:
    """The sets of each family, and what one more release adds to them."""
    tables = {table.title: table for table in family_tables(results)}
    sets, added = file_stems("sets", tables), file_stems("added", tables)
    texts = {}
    for title, table in tables.items():
        columns = [name for one in table.quantities for name in (one.title, f"Difference in {one.title}")]
        rows = [Row(line.releases, f"{line.attack} minus {line.against}" if line.against else line.attack, line.cells)
                for line in table.sets]  # fmt: skip
        texts[f"{sets[title]}.tex"] = _tabular("Releases", columns, [("", rows)], table.notes)
        by_given: dict[str, list[Row]] = {}
        for one in table.marginals:
            by_given.setdefault(one.given, []).append(Row(one.added, one.label, one.cells))
        blocks = [(f"{_name(given)} public", rows) for given, rows in by_given.items()]
        changes = [f"Change of {one.title}" for one in table.quantities]
        texts[f"{added[title]}.tex"] = _tabular("Added", changes, blocks, table.notes)
    return texts


def _tabular(head: str, columns: Sequence[str], blocks: Sequence[_Block], notes: Sequence[str]) -> str:
    lines = [
        r"% Needs \usepackage{booktabs}. Written by pruneaudit; 95% intervals in brackets.",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(columns)}@{{}}}}",
        r"\toprule",
        " & ".join(_heading(title) for title in (head, *columns)) + r" \\",
    ]
    for title, rows in blocks:
        lines.append(_RULE)
        if title:
            lines.append(rf"\multicolumn{{{len(columns) + 1}}}{{@{{}}l@{{}}}}{{{title}}} \\")
        for row in rows:
            lines += _row_lines(row)
    lines += [r"\bottomrule", r"\end{tabular}"]
    if notes:
        lines.append(r"\par\smallskip{\footnotesize\raggedright")
        lines += [rf"\textsuperscript{{{number}}} {escaped(note)}\par" for number, note in enumerate(notes, start=1)]
        lines.append("}")
    return "\n".join(lines) + "\n"


def _heading(title: str) -> str:
    """A column's title, on two lines where it has several words."""
    words = title.split()
    if len(words) == 1:
        return escaped(title)
    breaks = [(" ".join(words[:place]), " ".join(words[place:])) for place in range(1, len(words))]
    upper, lower = min(breaks, key=lambda parts: max(len(parts[0]), len(parts[1])))
    return rf"\shortstack{{{escaped(upper)}\\{escaped(lower)}}}"


def _row_lines(row: Row) -> list[str]:
    """The numbers, and below them what belongs to them in small print, where there is any."""
    lines = [" & ".join([_name(row.head), *(_value(cell) for cell in row.cells)]) + r" \\"]
    small = [escaped(row.detail), *(_numeric(cell.interval) for cell in row.cells)]
    if any(small):
        lines.append(" & ".join(rf"{{\scriptsize {text}}}" if text else "" for text in small) + r" \\")
    return lines


def _value(cell: Cell) -> str:
    if not cell.value:
        return "--" if cell.note is None else rf"--\textsuperscript{{{cell.note}}}"
    value = _numeric(cell.value)
    return rf"\textbf{{{value}}}" if cell.stands_out else value


def _inline(cell: Cell) -> str:
    """A number with its interval behind it."""
    return f"{_value(cell)} {_numeric(cell.interval)}".rstrip()


def _numeric(text: str) -> str:
    """A number of our own making: signs as in mathematics, brackets kept from the line end before them."""
    return re.sub(r"[+-](?=\d)", r"$\g<0>$", text).replace("%", r"\%").replace("[", "{[}").replace("]", "{]}")


def _name(text: str) -> str:
    return rf"\texttt{{{escaped(text)}}}"
