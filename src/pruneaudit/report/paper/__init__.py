"""Figures and tables for a paper, from the result tables of a finished run.

| file | what it shows |
|---|---|
| `sparsity-leakage` | AUC, TPR and test accuracy against sparsity, a curve per pruning method |
| `frontier` | AUC against test accuracy, a marker per release |
| `roc-RELEASE` | every attack on one release, both axes logarithmic |
| `attacks` | AUC of every attack on the release that others are held against |

Needs matplotlib (`pruneaudit[figures]`), which is imported where it is used. Attack, references and
order are those of the page; nothing is chosen by its result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically, writing_error
from pruneaudit.core.registry import nearest
from pruneaudit.evaluation.results import Results
from pruneaudit.report.paper.attacks import attacks
from pruneaudit.report.paper.frontier import frontier
from pruneaudit.report.paper.latex import latex_tables
from pruneaudit.report.paper.names import file_stems
from pruneaudit.report.paper.roc import roc
from pruneaudit.report.paper.sparsity import sparsity_leakage
from pruneaudit.report.paper.style import FORMATS, Chart, drawing, rendered, require_matplotlib
from pruneaudit.report.selection import release_names
from pruneaudit.runs.folder import RunFolder

__all__ = ["FORMATS", "Written", "draw", "figures"]


@dataclass(frozen=True)
class Written:
    """What was written, and what could not be."""

    files: tuple[Path, ...]
    """Figures in the order of the table above, then tables."""
    left_out: tuple[str, ...]
    """A line for each figure for which the run has nothing to show."""


def figures(
    run_folder: str | Path, out: str | Path, formats: str | Sequence[str] = ("pdf",), latex: bool = False
) -> Written:
    """Writes the figures of a finished run, one file per figure and format, 3.4 inches wide.

    The same results give the same bytes (with one version of matplotlib). Files of the same name are replaced.

    Args:
        run_folder: the run's folder.
        out: the folder to write to; made if need be.
        formats: of "pdf", "png" (300 dpi) and "svg"; one text with commas between serves too.
        latex: whether to write the tables as well (.tex, package booktabs).

    Raises:
        UserError: an unknown format, no finished run or a damaged one, nothing to draw, no matplotlib, or `out`
            cannot be written to.
        StorageError: the disk is full.

    Example:
        >>> written = pruneaudit.figures("runs/first", "figures", formats="png")
    """
    chosen, folder = _formats(formats), Path(out)
    require_matplotlib()
    results = RunFolder(run_folder).results()
    with drawing():
        charts, left_out = draw(results)
        if not charts:
            raise UserError(f"{run_folder}: nothing to draw: no attack has a figure on any release of this run")
        contents = {f"{chart.stem}.{suffix}": rendered(chart, suffix) for chart in charts for suffix in chosen}
    texts = latex_tables(results) if latex else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [write_atomically(folder / name, content) for name, content in (contents | texts).items()]
    except OSError as error:
        raise writing_error(folder, error) from None
    return Written(tuple(files), left_out)


def draw(results: Results) -> tuple[tuple[Chart, ...], tuple[str, ...]]:
    """All figures for which there is something to draw, and a line on each of the others.

    For use inside `style.drawing()`.
    """
    found = [
        (sparsity_leakage(results), "sparsity-leakage: no pruned release has a figure of the primary attack"),
        (frontier(results), "frontier: no release has both a test accuracy and a figure of the primary attack"),
        *(
            (roc(results, release, stem), f"{stem}: no attack has a curve that can be told")
            for release, stem in file_stems("roc", release_names(results)).items()
        ),
        (attacks(results), "attacks: no attack has an AUC on the release that others are held against"),
    ]
    return (
        tuple(chart for chart, _ in found if chart is not None),
        tuple(reason for chart, reason in found if chart is None),
    )


def _formats(given: str | Iterable[str]) -> tuple[str, ...]:
    names = [name.strip().lower() for name in (given.split(",") if isinstance(given, str) else given)]
    for name in names or [""]:
        if name not in FORMATS:
            raise UserError(
                f"figures: got format '{name}'{nearest(name, FORMATS)}, expected one or more of: {', '.join(FORMATS)}"
            )
    return tuple(dict.fromkeys(names))
