"""Compares a finished run with leakage budgets, in one call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from pruneaudit.evaluation.results import Results
from pruneaudit.gate import ANY, Gate, budgets_of
from pruneaudit.gate import check as within
from pruneaudit.runs.folder import RunFolder


def check(
    run: str | Path | Results,
    attack: str | None = None,
    releases: Sequence[str] = (),
    references: str = ANY,
    **budgets: str | Iterable[str] | None,
) -> Gate:
    """Compares the leakage of a finished run with budgets that you set beforehand.

    A figure is within its budget if the upper end of its 95% interval is.

    Args:
        run: the run's folder, or its results.
        attack: the attack to check; default: every attack of the run.
        releases: the releases to check; default: dense, and every compressed or defended one.
        references: the kind of references to check, such as "matched"; default: every kind.
        budgets: by metric: `max_auc="0.6"`, `max_advantage="0.1"`; for TPRs one or several FPR:BUDGET texts:
            `max_tpr=["1%:0.05"]`.

    Returns:
        The verdicts. `exit_code` is 0 if all figures are within budget, 1 if one is not shown to be, 2 if one is
        missing.

    Raises:
        UserError: the folder has no finished run, attack, release or references are unknown, or a budget is invalid.

    Example:
        >>> gate = pruneaudit.check("runs/first", max_auc="0.999")
        >>> gate.exit_code
        0
    """
    results = run if isinstance(run, Results) else RunFolder(run).results()
    return within(results, budgets_of(results, **budgets), attack, tuple(releases), references)
