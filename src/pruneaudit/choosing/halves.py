"""The two halves of a bank: models that search, and models that confirm.

The first half searches anything. The second half is made only after the list of candidates and its order are fixed;
neither its models nor their answers take part in the search. Samples are the same in both halves, so limits are
certified for these samples.

Under `disjoint` whole groups go to one half. With a target, the first half of its references is searched, each of them
a pseudo-victim with the others as references; then the target is attacked once, with the other half as references.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pruneaudit.core.errors import UserError
from pruneaudit.engine.target_files import TARGET_ID
from pruneaudit.study import Study
from pruneaudit.study.choose import FEWEST_MODELS

FEWEST_VICTIMS = 2


@dataclass(frozen=True)
class Halves:
    """Ids of models."""

    search: tuple[int, ...]
    confirm: tuple[int, ...]
    """With a target, the target and its references."""
    group_size: int
    """Models that belong together: a victim and its shadows under `disjoint`, otherwise 1."""
    has_target: bool = False

    @property
    def num_victims(self) -> int:
        """The number of models that confirm: 1 with a target."""
        return 1 if self.has_target else len(self.confirm) // self.group_size

    @property
    def num_search_victims(self) -> int:
        """The number of victims of the last rung."""
        return len(self.search) // self.group_size

    @property
    def num_references(self) -> int:
        """The number of references of each victim that confirms."""
        return self.group_size - 1 if self.group_size > 1 else len(self.confirm) - 1

    def rungs(self, asked: Sequence[int]) -> tuple[tuple[int, ...], ...]:
        """Returns the models of each rung; the last one has all that search.

        Args:
            asked: numbers of models in ascending order; those that are not below the half's are left out.
        """
        fewest = FEWEST_VICTIMS * self.group_size
        sizes = [max(number // self.group_size * self.group_size, fewest) for number in asked]
        return tuple(
            self.search[:size] for size in dict.fromkeys([*sizes, len(self.search)]) if size <= len(self.search)
        )


def halves_of(study: Study) -> Halves:
    """Returns the halves of a study's bank.

    Raises:
        UserError: the bank is too small.
    """
    if study.target:
        return _around_target(study.target.num_references)
    num_models, size = study.membership.num_models, 1
    fewest, what = 2 * FEWEST_MODELS, f"2 halves of {FEWEST_MODELS}"
    if study.membership.protocol == "disjoint":
        size = study.membership.group_size
        fewest, what = 2 * FEWEST_VICTIMS * size, f"2 halves of {FEWEST_VICTIMS} victims with {size - 1} shadows each"
    if num_models < fewest:
        raise UserError(
            f"membership.num_models: got {num_models}, expected at least {fewest} to choose ({what}: one searches, the"
            " other confirms); set it, such as --set membership.num_models=16"
        )
    half = num_models // size // 2 * size
    models = tuple(range(num_models))
    return Halves(models[:half], models[half:], size)


def _around_target(num_references: int) -> Halves:
    fewest = 2 * FEWEST_MODELS
    if num_references < fewest:
        raise UserError(
            f"target.num_references: got {num_references}, expected at least {fewest} to choose (2 halves of"
            f" {FEWEST_MODELS}: one searches, the other attacks the target); set it, such as --set"
            f" target.num_references={fewest}"
        )
    references = [model for model in range(num_references + 1) if model != TARGET_ID]
    half = num_references // 2
    return Halves(tuple(references[:half]), (TARGET_ID, *references[half:]), 1, has_target=True)
