"""The caller's settings of a report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PageSettings:
    """Settings of a report.

    Example:
        >>> pruneaudit.PageSettings(command="python audit.py").command
        'python audit.py'
    """

    command: str = ""
    """The command line that reproduces the report; shown on it."""
    demonstration: bool = False
    """Mark the report as a demonstration."""
    show_records: bool | None = None
    """Show ids and pictures of exposed samples; default: only if the data are public."""


USUAL_PAGE = PageSettings()
