"""The envelope by hand, and a bootstrap written out sample by sample with the same weights."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pruneaudit.attacks.primary import attack_by_rule
from pruneaudit.evaluation.attack_setting import bank_settings
from pruneaudit.evaluation.audit import audit
from pruneaudit.evaluation.candidates import at_equal_accuracy
from pruneaudit.evaluation.columns import EQUAL_SIZE_COLUMNS, FRONTIER_COLUMNS
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
from pruneaudit.evaluation.envelope import (
    OF_BASELINE,
    against_envelope,
    dominated,
    joint_replicates,
    lower_envelope,
    weighed,
)
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.metrics import auc_influence, rate_influence, two_way_replicates
from pruneaudit.metrics.standard import tpr_column
from pruneaudit.report.selection import primary_attack
from pruneaudit.signals.signals import Signals

# R releases, V victims, N samples, B replicates

ACCURACY = np.array([0.80, 0.70, 0.75, 0.60])
LEAKAGE = np.array([0.70, 0.55, 0.66, 0.58])


@pytest.mark.parametrize(
    ("at", "value", "place"),
    [
        (0.50, 0.55, 1),  # the least of all, though others are nearer
        (0.65, 0.55, 1),
        (0.70, 0.55, 1),  # a point itself counts
        (0.71, 0.66, 2),  # no straight line between the points
        (0.75, 0.66, 2),
        (0.76, 0.70, 0),
        (0.80, 0.70, 0),
        (0.81, np.inf, -1),  # nothing beyond the most accurate
    ],
)
def test_the_envelope_is_the_least_of_those_at_least_as_accurate(at, value, place):
    assert [float(found) for found in lower_envelope(ACCURACY, LEAKAGE, np.array(at))] == [value, place]


def test_equal_leakages_give_the_first_and_a_missing_one_counts_for_nothing():
    leakage = np.array([0.6, np.nan, 0.6])
    value, place = lower_envelope(np.array([0.8, 0.9, 0.9]), leakage, np.array([0.7, 0.85, 0.95]))
    assert value.tolist() == [0.6, 0.6, np.inf]
    assert place.tolist() == [0, 2, -1]
    assert lower_envelope(np.empty((2, 0)), np.empty((2, 0)), np.zeros(2))[0].tolist() == [np.inf, np.inf]


def test_a_point_is_dominated_where_another_is_no_worse_and_once_better():
    accuracy = np.array([0.8, 0.8, 0.7, 0.7, 0.8, 0.9])
    leakage = np.array([0.6, 0.65, 0.6, 0.5, 0.6, np.nan])
    #         ties with 4; leaks more; less accurate; fine; ties with 0; has no leakage
    assert dominated(accuracy, leakage).tolist() == [False, True, True, False, False, False]


@given(
    st.integers(1, 6).flatmap(
        lambda num: st.tuples(*(arrays(float, num, elements=st.integers(0, 4).map(float)) for _ in range(2)))
    )
)
def test_dominated_is_what_its_words_say(points):
    accuracy, leakage = points
    pairs = list(zip(accuracy, leakage, strict=True))
    expected = [any(a >= b and c <= d and (a, c) != (b, d) for a, c in pairs) for b, d in pairs]
    assert dominated(accuracy, leakage).tolist() == expected
    # What no baseline dominates is the envelope itself, at its own accuracy.
    envelope, _ = lower_envelope(accuracy, leakage, accuracy)
    assert (envelope[~np.array(expected)] == leakage[~np.array(expected)]).all()
    assert (envelope <= leakage).all()


def test_weighed_accuracy_is_exact_and_weighed_auc_nearly():
    rng = np.random.default_rng(0)
    num_victims, num_samples, num_replicates = 3, 500, 60
    member = rng.random((num_victims, num_samples)) < 0.5
    valid = rng.random(member.shape) < 0.9
    correct = rng.random(member.shape) < 0.7
    scores = np.where(valid, rng.normal(size=member.shape) + member, np.nan)
    weights = rng.standard_exponential((num_replicates, num_samples))
    accuracy = weighed(rate_influence(correct, valid, member).fpr, [valid & ~member], weights)
    area = weighed(auc_influence(scores, member), [valid & member, valid & ~member], weights)
    exact = np.empty(area.shape)
    for victim in range(num_victims):
        inside, outside = (np.flatnonzero(valid[victim] & side) for side in (member[victim], ~member[victim]))
        higher = scores[victim, inside][:, None] > scores[victim, outside]
        for replicate, drawn in enumerate(weights):
            pairs = np.outer(drawn[inside], drawn[outside])
            exact[replicate, victim] = (pairs * higher).sum() / pairs.sum()
            tested = drawn[outside]
            expected = (tested * correct[victim, outside]).sum() / tested.sum()
            assert accuracy[replicate, victim] == pytest.approx(expected, abs=1e-12)
    error = area - exact
    assert np.sqrt((error**2).mean()) < 0.1 * exact.std(axis=0).min()


def test_a_victim_without_a_non_member_has_no_replicates():
    member = np.array([[True, True, False, False], [True, True, True, True]])
    found = weighed(rate_influence(member, member | True, member).fpr, [~member], np.ones((2, 4)))
    assert np.isnan(found).tolist() == [[False, True]] * 2


@pytest.fixture
def made_up():
    """Accuracies and leakages of the victims of five releases, and replicates: the last release is no baseline."""
    rng = np.random.default_rng(1)
    truth = np.array([0.80, 0.75, 0.70, 0.60, 0.69, 0.70, 0.62, 0.62, 0.58, 0.60])
    values = truth + rng.normal(scale=0.02, size=(12, 10))
    replicates = values + rng.normal(scale=0.01, size=(200, 1, 10)) + rng.normal(scale=0.02, size=(200, 12, 10))
    return values, replicates


def test_joint_replicates_vary_as_two_way_intervals_say(made_up):
    values, replicates = made_up
    joint = joint_replicates(values, replicates, 40_000, np.random.default_rng(0))
    for figure in range(values.shape[1]):
        expected = two_way_replicates(values[:, figure], replicates[..., figure]).std_error
        # Student's t has heavier tails than the normal, which widens what models add by (V - 1) / (V - 3).
        assert expected * 0.93 < joint[:, figure].std() < expected * np.sqrt(11 / 9) * 1.07
    np.testing.assert_allclose(joint.mean(axis=0), values.mean(axis=0), atol=2e-3)


def test_one_victim_varies_by_its_samples_alone(made_up):
    values, replicates = made_up[0][:1], made_up[1][:, :1]
    joint = joint_replicates(values, replicates, 200, np.random.default_rng(0))
    np.testing.assert_allclose(joint - values, (replicates - replicates.mean(axis=0))[:, 0])


def test_differences_are_those_of_a_bootstrap_written_out(made_up):
    values, replicates = made_up
    joint = joint_replicates(values, replicates, 1000, np.random.default_rng(0))
    baseline = np.array([True, True, True, True, False])
    found = against_envelope(values.mean(axis=0), joint, at_equal_accuracy(baseline))[4]

    def difference(row, among):
        return row[9] - min((row[5 + place] for place in among), default=np.inf)

    def eligible(row):
        return [place for place in range(4) if row[place] >= row[4]]

    point = values.mean(axis=0)
    value = difference(point, eligible(point))
    assert found.value == pytest.approx(value)
    assert point[5 + found.envelope] == min(point[5 + place] for place in eligible(point))
    drawn = sorted(difference(row, eligible(row)) for row in joint)
    shift = np.mean([difference(row, eligible(point)) for row in joint]) - value
    assert shift > 0
    # The lower end holds at once for all that may be the least: the least itself, and what is within two deviations.
    among = eligible(point)
    near = [
        place
        for place in among
        if point[5 + place] - point[5 + found.envelope]
        <= 2 * np.std([row[5 + place] - row[5 + found.envelope] for row in joint])
    ]
    errors = sorted(max(row[9] - row[5 + j] - (point[9] - point[5 + j]) for j in near) for row in joint)
    assert len(near) > 1
    assert found.low == pytest.approx(
        min(drawn[int(0.025 * 999)] - 2 * shift, value - errors[int(np.ceil(0.975 * 999))])
    )
    assert found.high == pytest.approx(max(drawn[int(np.ceil(0.975 * 999))] - 2 * shift, value))
    assert found.suppressed == ""


def test_what_is_refused_says_why():
    values = np.array([0.80, 0.85, 0.79, 0.70, 0.60, 0.65])  # three accuracies, three leakages
    joint = values + np.random.default_rng(0).normal(scale=0.01, size=(1000, 6))
    baseline = np.array([True, False, False])
    own, above, below = against_envelope(values, joint, at_equal_accuracy(baseline))
    assert own == (0, own.low, own.high, 0, OF_BASELINE)
    assert np.isnan([own.low, own.high]).all()
    assert np.isnan([above.value, above.low, above.high]).all()
    assert above.envelope == -1
    assert "85.000% is above that of every undefended dense release (at most 80.000%)" in above.suppressed
    # Its accuracy is below the baseline's by less than can be told: how much more it leaks is bounded above only.
    assert below.value == pytest.approx(-0.05)
    assert np.isnan(below.low)
    assert below.value < below.high < 0
    assert below.suppressed.startswith("lower end: in ")
    nobody = against_envelope(values, joint, at_equal_accuracy(np.zeros(3, bool)))
    assert {found.suppressed for found in nobody} == {"no undefended dense release has a figure here"}


@pytest.fixture
def bank(make_bank):
    def build(accuracy, gain, noise_seed):
        """A release whose networks are right on about that fraction of non-members."""
        signals = make_bank(12, 260, gain=gain, num_holdout=10, noise_seed=noise_seed)
        wrong = np.random.default_rng([5, noise_seed]).random(signals.member.shape) > accuracy
        logits = np.array(signals.logits, dtype=np.float64)
        away = np.where(wrong, 12.0, 0.0)
        logits[:, np.arange(260), (signals.labels + 1) % 5] += away
        logits[:, np.arange(260), signals.labels] += 12 - away
        return Signals(logits, signals.labels, signals.member, signals.eligible, model_ids=signals.model_ids)

    return build


def frontier_of(releases, undefended, attacks=("loss",), levels=(0.1, 0.01), references=("matched",)):
    settings = bank_settings(releases, references)
    found = evaluate(
        settings, ready(list(attacks)), Measuring(0, levels), Known(ComparisonPlan(undefended=tuple(undefended)))
    )
    table = found.results.frontier
    standard = ["auc", *(tpr_column(level) for level in levels)]
    return found.results, table[table["metric"].isin(standard)].reset_index(drop=True)


def test_the_table_holds_every_release_and_agrees_with_the_other_tables(bank):
    releases = {"dense": bank(0.9, 3, 0), "early": bank(0.7, 1, 1), "pruned": bank(0.6, 2, 2), "best": bank(1.0, 3, 3)}
    results, table = frontier_of(releases, ["dense", "early"], levels=(0.1, 0.01, 0.001))
    assert tuple(table.columns) == (*FRONTIER_COLUMNS, *EQUAL_SIZE_COLUMNS)
    assert table["metric"].drop_duplicates().tolist() == ["auc", "tpr_at_1%_fpr", "tpr_at_0.1%_fpr"]
    area = table[table["metric"] == "auc"].set_index("release")
    assert area.index.tolist() == list(releases)
    assert area["is_baseline"].tolist() == [1, 1, 0, 0]
    means = results.findings[results.findings["victim"] == "mean"].set_index("release")
    made = results.releases.set_index("release")
    for end in ("", "_low", "_high"):
        assert area[f"leakage{end}"].tolist() == means[f"auc{end}"].tolist()
        assert area[f"test_accuracy{end}"].tolist() == made[f"test_accuracy{end}"].tolist()
    assert area["envelope_release"].tolist() == ["dense", "early", "early", ""]
    expected = means["auc"]["pruned"] - means["auc"]["early"]
    assert area["difference"]["pruned"] == pytest.approx(expected, abs=1e-12)
    assert 0 < area["difference_low"]["pruned"] < expected < area["difference_high"]["pruned"]
    assert area["dominated"]["pruned"] == 1
    assert "nothing is extrapolated" in area["suppressed"]["best"]
    low = table[table["metric"] == "tpr_at_1%_fpr"]
    assert low["leakage"].isna().all()
    assert low["suppressed"].str.startswith("TPR at 1% FPR: ").all()
    assert not low["suppressed"].str.contains("0.1% FPR").any()


def test_a_copy_of_a_baseline_differs_by_nothing(bank):
    dense = bank(0.8, 2, 0)
    _, table = frontier_of({"dense": dense, "early": bank(0.7, 1, 1), "copy": dense}, ["dense", "early"], levels=(0.1,))
    row = table[table["release"] == "copy"].iloc[0]
    assert row[["difference", "difference_low", "difference_high"]].astype(float).tolist() == pytest.approx([0, 0, 0])
    assert row["suppressed"] == ""
    assert row["dominated"] == 0


def test_only_matched_knowledge_and_the_primary_attack_are_points(bank):
    releases = {"dense": bank(0.9, 2, 0), "pruned": bank(0.7, 1, 1)}
    _, table = frontier_of(releases, ["dense"], ["loss", "lira:mode=offline", "rmia"], (0.1,), ("dense", "matched"))
    assert set(table["attack"]) == {"rmia"}
    assert set(table["references"]) == {"matched"}
    assert table["release"].tolist() == ["dense", "pruned"]


def test_without_a_baseline_there_is_no_table(bank, make_bank):
    assert audit(make_bank(4, 100), attacks=["loss"], fpr_levels=(0.1,)).results.frontier.empty
    assert frontier_of({"dense": bank(0.9, 2, 0)}, [])[1].empty
    _, missing = frontier_of({"pruned": bank(0.9, 2, 0)}, ["dense"], levels=(0.1,))
    assert missing["suppressed"].tolist() == ["no undefended dense release has a figure here"]


def test_victims_with_a_single_member_leave_nothing_to_compare(bank):
    releases = {"dense": bank(0.9, 2, 0), "pruned": bank(0.7, 1, 1)}
    for name, signals in releases.items():
        inside = signals.member & signals.eligible
        few = signals.eligible & (~inside | (np.cumsum(inside, axis=1) == 1))  # a single member
        releases[name] = Signals(signals.logits, signals.labels, signals.member, few, model_ids=signals.model_ids)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, table = frontier_of(releases, ["dense"], levels=(0.1,))
    assert table["suppressed"].str.startswith("no victim has ").all()
    assert table["leakage"].notna().all()


@pytest.mark.parametrize("num_references", [0, 8, 64])
@pytest.mark.parametrize(
    "labels",
    [
        [],
        ["loss"],
        ["loss", "rmia"],
        ["rmia", "lira:mode=offline"],
        ["lira:mode=offline", "lira"],
        ["entropy", "samia"],
        ["confidence", "rmia:mode=offline", "rmia"],
    ],
)
def test_the_primary_attack_is_the_one_that_the_report_answers_with(labels, num_references, make_results):
    chosen = attack_by_rule(labels, num_references)
    recorded = {"primary": {"attack": chosen, "num_references": num_references}}
    about = {"study": {"audit": {"attacks": labels}}} | recorded
    results = make_results(lambda parts: parts.update(about=about, findings=parts["findings"].iloc[:0]))
    assert primary_attack(results) == chosen
