"""Thresholds come from references in which the victim and its fold had no part."""

import math

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.folds import MAX_FOLDS, folds_of
from pruneaudit.evaluation.crossfit import learn, thresholds
from pruneaudit.signals.signals import Signals

# V victims, K references, N samples

SEED = 11
NAMES = (
    "loss",
    "confidence",
    "entropy",
    "modified_entropy",
    "lira",
    "rmia",
    "calibration",
    "base",
    "attack_r",
    "bavaria",
)


def learned(name, attack_input):
    attack = ATTACKS.get(name)()
    scores = attack.score(attack_input, np.random.default_rng(0))
    return thresholds(attack, attack_input, scores, SEED, np.random.default_rng(0))


def against_itself(bank):
    return AttackInput.of([bank], [bank])


def balanced_accuracy(scores, member, threshold):
    return (np.mean(scores[member] >= threshold) + np.mean(scores[~member] < threshold)) / 2


@pytest.mark.parametrize("num_models", [2, 3, 4, 7, 12, 33])
def test_folds_partition_the_models_evenly(num_models, make_bank):
    attack_input = against_itself(make_bank(num_models, 30))
    victims, references = folds_of(attack_input, SEED)
    np.testing.assert_array_equal(victims, references)  # a model that is both has one fold
    sizes = np.bincount(references)
    assert len(sizes) == min(MAX_FOLDS, num_models)
    assert sizes.max() - sizes.min() <= 1


def test_a_models_fold_goes_with_its_id_not_its_row(make_bank):
    bank = make_bank(9, 30)
    order = np.random.default_rng(1).permutation(9)
    straight, _ = folds_of(against_itself(bank), SEED)
    turned, _ = folds_of(against_itself(bank.take_models(order)), SEED)
    np.testing.assert_array_equal(turned, straight[order])
    others = [folds_of(against_itself(bank), seed)[0].tolist() for seed in range(5)]
    assert any(folds != straight.tolist() for folds in others)


def test_victims_that_are_nobodys_reference_stand_outside(make_bank):
    attack_input = AttackInput.of([make_bank(3, 30)], [make_bank(6, 30, first_id=3)])
    victims, references = folds_of(attack_input, SEED)
    assert victims.tolist() == [-1, -1, -1]
    assert set(references) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_the_victims_fold_is_in_its_threshold(name, make_bank):
    bank = make_bank(8, 200, num_holdout=40)
    before = learned(name, against_itself(bank))
    folds, _ = folds_of(against_itself(bank), SEED)
    assert np.isfinite(before).all()
    rng = np.random.default_rng(6)
    for fold in range(MAX_FOLDS):
        here = np.flatnonzero(folds == fold)
        logits, member = bank.logits.copy(), bank.member.copy()
        logits[here] = rng.normal(scale=5, size=logits[here].shape)
        member[here] = (rng.random(member[here].shape) < 0.3) & (np.arange(200) >= 40)
        after = learned(name, against_itself(Signals(logits, bank.labels, member, eligible=bank.eligible)))
        np.testing.assert_array_equal(after[here], before[here])
        assert (after[folds != fold] != before[folds != fold]).all()  # while it is in the others'


@pytest.mark.parametrize("name", NAMES)
def test_no_other_threshold_does_better_on_the_references_outside(name, make_bank):
    bank = make_bank(8, 150)
    attack_input = against_itself(bank)
    found, (folds, _) = learned(name, attack_input), folds_of(attack_input, SEED)
    for fold in range(MAX_FOLDS):
        rows = np.flatnonzero(folds != fold)
        outside = bank.take_models(rows)
        scores = ATTACKS.get(name)().score(against_itself(outside), np.random.default_rng(0)).victims
        valid = ~np.isnan(scores)
        values, member = scores[valid], outside.member[valid]
        (limit,) = set(found[folds == fold].ravel())  # all victims and classes of the fold share one
        reached = balanced_accuracy(values, member, limit)
        assert reached > 0.55
        tried = [balanced_accuracy(values, member, other) for other in np.quantile(values, np.linspace(0, 1, 101))]
        assert reached >= max(tried) - 1e-12


@pytest.mark.parametrize("name", NAMES)
def test_separate_references_serve_all_victims_alike(name, make_bank):
    references = make_bank(6, 150, first_id=100, seed=1)
    one, other = make_bank(2, 150), make_bank(2, 150, seed=5, gain=0)
    found = learned(name, AttackInput.of([one], [references]))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(learned(name, AttackInput.of([other], [references])), found)


@pytest.mark.parametrize("name", [name for name in NAMES if not ATTACKS.get(name).needs])
def test_without_references_there_is_no_threshold(name, make_bank):
    assert np.isnan(learned(name, AttackInput.of([make_bank(3, 40)], []))).all()


def test_too_few_references_give_no_threshold(make_bank):
    pair = against_itself(make_bank(2, 60))
    assert np.isnan(learned("rmia", pair)).all()  # outside the victim's fold there is one, with no references
    assert np.isfinite(learned("loss", pair)).all()  # which is enough where none are needed
    assert np.isnan(learned("lira", AttackInput.of([make_bank(2, 60)], [make_bank(1, 60, first_id=9)]))).all()


def test_references_that_serve_nobody_in_the_fold_are_left_out(make_bank):
    victims, references = make_bank(2, 100), make_bank(6, 100, first_id=50)
    allowed = np.array([[True, True, True, False, False, False]] * 2)
    few = AttackInput.of([victims], [references], allowed)
    only = AttackInput.of([victims], [references.take_models(np.arange(3))])
    np.testing.assert_array_equal(learned("loss", few), learned("loss", only))
    assert np.isnan(learned("loss", AttackInput.of([victims], [references], np.zeros((2, 6), dtype=bool)))).all()


def test_canaries_and_ineligible_samples_teach_nothing(make_bank):
    bank = make_bank(8, 200, num_holdout=30, num_canaries=70)
    logits, member = bank.logits.copy(), bank.member.copy()
    logits[:, :30] *= 50
    logits[:, 130:] *= 0.1
    member[:, 130:] = logits.argmax(axis=2)[:, 130:] == bank.labels[130:]  # would draw the threshold to ln 1/5
    changed = Signals(logits, bank.labels, member, eligible=bank.eligible, canary=bank.canary)
    expected = learned("loss", against_itself(bank))
    np.testing.assert_array_equal(learned("loss", against_itself(changed)), expected)
    for taught in ({"eligible": bank.eligible}, {"canary": bank.canary}):
        assert (learned("loss", against_itself(Signals(logits, bank.labels, member, **taught))) != expected).all()


def test_a_threshold_learned_on_references_is_worth_something_on_victims(make_bank):
    bank = make_bank(8, 400, gain=3)
    attack_input = against_itself(bank)
    scores = ATTACKS.get("lira")().score(attack_input, np.random.default_rng(0)).victims
    for row, member, limit in zip(scores, bank.member, learned("lira", attack_input)[:, 0], strict=True):
        valid = ~np.isnan(row)
        assert math.isfinite(limit)
        assert balanced_accuracy(row[valid], member[valid], limit) > 0.8


PER_CLASS = ATTACKS.get("confidence").Options(thresholds="per_class")


def test_thresholds_per_class_are_those_of_each_class_alone(make_bank):
    bank = make_bank(8, 300)
    attack_input = against_itself(bank)
    attack = ATTACKS.get("confidence")(PER_CLASS)
    found = thresholds(
        attack, attack_input, attack.score(attack_input, np.random.default_rng(0)), SEED, np.random.default_rng(0)
    )
    assert found.shape == (8, bank.num_classes)
    for label in range(bank.num_classes):
        chosen = bank.labels == label
        alone = Signals(bank.logits[:, chosen], bank.labels[chosen], bank.member[:, chosen])
        np.testing.assert_array_equal(found[:, label], learned("confidence", against_itself(alone))[:, label])
    assert len(np.unique(found[0])) > 1


def test_a_class_without_members_takes_the_threshold_of_all(make_bank):
    bank = make_bank(8, 300)
    member = bank.member & (bank.labels != 3)
    attack_input = against_itself(Signals(bank.logits, bank.labels, member))
    attack = ATTACKS.get("confidence")(PER_CLASS)
    found = thresholds(
        attack, attack_input, attack.score(attack_input, np.random.default_rng(0)), SEED, np.random.default_rng(0)
    )
    np.testing.assert_array_equal(found[:, 3], learned("confidence", attack_input)[:, 3])
    assert np.isfinite(found).all()


def naive_barrier(others, level):
    """The score to exceed: the highest at which no more than the level's fraction of non-members lies above it."""
    for candidate in sorted(others):
        if np.mean(others > candidate) <= level:
            return candidate
    raise AssertionError("the highest score is exceeded by nobody")


@pytest.mark.parametrize("name", ["loss", "correctness", "lira", "rmia"])
def test_barriers_are_those_of_the_references_non_members_outside_the_fold(name, make_bank):
    bank, levels = make_bank(7, 150, num_holdout=20, num_canaries=5), (0.3, 0.1, 0.05)
    attack_input, attack = against_itself(bank), ATTACKS.get(name)()
    scores = attack.score(attack_input, np.random.default_rng(0))
    found = learn(attack, attack_input, scores, levels, SEED, np.random.default_rng(0))
    folds, _ = folds_of(attack_input, SEED)
    for v in range(7):
        rows = np.flatnonzero(folds != folds[v])
        if scores.references is None:
            said = attack.score(attack_input.among_references(rows), np.random.default_rng(0)).victims
        else:
            said = scores.references[rows]
        others = said[bank.ordinary[rows] & ~bank.member[rows] & ~np.isnan(said)]
        assert found.num_nonmembers[v] == len(others)
        np.testing.assert_array_equal(found.barriers[v], [naive_barrier(others, level) for level in levels])


def test_too_few_non_members_teach_no_barrier(make_bank):
    attack_input = against_itself(make_bank(4, 40))  # three references with some 20 non-members each
    attack = ATTACKS.get("loss")()
    scores = attack.score(attack_input, np.random.default_rng(0))
    found = learn(attack, attack_input, scores, (0.3, 0.01), SEED, np.random.default_rng(0))
    assert np.isfinite(found.barriers[:, 0]).all()
    assert np.isnan(found.barriers[:, 1]).all()
    assert np.isfinite(found.best).all()
    alone = AttackInput.of([make_bank(3, 40)], [])
    nothing = learn(
        attack, alone, attack.score(alone, np.random.default_rng(0)), (0.3,), SEED, np.random.default_rng(0)
    )
    assert np.isnan(nothing.barriers).all()
    assert nothing.num_nonmembers.tolist() == [0, 0, 0]


def test_a_victims_own_data_has_no_part_in_its_barrier(make_bank):
    bank, levels = make_bank(8, 200), (0.2, 0.1)
    attack_input, attack = against_itself(bank), ATTACKS.get("lira")()

    def barriers_of(attack_input):
        return learn(
            attack,
            attack_input,
            attack.score(attack_input, np.random.default_rng(0)),
            levels,
            SEED,
            np.random.default_rng(0),
        )

    before, (folds, _) = barriers_of(attack_input).barriers, folds_of(attack_input, SEED)
    logits = bank.logits.copy()
    logits[folds == folds[0]] *= -3
    changed = Signals(logits, bank.labels, bank.member, model_ids=bank.model_ids, ids=bank.ids)
    after = barriers_of(against_itself(changed)).barriers
    same = folds == folds[0]
    np.testing.assert_array_equal(after[same], before[same])
    assert (after[~same] != before[~same]).all()
