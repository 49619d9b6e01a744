import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruneaudit.core.errors import UserError
from pruneaudit.metrics import barriers, best_threshold, ppv, rate_influence, refusal


def balanced_accuracy(scores, member, threshold):
    return (np.mean(scores[member] >= threshold) + np.mean(scores[~member] < threshold)) / 2


@settings(deadline=None)
@given(st.integers(2, 25).flatmap(lambda n: st.tuples(arrays(float, n, elements=st.floats()), arrays(bool, n))))
def test_best_threshold_beats_every_other(case):
    scores, member = case
    scored = ~np.isnan(scores)
    if len(set(member[scored])) < 2:
        with pytest.raises(UserError, match="at least one of each"):
            best_threshold(scores, member)
        return
    chosen = best_threshold(scores, member)
    scores, member = scores[scored], member[scored]
    best = max(balanced_accuracy(scores, member, t) for t in [*scores, np.inf])
    assert balanced_accuracy(scores, member, chosen) == pytest.approx(best, abs=1e-12)


@pytest.mark.parametrize(
    ("scores", "member", "expected"),
    [
        ([4.0, 3, 2, 1], [True, True, False, False], 2.5),
        ([4.0, 3, 3, 1], [True, True, False, False], 3.5),  # 3.5 and 2 are equally good: fewest accusations
        ([1.0, 2, np.nan], [True, False, True], 1.0),  # guessing: accuse everybody
        ([np.inf, -np.inf], [True, False], np.inf),
        ([1e308, -1e308, -1.7e308], [True, False, False], 0.0),
        ([np.nextafter(1, 2), 1.0], [True, False], np.nextafter(1, 2)),
    ],
)
def test_best_threshold_by_hand(scores, member, expected):
    assert best_threshold(scores, member) == expected


def test_best_threshold_does_not_depend_on_the_order():
    rng = np.random.default_rng(0)
    scores, member = rng.integers(0, 9, 500).astype(float), rng.random(500) < 0.4
    thresholds = {best_threshold(scores[order], member[order]) for order in (rng.permutation(500) for _ in range(20))}
    assert len(thresholds) == 1


def test_rates_by_hand():
    decisions = np.array([[True, True, False, True, False, False]])
    member = np.array([[True, True, True, False, False, True]])
    valid = np.array([[True, True, True, True, True, False]])
    rates = rate_influence(decisions, valid, member)
    assert rates.tpr.values == pytest.approx([2 / 3])
    assert rates.fpr.values == pytest.approx([0.5])
    assert rates.advantage.values == pytest.approx([1 / 6])
    assert rates.balanced_accuracy.values == pytest.approx([7 / 12])
    # Unbiased variance of a proportion: p (1 - p) / (n - 1).
    variances = [(2 / 9) / 2, 0.25 / 1]
    assert (rates.tpr.influence**2).sum() == pytest.approx(variances[0])
    assert (rates.fpr.influence**2).sum() == pytest.approx(variances[1])
    assert (rates.advantage.influence**2).sum() == pytest.approx(sum(variances))
    assert (rates.balanced_accuracy.influence**2).sum() == pytest.approx(sum(variances) / 4)
    assert rates.tpr.influence[0, 5] == 0


def test_rates_without_members_are_nan_and_the_other_rate_stays():
    rates = rate_influence(np.array([[True, False]]), np.ones((1, 2), dtype=bool), np.zeros((1, 2), dtype=bool))
    assert np.isnan(rates.tpr.values[0])
    assert np.isnan(rates.balanced_accuracy.values[0])
    assert rates.fpr.values == pytest.approx([0.5])


def test_ppv_is_the_fraction_of_the_accused_who_are_members():
    # Of 1,000 people 10 are members: 8 of them accused, and 99 of the 990 others.
    assert ppv(0.8, 0.1, 0.01) == pytest.approx(8 / (8 + 99))
    np.testing.assert_allclose(ppv([0.5, 0.2], 0.0, [[0.1], [0.5]]), np.ones((2, 2)))
    assert np.isnan(ppv(0.0, 0.0, 0.5))
    assert ppv(0.3, 0.3, 0.1) == pytest.approx(0.1)


@pytest.mark.parametrize(("count", "level"), [(1000, 0.01), (10_000, 0.001), (100, 0.1), (77, 10 / 77)])
def test_ten_expected_false_positives_suffice(count, level):
    assert refusal(count, level) is None


def test_refusal_gives_the_numbers():
    reason = refusal(999, 0.01)
    assert reason is not None
    assert "999" in reason
    assert "1,000 non-members are needed" in reason
    assert "\n" not in reason
    assert "10,000 non-members are needed" in str(refusal(2000, 0.001))


def test_barriers_leave_no_more_non_members_above_than_the_level_allows():
    others = np.random.default_rng(0).permutation(100).astype(float)
    assert barriers(others, [0.1, 0.01, 0.0, 0.29]).tolist() == [89, 98, 99, 70]
    assert barriers([1, 2, 2, 2, 2, 2, 2, 2, 2, 3], [0.1, 0.5, 0.9]).tolist() == [2, 2, 1]
    assert np.isnan(barriers([], [0.1, 0.2])).all()
    assert barriers(others, []).shape == (0,)
