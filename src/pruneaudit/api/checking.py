"""A finished run against budgets, in one call."""

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
    """Compares what a finished run leaks with budgets that you set beforehand.

    A figure is within its budget where the upper end of its 95% interval is.

    Args:
        run: the run's folder, or its results.
        attack: the attack that decides; default: every attack that was played.
        releases: which to check; default: the dense networks and all that is compressed or defended.
        references: what the references of deciding attacks went through, such as "matched"; default: every kind.
        budgets: by metric: `max_auc="0.6"`, `max_advantage="0.1"`; at a false-positive rate FPR:BUDGET, one or several:
            `max_tpr=["1%:0.05"]`.

    Returns:
        The verdicts; `exit_code` is 0 where all are within, 1 where one is not shown to be, 2 where a figure is
            missing.

    Raises:
        UserError: the folder holds no finished run; attack, release or references are unknown; a budget makes no sense.

    Example:
        >>> gate = pruneaudit.check("runs/first", max_auc="0.999")
        >>> gate.exit_code
        0
    """
    results = run if isinstance(run, Results) else RunFolder(run).results()
    return within(results, budgets_of(results, **budgets), attack, tuple(releases), references)
