"""A run on disk: `RunFolder` is the only door to what lies there, finished or not."""

from pruneaudit.runs.folder import RunFolder

__all__ = ["RunFolder"]
