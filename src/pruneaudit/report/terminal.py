"""The results as a compact table for a terminal of 80 columns, or for a file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from textwrap import fill

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pruneaudit.attacks.reference_free import WRONG_WAY
from pruneaudit.core.errors import printable
from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import compressed_by, is_pruned_only, of_all_parameters
from pruneaudit.report.escaping import terminal_text
from pruneaudit.report.quantities import TEST_ACCURACY, Quantity, headline_quantities, sparsity_text
from pruneaudit.report.selection import (
    attack_order,
    finding,
    findings_elsewhere,
    primary_references,
    reference_free_of,
    references_shown,
    release_names,
    release_row,
    target_file,
)
from pruneaudit.report.sentences.answer import answer, shown_change
from pruneaudit.report.sentences.canaries import canary_words
from pruneaudit.report.sentences.certainty import DEMONSTRATION
from pruneaudit.report.sentences.families import families_in_short
from pruneaudit.report.sentences.family_epsilon import epsilon_words
from pruneaudit.report.sentences.networks import averaged_words
from pruneaudit.report.sentences.power import power_words
from pruneaudit.report.sentences.sanity_checks import unchecked_data_words
from pruneaudit.report.sentences.structure import structure_in_short
from pruneaudit.report.tables.cells import Notes, estimate
from pruneaudit.report.tables.released import left_whole

_WIDTH_OF_NUMBERS = 76
"""Columns that the widest numbers need, with some room for names."""
_FIRST = 2
"""Number of figures that are shown at any width: AUC and a TPR. Others need room."""
_WORDS_WIDTH = 28
"""Columns of the words for a release's compressors; longer ones wrap."""
_NO_LIMIT = 10_000
"""Columns in which no name breaks."""


def print_results(results: Results, console: Console) -> None:
    """Prints one line per release and attack, the reasons for missing figures, then the answer.

    Numbers are never cut: where the console is too narrow, cells wrap. Names are shown without
    control characters, so that none can control the terminal.
    """
    notes, is_wide = Notes(), console.width >= _WIDTH_OF_NUMBERS
    quantities = headline_quantities(results.findings.columns)
    shown = quantities if _fits(_table(results, Notes(), quantities, is_wide), console) else quantities[:_FIRST]
    table = _table(results, notes, shown, is_wide)
    if not _fits(table, console):  # names would break: figures that are words take two lines
        notes = Notes()
        table = _table(results, notes, shown, is_wide, between="\n")
    console.print(table)
    if len(shown) < len(quantities):
        left_out = ", ".join(quantity.title for quantity in quantities[len(shown) :])
        said = f"Too wide for this terminal, shown on the page: {left_out}"
        console.print(terminal_text(said), style="dim", highlight=False)
    for number, reason in enumerate(notes.listed(), start=1):
        console.print(terminal_text(f"({number}) {reason}"), style="dim", highlight=False)
    for whole in left_whole(results):
        console.print(terminal_text(f"Left whole in {whole.release}: {whole.layers}"), style="dim", highlight=False)
    console.print()
    for sentence, style in _said(results):
        console.print(terminal_text(sentence, style), highlight=False)


def _said(results: Results) -> Iterator[tuple[str, str]]:
    """The sentences below the table, each with its style."""
    told = answer(results)
    yield from ((sentence, "bold red") for sentence in told.alarms)
    yield from ((sentence, "bold") for sentence in (told.disagreement, *told.unlearned) if sentence)
    yield told.leakage.whole, ""
    change = shown_change(results, told.changes)
    if change is not None:
        yield f"{change.release}: {change.text}", ""
    counts = (told.counts, told.at_equal_size)
    yield from ((sentence, "") for sentence in (*counts, *told.collapsed, *told.agreement) if sentence)
    further = (
        *families_in_short(results),
        *epsilon_words(results),
        *structure_in_short(results),
        *canary_words(results),
        *power_words(results),
    )
    yield from ((sentence, "") for sentence in further)
    yield from ((sentence, "dim") for sentence in unchecked_data_words(results))
    alone = reference_free_of(results)
    if alone is not None:
        yield f"{told.certainty} {WRONG_WAY}", ""
    if told.next_steps:
        step = told.next_steps[0]
        yield f"Next: {step.whole}", ""
    if results.about.get("demonstration"):
        yield DEMONSTRATION, ""


def _fits(table: Table, console: Console) -> bool:
    """Whether no name of the table breaks."""
    unbounded = console.options.update(max_width=_NO_LIMIT)
    return console.measure(table, options=unbounded).maximum <= console.width


def _table(results: Results, notes: Notes, quantities: Sequence[Quantity], is_wide: bool, between: str = " ") -> Table:
    """The table. If it `is_wide` enough for all numbers, only the names wrap; else numbers wrap too.

    `between` separates the two sparsities of a release.
    """
    title = f"Leakage, references: {printable(references_shown(results))}; {printable(averaged_words(results))}"
    table = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("Release / attack", overflow="fold")
    # A release's own figures are above its attacks' columns: at 80 columns there is no room beside them.
    for quantity in quantities:
        table.add_column(quantity.title, justify="right", overflow="fold", no_wrap=is_wide)
    for release in release_names(results):
        facts = _release_facts(results, release, notes, between)
        texts = facts if len(quantities) > 1 else [", ".join(facts)]
        table.add_row(*(Text(text, style="bold") for text in (printable(release), *texts)))
        for attack in attack_order(results):
            found = finding(results, release, attack)
            for row in findings_elsewhere(results, release, attack) if found is None else [found]:
                # The title names the primary references.
                is_other = row["references"] != primary_references(results)
                what = f", references {row['references']}" if is_other else ""
                cells = [estimate(row, quantity, notes) for quantity in quantities]
                figures = [_text(f"{cell.value} {cell.interval}".strip(), cell.note) for cell in cells]
                table.add_row(Text(f"  {printable(attack + what)}"), *figures)
    return table


def _release_facts(results: Results, release: str, notes: Notes, between: str) -> list[str]:
    """Sparsity, or compressors, and test accuracy of a release, in words."""
    row = release_row(results, release)
    if row is None:
        return []
    accuracy = estimate(row, TEST_ACCURACY, notes)
    facts = [f"{_text(accuracy.value, accuracy.note)} accuracy"]
    compressors = compressed_by(results, release)
    has_zeros_alone = bool(target_file(results, release)) and row["sparsity"] > 0  # the recipe is its references'
    if compressors and not has_zeros_alone and not is_pruned_only(results, release):
        made = fill(printable(compressors), _WORDS_WIDTH)  # one line of a long chain would squeeze the names
    elif math.isnan(row["sparsity"]):  # predictions alone say nothing of weights
        return facts
    else:
        made = f"{sparsity_text(row['sparsity'])} sparsity"
    of_all = of_all_parameters(row)
    return [f"{made}{f'{between}({of_all})' if of_all else ''}", *facts]


def _text(figure: str, note: int | None) -> Text:
    return Text(figure or f"- ({note})")
