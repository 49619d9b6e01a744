"""Constants tuned on references, against a search with plain loops, and what may have no part in it."""

from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.folds import settings
from pruneaudit.attacks.tuning import GRID, MIN_REFERENCES, Tunable, constant
from pruneaudit.metrics import auc

# V victims, K references, N samples

ATTACKS_TUNED = {"rmia": ("a", 0.3), "base": ("scale", 0.33)}
"""The constant of each, and the paper's value."""


@pytest.fixture(params=ATTACKS_TUNED)
def name(request):
    return request.param


def played(name, attack_input, **options):
    attack = ATTACKS.get(name)
    return attack(attack.Options(mode="offline", **options)).score(attack_input, np.random.default_rng(0))


def rmia_score(log_p, out, a):
    return log_p - np.log(((1 + a) * out + 1 - a) / 2)


def tuned(attack_input, published=0.3, formula=rmia_score):
    return constant(Tunable("a", published, formula), None, attack_input, np.random.default_rng(0))


def best_by_hand(signals, rows, formula):
    """The value of the grid with the highest mean AUC, reference by reference."""
    p = 1 / (1 + np.exp(-signals.phi[..., 0]))
    means = []
    for value in GRID:
        found = []
        for k in rows:
            others = [j for j in rows if j != k]
            scores, member = [], []
            for n in np.flatnonzero(signals.ordinary[k]):
                outside = [p[j, n] for j in others if not signals.member[j, n]]
                if outside:
                    scores.append(formula(np.log(p[k, n]), np.mean(outside), value))
                    member.append(signals.member[k, n])
            found.append(auc(np.array([scores]), np.array([member]))[0])
        means.append(np.mean(found))
    return GRID[int(np.argmax(means))]


@pytest.mark.parametrize("seed", range(3))
def test_against_a_search_with_loops(seed, make_bank, make_input):
    attack_input = make_input(make_bank(num_models=9, num_samples=80, num_holdout=20, gain=0.7, seed=seed))
    found = tuned(attack_input).values
    seed_of_folds = int(np.random.default_rng(0).integers(2**62))
    for victims, rows in settings(attack_input, seed_of_folds):
        np.testing.assert_array_equal(found[victims], best_by_hand(attack_input.reference, rows, rmia_score))


def test_the_scores_are_those_of_the_tuned_value_given_by_hand(name, make_bank, make_input):
    key, _ = ATTACKS_TUNED[name]
    victims = make_bank(num_models=3, num_samples=120, num_holdout=30)
    attack_input = make_input(victims, make_bank(num_models=9, num_samples=120, num_holdout=30, seed=1, first_id=50))
    found = played(name, attack_input)
    (value,) = [v for v in GRID if f"{key} tuned {v:g}," in f"{found.variant},"]  # one for all: none is a reference
    np.testing.assert_array_equal(found.victims, played(name, attack_input, **{key: value}).victims)


def test_a_value_given_by_hand_stays(name, make_bank, make_input):
    key, _ = ATTACKS_TUNED[name]
    attack_input = make_input(make_bank(num_models=9, num_samples=80, num_holdout=20))
    variant = played(name, attack_input, **{key: 0.45}).variant
    assert f"{key} 0.45" in variant
    assert "tuned" not in variant


def test_too_few_references_keep_the_papers_value_and_say_so(name, make_bank, make_input):
    key, published = ATTACKS_TUNED[name]
    victims = make_bank(num_models=2, num_samples=60, num_holdout=10)
    for num_references in (MIN_REFERENCES - 1, MIN_REFERENCES):
        references = make_bank(num_models=num_references, num_samples=60, num_holdout=10, seed=1, first_id=9)
        attack_input = make_input(victims, references)
        found = played(name, attack_input)
        assert (f"{key} {published:g} not tuned" in found.variant) == (num_references < MIN_REFERENCES)
        if num_references < MIN_REFERENCES:
            np.testing.assert_array_equal(found.victims, played(name, attack_input, **{key: published}).victims)


def test_members_that_stand_out_more_want_another_value(make_bank, make_input):
    """Weak leakage: IN and OUT are alike, and a goes up; strong leakage: down."""
    values = [
        np.median(tuned(make_input(make_bank(num_models=16, num_samples=1500, gain=gain))).values)
        for gain in (0.2, 4.0)
    ]
    assert values[0] > values[1]


@pytest.mark.parametrize("gain", [0.3, 1.5])
def test_tuning_costs_nothing_beside_the_papers_value(name, gain, make_bank, make_input):
    key, published = ATTACKS_TUNED[name]
    bank = make_bank(num_models=12, num_samples=1000, num_holdout=100, gain=gain)
    attack_input = make_input(bank)
    mine, papers = (
        auc(played(name, attack_input, **given).victims, bank.member).mean() for given in ({}, {key: published})
    )
    assert mine > papers - 0.002


def test_nothing_of_the_victim_and_its_fold_has_a_part(make_bank, make_input):
    bank = make_bank(num_models=12, num_samples=150, num_holdout=30)
    before = tuned(make_input(bank)).values
    names_of_fold = next(iter(settings(make_input(bank), int(np.random.default_rng(0).integers(2**62)))))[0]
    member, logits = bank.member.copy(), bank.logits.copy()
    member[np.ix_(names_of_fold, np.arange(30, 150))] ^= True
    logits[names_of_fold] *= -3
    turned = replace(bank, member=member, logits=logits)
    np.testing.assert_array_equal(tuned(make_input(turned)).values[names_of_fold], before[names_of_fold])


def test_order_of_samples_and_models_does_not_matter_where_some_are_drawn(name, make_bank, monkeypatch):
    monkeypatch.setattr("pruneaudit.attacks.tuning.MAX_SAMPLES", 60)
    monkeypatch.setattr("pruneaudit.attacks.tuning.MAX_PSEUDO_VICTIMS", 3)
    bank = make_bank(num_models=10, num_samples=150, num_holdout=30)
    models, samples = np.random.default_rng(1).permutation(10), np.random.default_rng(2).permutation(150)
    turned = type(bank)(
        logits=bank.logits[models][:, samples],
        labels=bank.labels[samples],
        member=bank.member[models][:, samples],
        eligible=bank.eligible[models][:, samples],
        ids=bank.sample_ids[samples],
        model_ids=bank.model_names[models],
    )
    before, after = (played(name, AttackInput.of([signals], [signals])) for signals in (bank, turned))
    assert after.variant == before.variant
    np.testing.assert_allclose(after.victims, before.victims[models][:, samples], rtol=1e-9, atol=1e-12)


def test_groups_that_do_not_share_references_are_tuned_apart(make_bank, make_input):
    """Protocol `disjoint`: a victim and five shadows in each of two groups; nothing of one reaches the other."""
    bank = make_bank(num_models=12, num_samples=200, num_holdout=40)
    is_victim = np.arange(12) % 6 == 0
    grouped = replace(bank, group=np.arange(12) // 6, is_victim=is_victim)
    before = tuned(make_input(grouped)).values
    logits = grouped.logits.copy()
    logits[7:] *= 0.1
    after = tuned(make_input(replace(grouped, logits=logits))).values
    assert before.shape == (2, 1)
    assert after[0] == before[0]
