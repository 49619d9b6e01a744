"""Finds the samples that releases used in addition to members, and tests whether they differ from unused ones."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pruneaudit.data.audit_data import AuditData
from pruneaudit.engine.plan import Plan
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.shaping_samples import Used, shaping_row
from pruneaudit.signals.signals import Signals
from pruneaudit.study import DENSE
from pruneaudit.study.lineage import release_of
from pruneaudit.study.parts import uses_of


def shaping_checks(plan: Plan, audit_data: AuditData, settings: Iterable[AttackSetting]) -> list[dict[str, Any]]:
    """Returns a row for each release that used samples beside the members; see `evaluation.shaping_samples`.

    Args:
        plan: the plan of the study.
        audit_data: the audit data of the study.
        settings: the attack settings, with the signals of all releases.
    """
    signals: dict[str, tuple[Signals, Any]] = {}
    for setting in settings:
        signals.setdefault(setting.release, (setting.attack_input.attacked, setting.attack_input.victims))
    found = (_used(plan, audit_data, name) for name in plan.releases if name in signals)
    return [shaping_row(used, signals[used.release][0], signals[DENSE][0], signals[DENSE][1]) for used in found if used]


def _used(plan: Plan, audit_data: AuditData, name: str) -> Used | None:
    uses = uses_of(plan.study, release_of(plan.study, name))
    if not uses:
        return None
    masks = [audit_data.shaping(use.num_samples) for use in uses]
    samples = max(masks, key=lambda mask: int(mask.sum()))  # every use takes the first ones
    part = "public" if audit_data.public.any() else "holdout"
    by = tuple(dict.fromkeys(use.what for use in uses))
    return Used(name, by, samples, part, bool(uses_of(plan.study, None)))
