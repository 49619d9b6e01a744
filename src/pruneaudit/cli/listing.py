"""`pruneaudit list`: lists the available attacks, networks, data sets and so on."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from pruneaudit.cli.common import DataRootOption
from pruneaudit.core.errors import printable


class Kind(StrEnum):
    """The kinds of things to list."""

    attacks = "attacks"
    models = "models"
    datasets = "datasets"
    compressors = "compressors"
    defenses = "defenses"
    metrics = "metrics"
    settings = "settings"
    recipes = "recipes"


def command(
    kind: Annotated[Kind, typer.Argument(help="What to list.")],
    data_root: DataRootOption = None,
) -> None:
    """List attacks, networks, data sets, recipes, settings, ...

    Also shows the folder of each data set, and the default of each setting.
    """
    rows = _rows(kind)
    width = max(len(name) for name, _ in rows)
    for name, summary in rows:
        print(f"{name:<{width}}  {summary}")
        if kind is Kind.datasets:
            from pruneaudit.data import SOURCES

            print(printable(f"{'':<{width}}    {SOURCES.get(name).whereabouts(data_root)}"))


def _rows(kind: Kind) -> list[tuple[str, str]]:
    if kind is Kind.settings:
        from pruneaudit.study import settings_reference

        return [(row.key, f"{row.default}  {row.meaning}") for row in settings_reference()]
    if kind is Kind.recipes:
        from pruneaudit.study.recipes import load_recipe, recipe_names

        return [(name, load_recipe(name).description.split(". ")[0]) for name in recipe_names()]
    from pruneaudit.attacks import ATTACKS
    from pruneaudit.compression import COMPRESSORS
    from pruneaudit.data import SOURCES
    from pruneaudit.defenses import DEFENSES
    from pruneaudit.metrics import METRICS
    from pruneaudit.models import MODELS
    from pruneaudit.study.chains import CHAINS

    registries: dict[Kind, Any] = {
        Kind.attacks: ATTACKS,
        Kind.models: MODELS,
        Kind.datasets: SOURCES,
        Kind.compressors: COMPRESSORS,
        Kind.defenses: DEFENSES,
        Kind.metrics: METRICS,
    }
    registry = registries[kind]
    rows = [(name, registry.summary(name)) for name in registry.names()]
    chains = [(name, chain.summary) for name, chain in CHAINS.items()] if kind is Kind.compressors else []
    return sorted([*rows, *chains])
