"""Estimates the time of learned attacks before any network is queried.

The study alone determines the attack settings, and how many rows a classifier learns from. So the settings are built
with artificial answers, and a few steps of each kind of classifier are timed on artificial rows of the right width. The
estimate does not include loading and arranging the answers.
"""

# M models, V victims, N samples, C classes, F features

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.classifier import ClassifierAttack
from pruneaudit.attacks.folds import settings as classifiers_of
from pruneaudit.attacks.learned import HELD_OUT_FRACTION, LearnedAttack, Rows
from pruneaudit.core.identity import sha256_of
from pruneaudit.data.audit_data import AuditData
from pruneaudit.data.membership import draw_membership
from pruneaudit.engine.learned_scores import attack_in
from pruneaudit.engine.plan import Plan, Task
from pruneaudit.engine.probe import SECONDS_PER_TASK, Probe, seconds_each
from pruneaudit.evaluation import AttackSetting, bank_settings
from pruneaudit.signals.signals import Signals
from pruneaudit.study.lineage import counterparts

_PER_MODEL = ("logits", "member", "eligible", "is_victim", "group", "sensitivity")
PROBED_BATCHES = 2
"""Classifier steps per unit of a probe."""
ROWS_TO_FIT = 256
"""Rows per unit of a probe, for classifiers that learn without steps."""


def expected_settings(plan: Plan, audit_data: AuditData) -> list[AttackSetting]:
    """Returns the future attack settings of a study; all answers are zeros, in arrays that take no memory.

    Args:
        plan: the plan of the study.
        audit_data: the audit data of the study.

    Raises:
        UserError: a model would have no members or no non-members.
    """
    membership = plan.study.membership
    splits = draw_membership(plan.study, audit_data)
    answers = np.broadcast_to(np.float32(0), (*splits.member.shape, audit_data.num_classes))  # (M, N, C)
    asked = any(task.action == "sensitivity" for task in plan.tasks)
    grouped = membership.protocol != "pooled"
    signals = Signals(
        logits=answers,
        labels=audit_data.y,
        member=splits.member,
        eligible=splits.eligible,
        is_victim=splits.is_victim if grouped else None,
        group=splits.group if grouped else None,
        sensitivity=answers if asked else None,
        canary=audit_data.canary,
        copy=audit_data.is_copy if audit_data.copy_of is not None else None,
        ids=audit_data.ids,
    )
    of_target = replace(
        signals,
        **{key: value[:1] for key in _PER_MODEL if (value := getattr(signals, key)) is not None},
    )
    alone = {release.name for release in plan.study.releases if release.is_file_alone}
    releases = {name: of_target if name in alone else signals for name in plan.releases}
    return bank_settings(releases, plan.study.audit.references, counterparts(plan.study))


def learning_seconds(tasks: Sequence[Task], settings: Sequence[AttackSetting], probe: Probe) -> list[float]:
    """Estimates the seconds of each attack on one worker; training by other plug-ins is unknown, and is not counted.

    Args:
        tasks: tasks of learned attacks, from `learning.attack_tasks`.
        settings: from `expected_settings`.
        probe: measures on demand.
    """
    views = {(setting.release, setting.references): setting.attack_input for setting in settings}
    found = []
    for task in tasks:
        attack = attack_in(task.spec)
        attack_input = views[task.spec["release"], task.spec["references"]]
        learning = _seconds_of(attack, attack_input, probe) if isinstance(attack, LearnedAttack) else 0.0
        found.append(SECONDS_PER_TASK + learning)
    return found


def _seconds_of(attack: LearnedAttack[Any], attack_input: AttackInput, probe: Probe) -> float:
    """Estimates the seconds of one attack in one setting: steps of its classifiers, and rows that they score."""
    limit = attack.limit()
    measured = _measured if isinstance(attack, ClassifierAttack) else _measured_fit
    step, row = measured(attack, attack_input, probe)
    total = 0.0
    for victims, references in classifiers_of(attack_input, 0):
        num_held = max(1, int(len(references) * HELD_OUT_FRACTION)) if len(references) > 1 else HELD_OUT_FRACTION
        num_held = 0 if len(references) == 1 and not attack.selects_epoch else num_held
        share = num_held / len(references)  # fraction of the rows held out from training
        usable = _usable_rows(attack_input, references)
        trained, selecting = usable * (1 - share), usable * share / (2 if len(references) > 1 else 1)
        if limit is not None:
            trained, selecting = min(trained, limit), min(selecting, limit * HELD_OUT_FRACTION)
        deciding = usable * share / (2 if attack.selects_epoch else 1) if len(references) > 1 else 0
        total += (int(attack_input.eligible[victims].sum()) + deciding) * row
        if isinstance(attack, ClassifierAttack):
            recipe = attack.recipe()
            each_epoch = math.ceil(trained / recipe.batch_size) * step
            total += recipe.epochs * (each_epoch + (selecting * row if recipe.select_epoch else 0))
        else:
            total += trained * step
    return total


def _usable_rows(attack_input: AttackInput, references: np.ndarray) -> int:
    """Counts the rows of some references, with members and non-members in equal numbers."""
    ordinary, member = attack_input.reference.ordinary[references], attack_input.reference.member[references]
    return 2 * int(min((ordinary & member).sum(), (ordinary & ~member).sum()))


def _measured_fit(attack: LearnedAttack[Any], attack_input: AttackInput, probe: Probe) -> tuple[float, float]:
    """Returns the seconds that a classifier without steps takes to learn from one row, and to score one."""
    num_features = attack.features_of(attack_input.references, 0, np.arange(1)).shape[1]
    rng = np.random.default_rng(0)

    def made_up(units: int) -> Rows:
        num_rows = units * ROWS_TO_FIT
        member = np.arange(num_rows) % 2 == 0
        features = rng.random((num_rows, num_features), dtype=np.float32)
        return Rows(features, member.astype(int), member, attack_input.attacked.num_classes, np.arange(num_rows) % 8)

    def fit(units: int) -> int:
        rows = made_up(units)
        attack.trained(rows, rows.where(np.zeros(len(rows.member), dtype=bool)), rng)
        return len(rows.member)

    few = made_up(1)
    scorer = attack.trained(few, few.where(np.zeros(len(few.member), dtype=bool)), rng)

    def score(units: int) -> int:
        rows = made_up(units)
        scorer(rows.features, rows.labels)
        return len(rows.member)

    kind = [type(attack).__module__, type(attack).__qualname__, attack.options.model_dump(mode="json"), num_features]
    return (
        probe.once(sha256_of(["classifier's fit", *kind]), lambda: seconds_each(fit, probe.device)),
        probe.once(sha256_of(["classifier's row", *kind]), lambda: seconds_each(score, probe.device)),
    )


def _measured(attack: Any, attack_input: AttackInput, probe: Probe) -> tuple[float, float]:
    """Returns the seconds of one training step of an attack's classifier, and of scoring one row."""
    from pruneaudit.attacks._fitting import fit, log_odds
    from pruneaudit.attacks._private_draws import PrivateDraws

    num_features = attack.features_of(attack_input.references, 0, np.arange(1)).shape[1]
    recipe = replace(attack.recipe(), epochs=1, select_epoch=False)
    rng = np.random.default_rng(0)
    with PrivateDraws(0):
        network = attack.network(num_features)

    def made_up(num_rows: int) -> tuple[np.ndarray, np.ndarray]:
        return rng.random((num_rows, num_features), dtype=np.float32), np.arange(num_rows) % 2 == 0

    def train(units: int) -> int:
        features, member = made_up(units * PROBED_BATCHES * recipe.batch_size)
        fit(lambda: network, features, member, (features[:0], member[:0]), recipe, 0, probe.device)
        return units * PROBED_BATCHES

    def score(units: int) -> int:
        features, _ = made_up(units * PROBED_BATCHES * recipe.batch_size)
        log_odds(network.to(probe.device), features)
        return len(features)

    kind = [type(attack).__module__, type(attack).__qualname__, attack.options.model_dump(mode="json"), num_features]
    return (
        probe.once(sha256_of(["classifier's step", *kind]), lambda: seconds_each(train, probe.device)),
        probe.once(sha256_of(["classifier's row", *kind]), lambda: seconds_each(score, probe.device)),
    )
