"""Plays one attack that learns, as a task: from the stored answers of the models to scores."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from pruneaudit.core.threads import one_blas_thread
from pruneaudit.data.membership import from_text
from pruneaudit.engine.assemble import signals_in
from pruneaudit.engine.learned_scores import SCORES_FILE, attack_in, save_scores
from pruneaudit.engine.plan import Action
from pruneaudit.engine.task_context import audit_data_of
from pruneaudit.engine.task_spec import TaskSpec
from pruneaudit.evaluation.attack_setting import AttackSetting, attack_input_of
from pruneaudit.evaluation.measure import play


def play_attack(task_spec: TaskSpec) -> None:
    """Runs one learned attack in one attack setting, on the stored answers of the models."""
    spec, audit_data = task_spec.spec, audit_data_of(task_spec)
    splits = from_text(task_spec.membership)  # all models, by id
    folders: dict[str, dict[tuple[Action, int], Path]] = {}
    for role, folder in task_spec.inputs.items():
        if role != "audit_data":
            release, action, model_id = role.rsplit("/", 2)
            folders.setdefault(release, {})[cast(Action, action), int(model_id)] = Path(folder)
    signals = {
        release: signals_in(
            answers,
            splits,
            spec["protocol"],
            spec["queries"],
            audit_data,
            audit_data.untouched_holdout(spec["taken"][release]),
        )
        for release, answers in folders.items()
    }
    attack_input = attack_input_of(signals, spec["seen"], spec["owned"])
    setting = AttackSetting(spec["release"], spec["references"], attack_input)
    attack = attack_in(spec)
    attack.device = task_spec.device
    with one_blas_thread():
        scores = play(attack, spec["label"], setting, spec["seed"])
    save_scores(scores, Path(task_spec.staging) / SCORES_FILE)
