"""Drops weights that a study does not keep, after everything that needs them is done; trains them again on demand.

The answers, history, mask and summary of a model are kept. Training it again gives the same weights, so parts that were
made from them stay valid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from pruneaudit.core.files import COMPRESSED_FILE, EARLY_FILE, WEIGHTS_FILE
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.store import SEAL, Store


def drop_weights(plan: Plan, store: Store, kept: int) -> int:
    """Removes the weights of all models whose answers and releases exist, except one model per release.

    Args:
        plan: the plan of the study.
        store: the store, open for writing.
        kept: the model to keep, whose sizes and latency the report measures.

    Returns:
        The number of removed files.
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
            num_dropped += store.drop(task.artifact, EARLY_FILE)
    return num_dropped


def wanted_again(plan: Plan, store: Store, missing: Collection[Task]) -> list[Task]:
    """Returns the tasks to do: missing ones, and those whose dropped weights are needed by them or now kept.

    Args:
        plan: the plan of the study.
        store: the store of its run folder.
        missing: tasks of the plan without a whole artifact.

    Returns:
        Tasks, in the order of the plan.
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
