"""Compressors done in order: which may follow which, how they stand in an identity, and what comes out of them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, Constraint, Kind
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.compression.mask import Masks
    from pruneaudit.training.hooks import Hook

_FROZEN_DEGREE = "sparsity"
_ORDER: dict[Kind, int] = {"structure": 0, "mask": 1, "codes": 2, "codebook": 2}
"""What comes first in a chain: channels, then masks, then the values of what is left."""


@dataclass(frozen=True)
class Step:
    """One compressor of a chain, with its settings."""

    name: str
    compressor: Compressor[Any]
    options: Options

    @classmethod
    def of(cls, described: Mapping[str, Any]) -> Step:
        """The step that `{"name": ..., "options": {...}}` describes."""
        compressor = COMPRESSORS.get(described["name"])
        return cls(described["name"], compressor, compressor.Options.model_validate(described["options"]))

    @property
    def kind(self) -> Kind:
        """What it leaves."""
        return self.compressor.kind(self.options)

    @property
    def reads_public(self) -> bool:
        """Whether it works on samples that shape models and are members of none."""
        return self.compressor.data(self.options) in ("public", "holdout")


def in_config(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The steps of a release as its part of an identity.

    One compressor whose degree is a sparsity is spelled as it was before there were others, and so is a release without
    any: banks that exist keep their names, and with them the noise that defences draw for them.

    Args:
        steps: as `lineage.described` gives them, with `data` where a compressor sees any.
    """
    if not steps:
        return {"pruner": None, "sparsity": 0.0}
    if len(steps) == 1 and _FROZEN_DEGREE in steps[0]["options"]:
        step = {key: value for key, value in steps[0].items() if key != "data"}
        degree = step["options"][_FROZEN_DEGREE]
        options = {key: value for key, value in step["options"].items() if key != _FROZEN_DEGREE}
        return {"pruner": {**step, "options": options}, "sparsity": degree}
    return {"compress": [dict(step) for step in steps]}


def described_steps(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The reverse of `in_config`: the compressors of a release, in order, as JSON data.

    Args:
        config: an artifact's, or the specification of its task.
    """
    if config.get("pruner"):
        options = {**config["pruner"]["options"], _FROZEN_DEGREE: config["sparsity"]}
        return [{**config["pruner"], "options": options}]
    return list(config.get("compress", ()))


def steps_of(config: Mapping[str, Any]) -> tuple[Step, ...]:
    """The compressors of a release, in order; none of the dense bank and of what was trained further only."""
    return tuple(Step.of(described) for described in described_steps(config))


def inherited_steps(config: Mapping[str, Any]) -> tuple[Step, ...]:
    """The compressors of a release's ancestors, in order, whose constraints its networks have inherited."""
    return tuple(Step.of(described) for described in config.get("inherited", ()))


def constraints_of(state: Mapping[str, Tensor], steps: Sequence[Step]) -> tuple[Constraint, ...]:
    """What has to hold of a network that these steps have compressed to this state."""
    # Masks of several steps are one by now.
    by_kind = {step.kind: step.compressor.constraint(state, step.options) for step in steps}
    return tuple(by_kind.values())


def counts_embeddings(steps: Sequence[Step]) -> bool:
    """Whether tables of embeddings are among the weights that a release's sizes are fractions of."""
    return any(getattr(step.options, "layers", "") == "with_embeddings" for step in steps)


def check_order(steps: Sequence[Step]) -> None:
    """Checks that compressors can follow each other, ancestors' included.

    Raises:
        UserError: two of them cannot; the message names both.
    """
    for first, second in pairwise(steps):
        problem = ""
        if first.compressor.is_done_by_training(first.options):
            problem = f"'{first.name}' is done by the training that follows, so nothing can follow it there"
        elif second.compressor.origin(second.options) == "init":
            problem = (
                f"'{second.name}' starts from new weights and would undo it; put it first, or set start=pretrained"
            )
        elif _ORDER[second.kind] < _ORDER[first.kind]:
            problem = f"what '{first.name}' leaves ({first.kind}) would not survive it; put '{second.name}' first"
        elif first.kind == second.kind == "structure":
            problem = "channels are removed once: give one of them the whole degree"
        elif _ORDER[first.kind] == _ORDER[second.kind] == 2:
            problem = "both say which values weights may have: keep one of them"
        if problem:
            raise UserError(f"compress: '{second.name}' cannot follow '{first.name}': {problem}")


@dataclass
class Chained:
    """A network after all steps of a chain."""

    model: nn.Module
    constraints: list[Constraint] = field(default_factory=list)
    """What has to hold in whatever training follows: of the parent, then of each step, in order."""
    hooks: tuple[Hook, ...] = ()
    """What holds it."""
    descriptions: list[Mapping[str, Any]] = field(default_factory=list)
    """What each step says it has done."""
    last: Compressed | None = None
    """What the last step gave; its hooks may still change its constraint."""

    @property
    def structure(self) -> str:
        """What was removed from the architecture, as JSON text; empty where it is as it was."""
        return next((each.structure for each in self.constraints if each.structure), "")

    def state(self) -> dict[str, Tensor]:
        """Every released compressed tensor of all steps, after the last training; see `compression.state`."""
        from pruneaudit.compression.state import state_of

        masks = self.masks
        others = [constraint for constraint in self.constraints if constraint.masks is None]
        return state_of(self.model, [*others, masks] if masks else others)

    @property
    def masks(self) -> Masks | None:
        """Which weights all its masks keep; None where there is none."""
        found = [constraint.masks for constraint in self.constraints if constraint.masks is not None]
        return found[0].without(*found[1:]) if found else None

    def settle(self, is_of_an_earlier_epoch: bool) -> None:
        """Takes over what the last training has made of the constraints."""
        if self.last is None or self.last.constraint is None:
            return
        found = self.last.constraint
        self.constraints[-1] = found.found_in(self.model) if is_of_an_earlier_epoch else found


def compressed(start: Chained, steps: Sequence[Step], context_of: Callable[[int], CompressionContext]) -> Chained:
    """Does the steps in order.

    Args:
        start: the network, with the constraints that it brings along.
        steps: what to do.
        context_of: what step 0, 1, ... may use; trainings that it asks for run the hooks of those before it.
    """
    from pruneaudit.compression.structured import replay

    made = start
    for number, step in enumerate(steps):
        context = context_of(number)
        held, structure = made.hooks, made.structure

        def train(
            model: nn.Module,
            hooks: Sequence[Hook],
            phase: str,
            epochs: int | None,
            held: tuple[Hook, ...] = held,
            context: CompressionContext = context,
        ) -> None:
            context.train(model, (*held, *hooks), phase, epochs)

        def initial(structure: str = structure, context: CompressionContext = context) -> nn.Module:
            return replay(context.initial(), structure)

        context = replace(context, train=train, initial=initial, masks=made.masks)
        result = step.compressor.compress(made.model, step.options, context)
        for constraint in made.constraints:  # a rewinding brings removed weights back
            constraint.apply(result.model)
        kept = [result.constraint] if result.constraint is not None else []
        made = Chained(
            result.model,
            [*made.constraints, *kept],
            (*made.hooks, *result.hooks),
            [*made.descriptions, result.description],
            result,
        )
    return made
