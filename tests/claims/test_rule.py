"""The rule that turns an interval into a verdict, on cases by hand, and its borders."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.claims.catalogue import CLAIMS, INTERVALS, num_intervals
from pruneaudit.claims.rule import level_of, overall, verdict

OPEN = math.nan


@pytest.mark.parametrize(
    ("kind", "low", "high", "expected"),
    [
        ("increase", 0.011, 0.02, "holds"),
        ("increase", 0.01, 0.02, "not shown"),  # it touches the limit
        ("increase", -0.03, 0.0099, "does not hold"),
        ("increase", -0.03, 0.01, "not shown"),
        ("increase", OPEN, 0.005, "does not hold"),
        ("increase", OPEN, 0.05, "not shown"),
        ("increase", 0.02, OPEN, "holds"),
        ("increase", OPEN, OPEN, "not shown"),
        ("decrease", -0.02, -0.011, "holds"),
        ("decrease", -0.02, -0.01, "not shown"),
        ("decrease", -0.009, 0.3, "does not hold"),
        ("decrease", -0.01, 0.3, "not shown"),
        ("decrease", OPEN, -0.02, "holds"),
        ("no change", -0.009, 0.009, "holds"),
        ("no change", -0.01, 0.009, "not shown"),
        ("no change", 0.011, 0.02, "does not hold"),
        ("no change", -0.02, -0.011, "does not hold"),
        ("no change", 0.005, 0.02, "not shown"),
        ("no change", OPEN, 0.005, "not shown"),
        ("half", 0.001, 0.02, "holds"),
        ("half", 0.0, 0.02, "not shown"),
        ("half", -0.02, -0.001, "does not hold"),
        ("half", -0.02, 0.0, "not shown"),
    ],
)
def test_verdicts_by_hand(kind, low, high, expected):
    assert verdict(kind, low, high) == expected


@given(st.floats(-0.1, 0.1), st.floats(0, 0.1))
def test_opposite_claims_never_both_hold(low, width):
    high = low + width
    found = {kind: verdict(kind, low, high) for kind in ("increase", "decrease", "no change")}
    assert list(found.values()).count("holds") <= 1
    assert found["decrease"] == verdict("increase", -high, -low)
    if found["increase"] == "holds":
        assert found["decrease"] == found["no change"] == "does not hold"


@given(st.sampled_from(["increase", "decrease", "no change", "half"]), st.floats(-0.1, 0.1), st.floats(0, 0.1))
def test_a_wider_interval_never_changes_a_verdict_into_the_opposite(kind, low, width):
    narrow, wide = verdict(kind, low, low + width), verdict(kind, low - 0.01, low + width + 0.01)
    assert wide in (narrow, "not shown")


def test_overall_only_where_data_sets_agree():
    assert overall(["holds", "holds"]) == "holds"
    assert overall(["holds", "not shown"]) == "depends on the data"
    assert overall(["holds", "does not hold"]) == "depends on the data"
    assert overall(["holds", "not tested"]) == "holds"
    assert overall(["not tested", "not tested"]) == "not tested"


def test_the_level_is_bonferronis():
    assert level_of(1) == 0.95
    assert np.isclose(1 - level_of(24), 0.05 / 24)
    assert num_intervals(2) == 24
    assert {claim.question for claim in CLAIMS} == set(INTERVALS)
