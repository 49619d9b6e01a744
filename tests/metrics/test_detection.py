"""Detection rate of samples in two releases, counted by hand and by loops, and the size of the paired test."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import binomtest

from pruneaudit.metrics import tpr_at_fpr
from pruneaudit.metrics.detection import barriers, net_change, sample_detection


def everybody(num_samples):
    return np.ones((num_samples, 1), dtype=bool)


def test_a_case_counted_by_hand():
    # Samples 0 to 3 are members of the first two victims, 4 to 7 are not; at 25% one of four non-members may exceed.
    member = np.zeros((3, 8), dtype=bool)
    member[:2, :4] = True
    member[2, [0, 4]] = True
    before = np.array(
        [
            [9.0, 2, 9, 1, 5, 4, 3, 2],  # barrier 4: finds 0 and 2
            [9, 3, 1, 1, 6, 2, 2, 1],  # barrier 2: finds 0 and 1
            [1, 0, 0, 0, 9, 0, 0, 0],  # all of six non-members tie at 0: finds 0 and 4
        ]
    )
    after = np.array(
        [
            [9.0, 5, 1, 1, 5, 4, 3, 2],  # finds 0 and 1
            [2, 3, 1, 9, 6, 2, 2, 1],  # finds 1 and 3; 0 only reaches the barrier
            [0, 0, 0, 0, 0, 0, 0, 0],  # finds nobody
        ]
    )
    found = sample_detection(before, after, member, 0.25)
    np.testing.assert_allclose(found.before[:5], [1, 1 / 2, 1 / 2, 0, 1])
    np.testing.assert_allclose(found.after[:5], [1 / 3, 1, 0, 1 / 2, 0])
    assert np.isnan(found.before[5:]).all()
    assert found.num_victims.tolist() == [3, 2, 2, 2, 1, 0, 0, 0]
    assert found.moves.tolist() == [-1, 0, -1, 1, -1, 0, 0, 0]
    groups = np.column_stack([np.ones(8, dtype=bool), np.arange(8) < 4, np.arange(8) >= 5])
    counted = net_change(before, after, member, 0.25, groups, np.random.default_rng(0))
    assert counted.newly_detected.tolist() == [1, 1, 0]
    assert counted.no_longer_detected.tolist() == [3, 2, 0]
    assert counted.num_detected_before.tolist() == [4, 3, 0]
    assert counted.num_samples.tolist() == [5, 4, 0]
    assert (counted.p_value > 0.05).all()
    assert counted.p_value[2] == 1


SCORES = arrays.arrays(float, (2, 4, 30), elements=st.sampled_from([0.0, 1.0, 2.0, 3.0, np.nan]))
MEMBERS = arrays.arrays(bool, (4, 30))


@settings(max_examples=60)
@given(scores=SCORES, member=MEMBERS, level=st.sampled_from([0.0, 0.1, 0.4]))
def test_exposure_is_what_loops_count(scores, member, level):
    found = sample_detection(scores[0], scores[1], member, level)
    scored = ~np.isnan(scores).any(axis=0)
    for sample in range(30):
        victims = [v for v in range(4) if member[v, sample] and scored[v, sample]]
        assert found.num_victims[sample] == len(victims)
        for release, share in enumerate((found.before, found.after)):
            hits = 0
            for v in victims:
                others = scores[release, v, ~member[v] & scored[v]]
                # Found where accusing all that score as high or higher keeps to the level.
                hits += bool(len(others)) and (others >= scores[release, v, sample]).mean() <= level
            assert share[sample] == hits / len(victims) if victims else np.isnan(share[sample])


def test_the_share_of_found_members_is_the_tpr(rng):
    scores, member = rng.normal(size=(5, 400)), rng.random((5, 400)) < 0.5
    found = (scores > barriers(scores, member, 0.1)[:, None]) & member
    np.testing.assert_allclose(found.sum(axis=1) / member.sum(axis=1), tpr_at_fpr(scores, member, [0.1])[:, 0])


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def drawn(rng, kind, num_victims, num_samples):
    """Two releases between which nothing changes but chance, of some kind."""
    member = rng.random((num_victims, num_samples)) < 0.5
    gain = rng.gamma(1.5, 1.0, num_samples)
    dense = rng.normal(size=num_samples) + gain * member + 0.7 * rng.normal(size=member.shape)
    releases = []
    for _ in range(2):
        scores = dense + 0.7 * rng.normal(size=member.shape)
        if kind == "models":  # some fine-tuned models remember more than others
            scores += 0.4 * member * gain * rng.normal(size=(num_victims, 1))
        if kind == "references":  # what all victims' references say of a sample
            scores += 0.7 * rng.normal(size=num_samples)
        releases.append(scores)
    if kind == "samples":  # each release exposes others, and as many
        favoured = rng.random(num_samples) < 0.5
        releases = [scores + 0.8 * member * (favoured ^ side) for side, scores in enumerate(releases)]
    return (*releases, member)


def test_the_same_scores_twice_move_nobody(rng):
    scores, _, member = drawn(rng, "plain", 6, 300)
    counted = net_change(scores, scores, member, 0.1, everybody(300), rng)
    assert counted.newly_detected == counted.no_longer_detected == 0
    assert counted.p_value == 1


def test_turned_round_the_counts_trade_places(rng):
    before, after, member = drawn(rng, "models", 8, 400)
    there = net_change(before, after, member, 0.1, everybody(400), np.random.default_rng(0))
    back = net_change(after, before, member, 0.1, everybody(400), np.random.default_rng(0))
    assert there.newly_detected == back.no_longer_detected > 0
    assert there.p_value == pytest.approx(back.p_value)


def test_what_every_victim_gives_away_is_found(rng):
    before, after, member = drawn(rng, "plain", 16, 800)
    half = np.arange(800) < 400
    counted = net_change(before, after + 1.5 * member * half, member, 0.05, np.stack([half, ~half], axis=1), rng)
    assert counted.newly_detected[0] > 3 * counted.no_longer_detected[0]
    assert counted.p_value[0] < 0.001 < 0.05 < counted.p_value[1]


def test_three_victims_prove_nothing_that_could_be_their_own(rng):
    before, after, member = drawn(rng, "plain", 3, 800)
    after = after + 3 * member
    assert net_change(before, after, member, 0.05, everybody(800), rng).p_value > 0.05


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "models", "references", "samples"])
@pytest.mark.parametrize("num_victims", [6, 16])
def test_the_size_of_the_test_is_at_most_nominal(kind, num_victims, rng):
    """At a nominal 5% it rejects 0.5% to 6.5%, in single classes 0.4% to 3%; McNemar's test 8% to 71%."""
    trials, num_samples = 200, 800
    groups = np.column_stack([everybody(num_samples), np.arange(num_samples)[:, None] % 10 == np.arange(10)])
    rejected, in_classes, mcnemar = 0, 0, 0
    for _ in range(trials):
        counted = net_change(*drawn(rng, kind, num_victims, num_samples), 0.03, groups, rng)
        rejected += counted.p_value[0] < 0.05
        in_classes += (counted.p_value[1:] < 0.05).sum()
        newly, no_longer = int(counted.newly_detected[0]), int(counted.no_longer_detected[0])
        mcnemar += binomtest(newly, newly + no_longer).pvalue < 0.05
    print(kind, num_victims, rejected / trials, in_classes / trials / 10, mcnemar / trials)
    assert rejected <= 21  # one-sided binomial 0.1%
    assert in_classes <= 0.06 * trials * 10
    if kind == "models":
        assert mcnemar > 0.3 * trials, "a test that knows of no victims is misled"
