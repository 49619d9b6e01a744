"""A finished run on one page, for people who sign: as Markdown or PDF, and as a block for a model card.

This is a layout: it places sentences, facts and cells of the report, and makes no new ones.
"""

from __future__ import annotations

from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SEALED_FILES, file_sha256, write_atomically, writing_error
from pruneaudit.report.summary.content import Limits, Summary, summary_of
from pruneaudit.report.summary.markdown import summary_markdown
from pruneaudit.report.summary.pdf import require_fpdf, summary_pdf
from pruneaudit.runs.folder import RunFolder

__all__ = ["model_card", "summary"]

_SUFFIXES = (".md", ".pdf")
_ON_CARD = Limits(releases=5)


def summary(run_folder: str | Path, out: str | Path) -> Path:
    """Writes a one-page summary of a finished run: its subject, the findings, their certainty, and untested attackers.

    The same results give the same bytes. A file of that name is replaced; nothing in the run's folder changes.

    Args:
        run_folder: the folder of a run, or of an audit of predictions.
        out: the file, which ends in .md or .pdf; missing folders are made.

    Returns:
        The file.

    Raises:
        UserError: `out` has another suffix or cannot be written, the run is unfinished or changed, or fpdf2 is not
            installed.
        StorageError: the disk is full.

    Example:
        >>> pruneaudit.summary("runs/first", "first.md").read_text().splitlines()[0]
        '# Membership-inference audit: first'
    """
    path = Path(out)
    if path.suffix.lower() not in _SUFFIXES:
        raise UserError(f"summary: got '{out}', expected a file name that ends in .md or .pdf")
    is_pdf = path.suffix.lower() == ".pdf"
    if is_pdf:
        require_fpdf()
    run = RunFolder(run_folder)
    results = run.results()
    seal = file_sha256(run.path / SEALED_FILES)

    def content(limits: Limits) -> Summary:
        return summary_of(results, seal, limits)

    created = str(results.about.get("created") or "")
    made = summary_pdf(content, created) if is_pdf else summary_markdown(content(Limits()))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return write_atomically(path, made)
    except OSError as error:
        raise writing_error(path, error, instead="another file") from None


def model_card(run_folder: str | Path) -> str:
    """Returns a block of Markdown for the model card of an audited network, as on Hugging Face.

    It has no front matter, because a card has its own, and no facts about the machine, such as a command or a path.

    Args:
        run_folder: the folder of a run, or of an audit of predictions.

    Raises:
        UserError: the run is unfinished, or has changed.

    Example:
        >>> pruneaudit.model_card("runs/first").splitlines()[0]
        '## Membership-inference audit: first'
    """
    run = RunFolder(run_folder)
    results = run.results()
    seal = file_sha256(run.path / SEALED_FILES)
    return summary_markdown(summary_of(results, seal, _ON_CARD, public=True), level=2)
