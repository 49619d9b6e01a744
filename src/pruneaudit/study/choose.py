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
    """Templates of releases, each as an entry of `[[choose.space]]`. A degree, an option or a setting of `finetune` can
    be a list or a range such as { low = 0.5, high = 0.9, steps = 5 }, with log = true for a constant factor; the
    candidates are all combinations."""
    dense: bool = True
    """Whether the uncompressed network is a candidate, too."""
    attacks: tuple[Plugin, ...] = ()
    """The attacks that a candidate must withstand, all of them. They are fixed here before the search. Default: the
    primary attack by the usual rule, and RMIA."""
    search: Literal["grid", "optuna"] = "grid"
    """grid: try all candidates, or as many as the budget allows, drawn at random. optuna: let Optuna propose them from
    the figures of the first rung (needs the extra `choose`)."""
    budget: int = Field(default=40, ge=1)
    """Number of candidates to try, without the uncompressed network."""
    batch: int = Field(default=8, ge=1)
    """Number of candidates that Optuna proposes at a time. It is told their figures together, so the order in which
    they are done changes nothing."""
    rungs: tuple[Annotated[int, Field(ge=FEWEST_MODELS)], ...] = (4, 8)
    """Numbers of models on which candidates are tried one rung after the other, in ascending order. The last rung, all
    models of the half that searches, is added."""
    keep: float = Field(default=0.5, gt=0, le=1)
    """Fraction of the candidates of a rung that the next one tries."""
    confirm: int = Field(default=4, ge=1, le=20)
    """Largest number of candidates that the other half of the models confirms."""

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
