"""The bounds on epsilon with the accountant's curve, for the releases of a study that were trained with DP-SGD."""

from __future__ import annotations

import json
from collections.abc import Collection
from importlib.util import find_spec

from pruneaudit.core.files import SUMMARY_FILE
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.store import Store
from pruneaudit.metrics.epsilon import OneRunBound
from pruneaudit.study.protection import private_trainings, unprotected


def dp_sgd_bounds(plan: Plan, store: Store, left_out: Collection[int] = ()) -> dict[str, OneRunBound]:
    """Returns the bound of each release whose victims were trained with DP-SGD and with nothing before it.

    Args:
        plan: of a study; without canaries there are no bounds.
        store: with the trained networks.
        left_out: models with a missing part.
    """
    if not plan.study.has_canaries or find_spec("opacus") is None:
        return {}
    found: dict[str, OneRunBound] = {}
    for release in plan.releases:
        if private_trainings(plan.study, (release,)) != (release,) or unprotected(plan.study, (release,)):
            continue  # the curve is that of one training with one sampling rate
        tasks = [task for task in plan.models(release) if plan.study.membership.is_victim(task.model_id)]
        files = [store.path(task.artifact) / SUMMARY_FILE for task in tasks if task.model_id not in left_out]
        reports = [json.loads(file.read_text()).get("defense") or {} for file in files]
        if reports and all(report.keys() >= {"sample_rate", "steps"} for report in reports):
            from pruneaudit.defenses._dp_curve import DpSgdBound  # imports Opacus

            rates, steps = ([report[key] for report in reports] for key in ("sample_rate", "steps"))
            found[release] = DpSgdBound((min(rates), max(rates)), (min(steps), max(steps)))
    return found
