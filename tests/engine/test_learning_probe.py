"""Attacks that learn are counted and timed before any network has been asked."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pruneaudit.api import Runtime, run
from pruneaudit.engine.assemble import study_settings
from pruneaudit.engine.learning import attack_tasks
from pruneaudit.engine.learning_probe import expected_settings, learning_seconds
from pruneaudit.engine.plan import Plan
from pruneaudit.engine.probe import SECONDS_PER_TASK, Probe
from pruneaudit.engine.scheduler import missing_tasks
from pruneaudit.engine.store import Store
from pruneaudit.runs.beginning import plan_study
from pruneaudit.study import Study

EPOCHS = 3


def study(**changed: object) -> Study:
    values = {
        "name": "learning",
        "data": {"source": "digits", "num_samples": 320, "num_holdout": 40},
        "membership": {"num_models": 4},
        "model": "mlp:hidden=[8]",
        "training": {"epochs": 1, "batch_size": 64},
        "releases": [{"name": "pruned", "compress": "l1unstructured", "sparsity": 0.5}],
        "audit": {"attacks": [f"nn:epochs={EPOCHS}", "loss"], "references": ["matched", "dense"]},
    }
    return Study.model_validate(values | changed)


class Unit(Probe):
    """Says that a step of a classifier takes 1 s, and a row that it scores nothing; or the other way round."""

    of_steps = True

    def once(self, key, measure):
        self.keys = [*getattr(self, "keys", []), key]
        return float((len(self.keys) % 2 == 1) == self.of_steps)  # the step is asked for first


def test_the_games_are_those_of_the_run_and_what_it_keeps_is_found_again(tmp_path) -> None:
    asked = study(audit={"attacks": ["nn:epochs=1", "pair_nn:epochs=1", "loss"], "references": ["matched", "dense"]})
    plan, audit_data = plan_study(asked)
    settings = expected_settings(plan, audit_data)
    tasks = attack_tasks(plan, settings)
    assert len(missing_tasks(Plan(plan.study, plan.audit_data, tuple(tasks)), Store(tmp_path / "learning"))) == 4
    run(asked, tmp_path, runtime=Runtime(executor="serial"))
    store = Store(tmp_path / "learning")
    assert not missing_tasks(Plan(plan.study, plan.audit_data, tuple(tasks)), store)
    real = study_settings(plan, store, audit_data)
    for setting, found in zip(settings, real, strict=True):
        assert (setting.release, setting.references, setting.seen, setting.owned) == (
            found.release,
            found.references,
            found.seen,
            found.owned,
        )
        assert np.array_equal(setting.attack_input.allowed, found.attack_input.allowed)
        assert np.array_equal(setting.attack_input.reference.member, found.attack_input.reference.member)


def test_steps_are_counted_as_the_classifiers_take_them() -> None:
    plan, audit_data = plan_study(study())
    settings = expected_settings(plan, audit_data)
    assert [(setting.release, setting.references) for setting in settings] == [
        ("dense", "matched"),
        ("pruned", "matched"),
        ("pruned", "dense"),
    ]
    tasks = attack_tasks(plan, settings)
    # Four folds of one victim: 3 references, one held out; the other two have 640 rows, about half of them members.
    found = learning_seconds(tasks, settings, Unit(audit_data))
    usual = 4 * EPOCHS * math.ceil(600 / 128)
    assert all(seconds - SECONDS_PER_TASK == pytest.approx(usual, abs=4 * EPOCHS) for seconds in found)
    # 100 rows at most are one batch, exactly.
    few, _ = plan_study(study(audit={"attacks": [f"nn:epochs={EPOCHS}:max_rows=100"]}))
    settings = expected_settings(few, audit_data)
    found = learning_seconds(attack_tasks(few, settings), settings, Unit(audit_data))
    assert found == pytest.approx([SECONDS_PER_TASK + 4 * EPOCHS] * 2)


def test_forests_are_counted_by_the_rows_that_they_learn_from() -> None:
    attacks = ["posterior_rf:trees=10:max_rows=100", "posterior_rf:trees=10:max_rows=2"]
    plan, audit_data = plan_study(study(audit={"attacks": attacks}, releases=[]))
    settings = expected_settings(plan, audit_data)
    found = learning_seconds(attack_tasks(plan, settings), settings, Unit(audit_data))
    assert found == pytest.approx([SECONDS_PER_TASK + 4 * 100, SECONDS_PER_TASK + 4 * 2])
    measured = learning_seconds(attack_tasks(plan, settings), settings, Probe(audit_data))
    assert measured[0] > measured[1] > SECONDS_PER_TASK


def test_rows_that_are_scored_are_counted() -> None:
    settings = {"attacks": [f"nn:epochs={EPOCHS}:max_rows=100"], "references": ["matched"]}
    plan, audit_data = plan_study(study(audit=settings, releases=[]))
    settings = expected_settings(plan, audit_data)
    probe = Unit(audit_data)
    probe.of_steps = False
    (found,) = learning_seconds(attack_tasks(plan, settings), settings, probe)
    # 320 of each of 4 victims; a quarter of 100 rows selects the epoch; half of the held-out model's 320 decides.
    assert found == pytest.approx(4 * (320 + 160 + EPOCHS * 25), rel=0.05)


def test_a_longer_training_takes_longer_and_samia_the_longest() -> None:
    attacks = ["nn:max_rows=100:epochs=10", "nn:max_rows=100:epochs=1000", "samia:max_rows=100:epochs=1000"]
    plan, audit_data = plan_study(study(audit={"attacks": attacks}, releases=[]))
    settings = expected_settings(plan, audit_data)
    short, long, samia = learning_seconds(attack_tasks(plan, settings), settings, Probe(audit_data))
    assert SECONDS_PER_TASK < short < long < samia


def test_without_attacks_that_learn_nothing_is_counted() -> None:
    plan, audit_data = plan_study(study(audit={"attacks": ["loss", "lira"]}))
    assert attack_tasks(plan, expected_settings(plan, audit_data)) == []
