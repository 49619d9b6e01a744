"""Trains a grid of Pruning_MIA: one study per seed, merged with its run folder's study, and the tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.published.finished import Finished, all_seeds
from pruneaudit.published.pruning_mia import Grid, base_name, study_of, united
from pruneaudit.published.pruning_mia_tables import write_tables
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study import Study


@dataclass(frozen=True)
class Training:
    """The studies to train, and the folder for their tables."""

    studies: tuple[Study, ...]
    """The studies in order, one per seed."""
    results: Path

    def write_tables(self, out: Path) -> tuple[list[Finished], tuple[Path, ...]]:
        """Writes the tables of all finished seeds.

        Args:
            out: the folder of run folders.

        Returns:
            The runs, by seed, and the files.

        Raises:
            UserError: the last study's run is unfinished or damaged, or the folder is not writable.
        """
        runs = all_seeds(self.studies[-1], out)
        return runs, write_tables(runs, self.results)


def training_of(
    grids: Sequence[Grid], overrides: Sequence[str], out: Path, results_dir: Path | None = None
) -> Training:
    """Returns the training that a command line asks for.

    Args:
        grids: the grids, one per seed.
        overrides: changes to the study's settings, as `a.b=value`.
        out: the folder of run folders; existing parts of the grid in it stay in the study.
        results_dir: the folder for tables; default: `results` in the folder of the first study without its seed.

    Raises:
        UserError: an override is wrong, or gives several seeds one name or seed.
    """
    asked = [study_of(grid).changed(overrides, "--set") for grid in grids]
    if len({each.name for each in asked}) < len(asked) or len({each.seed for each in asked}) < len(asked):
        raise UserError("--seeds: got several, but --set gives them the same name or seed; leave that --set out")
    studies = tuple(_with_what_is_there(each, out) for each in asked)
    return Training(studies, results_dir or out / base_name(studies[0]) / "results")


def _with_what_is_there(study: Study, out: Path) -> Study:
    run = RunFolder(out / study.name)
    return united(study, run.study) if run.is_begun else study
