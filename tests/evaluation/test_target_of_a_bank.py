"""A target is attacked as a model of a bank: with the bank's other models as references its figures are the same."""

import dataclasses

import numpy as np
import pytest

from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.evaluation.evaluating import Measuring, evaluate
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes

NUM_MODELS, NUM_HOLDOUT, NUM_SAMPLES, NUM_CLASSES = 6, 500, 700, 3
LEVELS = (0.1, 0.05)
MEASURING = Measuring(5, LEVELS)
ATTACKS = ("loss", "entropy", "calibration", "lira", "lira:mode=offline", "rmia", "attack_p", "attack_r")
UNTUNED = ("loss", "entropy", "calibration", "lira", "rmia", "attack_p", "attack_r")
"""Offline LiRA chooses a constant on folds of the references, which a victim of a bank shares with others."""


@pytest.fixture(scope="module")
def bank():
    rng = np.random.default_rng(1)
    member = rng.random((NUM_MODELS, NUM_SAMPLES)) < 0.5
    eligible = np.broadcast_to(np.arange(NUM_SAMPLES) >= NUM_HOLDOUT, member.shape)
    member &= eligible
    labels = rng.integers(0, NUM_CLASSES, NUM_SAMPLES)
    logits = rng.normal(size=(NUM_MODELS, NUM_SAMPLES, NUM_CLASSES)) + rng.normal(size=(1, NUM_SAMPLES, NUM_CLASSES))
    logits[:, np.arange(NUM_SAMPLES), labels] += 1 + 1.5 * member
    return Signals(logits=logits.astype(np.float32), labels=labels, member=member, eligible=eligible)


def findings(signals, releases=None):
    settings = bank_settings({"dense": signals} | (releases or {}), ["matched"])
    return evaluate(settings, ready(ATTACKS), MEASURING).results.findings


def test_each_models_figures_are_those_that_it_has_as_a_target(bank):
    of_bank = findings(bank).set_index(["attack", "victim"])
    columns = [name for name in of_bank.columns if name == "auc" or (name.startswith("tpr_") and "_" not in name[7:8])]
    columns = [name for name in columns if not name.endswith(("_low", "_high"))]
    assert {"auc", "tpr_at_10%_fpr"} <= set(columns)
    for target in (0, 3, NUM_MODELS - 1):
        is_victim = np.arange(NUM_MODELS) == target
        alone = findings(dataclasses.replace(bank, is_victim=is_victim)).set_index(["attack", "victim"])
        assert set(alone["num_victims"]) == {1}
        for attack in UNTUNED:
            for row in (str(target), "mean"):
                found, expected = (
                    table.loc[(attack, name), columns].astype(float)
                    for table, name in ((alone, row), (of_bank, str(target)))
                )
                np.testing.assert_array_equal(found, expected, err_msg=f"{attack} on {target}")


def test_thresholds_are_learned_on_all_references(bank):
    alone = findings(dataclasses.replace(bank, is_victim=np.arange(NUM_MODELS) == 0))
    mean = alone[alone["victim"] == "mean"].set_index("attack")
    assert mean["balanced_accuracy"].notna().all()
    assert mean.loc["loss", "balanced_accuracy_low"] > 0.5


@pytest.mark.parametrize("num_references", [1, 2])
def test_what_few_references_cannot_teach_is_suppressed_with_its_reason(bank, num_references):
    rows = np.arange(1 + num_references)
    few = Signals(
        logits=bank.logits[rows],
        labels=bank.labels,
        member=bank.member[rows],
        eligible=bank.eligible[rows],
        is_victim=rows == 0,
    )
    found = findings(few)
    mean = found[found["victim"] == "mean"].set_index("attack")
    assert mean.loc["loss", "auc_low"] > 0.5
    lira = mean.loc["lira"]  # one pseudo-victim has no IN and OUT references among the others
    assert np.isnan(lira["balanced_accuracy"])
    assert "balanced accuracy" in lira["suppressed"].lower()


def test_a_release_of_which_only_the_targets_file_exists_has_dense_references(bank):
    target = dataclasses.replace(bank, is_victim=np.arange(NUM_MODELS) == 0)
    shipped = Signals(
        logits=bank.logits[:1] * np.float32(0.9),
        labels=bank.labels,
        member=bank.member[:1],
        eligible=bank.eligible[:1],
        holdout=bank.nulls,
    )
    settings = bank_settings({"dense": target, "shipped": shipped}, ["matched", "dense"])
    assert [(one.release, one.references) for one in settings] == [("dense", "matched"), ("shipped", "dense")]
    attack_input = settings[1].attack_input
    assert attack_input.allowed.tolist() == [[False] + [True] * (NUM_MODELS - 1)]
    found = findings(target, {"shipped": shipped})
    mean = found[(found["victim"] == "mean") & (found["release"] == "shipped")].set_index("attack")
    assert set(mean["references"]) == {"dense"}
    assert mean.loc["lira", "auc_low"] > 0.5


def test_a_target_without_references_has_none(bank):
    alone = Signals(logits=bank.logits[:1], labels=bank.labels, member=bank.member[:1], eligible=bank.eligible[:1])
    (setting,) = bank_settings({"dense": alone}, ["matched"])
    assert not setting.attack_input.references
