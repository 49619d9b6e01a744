"""Published systems as studies of ours: their settings, their names and their numbers in, a `Study` out.

A system is one file here. It says what each of its settings means in a study, which recipes it has, and in its
docstring where the study differs from the system on purpose. Recipes are found through the registry, by the name of
the system's file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pruneaudit.core.registry import Registry

if TYPE_CHECKING:
    from pruneaudit.study.recipes import System

SYSTEMS: Registry[System] = Registry(
    "published system",
    "pruneaudit.published",
    "SYSTEM",
    infrastructure={
        "finished",
        "old_options",
        "pruning_mia_config",
        "pruning_mia_evaluation",
        "pruning_mia_parsing",
        "pruning_mia_tables",
        "pruning_mia_training",
        "pruning_mia_tree",
        "replacing",
        "steps",
    },
)
