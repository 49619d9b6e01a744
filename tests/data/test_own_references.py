"""The training sets of references that a user trains: coins, halves, copies, unknown rows."""

import numpy as np
import pytest

from pruneaudit import Signals, audit
from pruneaudit.core.errors import UserError
from pruneaudit.data.own_references import draw_references

ROWS = 900
X = np.random.default_rng(0).normal(size=(ROWS, 3))
MEMBER = np.arange(ROWS) < 600
"""600 members and 300 others: 100 held out, 200 of each audited, 400 members kept."""


def test_sizes_and_coins():
    drawn = draw_references(X, MEMBER, 50, seed=1)
    member, eligible = drawn["member"] == 1, drawn["eligible"]
    np.testing.assert_array_equal(member[0], MEMBER)
    assert drawn["is_victim"].tolist() == [True] + [False] * 50
    assert (eligible == eligible[0]).all()
    assert eligible[0, MEMBER].sum() == eligible[0, ~MEMBER].sum() == 200
    assert drawn["holdout"].sum() == 100
    assert not (drawn["holdout"] & (eligible.any(axis=0) | member.any(axis=0))).any()
    assert member[:, MEMBER & ~eligible[0]].all()
    coins = member[1:, eligible[0]]  # (50, 400)
    assert abs(coins.mean() - 0.5) < 4 * 0.5 / np.sqrt(coins.size)
    assert abs(member[1:].sum(axis=1).mean() - 600) < 4 * 10 / np.sqrt(50)


def test_more_references_change_no_earlier_one_and_the_seed_does():
    few, many, other = (draw_references(X, MEMBER, n, seed=s)["member"] for n, s in ((2, 0), (5, 0), (2, 1)))
    np.testing.assert_array_equal(few, many[:3])
    assert (few[1] != other[1]).any()


def test_equal_rows_go_together_and_blocked_rows_are_neither():
    x = X.copy()
    x[700] = x[0]  # an "other" with a member's x may have been trained on
    x[1] = x[2]
    drawn = draw_references(x, MEMBER, 30)
    assert not drawn["eligible"][:, 700].any()
    assert not drawn["holdout"][700]
    np.testing.assert_array_equal(drawn["member"][:, 1], drawn["member"][:, 2])


def test_unknown_rows_are_in_no_training_set():
    member = MEMBER.astype(float)
    member[:50] = np.nan
    drawn = draw_references(X, member, 3)
    assert (drawn["member"][0, :50] == -1).all()
    assert not (drawn["member"][1:, :50] == 1).any()
    assert not (drawn["eligible"][:, :50].any() or drawn["holdout"][:50].any())


def test_what_is_drawn_is_what_audit_reads():
    drawn = draw_references(X, MEMBER, 4)
    labels = np.arange(ROWS) % 2
    answers = np.random.default_rng(1).normal(size=(5, ROWS, 2)).astype(np.float32)
    answers[:, np.arange(ROWS), labels] += 2.0 * (drawn["member"] == 1)
    found = audit(Signals(logits=answers, labels=labels, **drawn), attacks=["loss", "rmia"], fpr_levels=[0.1]).findings
    mean = found[found["victim"] == "mean"].set_index("attack")
    assert mean.loc["rmia", "auc_low"] > 0.7
    assert mean.loc["rmia", "num_trainings"] == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"member": MEMBER[:5]}, "member: got bool .* expected 900 values"),
        ({"member": MEMBER + 1}, "member: got 2"),
        ({"num_references": 0}, "num_references: got 0, expected 1 to 256"),
        ({"member": np.ones(ROWS, bool)}, "0 distinct non-members"),
    ],
)
def test_what_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        draw_references(**{"x": X, "member": MEMBER, **changes})
