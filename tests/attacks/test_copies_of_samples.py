"""Samples that stand in the data again as copies change no other sample's score."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.evaluation.comparison_plan import ready
from pruneaudit.signals.signals import Signals


@pytest.mark.parametrize(
    "name", ["lira", "lira:mode=offline", "rmia", "rmia:mode=offline", "base", "bavaria", "attack_r"]
)
def test_copies_change_no_score_of_the_originals(name: str, make_bank: Callable[..., Signals]) -> None:
    bank = make_bank(8, 120)
    (attack,) = ready([name]).values()
    twice = np.concatenate([np.arange(120), np.arange(40)])  # the first 40 stand there again
    again = Signals(
        logits=bank.logits[:, twice],
        labels=bank.labels[twice],
        member=bank.member[:, twice],
        copy=np.arange(160) >= 120,
    )

    def scored(signals: Signals) -> Scores:
        return attack.score(AttackInput.of([signals], [signals]), np.random.default_rng(0))

    alone = Signals(logits=bank.logits, labels=bank.labels, member=bank.member)
    found = scored(again).victims
    assert np.isnan(found[:, 120:]).all()
    np.testing.assert_allclose(found[:, :120], scored(alone).victims, rtol=1e-9)
