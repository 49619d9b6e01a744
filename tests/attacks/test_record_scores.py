"""Scores for verdicts on records: by a loop, with coins for the nulls, and alike for non-members and nulls."""

# V victims, K references, N samples, Z nulls

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.bavaria import variance_prior
from pruneaudit.attacks.moments import Moments
from pruneaudit.attacks.ratios import offline_mean
from pruneaudit.attacks.record_scores import SCORES, halves_of_references, moderated_t, record_scores
from pruneaudit.signals.derived import log_probability, probability

NUM_HOLDOUT = 120


@pytest.fixture
def attack_input(make_bank, make_input):
    return make_input(make_bank(num_models=9, num_samples=260, num_holdout=NUM_HOLDOUT))


def scored(score, attack_input, rows=None, seed=0):
    return list(record_scores(score, attack_input, range(len(attack_input.victims)) if rows is None else rows, seed))


def test_the_moderated_variance_by_hand():
    """Two samples of 3 and 1 references; with shape a0 and mean v, d0 s0^2 is 2 (a0 - 1) v."""
    side = Moments(np.array([[3.0, 1.0, 0.0]]), np.array([[1.0, 2.0, np.nan]]), np.array([[4.0, 0.0, 0.0]]))
    (mean,), (shape,) = (each[0] for each in variance_prior(side, np.ones(3, dtype=bool)))
    assert mean == 2.0  # 4 over 2 degrees of freedom
    own = (2 * (shape - 1) * mean + 4.0) / (2 * shape + 2)
    alone = 2 * (shape - 1) * mean / (2 * shape)
    found = moderated_t(np.array([[5.0, 5.0, 5.0]]), side)[0]
    assert found[0] == pytest.approx(4.0 / np.sqrt(own * (1 + 1 / 3)))
    assert found[1] == pytest.approx(3.0 / np.sqrt(alone * 2))
    assert np.isnan(found[2])


def by_a_loop(score, attack_input, row, outside):
    """The score of every sample of one victim, from the references that `outside` (K, N) names."""
    signals, victim = attack_input.attacked, attack_input.victims[row]
    found = np.full(signals.num_samples, np.nan)
    phi = signals.phi[..., 0]
    allowed = np.flatnonzero(attack_input.allowed[row])
    counted = np.flatnonzero(signals.eligible[victim] | attack_input.nulls)
    own = {sample: phi[[k for k in allowed if outside[k, sample]], sample] for sample in counted}
    for sample in counted:
        values = own[sample]
        if score == "loss":
            found[sample] = phi[victim, sample]
        elif score == "rmia" and len(values):
            expected = offline_mean(probability(values).mean(), 0.3)
            found[sample] = log_probability(phi[[victim], sample])[0] - np.log(expected)
    return found


@pytest.mark.parametrize("score", ["rmia", "loss"])
def test_scores_are_those_of_a_loop(attack_input, score, monkeypatch):
    monkeypatch.setattr(
        "pruneaudit.attacks.record_scores._constants", lambda given, seed: np.full((len(given.victims), 1), 0.3)
    )
    member = attack_input.reference.member
    parts = scored(score, attack_input)
    nulls = attack_input.nulls
    for row in (0, 4):
        expected = by_a_loop(score, attack_input, row, ~member)
        audited = attack_input.eligible[row]
        np.testing.assert_allclose(parts[row].audited[audited], expected[audited], rtol=1e-9)
        assert np.isnan(parts[row].audited[~audited]).all()
        assert len(parts[row].nulls) <= nulls.sum()
    assert score == "loss" or {part.num_references for part in parts} == {8}


def test_the_default_is_a_moderated_t_over_the_out_references(attack_input):
    part = scored("lira", attack_input, [3])[0]
    phi, member, nulls = attack_input.attacked.phi[..., 0], attack_input.reference.member, attack_input.nulls
    values = np.where(~member & attack_input.allowed[3][:, None], phi, np.nan)
    sample = int(np.flatnonzero(attack_input.eligible[3])[7])
    own = values[~np.isnan(values[:, sample]), sample]
    spread = (phi[3, sample] - own.mean()) / part.audited[sample] / np.sqrt(1 + 1 / len(own))
    low, high = sorted((own.std(ddof=1), 1.0))  # the bank's noise is 1: the sample's own, drawn towards all samples'
    assert 0.9 * low < spread < 1.1 * high
    assert len(part.nulls) == nulls.sum()


def test_a_null_has_as_many_out_references_as_an_audited_sample(make_bank, make_input):
    """The count of references of a null is that of a sample's OUT references: binomial with the references' share."""
    bank = make_bank(num_models=13, num_samples=3000, num_holdout=2000, gain=0.0)
    found = scored("lira", make_input(bank), [0])[0]
    audited = found.audited[~np.isnan(found.audited)]
    # Without a leak both are the same law; with all references the nulls would spread less: 1 + 1/12 for 1 + 1/6.
    assert stats.ks_2samp(audited, found.nulls).pvalue > 0.01
    assert np.std(found.nulls) == pytest.approx(np.std(audited), rel=0.06)


def test_without_in_references_all_references_of_a_null_count(make_bank, make_input):
    bank = make_bank(num_models=5, num_samples=260, num_holdout=NUM_HOLDOUT)
    member = bank.member.copy()
    member[1:] = False  # references of the victim's half, as under protocol `disjoint`
    alone = replace(bank, member=member, is_victim=np.arange(5) == 0)
    part = scored("rmia", make_input(alone), [0])[0]
    assert len(part.nulls) == make_input(alone).nulls.sum()
    one = replace(make_input(alone), allowed=np.array([[False, True, False, False, False]]))
    assert len(scored("rmia", one, [0])[0].nulls) == one.nulls.sum()  # by coins about half of them would have none


@pytest.mark.parametrize("score", SCORES)
def test_scores_of_a_victim_do_not_depend_on_other_victims(attack_input, score):
    together, alone = scored(score, attack_input), scored(score, attack_input, [5])[0]
    np.testing.assert_allclose(together[5].audited, alone.audited, rtol=1e-9)
    np.testing.assert_allclose(together[5].nulls, alone.nulls, rtol=1e-9)


def test_the_seed_draws_the_coins_of_nulls_alone(attack_input):
    one, other = (scored("lira", attack_input, [5], seed)[0] for seed in (0, 1))
    assert not np.array_equal(one.nulls, other.nulls)
    both = np.stack([one.audited, other.audited])
    assert np.corrcoef(both[:, ~np.isnan(both).any(axis=0)])[0, 1] > 0.999  # but for the prior


@pytest.mark.parametrize("score", SCORES)
def test_a_victims_membership_is_never_read(attack_input, score):
    """Redrawing the row of a victim in the attacked signals changes no score of it."""
    signals = attack_input.attacked
    rng = np.random.default_rng(3)
    member = signals.member.copy()
    member[2, NUM_HOLDOUT:] = rng.random(signals.num_samples - NUM_HOLDOUT) < 0.5
    other = AttackInput(
        (replace(signals, member=member),), attack_input.references, attack_input.victims, attack_input.allowed
    )
    np.testing.assert_array_equal(scored(score, other, [2])[0].audited, scored(score, attack_input, [2])[0].audited)


def test_two_disjoint_sets_of_references(attack_input):
    one, other = halves_of_references(attack_input, 0)
    assert not (one.allowed & other.allowed).any()
    np.testing.assert_array_equal(one.allowed | other.allowed, attack_input.allowed)
    assert abs(int(one.allowed.any(axis=0).sum()) - int(other.allowed.any(axis=0).sum())) <= 1
    grouped = replace(attack_input.attacked, group=np.array([0] * 3 + [1] * 6))
    sides = halves_of_references(AttackInput.of([grouped], [grouped]), 0)
    assert sorted(int(side.allowed[:3].any(axis=0).sum()) for side in sides) == [1, 2]


def test_several_queries_are_averaged(make_bank, make_input):
    bank = make_bank(num_models=6, num_samples=260, num_holdout=NUM_HOLDOUT, num_queries=3)
    whole = scored("lira", make_input(bank), [1])[0]
    parts = []
    for query in range(3):
        one = replace(bank, confidence=bank.confidence[..., [query]], logits=bank.logits)
        parts.append(scored("lira", make_input(one), [1])[0].audited)
    np.testing.assert_allclose(whole.audited, np.mean(parts, axis=0))
