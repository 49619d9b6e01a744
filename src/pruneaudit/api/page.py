"""What the caller of a job says of its report."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PageSettings:
    """What a report shows, and says of itself.

    Example:
        >>> pruneaudit.PageSettings(command="python audit.py").command
        'python audit.py'
    """

    command: str = ""
    """The command line that repeats this."""
    demonstration: bool = False
    """It says that it is a demonstration."""
    show_records: bool | None = None
    """Show ids and pictures of exposed samples; default: where everybody can have the data."""


USUAL_PAGE = PageSettings()
