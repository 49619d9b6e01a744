import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruneaudit.core.errors import UserError
from pruneaudit.metrics import auc, auc_influence, mean_roc, tpr_at_fpr


@st.composite
def scored_rows(draw, min_each=1, missing=True):
    """Scores (V, N) with many ties and gaps, and membership with `min_each` scored members and non-members."""
    shape = draw(st.integers(1, 3)), draw(st.integers(2 * min_each, 14))
    steps = st.integers(-4, 4).map(float)
    scores = draw(arrays(float, shape, elements=steps | st.just(np.nan) if missing else steps))
    member = draw(arrays(bool, shape))
    scores[:, : 2 * min_each] = draw(arrays(float, (shape[0], 2 * min_each), elements=steps))
    member[:, : 2 * min_each] = [True, False] * min_each
    return scores, member


def naive_components(row, inside):
    """AUC, DeLong variance and its components for one victim, by a double loop over pairs."""
    scored = ~np.isnan(row)
    members, others = row[scored & inside], row[scored & ~inside]
    wins = np.array([[1.0 if a > b else 0.5 if a == b else 0.0 for b in others] for a in members])
    by_member, by_other = wins.mean(axis=1), wins.mean(axis=0)
    variance = np.nan
    if min(wins.shape) > 1:
        variance = by_member.var(ddof=1) / len(members) + by_other.var(ddof=1) / len(others)
    return wins.mean(), variance


@settings(deadline=None)
@given(scored_rows())
def test_auc_equals_the_fraction_of_ordered_pairs(case):
    scores, member = case
    expected = [naive_components(row, inside)[0] for row, inside in zip(scores, member, strict=True)]
    np.testing.assert_allclose(auc(scores, member), expected, atol=1e-12)
    np.testing.assert_allclose(auc_influence(scores, member).values, expected, atol=1e-12)


@settings(deadline=None)
@given(scored_rows(min_each=2))
def test_squared_influence_sums_to_delong_variance(case):
    scores, member = case
    expected = [naive_components(row, inside)[1] for row, inside in zip(scores, member, strict=True)]
    influence = auc_influence(scores, member).influence
    np.testing.assert_allclose((influence**2).sum(axis=1), expected, atol=1e-12)
    np.testing.assert_allclose(influence.sum(axis=1), 0, atol=1e-12)
    assert (influence[np.isnan(scores)] == 0).all()


def test_auc_and_delong_by_hand():
    scores = np.array([[3.0, 2.0, 2.0, 1.0]])
    member = np.array([[True, True, False, False]])
    # Pairs: 3>2, 3>1, 2=2 (half), 2>1: AUC 3.5/4. Components: members 1, 3/4; non-members 3/4, 1.
    area, influence = auc_influence(scores, member)
    assert area == pytest.approx([0.875])
    assert (influence**2).sum() == pytest.approx(0.03125 / 2 + 0.03125 / 2)
    np.testing.assert_allclose(influence * np.sqrt(2), [[0.125, -0.125, -0.125, 0.125]])


def test_influence_products_are_the_covariance_of_two_attacks():
    rng = np.random.default_rng(0)
    member = np.arange(60) < 30
    scores = rng.multivariate_normal([0, 0], [[1, 0.8], [0.8, 1]], size=60).T + member
    wins = (scores[:, member, None] > scores[:, None, ~member]).astype(float)  # (2, 30, 30)
    covariance = np.cov(wins.mean(axis=2))[0, 1] / 30 + np.cov(wins.mean(axis=1))[0, 1] / 30
    influence = auc_influence(scores, np.stack([member, member])).influence
    assert influence[0] @ influence[1] == pytest.approx(covariance)


@settings(deadline=None)
@given(scored_rows(), st.sampled_from([np.exp, np.arctan, lambda s: 3 * s - 7, lambda s: s**3]))
def test_strictly_monotone_transforms_change_nothing(case, transform):
    scores, member = case
    for metric in (auc, lambda s, m: tpr_at_fpr(s, m, [0.1, 0.5]), lambda s, m: auc_influence(s, m).influence):
        np.testing.assert_array_equal(metric(transform(scores), member), metric(scores, member))


@settings(deadline=None)
@given(scored_rows())
def test_negated_scores_mirror_the_auc(case):
    scores, member = case
    np.testing.assert_allclose(auc(-scores, member), 1 - auc(scores, member), atol=1e-12)
    np.testing.assert_allclose(auc(scores, ~member), 1 - auc(scores, member), atol=1e-12)


@settings(deadline=None)
@given(scored_rows(), st.data())
def test_unscored_columns_and_order_do_not_matter(case, data):
    scores, member = case
    wider = np.column_stack([scores, np.full(len(scores), np.nan)])
    wider_member = np.column_stack([member, np.ones(len(scores), dtype=bool)])
    order = data.draw(st.permutations(range(wider.shape[1])))
    for metric in (auc, lambda s, m: tpr_at_fpr(s, m, [0, 0.3])):
        np.testing.assert_allclose(metric(wider[:, order], wider_member[:, order]), metric(scores, member), atol=1e-12)


def test_infinite_scores_rank_as_any_other():
    scores = np.array([[np.inf, 0.0, -np.inf, -np.inf]])
    member = np.array([[True, False, True, False]])
    assert auc(scores, member) == pytest.approx([(2 + 0.5) / 4])


def best_by_trying_all(row, inside, level):
    scored = ~np.isnan(row)
    members, others = row[scored & inside], row[scored & ~inside]
    thresholds = [*np.unique(row[scored]), np.inf]
    return max(np.mean(members >= t) for t in thresholds if np.mean(others >= t) <= level)


@settings(deadline=None)
@given(scored_rows(), st.sampled_from([0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1.0]))
def test_tpr_is_the_best_of_all_thresholds_within_the_level(case, level):
    scores, member = case
    expected = [best_by_trying_all(row, inside, level) for row, inside in zip(scores, member, strict=True)]
    np.testing.assert_allclose(tpr_at_fpr(scores, member, [level])[:, 0], expected, atol=1e-12)


@settings(deadline=None)
@given(scored_rows())
def test_tpr_never_falls_as_the_level_rises(case):
    curve = tpr_at_fpr(*case, np.linspace(0, 1, 21))
    assert (np.diff(curve, axis=1) >= 0).all()
    assert (curve[:, -1] == 1).all()


def test_ties_at_the_threshold_go_together():
    scores = np.array([[5.0, 4, 4, 4, 3, 2, 1]])
    member = np.array([[True, True, False, False, True, False, False]])
    # One false positive in four allows 4 only with both non-members that share it: not at 25%, at 50%.
    np.testing.assert_allclose(tpr_at_fpr(scores, member, [0, 0.25, 0.5, 1]), [[1 / 3, 1 / 3, 1, 1]])


@pytest.mark.parametrize("percent", [7, 14, 28, 29, 55, 56, 57, 58])
def test_a_level_that_is_met_exactly_counts_in_spite_of_rounding(percent):
    # Members interleave with 100 non-members: n false positives come with n + 1 members (0.29 * 100 < 29 in floats).
    scores = np.array([np.arange(200.0)])
    member = np.array([np.arange(200) % 2 == 1])
    assert tpr_at_fpr(scores, member, [percent / 100])[0, 0] == pytest.approx((percent + 1) / 100)


def test_mean_roc_averages_the_step_curves():
    member = np.array([[True, False, True, False]] * 3)
    scores = np.array([[4.0, 3, 2, 1], [4, 1, 3, 2], [np.nan, 1, np.nan, 2]])
    np.testing.assert_allclose(mean_roc(scores, member, [0, 0.4, 0.5, 1]), [0.75, 0.75, 1, 1])
    assert np.isnan(mean_roc(scores[2:], member[2:], [0, 1])).all()


def test_what_cannot_be_known_is_nan():
    scores = np.array([[1.0, 2, np.nan], [1, 2, 0]])
    member = np.array([[False, False, True], [True, False, False]])
    area, influence = auc_influence(scores, member)
    assert np.isnan(area[0])
    assert (influence[0] == 0).all()
    assert area[1] == 0.5
    assert np.isnan(influence[1, 0]), "the spread of a single member is unknown"
    np.testing.assert_array_equal(np.isnan(auc(scores, member)), [True, False])
    np.testing.assert_array_equal(np.isnan(tpr_at_fpr(scores, member, [0.5])[:, 0]), [True, False])


@pytest.mark.parametrize(
    ("scores", "member", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4), dtype=bool), r"\(2, 3\).*\(2, 4\)"),
        (np.zeros(3), np.zeros(3, dtype=bool), "one row per victim"),
        (np.zeros((1, 2)), np.array([[0, 1]]), r"astype\(bool\)"),
    ],
)
def test_wrong_arrays_are_explained(scores, member, message):
    with pytest.raises(UserError, match=message):
        auc(scores, member)
