"""Defences: changes of training that shall make members harder to tell, one file per method."""

from pruneaudit.core.registry import Registry
from pruneaudit.defenses.defense import Defense

DEFENSES: Registry[Defense] = Registry("defense", "pruneaudit.defenses", "DEFENSE", infrastructure={"defense"})
