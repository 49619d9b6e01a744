"""Quantile regression: fitted on half A, ranked among half B, from the label and features of the input alone."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.quantile import LEAST_SPREAD, MEAN_PENALTY, SPREAD_PENALTY
from pruneaudit.attacks.ties import TIE_STEP
from pruneaudit.metrics import auc

NUM_SAMPLES, NUM_HOLDOUT = 900, 500


def scores_of(attack_input, name="quantile"):
    return ATTACKS.get(name)().score(attack_input, np.random.default_rng(0))


@pytest.fixture
def bank(make_bank):
    return make_bank(num_models=4, num_samples=NUM_SAMPLES, num_holdout=NUM_HOLDOUT)


def test_against_two_ridge_regressions_of_scikit_learn(bank, make_input):
    attack_input = make_input(bank)
    found = scores_of(attack_input).victims
    known = attack_input.fitting
    features = bank.features / bank.features[known].std(axis=0)
    design = np.hstack([np.eye(bank.num_classes)[bank.labels], features])
    for phi, scores in zip(bank.phi[..., 0], found, strict=True):
        residuals = phi - Ridge(MEAN_PENALTY).fit(design[known], phi[known]).predict(design)
        squares = residuals[known] ** 2
        log_spread = np.log(squares + LEAST_SPREAD**2 * squares.mean()) / 2
        standard = residuals / np.exp(Ridge(SPREAD_PENALTY).fit(design[known], log_spread).predict(design))
        for n in range(NUM_HOLDOUT, NUM_SAMPLES):
            assert scores[n] == pytest.approx((standard[attack_input.nulls] <= standard[n]).mean(), abs=2 * TIE_STEP)


def test_it_finds_more_than_loss_where_the_input_tells_how_hard_a_sample_is(bank, make_input):
    attack_input = make_input(bank)
    member = bank.member
    mine, loss = (auc(scores_of(attack_input, name).victims, member).mean() for name in ("quantile", "loss"))
    assert mine > loss + 0.05
    told_nothing = replace(bank, features=np.random.default_rng(0).normal(size=(NUM_SAMPLES, 3)))
    assert abs(auc(scores_of(make_input(told_nothing)).victims, member).mean() - loss) < 0.02


def test_only_half_a_teaches_and_only_half_b_ranks(bank, make_input):
    attack_input = make_input(bank)
    before = scores_of(attack_input).victims
    audited = np.arange(NUM_SAMPLES) >= NUM_HOLDOUT + 200
    logits = bank.logits.copy()
    logits[:, audited] *= -2  # other audited samples
    after = scores_of(make_input(replace(bank, logits=logits))).victims
    np.testing.assert_array_equal(after[:, ~audited], before[:, ~audited])
    for half in (attack_input.fitting, attack_input.nulls):
        logits = bank.logits.copy()
        logits[:, half] *= 0.5
        assert (scores_of(make_input(replace(bank, logits=logits))).victims[0, audited] != before[0, audited]).any()


def test_a_score_is_one_minus_a_p_value(make_bank, make_input):
    """Samples outside a victim's training set exceed 1 - p with probability p, for every victim."""
    bank = make_bank(num_models=6, num_samples=3000, num_holdout=1400)
    scores = scores_of(make_input(bank)).victims
    for row, member in zip(scores, bank.member, strict=True):
        outside = row[~member & ~np.isnan(row)]
        for level in (0.1, 0.3):
            assert (outside > 1 - level).mean() == pytest.approx(level, abs=0.05)


def test_what_it_lacks(make_bank, make_input):
    attack = ATTACKS.get("quantile")()
    bank = make_bank(num_models=3, num_samples=600, num_holdout=NUM_HOLDOUT)
    assert attack.lacks(make_input(bank)) == ""
    assert "features" in attack.lacks(make_input(replace(bank, features=None)))
    few = attack.lacks(make_input(make_bank(num_models=3, num_samples=600, num_holdout=427)))  # 199 in half A
    assert all(part in few for part in ("half A", "200", "got 199", "500"))
    assert attack.num_trainings(make_input(bank)) == 0
