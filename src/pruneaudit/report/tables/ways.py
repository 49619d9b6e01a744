"""The releases grouped by way of compressing, each with accuracy, size and leakage."""

from __future__ import annotations

import math

import pandas as pd

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import NOT_COMPRESSED, WAYS, compressed_by, way_of
from pruneaudit.report.quantities import AUC, TEST_ACCURACY, Quantity, bytes_text
from pruneaudit.report.selection import finding, headline_rate, primary_attack, references_shown, release_row
from pruneaudit.report.tables.cells import NO_REASON, NOT_RECORDED, Cell, Group, Notes, Row, Table, estimate
from pruneaudit.report.tables.equal_accuracy import equal_accuracy_cell, equal_size_cell, has_equal_size

_FEWEST_WAYS, _FEWEST_RELEASES = 2, 4
"""Smallest numbers of ways and of compressed releases for this table: other tables already show fewer of them well."""


def by_way(results: Results) -> dict[str, list[str]]:
    """The releases of each way, in the order of reports; empty where these are too few."""
    found: dict[str, list[str]] = {}
    for release in results.releases["release"]:
        found.setdefault(way_of(results, release), []).append(str(release))
    compressed = [names for way, names in found.items() if way != NOT_COMPRESSED]
    if len(compressed) < _FEWEST_WAYS or sum(map(len, compressed)) < _FEWEST_RELEASES:
        return {}
    return {way: found[way] for way in WAYS if way in found}


def ways_table(results: Results) -> Table | None:
    """A group of lines for each way; None where there are too few compressed releases."""
    ways, rate, notes = by_way(results), headline_rate(results), Notes()
    if not ways:
        return None
    quantities = (AUC,) if rate is None else (AUC, rate)
    with_sizes = has_equal_size(results)
    at_size = (f"{AUC.title} at equal size",) if with_sizes else ()
    columns = (
        *(TEST_ACCURACY.title, "Effective bits", "Compressed size"),
        *(quantity.title for quantity in quantities),
        *(f"{AUC.title} at equal accuracy", *at_size),
    )
    groups = tuple(
        Group(
            WAYS[way],
            references_shown(results),
            None,
            tuple(
                Row(name, compressed_by(results, name), _cells(results, name, quantities, with_sizes, notes))
                for name in names
            ),
        )
        for way, names in ways.items()
    )
    return Table(columns, groups, notes.listed())


def _cells(
    results: Results, release: str, quantities: tuple[Quantity, ...], with_sizes: bool, notes: Notes
) -> tuple[Cell, ...]:
    made, found = release_row(results, release), finding(results, release, primary_attack(results))
    table = results.frontier
    compared = table[(table["release"] == release) & (table["metric"] == AUC.column)]

    def missing() -> Cell:
        return Cell("", note=notes.number(NO_REASON))

    return (
        missing() if made is None else estimate(made, TEST_ACCURACY, notes),
        *((missing(), missing()) if made is None else _size_cells(made, notes)),
        *(missing() if found is None else estimate(found, quantity, notes) for quantity in quantities),
        missing() if compared.empty else equal_accuracy_cell(compared.iloc[0], AUC, notes),
        *([missing() if compared.empty else equal_size_cell(compared.iloc[0], AUC, notes)] if with_sizes else []),
    )


def _size_cells(made: pd.Series, notes: Notes) -> tuple[Cell, Cell]:
    """Bits per weight, and bytes with the ratio to the dense network's."""
    bits, size, ratio = (float(made[column]) for column in ("effective_bits", "compressed_bytes", "compression_ratio"))
    of_dense = f"1/{ratio:.3g} of dense" if ratio > 1 else ""
    return (
        Cell("", note=notes.number(NOT_RECORDED)) if math.isnan(bits) else Cell(f"{bits:.2f}"),
        Cell("", note=notes.number(NOT_RECORDED)) if math.isnan(size) else Cell(bytes_text(size), of_dense),
    )
