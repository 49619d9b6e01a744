"""Signals refuse members that were asked more queries than others, or fewer."""

from __future__ import annotations

import numpy as np
import pytest

from pruneaudit.core.errors import UserError
from pruneaudit.signals.signals import Signals

# M models, N samples, Q queries

NUM_MODELS, NUM_SAMPLES = 3, 60


def signals(views: np.ndarray | None = None, **more: object) -> Signals:
    """Signals whose samples in `views` (M, N) have three different queries, the others one three times over."""
    rng = np.random.default_rng(0)
    member = rng.random((NUM_MODELS, NUM_SAMPLES)) < 0.5
    phi = rng.normal(size=(NUM_MODELS, NUM_SAMPLES, 3))
    return Signals(
        logits=rng.normal(size=(NUM_MODELS, NUM_SAMPLES, 2)),
        labels=np.arange(NUM_SAMPLES) % 2,
        member=member,
        confidence=None if views is None else np.where(views[..., None], phi, phi[..., :1]),
        **more,
    )


EVERYBODY = np.ones((NUM_MODELS, NUM_SAMPLES), dtype=bool)
MEMBERS = signals().member


@pytest.mark.parametrize(("side", "more", "fewer"), [(MEMBERS, "members", "others"), (~MEMBERS, "others", "members")])
def test_two_views_of_one_side_are_refused(side: np.ndarray, more: str, fewer: str) -> None:
    with pytest.raises(UserError) as caught:
        signals(side)
    message = str(caught.value)
    assert message.startswith("confidence: of model 0 ")
    assert f"100% of the {fewer}" in message and f"0% of the {more}" in message
    signals()  # the advice: without the key


def test_the_same_queries_for_all_are_taken() -> None:
    for side in (EVERYBODY, ~EVERYBODY):
        assert signals(side).num_queries == 3


def test_a_query_that_others_lack_is_no_number() -> None:
    confidence = np.where(MEMBERS[..., None], np.random.default_rng(1).normal(size=(NUM_MODELS, NUM_SAMPLES, 2)), 0.1)
    confidence[..., 1][~MEMBERS] = np.nan
    with pytest.raises(UserError, match="confidence: NaN"):
        Signals(signals().logits, np.arange(NUM_SAMPLES) % 2, MEMBERS, confidence=confidence)


def test_one_model_is_enough() -> None:
    views = EVERYBODY.copy()
    views[2] = MEMBERS[2]
    with pytest.raises(UserError, match="confidence: of model 2 "):
        signals(views)


def test_what_is_never_scored_may_be_asked_once() -> None:
    views = EVERYBODY.copy()
    views[:, :10] = False
    eligible = np.broadcast_to(np.arange(NUM_SAMPLES) >= 10, views.shape)
    assert signals(views, eligible=eligible).num_queries == 3


def test_saturated_answers_of_some_are_taken() -> None:
    """Half of the members so certain that no query changes the answer."""
    views = ~MEMBERS | (np.arange(NUM_SAMPLES) % 2 == 0)
    assert signals(views).num_queries == 3
