"""Pruning: masks are data, and one file per method."""

from pruneaudit.pruning.pruner import Pruner
from pruneaudit.registry import Registry

PRUNERS: Registry[Pruner] = Registry(
    "pruner", "pruneaudit.pruning", "PRUNER", infrastructure={"mask", "pruner", "scores", "selection"}
)
