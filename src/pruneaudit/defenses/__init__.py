"""Defences: training modifications that make members harder to identify, one file per method."""

from pruneaudit.core.registry import Registry
from pruneaudit.defenses.defense import Defense

DEFENSES: Registry[Defense] = Registry("defense", "pruneaudit.defenses", "DEFENSE", infrastructure={"defense"})
