"""Makes one model of a release: compresses it step by step, then trains it with the release's settings and defence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from pruneaudit.compression.chain import (
    Chained,
    compressed,
    constraints_of,
    counts_embeddings,
    inherited_steps,
    notes_of,
    steps_of,
)
from pruneaudit.compression.compressor import CompressionContext
from pruneaudit.compression.layer_sizes import weight_counts
from pruneaudit.compression.mask import masks_of
from pruneaudit.compression.state import load_state, not_rebuilt, num_left, save_state
from pruneaudit.compression.storage_size import size_facts
from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.files import WEIGHTS_FILE
from pruneaudit.defenses import DEFENSES
from pruneaudit.defenses.defense import DefenseContext
from pruneaudit.engine.release_draws import draws_apart, hash_for_defense, purpose_of_training, with_seed
from pruneaudit.engine.task_context import TaskContext, stored_model
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.study import Training
from pruneaudit.training.by_function import train_by_function
from pruneaudit.training.checkpoint import save_weights
from pruneaudit.training.history import write_history, write_summary
from pruneaudit.training.hooks import Hook
from pruneaudit.training.loop import train
from pruneaudit.training.samples import Samples


def make_release(task_spec: TaskSpec) -> None:
    """Compresses and trains one model of the bank, from its parent's weights or from new ones."""
    spec, context, staging = task_spec.spec, TaskContext(task_spec), Path(task_spec.staging)
    summary: dict[str, Any] = {}
    model = _parents_model(task_spec, context) if "parent" in task_spec.inputs else context.initial_model()
    if "parent" in task_spec.inputs:
        summary["test_accuracy_before"] = context.parents_summary()["test_accuracy"]
    steps = steps_of(spec)
    embeddings = counts_embeddings((*inherited_steps(spec), *steps))
    # A parent can have lost channels: sizes are fractions of the network before all compression.
    dense = weight_counts(context.initial_model() if inherited_steps(spec) else model, embeddings=embeddings)
    defense = _Defended(context)
    made = _compressed(model, context, defense)
    if summary and not steps:
        summary["test_accuracy_after_pruning"] = summary["test_accuracy_before"]
    elif summary and not all(step.compressor.is_done_by_training(step.options) for step in steps):
        summary["test_accuracy_after_pruning"] = context.test_accuracy(made.model)
    history = _trained(made, context, defense)
    save_weights(made.model, staging / WEIGHTS_FILE)
    state = made.state()
    if wrong := not_rebuilt(made.model, state):
        raise RuntimeError(f"{wrong[0]} does not match its compressed state: a hook did not keep it")
    save_state(state, staging)
    write_history(history, staging)
    summary |= weight_counts(made.model, dense, embeddings, num_left(state)) | context.accuracies(made.model)
    example = context.members().inputs(slice(0, 1))
    summary["dense_weights"] = context.dense_weights(dense["prunable_weights"])
    summary |= size_facts(made.model, state, summary["dense_weights"], example, embeddings)
    summary |= context.adapter_facts
    summary |= {"defense": defense.report} if defense.report else {}
    summary |= {"kept_whole": notes} if (notes := notes_of(made.descriptions)) else {}
    write_summary(summary | {"num_members": int(context.split.member.sum())}, staging)


def _parents_model(task_spec: TaskSpec, context: TaskContext) -> nn.Module:
    """Loads the parent's network with its weights, prepared for this release's defence."""
    try:
        return stored_model(task_spec.spec, context.audit_data, Path(task_spec.inputs["parent"])).to(task_spec.device)
    except UserError as error:
        if not task_spec.spec.get("defense"):
            raise
        raise UserError(
            f"defense '{task_spec.spec['defense']['name']}' changes the network, so it cannot start from weights of a"
            " parent without it; give the release parent = 'init', or a parent trained with the same defense"
        ) from error


def _teacher(context: TaskContext) -> nn.Module:
    """Loads the network that this one learns from, in evaluation mode."""
    folder = Path(context.task_spec.inputs["teacher"])
    teacher = stored_model(context.task_spec.spec["teacher"], context.audit_data, folder)
    return teacher.to(context.task_spec.device).eval()


class _Defended:
    """Applies the release's defence, if there is one, in every training of the release."""

    def __init__(self, context: TaskContext) -> None:
        self._own = context
        self._described: Mapping[str, Any] = context.task_spec.spec.get("defense") or {}
        self._defense = DEFENSES.get(self._described["name"]) if self._described else None
        self._release = hash_for_defense(context.task_spec.spec)
        self.report: dict[str, Any] = {}
        """The defence's report on the last training."""

    def train(
        self,
        model: nn.Module,
        hooks: Sequence[Hook],
        settings: Training,
        purpose: tuple[str, ...],
        after: Sequence[Hook] = (),
        samples: Samples | None = None,
    ) -> Sequence[Mapping[str, Any]]:
        """Trains a model; returns one row per epoch.

        Args:
            model: the model, trained in place.
            hooks: the hooks of the compression, called before the defence's.
            settings: the settings of this training.
            purpose: names its random draws, with the release's seed if it has one; the words after the first name
                its checkpoints.
            after: hooks to call after the defence's.
            samples: the training set; None: the members.
        """
        context = self._own
        members = context.members() if samples is None else samples
        drawn = with_seed(context.task_spec.spec, purpose)
        if self._defense and self._defense.independent_draws:
            drawn = draws_apart(context.task_spec.spec, drawn)
        if settings.function:  # the plan has checked that no compressor or defence works in this training
            return train_by_function(model, members, settings.function, context.generator(*drawn))
        with context.adapted(model, settings, *drawn):
            defended = self._hooks(model, hooks, settings, members, drawn)
            checkpoints = context.checkpoints("-".join(purpose[1:]))
            state = train(model, members, settings, context.generator(*drawn), (*hooks, *defended, *after), checkpoints)
        if self._defense:
            self.report = self._defense.report(defended)
        return state.history

    def _hooks(
        self, model: nn.Module, hooks: Sequence[Hook], settings: Training, members: Samples, drawn: tuple[str, ...]
    ) -> tuple[Hook, ...]:
        """Returns the defence's hooks for one training; none without a defence."""
        if not self._defense:
            return ()
        context = self._own
        options = self._defense.Options.model_validate(self._described["options"])
        classes, draws = context.audit_data.num_classes, context.generator(seeds.DEFENSE, *drawn, self._release)
        defense_context = DefenseContext(
            settings, members, context.public(), classes, lambda: masks_of(hooks), draws, context.sample_scores()
        )
        return self._defense.hooks(model, options, defense_context)

    def check_may_train_again(self, compressor: str) -> None:
        """Refuses a compressor that trains several times if the defence works for a single training only."""
        if self._defense and self._defense.single_training:
            raise UserError(
                f"defense '{self._described['name']}' works for a single training only, but compressor"
                f" '{compressor}' trains several times; use another, such as l1unstructured, static or dpf"
            )


def _compressed(model: nn.Module, context: TaskContext, defense: _Defended) -> Chained:
    """Runs the compression steps of the release, which can have their own training phases."""
    spec = context.task_spec.spec
    steps = steps_of(spec)

    def context_of(number: int) -> CompressionContext:
        later = (seeds.COMPRESS_STEP.format(number + 1),) if number else ()

        def train_phase(network: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None) -> None:
            defense.check_may_train_again(steps[number].name)
            settings = Training.model_validate(spec["finetune"] | ({"epochs": epochs} if epochs else {}))
            defense.train(network, hooks, settings, (seeds.PRUNE_PHASE, phase, *later))

        draws, step = context.generator(seeds.PRUNE, *later), steps[number]
        example, samples = context.members().inputs(slice(0, 1)), context.calibration(step)
        teacher = _teacher(context) if step.learns_from_parent else None
        return CompressionContext(
            *(example, draws, train_phase, context.initial_model),
            early=context.early_model if context.has_early else None,
            samples=samples,
            teacher=teacher,
        )

    return compressed(_brought_along(model, context), steps, context_of)


def _brought_along(model: nn.Module, context: TaskContext) -> Chained:
    """Returns the network with the constraints of its parents' compression, if there are any."""
    if not inherited_steps(context.task_spec.spec):
        return Chained(model)
    state = load_state(Path(context.task_spec.inputs["parent"]))
    constraints = constraints_of(state, inherited_steps(context.task_spec.spec))
    hooks = tuple(hook for constraint in constraints for hook in constraint.hooks(model))
    return Chained(model, list(constraints), hooks)


def _trained(made: Chained, context: TaskContext, defense: _Defended) -> Sequence[Mapping[str, Any]]:
    """Trains the compressed network if the release has a training; returns one row per epoch."""
    spec = context.task_spec.spec
    if not spec["finetune"]:
        return []
    settings = Training.model_validate(spec["finetune"])
    purpose = purpose_of_training(context.task_spec.inputs)
    after = context.hooks(settings)
    history = defense.train(made.model, made.hooks, settings, purpose, after, made.samples)
    made.settle(settings.select == "best_dev")
    return history
