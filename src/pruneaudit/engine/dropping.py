"""Weights that a study does not keep: removed once all that needs them is done, and made again where something does.

The answers of a model stay, and so do its history, mask and summary. Training it again gives the same weights, so
that nothing that was made from them has to be made again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from pruneaudit.core.files import COMPRESSED_FILE, WEIGHTS_FILE
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.store import SEAL, Store


def drop_weights(plan: Plan, store: Store, kept: int) -> int:
    """Removes the weights of all models whose answers and releases are there, but for one model of each release.

    Args:
        plan: the study's.
        store: open for writing.
        kept: the model whose sizes and latency the report measures.

    Returns:
        How many files went.
    """
    users: dict[str, list[Task]] = defaultdict(list)
    for task in plan.tasks:
        for artifact in task.inputs.values():
            users[artifact.folder].append(task)
    num_dropped = 0
    for task in plan.tasks:
        made = (store.path(one.artifact) / SEAL for one in (task, *users[task.artifact.folder]))
        if WEIGHTS_FILE in task.artifact.files and task.model_id != kept and all(seal.is_file() for seal in made):
            num_dropped += store.drop(task.artifact, WEIGHTS_FILE)
            num_dropped += store.drop(task.artifact, COMPRESSED_FILE)
    return num_dropped


def wanted_again(plan: Plan, store: Store, missing: Collection[Task]) -> list[Task]:
    """The tasks to do: those that are missing, and those whose dropped weights they need or the study keeps now.

    Args:
        plan: the study's.
        store: its run folder.
        missing: tasks of the plan whose artifact is not whole.

    Returns:
        Tasks of the plan, in its order.
    """
    makers = {task.artifact.folder: task for task in plan.tasks}
    wanted = {task.name for task in missing}
    if plan.study.keep_weights:
        wanted |= {task.name for task in plan.tasks if store.dropped(task.artifact)}
    for task in reversed(plan.tasks):  # each comes after its inputs
        if task.name in wanted:
            inputs = (makers.get(artifact.folder) for artifact in task.inputs.values())
            wanted |= {maker.name for maker in inputs if maker and store.dropped(maker.artifact)}
    return [task for task in plan.tasks if task.name in wanted]
