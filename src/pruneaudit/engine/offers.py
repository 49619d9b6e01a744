"""Lists possible audits of one model: attacks and numbers of references, with their time and power.

Their power was measured on the bank of the recipe `demo`, where every network played the victim (`measured_power.csv`).
It shows which attacks are worth their time; on other networks they find more or less.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import make_plan
from pruneaudit.engine.probe import Probe, task_seconds
from pruneaudit.study import Study
from pruneaudit.study.own_model import with_references

_MEASURED = "measured_power.csv"


@dataclass(frozen=True)
class Reached:
    """The AUC that an attack reached on the demo's bank."""

    attack: str
    num_references: int
    num_trainings: int
    """References, or 1 for a copy of the model that is trained further."""
    dense: float
    """AUC against the dense networks."""
    pruned: float
    """AUC against networks that were pruned to 90% and fine-tuned."""


@dataclass(frozen=True)
class Offer:
    """An attack with a number of references."""

    reached: Reached
    seconds: float
    """Estimated time of all trainings, compressions and queries of the study, with this number of references."""


@cache
def measured() -> tuple[Reached, ...]:
    """Returns what was measured, in the order of the numbers of references."""
    text = files(__package__).joinpath(_MEASURED).read_text(encoding="utf-8")
    return tuple(
        Reached(
            row["attack"],
            int(row["num_references"]),
            int(row["num_trainings"]),
            float(row["dense"]),
            float(row["pruned"]),
        )
        for row in csv.DictReader(text.splitlines())
    )


def offers(study: Study, audit_data: AuditData, workers: int, probe: Probe, training_seconds: float) -> list[Offer]:
    """Returns what the study could be with other numbers of references, the cheapest first.

    Args:
        study: a study with a target.
        audit_data: its audit data, which do not depend on the number of references.
        workers: tasks at a time.
        probe: measures times.
        training_seconds: time of one training by the user's function; 0 without one.
    """

    @cache
    def seconds(num_references: int) -> float:
        other = with_references(study.model_dump(mode="json", exclude_unset=True), num_references)
        plan = make_plan(Study.model_validate(other), audit_data)
        trained = num_references * training_seconds
        return (task_seconds(plan, plan.tasks, probe) + trained) / workers

    return [Offer(reached, seconds(reached.num_references)) for reached in measured()]


def chosen(found: Sequence[Offer], seconds: float) -> Offer | None:
    """Returns the offer that reaches most within a time; None if none fits.

    The sum of both AUCs decides: an attack for dense networks alone would understate what compression changes.
    """
    fitting = [offer for offer in found if offer.seconds <= seconds]
    return max(fitting, key=lambda offer: offer.reached.dense + offer.reached.pruned, default=None)
