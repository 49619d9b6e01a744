"""From checkpoints that users have to signals; torch is imported when networks are."""

from pruneaudit.collecting.collect import collect_signals

__all__ = ["collect_signals"]
