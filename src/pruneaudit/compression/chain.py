"""Chains of compressors: the allowed orders, the record in an identity, and the execution."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    from pruneaudit.training.samples import Samples

_FROZEN_DEGREE = "sparsity"
_ORDER: dict[Kind, int] = {"student": 0, "structure": 1, "mask": 2, "codes": 3, "codebook": 3}
"""The order in a chain: another network, then its channels, then masks, then the values of the remaining weights."""


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
        """The kind of its result."""
        return self.compressor.kind(self.options)

    @property
    def changes_architecture(self) -> bool:
        """Whether its result has another architecture than the network it is given."""
        return self.compressor.changes_architecture(self.options)

    @property
    def chooses_what_stays(self) -> bool:
        """Whether it chooses which weights or channels are kept."""
        return self.compressor.chooses_what_stays(self.options)

    @property
    def learns_from_parent(self) -> bool:
        """Whether it learns from the outputs of the parent's network."""
        return self.compressor.learns_from_parent

    def note_on_few_samples(self, num_given: int) -> list[str]:
        """A note for users if it gets fewer samples than it asks for.

        Args:
            num_given: how many it gets.
        """
        wanted = self.compressor.num_samples(self.options)
        if wanted is None or num_given >= wanted:
            return []
        return [f"'{self.name}' asks for {wanted:,} samples and gets {num_given:,}"]

    @property
    def reads_public(self) -> bool:
        """Whether it uses public or holdout samples."""
        return self.compressor.reads_public(self.options)


def in_config(steps: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The steps of a release, as its identity records them.

    Old forms stay for a release without compressors, and for a single compressor with a sparsity: existing banks keep
    their names, and with them the noise that defences draw for them.

    Args:
        steps: from `lineage.described`, with `data` if a compressor sees any.
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
        config: an artifact's config, or the specification of its task.
    """
    if config.get("pruner"):
        options = {**config["pruner"]["options"], _FROZEN_DEGREE: config["sparsity"]}
        return [{**config["pruner"], "options": options}]
    return list(config.get("compress", ()))


def steps_of(config: Mapping[str, Any]) -> tuple[Step, ...]:
    """The compressors of a release, in order; empty for the dense bank and for releases that only trained further."""
    return tuple(Step.of(described) for described in described_steps(config))


def inherited_steps(config: Mapping[str, Any]) -> tuple[Step, ...]:
    """The compressors of a release's ancestors, in order; its networks inherit their constraints."""
    return tuple(Step.of(described) for described in config.get("inherited", ()))


def constraints_of(state: Mapping[str, Tensor], steps: Sequence[Step]) -> tuple[Constraint, ...]:
    """The constraints on a network that these steps have compressed to this state."""
    # The state holds the masks of several steps as one.
    by_kind = {}
    for step in (step for step in steps if step.kind not in ("student", "training")):
        record = step.compressor.record if step.kind == "structure" else ""
        by_kind[step.kind, record] = step.compressor.constraint(state, step.options)
    return tuple(by_kind.values())


def counts_embeddings(steps: Sequence[Step]) -> bool:
    """Whether a release's sizes count tables of embeddings."""
    return any(getattr(step.options, "layers", "") == "with_embeddings" for step in steps)


def check_order(steps: Sequence[Step], num_inherited: int = 0) -> None:
    """Checks that compressors, including the ancestors', can follow each other.

    Args:
        steps: the ancestors' compressors, then the release's own, in order.
        num_inherited: how many are the ancestors': their training is over.

    Raises:
        UserError: two of them cannot; the message names both.
    """
    own = steps[num_inherited:]
    if own and own[-1].kind == "training":
        raise UserError(
            f"compress: the step '{own[-1].name}' trains between two steps, and none follows it; leave it out: training"
            " after the last step is the release's key finetune, such as finetune = { epochs = 5 } (outside a study"
            " --data and --epochs)"
        )
    placed = [(place, step) for place, step in enumerate(steps) if step.kind != "training"]
    for (place, first), (_, second) in pairwise(placed):
        problem = ""
        if place >= num_inherited and first.compressor.is_done_by_training(first.options):
            problem = f"'{first.name}' is finished only by the training after it, so it must be the last step"
        elif second.compressor.origin(second.options) == "init":
            problem = (
                f"'{second.name}' starts from new weights and would undo it; put it first, or set start=pretrained"
            )
        elif _ORDER[second.kind] < _ORDER[first.kind]:
            problem = f"{_undoing(first, second)}; put '{second.name}' first"
        elif first.kind == second.kind == "structure":
            problem = _no_second_structure(first, second)
        elif _ORDER[first.kind] == _ORDER[second.kind] == _ORDER["codes"]:
            problem = "both restrict the values of weights: keep one of them"
        if problem:
            raise UserError(f"compress: '{second.name}' cannot follow '{first.name}': {problem}")


def _undoing(first: Step, second: Step) -> str:
    """Why a step of an earlier kind cannot come after one of a later kind."""
    if second.kind == "student":
        return f"another network keeps nothing of it ({first.kind})"
    if second.kind == "mask":
        return f"it would rank rounded weights ({first.kind}), many of which are equal"
    if second.compressor.record == "factors":
        filled = "fill its zeros again" if first.kind == "mask" else "leave its values"
        return f"the product of two layers would {filled} ({first.kind})"
    belong = "belong" if first.kind.endswith("s") else "belongs"
    return f"it removes {second.compressor.record}, and the {first.kind} of '{first.name}' {belong} to all of them"


def _no_second_structure(first: Step, second: Step) -> str:
    """Why a second change of the architecture cannot follow; empty if it can."""
    before, after = first.compressor.record, second.compressor.record
    if {before, after} == {"heads", "units"} or (before != "factors" and after == "factors"):
        return ""
    if before == "factors" and after != "factors":
        return f"{after} cannot be removed from pairs of layers; put '{second.name}' first"
    if before != after:
        return "channels can include hidden units; use heads and ffn"
    what = "split layers" if before == "factors" else f"remove {before}"
    return f"only one step can {what}: give one of them the whole degree"


def notes_of(descriptions: Iterable[Mapping[str, Any]]) -> list[str]:
    """The notes on layers that were left whole, in what steps say of themselves."""
    return [note for description in descriptions for note in description.get("kept_whole", ())]


@dataclass
class Chained:
    """A network after all steps of a chain."""

    model: nn.Module
    constraints: list[Constraint] = field(default_factory=list)
    """The constraints on any later training: the parent's, then each step's, in order."""
    hooks: tuple[Hook, ...] = ()
    """The hooks that keep the constraints in training."""
    descriptions: list[Mapping[str, Any]] = field(default_factory=list)
    """The description that each step gave."""
    last: Compressed | None = None
    """The last step's result; its hooks may still change its constraint."""
    samples: Samples | None = None
    """The samples of the training that follows; None: the members."""

    @property
    def structure(self) -> str:
        """The changes of the architecture, in order, as JSON text; empty if there is none."""
        from pruneaudit.compression.structure import joined

        return joined([each.structure for each in self.constraints])

    @property
    def notes(self) -> tuple[str, ...]:
        """The layers that were left whole, and why: one sentence per reason."""
        from pruneaudit.compression.structure import kept_whole

        return (*kept_whole(self.structure), *notes_of(self.descriptions))

    def state(self) -> dict[str, Tensor]:
        """Every released compressed tensor of all steps, after the last training; see `compression.state`."""
        from pruneaudit.compression.state import state_of

        masks = self.masks
        others = [constraint for constraint in self.constraints if constraint.masks is None]
        return state_of(self.model, [*others, masks] if masks else others)

    @property
    def masks(self) -> Masks | None:
        """Which weights all its masks keep; None without masks."""
        found = [constraint.masks for constraint in self.constraints if constraint.masks is not None]
        return found[0].without(*found[1:]) if found else None

    def settle(self, is_of_an_earlier_epoch: bool) -> None:
        """Updates the constraints to their state after the last training."""
        if self.last is None or self.last.constraint is None:
            return
        found = self.last.constraint
        self.constraints[-1] = found.found_in(self.model) if is_of_an_earlier_epoch else found


def compressed(
    start: Chained, steps: Sequence[Step], context_of: Callable[[int], CompressionContext], is_trial: bool = False
) -> Chained:
    """Runs the steps in order.

    Args:
        start: the network, with its inherited constraints.
        steps: the compressors to run.
        context_of: returns the context of step 0, 1, ...; its trainings run the hooks of earlier steps.
        is_trial: only to find out whether it can be done: the last step gives no usable weights.
    """
    from pruneaudit.compression.structure import of_kind, replay

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

        def initial(
            structure: str = structure, context: CompressionContext = context, name: str = step.name
        ) -> nn.Module:
            if of_kind(structure, "factors"):
                raise UserError(
                    f"compress: '{name}' cannot follow 'svd': it goes back to the initial weights, but these have no "
                    f"factors of low rank; set rewind=none, or leave one of them out"
                )
            return replay(context.initial(), structure)

        def early(structure: str = structure, context: CompressionContext = context) -> nn.Module:
            assert context.early is not None
            return replay(context.early(), structure)

        context = replace(
            context, train=train, initial=initial, early=early if context.early else None, masks=made.masks
        )
        is_last = number == len(steps) - 1
        do = step.compressor.trial if is_trial and is_last else step.compressor.compress
        result = do(made.model, step.options, context)
        for constraint in made.constraints:  # rewinding brings removed weights back
            constraint.apply(result.model)
        kept = [result.constraint] if result.constraint is not None else []
        made = Chained(
            result.model,
            [*made.constraints, *kept],
            (*made.hooks, *result.hooks),
            [*made.descriptions, result.description],
            result,
            result.samples or made.samples,
        )
    return made
