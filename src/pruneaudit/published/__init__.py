"""Published systems: translate their settings and names to a `Study`.

Each system is one file. It translates the system's settings to a study and lists its recipes; its docstring states
where the study differs from the system on purpose. Recipes are found through the registry, by the name of the file.
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
        "compleak_epochs",
        "compleak_protocol",
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
