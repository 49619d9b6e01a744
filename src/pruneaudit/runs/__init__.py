"""Runs on disk: `RunFolder` is the only access to a run folder, finished or not."""

from pruneaudit.runs.folder import RunFolder

__all__ = ["RunFolder"]
