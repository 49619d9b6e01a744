"""Checks, before any training, that compressors and defences work with the networks of a study.

Some problems show without data: channels that cannot be removed, missing BatchNorm, parent weights that do not fit a
network that a defence has changed. So every release is tried once, without training, on a network with new weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.compression.chain import Chained, Step, compressed, inherited_steps, notes_of, steps_of
from pruneaudit.core.errors import UserError, in_one_line
from pruneaudit.core.identity import sha256_of
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.same_tokens import check_same_tokens
from pruneaudit.defenses import DEFENSES
from pruneaudit.engine.model_artifacts import keeps_early, trains_adapter
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.store import Store
from pruneaudit.engine.target_files import UsersWeights
from pruneaudit.models import MODELS, check_takes
from pruneaudit.study import DENSE, INIT
from pruneaudit.study.lora import Lora

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.engine.task_context import NewNetworks
    from pruneaudit.training.hooks import Hook
    from pruneaudit.training.samples import Samples

SHAPES_THE_NETWORK = ("model", "prepared", "defense", "inherited", "pruner", "sparsity", "compress")
"""The settings of a release that the check covers; training is not covered."""
NUM_TRIED = 8
"""Number of samples to try a defence on."""


def preflight(plan: Plan, audit_data: AuditData, store: Store) -> tuple[str, ...]:
    """Tries each unfinished release on one network; does not import torch for a finished run.

    Args:
        plan: the plan of the study.
        audit_data: the audit data of the study.
        store: the store; a release whose first model is in it is skipped.

    Returns:
        Notes for the user: layers that keep all channels although pruning should remove some.

    Raises:
        UserError: a release needs something that its networks do not support; the message names it.
    """
    first_models = [_first_made(plan.models(release)) for release in plan.releases]
    makers = {task.artifact.folder: task for task in first_models}
    tried, notes = set[str](), list[str]()
    for task in first_models:
        if not store.path(task.artifact).exists():
            _try_answers(task, audit_data, tried)
    for task in plan.tasks:
        if task.action == "start_saliency" and not store.path(task.artifact).exists():
            _try_start(task, audit_data, tried)
    for task in first_models:
        if trains_adapter(task.spec) and task.action != "import" and not store.path(task.artifact).exists():
            notes += _try_adapter(task, audit_data, tried)
    unfinished = [task for task in first_models if task.action == "release" and not store.path(task.artifact).exists()]
    notes += _check_releases(unfinished, makers, audit_data) if unfinished else []
    if first_models[0].spec.get("head") == "new" and not store.path(first_models[0].artifact).exists():
        _check_head(first_models[0], audit_data)
    if plan.start is not None and not store.path(plan.start.artifact).exists():
        _check_not_the_targets(plan.start, plan.files)
    for weights in plan.users_weights:
        if not store.path(weights.artifact).exists():
            from pruneaudit.engine.importing import check_start, check_weights

            if weights.network is not None:
                check_same_tokens(audit_data, Path(weights.file))
            check = check_start if weights is plan.start else check_weights
            check(weights, audit_data, notes.append)
    return tuple(notes)


def _first_made(tasks: Sequence[Task]) -> Task:
    """Returns the first task that makes a model by the release's recipe; without any, that of the target's file."""
    return next((task for task in tasks if task.action != "import"), tasks[0])


def _try_answers(task: Task, audit_data: AuditData, tried: set[str]) -> None:
    """Checks that a network takes samples of this kind, and queries a user's own with some of them.

    Args:
        task: the task that makes the first model of its release.
        audit_data: the audit data of the study.
        tried: kinds of networks that were checked; this one is added.
    """
    described = task.spec["model"]
    check_takes(described["name"], audit_data.input_shape)
    kind = sha256_of([described, task.spec.get("prepared")])
    if kind in tried or not MODELS.get(described["name"]).draws_own_weights:
        return
    tried.add(kind)
    import torch

    from pruneaudit.engine.task_context import new_model
    from pruneaudit.engine.trial import check_network

    name = f"model {described['options'].get('target', described['name'])}"
    try:
        network = new_model(task.spec, audit_data, torch.Generator().manual_seed(0))
    except UserError:
        raise
    except Exception as error:  # a user's function can raise anything
        reason = in_one_line(error)
        raise UserError(f"{name}: failed ({reason}); expected a function that returns a network") from error
    check_network(network, audit_data, name)


def _check_not_the_targets(start: UsersWeights, files: Sequence[UsersWeights]) -> None:
    """Refuses references that start from the target's own weights: these know its members already.

    Args:
        start: the weights that the references start from.
        files: the target's own, in all its releases.
    """
    if start.weights_sha256 in [weights.weights_sha256 for weights in files]:
        raise UserError(
            f"target: the references would start from the target's own weights ({start.file}), but these depend on "
            f"its members; give the weights that the target started from, or let the references draw their own (for a "
            f"model from a"
            " folder, with from_scratch = true)"
        )


def _check_head(task: Task, audit_data: AuditData) -> None:
    """Refuses a network whose head is not known, if each model is to draw its own.

    Args:
        task: the task that makes the first dense model.
        audit_data: the audit data of the study.
    """
    import torch

    from pruneaudit.engine.task_context import new_model
    from pruneaudit.models._head import head_of

    with torch.random.fork_rng(devices=[]):  # a user's network can draw from the global generator
        head_of(new_model(task.spec, audit_data, torch.Generator().manual_seed(0)), audit_data.num_classes)


def _try_adapter(task: Task, audit_data: AuditData, tried: set[str]) -> list[str]:
    """Adapts a new network as its training will, and takes one gradient. Returns notes for the user.

    Args:
        task: the task that makes the first model of its release.
        audit_data: the audit data of the study.
        tried: kinds of networks and adapters that were checked; this one is added.
    """
    training = task.spec.get("training") or task.spec["finetune"]
    kind = sha256_of(["adapter", task.spec["model"], task.spec.get("prepared"), training["lora"]])
    if kind in tried:
        return []
    tried.add(kind)
    import torch

    from pruneaudit.engine.task_context import new_model
    from pruneaudit.engine.trial import check_adapter

    where = "" if task.release == DENSE else f"release '{task.release}': "
    try:
        network = new_model(task.spec, audit_data, torch.Generator().manual_seed(0))
        check_adapter(network, Lora.model_validate(training["lora"]), audit_data)
    except UserError as error:
        raise UserError(f"{where}{error}") from None
    if "init" in task.spec or "parent" in task.inputs:
        return []
    return [
        f"{where}lora would adapt different random weights in each model; give the study a base, a model from a "
        f"folder, or training.init"
    ]


def _try_start(task: Task, audit_data: AuditData, tried: set[str]) -> None:
    """Differentiates a new network of the user at some samples; networks of the package need no check.

    Args:
        task: the task that differentiates the network at its initial weights.
        audit_data: the audit data of the study.
        tried: kinds of networks that were checked; this one is added.
    """
    described = task.spec["model"]
    kind = sha256_of(["start", described, task.spec.get("prepared")])
    if kind in tried or not MODELS.get(described["name"]).draws_own_weights:
        return
    tried.add(kind)
    import torch

    from pruneaudit.engine.task_context import new_model
    from pruneaudit.engine.trial import check_differentiable

    network = new_model(task.spec, audit_data, torch.Generator().manual_seed(0))
    name = f"model {described['options'].get('target', described['name'])}"
    check_differentiable(network, audit_data, name)


def _check_releases(tasks: Sequence[Task], makers: dict[str, Task], audit_data: AuditData) -> list[str]:
    """Tries each kind of release once. Returns notes for the user.

    Args:
        tasks: the task that makes the first model, of each release to check.
        makers: the same of all releases, by folder.
        audit_data: the audit data of the study.
    """
    from pruneaudit.engine.task_context import NewNetworks

    networks, tried, notes = NewNetworks(audit_data), set[str](), list[str]()
    for task in tasks:
        shown = {key: task.spec.get(key) for key in SHAPES_THE_NETWORK}
        what = sha256_of([shown, task.inputs["parent"].folder if "parent" in task.inputs else INIT])
        if what not in tried:  # seeds and training settings make no difference here
            tried.add(what)
            notes += [f"release '{task.release}': {note}" for note in _check(task, makers, audit_data, networks)]
    return notes


def _check(task: Task, makers: dict[str, Task], audit_data: AuditData, networks: NewNetworks) -> tuple[str, ...]:
    import torch

    def made(of: Task) -> nn.Module:
        return networks.of(of.spec)

    with torch.random.fork_rng(devices=[]):  # a user's network can draw from the global generator
        try:
            if task.spec.get("defense") and "parent" in task.inputs:
                _check_weights_fit(task, made(task), made(makers[task.inputs["parent"].folder]))
            _try_defense(task, lambda: made(task), audit_data)
            if steps_of(task.spec):
                parent = makers[task.inputs["parent"].folder] if "parent" in task.inputs else None
                has_early = parent is not None and keeps_early(parent.spec)
                return _try_steps(task, made(task), audit_data, lambda: made(task), has_early)
        except UserError as error:
            raise UserError(f"release '{task.release}': {error}") from None
        except Exception:  # cannot be tried without data; the real task reports genuine errors
            return ()
    return ()


def _check_weights_fit(task: Task, model: nn.Module, parent: nn.Module) -> None:
    """Refuses a defence that changes the network if the parent's weights come from a network without it."""
    shapes, given = ({name: t.shape for name, t in network.state_dict().items()} for network in (model, parent))
    if shapes != given:
        raise UserError(
            f"defense '{task.spec['defense']['name']}' changes the network, so it cannot start from weights of a"
            f" parent without it; give the release parent = '{INIT}', or a parent trained with the same defense"
        )


def _try_defense(task: Task, new: Callable[[], nn.Module], audit_data: AuditData) -> None:
    """Tries a network of the user with the release's defence; networks of the package need no check."""
    described = task.spec.get("defense")
    if not described or not MODELS.get(task.spec["model"]["name"]).draws_own_weights:
        return
    import torch

    from pruneaudit.training.samples import Samples

    samples = Samples.of(audit_data, np.arange(len(audit_data.y)) < NUM_TRIED)
    DEFENSES.get(described["name"]).try_batch(new(), *samples.batch(torch.arange(len(samples))))


def _try_steps(
    task: Task, model: nn.Module, audit_data: AuditData, new: Callable[[], nn.Module], has_early: bool
) -> tuple[str, ...]:
    """Compresses a network with new weights, without training. Returns notes for the user.

    Also applies the compressors of its parents, which give a smaller or masked network.

    Args:
        task: the task that makes the first model of the release.
        model: the network.
        audit_data: the audit data of the study.
        new: makes a network with new weights.
        has_early: whether the parent keeps early weights; new ones take their place.
    """
    import torch

    from pruneaudit.compression.compressor import CompressionContext
    from pruneaudit.compression.structure import kept_whole
    from pruneaudit.data.inputs import example_of

    defense, inherited, own = task.spec.get("defense"), inherited_steps(task.spec), steps_of(task.spec)
    steps = (*inherited, *own)
    num_samples: dict[int, int] = {}  # by step

    def context_of(number: int) -> CompressionContext:
        def train(network: nn.Module, hooks: Sequence[Hook], phase: str, epochs: int | None) -> None:
            if number >= len(inherited) and defense and DEFENSES.get(defense["name"]).single_training:
                raise UserError(
                    f"defense '{defense['name']}' works for a single training only, but compressor"
                    f" '{steps[number].name}' trains several times; use another, such as l1unstructured, static or dpf"
                )

        example, step = example_of(audit_data.input_shape), steps[number]
        samples = None if step.compressor.data(step.options) == "none" else _calibration(step, audit_data)
        if samples is not None:
            num_samples[number] = len(samples)
        draws, teacher = torch.Generator().manual_seed(0), model if step.learns_from_parent else None
        early = new if has_early else None
        return CompressionContext(example, draws, train, new, early=early, samples=samples, teacher=teacher)

    made = compressed(Chained(model), steps, context_of, is_trial=True)
    notes = notes_of(made.descriptions[len(inherited) :])
    for number, num_given in num_samples.items():
        notes += steps[number].note_on_few_samples(num_given) if number >= len(inherited) else []
    if any(step.kind == "structure" for step in inherited):
        return tuple(notes)
    return (*kept_whole(made.structure, weights_are_final=False), *notes)


def _calibration(step: Step, audit_data: AuditData) -> Samples:
    """Returns as many samples as the compressor will get, if that many influence any model."""
    from pruneaudit.training.samples import Samples

    num_samples = step.compressor.num_samples(step.options)
    if step.reads_public:
        return Samples.of(audit_data, audit_data.shaping(num_samples))
    rng = np.random.default_rng(0)
    return Samples.of(audit_data, audit_data.members_for(audit_data.coined, num_samples, rng))
