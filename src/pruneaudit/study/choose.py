"""The search for a release within limits: its space, and how it is searched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.options import Options
from pruneaudit.study.plugins import Plugin
from pruneaudit.study.space import Candidate, Entry, candidates_of, entries_of

FEWEST_MODELS = 4
"""A rung, and the half of the bank that confirms, has at least this many models: fewer give no usable intervals."""


class Choose(Options):
    """The search of `pruneaudit choose`: its space, and how it is searched. The limits are given to the command."""

    space: tuple[dict[str, Any], ...] = ()
    """Templates of releases, one per entry of `[[choose.space]]`. A degree, an option or a setting of `finetune` can be
    a list, or a range such as { low = 0.5, high = 0.9, steps = 5 }; with log = true, the values have equal ratios. The
    candidates are all combinations."""
    dense: bool = True
    """Whether the uncompressed network is also a candidate."""
    attacks: tuple[Plugin, ...] = ()
    """The attacks: a candidate must keep its limits under all of them. They are fixed before the search. Default: the
    primary attack by the usual rule, and RMIA."""
    search: Literal["grid", "optuna"] = "grid"
    """grid: try all candidates, or a random selection if there are more than the budget. optuna: let Optuna propose
    candidates from the figures of the first rung (needs the extra `choose`)."""
    budget: int = Field(default=40, ge=1)
    """Largest number of candidates to try, not counting the uncompressed network."""
    batch: int = Field(default=8, ge=1)
    """Number of candidates that Optuna proposes at a time. It learns the figures of all of them together, so the order
    of the trials has no effect."""
    rungs: tuple[Annotated[int, Field(ge=FEWEST_MODELS)], ...] = (4, 8)
    """Number of models in each rung (round) of the search, in ascending order. Later rungs try fewer candidates on more
    models. A last rung with all models of the searching half is added."""
    keep: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the candidates of a rung that the next rung tries."""
    confirm: int = Field(default=4, ge=1, le=20)
    """Largest number of candidates to confirm on the other half of the models."""

    @field_validator("rungs")
    @classmethod
    def _ascending(cls, rungs: tuple[int, ...]) -> tuple[int, ...]:
        if list(rungs) != sorted(set(rungs)):
            raise ValueError(f"got {list(rungs)}, expected numbers of models in ascending order, such as [4, 8]")
        return rungs

    @field_validator("attacks")
    @classmethod
    def _once(cls, attacks: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
        return tuple({attack.label: attack for attack in attacks}.values())

    @field_validator("space", mode="before")
    @classmethod
    def _several(cls, space: Any) -> Any:
        return [space] if isinstance(space, Mapping) else space

    @model_validator(mode="after")
    def _has_candidates(self) -> Choose:
        if not self.space:
            raise ValueError("space: got none, expected at least one [[choose.space]], such as compress = 'rtn'")
        try:
            _ = self.candidates
        except ValueError as error:
            raise ValueError(f"space: {error}") from None
        return self

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """The templates with their dimensions."""
        return entries_of(self.space)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates of the space, each once, without the uncompressed network."""
        return candidates_of(self.space)
