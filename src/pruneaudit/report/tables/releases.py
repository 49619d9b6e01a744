"""The table of the releases: their training, compression, defence and accuracy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import compressed_by
from pruneaudit.report.quantities import (
    TEST_ACCURACY,
    TRAIN_ACCURACY,
)
from pruneaudit.report.selection import target_file
from pruneaudit.report.tables.cells import NO_STEP, Cell, Notes, estimate, nonzero_cell, sparsity_cell


@dataclass(frozen=True)
class ReleaseLine:
    """One line of the releases table."""

    release: str
    compression: str
    """Compressors and degrees, its parents' first; or the user's own file."""
    origin: str
    """Empty for a file."""
    sparsity: Cell
    nonzero: Cell | None
    """None where another table has it."""
    cells: tuple[Cell, ...]


def releases_table(results: Results, with_nonzero: bool = True) -> tuple[tuple[ReleaseLine, ...], tuple[str, ...]]:
    """What each release is, and the reasons for numbers that are missing."""
    notes = Notes()
    lines = []
    for _, row in results.releases.iterrows():
        cells = [estimate(row, TRAIN_ACCURACY, notes), estimate(row, TEST_ACCURACY, notes)]
        for step in ("before", "after_pruning", "after_finetuning"):
            value = row[f"test_accuracy_{step}"]
            cells.append(
                Cell("", note=notes.number(NO_STEP)) if math.isnan(value) else Cell(TEST_ACCURACY.value(value))
            )
        sparsity, nonzero = sparsity_cell(row, notes), nonzero_cell(row, notes) if with_nonzero else None
        file = target_file(results, row["release"], with_dense=True)
        how, origin = (f"your file {file}", "") if file else (compressed_by(results, row["release"]), row["origin"])
        lines.append(ReleaseLine(row["release"], how, origin, sparsity, nonzero, tuple(cells)))
    return tuple(lines), notes.listed()
