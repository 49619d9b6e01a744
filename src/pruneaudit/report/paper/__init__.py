"""Figures and tables for a paper, from the result tables of a finished run.

| file | what it shows |
|---|---|
| `sparsity-leakage` | AUC, TPR and test accuracy against sparsity, a curve per pruning method |
| `frontier` | AUC against test accuracy, a marker per release |
| `methods-bits`, `methods-accuracy` | AUC of all ways of compressing, against effective bits and test accuracy |
| `family-RELEASES` | AUC of every set of releases of a family, against their number |
| `roc-RELEASE` | every attack on one release, both axes logarithmic |
| `attacks` | AUC of every attack on the release that others are compared with |

The figures share their descriptions with the page (`report/figures/`). Files need vl-convert (`pruneaudit[figures]`),
which is imported where it is used. Attack, references and order are those of the page; no choice depends on a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import write_atomically, writing_error
from pruneaudit.core.registry import nearest
from pruneaudit.evaluation.results import Results
from pruneaudit.report.figures.against_accuracy import leakage_against_accuracy
from pruneaudit.report.figures.attacks import attacks
from pruneaudit.report.figures.by_degree import leakage_by_sparsity
from pruneaudit.report.figures.by_method import TITLES, leakage_by_method
from pruneaudit.report.figures.by_num_releases import figures_by_family
from pruneaudit.report.figures.figure import Figure
from pruneaudit.report.figures.files import FORMATS, rendered, require_vl_convert
from pruneaudit.report.figures.look import PAPER
from pruneaudit.report.figures.roc import roc_of_release
from pruneaudit.report.paper.latex import latex_tables
from pruneaudit.report.paper.names import file_stems
from pruneaudit.report.selection import release_names
from pruneaudit.report.tables.ways import by_way
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

    The same results give the same bytes (with one version of vl-convert). Files of the same name are replaced.

    Args:
        run_folder: the run's folder.
        out: the folder to write to; created if needed.
        formats: some of "pdf", "png" (300 dpi) and "svg", as a sequence or as a comma-separated text.
        latex: whether to write the tables as well (.tex, package booktabs).

    Raises:
        UserError: a format is unknown, the run is unfinished or damaged, there is nothing to draw, vl-convert is not
            installed, or `out` cannot be written to.
        StorageError: the disk is full.

    Example:
        >>> written = pruneaudit.figures("runs/first", "figures", formats="png")
    """
    chosen, folder = _formats(formats), Path(out)
    require_vl_convert()
    results = RunFolder(run_folder).results()
    drawn, left_out = draw(results)
    if not drawn:
        raise UserError(f"{run_folder}: nothing to draw: no attack has a figure on any release of this run")
    contents = {
        f"{stem}.{suffix}": content
        for stem, figure in drawn.items()
        for suffix, content in rendered(figure, stem, chosen).items()
    }
    texts = latex_tables(results) if latex else {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [write_atomically(folder / name, content) for name, content in (contents | texts).items()]
    except OSError as error:
        raise writing_error(folder, error) from None
    return Written(tuple(files), left_out)


def draw(results: Results) -> tuple[dict[str, Figure], tuple[str, ...]]:
    """By stem: all figures for which there is something to draw, and a line on each of the others."""
    families = figures_by_family(results, PAPER)
    found: list[tuple[str, Figure | None, str]] = [
        (
            "sparsity-leakage",
            leakage_by_sparsity(results, PAPER),
            "no pruned release has a figure of the primary attack",
        ),
        (
            "frontier",
            leakage_against_accuracy(results, PAPER),
            "no release has both a test accuracy and a figure of the primary attack",
        ),
        *(
            (f"methods-{across}", leakage_by_method(results, PAPER, across), "no compressed release has both numbers")
            for across in (TITLES if by_way(results) else ())
        ),
        *((stem, families[name], "") for name, stem in file_stems("family", families).items()),
        *(
            (stem, roc_of_release(results, release), "no attack has a ROC curve")
            for release, stem in file_stems("roc", release_names(results)).items()
        ),
        ("attacks", attacks(results), "no attack has an AUC on the release that others are compared with"),
    ]
    drawn = {stem: figure for stem, figure, _ in found if figure is not None}
    return drawn, tuple(f"{stem}: {reason}" for stem, figure, reason in found if figure is None)


def _formats(given: str | Iterable[str]) -> tuple[str, ...]:
    names = [name.strip().lower() for name in (given.split(",") if isinstance(given, str) else given)]
    for name in names or [""]:
        if name not in FORMATS:
            raise UserError(
                f"figures: got format '{name}'{nearest(name, FORMATS)}, expected one or more of: {', '.join(FORMATS)}"
            )
    return tuple(dict.fromkeys(names))
