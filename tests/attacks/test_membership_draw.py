"""Why membership is drawn by independent coins, and not as exact halves per sample.

Where nothing is memorised, no attack may find members. With coins it does not. With exact halves, the
other models of the bank have one IN model fewer exactly where the victim is IN, and the estimates of an
attack in leave-one-out betray that.
"""

import numpy as np
import pytest

from pruneaudit.attacks import ATTACKS
from pruneaudit.metrics import auc, auc_influence, two_way
from pruneaudit.signals.signals import Signals

NUM_MODELS, NUM_SAMPLES = 4, 4000


def null_bank(member, seed=0):
    """Logits that have nothing to do with membership."""
    rng = np.random.default_rng(seed)
    return Signals(rng.normal(size=(*member.shape, 3)), rng.integers(3, size=member.shape[1]), member)


def lira_auc(member, make_input):
    bank = null_bank(member)
    scores = ATTACKS.get("lira")().score(make_input(bank), np.random.default_rng(0)).victims
    return two_way(*auc_influence(scores, bank.member))


def test_coins_leak_nothing(make_input):
    member = np.random.default_rng(1).random((NUM_MODELS, NUM_SAMPLES)) < 0.5
    found = lira_auc(member, make_input)
    assert abs(found.value - 0.5) < 4 * found.std_error


def test_exact_halves_leak_in_leave_one_out(make_input):
    halves = np.repeat(np.arange(NUM_MODELS)[:, None] < NUM_MODELS // 2, NUM_SAMPLES, axis=1)
    member = np.random.default_rng(1).permuted(halves, axis=0)
    assert (member.sum(axis=0) == NUM_MODELS // 2).all()
    found = lira_auc(member, make_input)
    assert abs(found.value - 0.5) > 0.03
    assert abs(found.value - 0.5) > 10 * found.std_error


def test_the_count_of_the_others_tells_all(make_input):
    """The trap at its plainest: with exact halves the others' count is the answer, with coins it is none."""
    rng = np.random.default_rng(2)
    halves = rng.permuted(np.repeat(np.arange(8)[:, None] < 4, 500, axis=1), axis=0)
    coins = rng.random((8, 500)) < 0.5
    assert (auc(halves - halves.sum(axis=0), halves) == 1).all()
    others = -(coins.sum(axis=0) - coins).astype(float)
    assert auc(others, coins) == pytest.approx(0.5, abs=0.1)
