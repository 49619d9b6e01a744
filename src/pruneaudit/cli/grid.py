"""What `pruneaudit run` runs: one study, or a grid of Pruning_MIA's under each seed, with its tables afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pruneaudit.cli.grid_options import grids, refuse
from pruneaudit.core.errors import UserError, printable

if TYPE_CHECKING:
    import pandas as pd

    from pruneaudit.study import Study

SHOWN = ("auc", "accuracy")
"""What the table over seeds shows of each attack; its file has all figures."""


@dataclass(frozen=True)
class Chosen:
    """What is to be run."""

    studies: tuple[Study, ...]
    """One after another."""
    results: Path | None = None
    """Where the tables of a grid go; no grid has none."""

    def write_tables(self, out: Path) -> None:
        """Writes the tables of a grid, from all its seeds that are finished, and says where they are."""
        if self.results is None:
            return
        from pruneaudit.published.finished import all_seeds
        from pruneaudit.published.pruning_mia_tables import SEEDS_FILE, results_over_seeds, write_tables

        runs = all_seeds(self.studies[-1], out)
        files = write_tables(runs, self.results)
        if files[-1].name == SEEDS_FILE:
            _print_over_seeds(results_over_seeds(runs), [run.study.seed for run in runs])
        for file in files:
            print(printable(f"written: {file}"))


def chosen(study: str, given: Mapping[str, Any], overrides: Sequence[str], out: Path) -> Chosen:
    """What a command line asks to be run.

    Args:
        study: a file, or the name of a recipe.
        given: options of the grid, as from `given_options`, and `results_dir`.
        overrides: of the study's settings, as `a.b=value`.
        out: the folder of run folders.

    Raises:
        UserError: there is no such study, or an option is wrong or belongs to other studies.
    """
    from pruneaudit.published import pruning_mia
    from pruneaudit.study.recipes import load_recipe_or_file

    if study not in pruning_mia.RECIPES:
        loaded = load_recipe_or_file(study, overrides)
        refuse(study, given)
        return Chosen((loaded,))
    options = {key: value for key, value in given.items() if key != "results_dir"}
    asked = [pruning_mia.study_of(grid).changed(overrides, study) for grid in grids(study, options)]
    if len({each.name for each in asked}) < len(asked) or len({each.seed for each in asked}) < len(asked):
        raise UserError("--seeds: got several, and --set gives them one name or seed; leave that --set out")
    studies = tuple(_with_what_is_there(each, out) for each in asked)
    return Chosen(studies, given.get("results_dir") or out / pruning_mia.base_name(studies[0]) / "results")


def _with_what_is_there(study: Study, out: Path) -> Study:
    from pruneaudit.published.pruning_mia import united
    from pruneaudit.runs import RunFolder

    run = RunFolder(out / study.name)
    return united(study, run.study) if run.is_begun else study


def _print_over_seeds(table: pd.DataFrame, seeds: Sequence[int]) -> None:
    """Means over seeds with their intervals, a line for each experiment and attack; the file has all figures."""
    print(f"\nmeans over seeds {', '.join(map(str, seeds))} [95% interval over seeds]")
    for experiment, of_it in table.groupby("experiment", sort=False):
        print(experiment)
        for attack, rows in of_it.groupby("attack", sort=False):
            said = [f"{row['metric']} {_said(row)}" for _, row in rows.iterrows() if row["metric"] in SHOWN]
            print(f"  {str(attack) or 'network':18} {', '.join(said)}")


def _said(row: pd.Series) -> str:
    if not row["num_seeds"]:
        return "refused"
    interval = f" [{row['low']:.3f}, {row['high']:.3f}]" if row["num_seeds"] > 1 else ""
    return f"{row['mean']:.3f}{interval}"
