"""Defences: changes of training that shall make members harder to tell, one file per method."""

from pruneaudit.defenses.defense import Defense
from pruneaudit.registry import Registry

DEFENSES: Registry[Defense] = Registry("defense", "pruneaudit.defenses", "DEFENSE", infrastructure={"defense"})
