"""From attack settings to the tables of who becomes exposed."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.disjoint import disjoint
from pruneaudit.evaluation.apart import scores_apart
from pruneaudit.evaluation.attack_setting import AttackSetting, bank_settings
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
from pruneaudit.evaluation.detection_changes import fixed_level
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.evaluation.findings import Writer
from pruneaudit.evaluation.measure import accuracies, measure
from pruneaudit.metrics.detection import barriers, sample_detection
from pruneaudit.signals.signals import Signals

ATTACKS = ["loss", "lira"]


def with_gain(bank, samples, gain):
    """The bank with a higher confidence in some samples where it was trained on them."""
    logits = bank.logits.copy()
    everyone = np.arange(bank.num_samples)
    logits[:, everyone, bank.labels] += gain * (bank.member & samples)
    return Signals(logits, bank.labels, bank.member, canary=bank.canary, ids=bank.ids, model_ids=bank.model_ids)


@pytest.fixture
def bank(make_bank):
    return make_bank(12, 600, gain=1.0, num_canaries=20)


@pytest.fixture
def again(make_bank):
    return make_bank(12, 600, gain=1.0, num_canaries=20, noise_seed=1)


def audited(releases, attacks=ATTACKS, levels=(0.1,), repeats=None, **more):
    comparison_plan = ComparisonPlan((next(iter(releases)),), repeats=repeats or {})
    return evaluate(
        bank_settings(releases, ["matched"]), ready(attacks), Measuring(0, levels), Known(comparison_plan, **more)
    )


def test_the_same_release_twice_moves_nobody(bank):
    found = audited({"dense": bank, "copy": bank}, repeats={"copy": "dense"}).results
    assert set(found.detection_changes["class"]) == {"all", *map(str, range(5))}
    assert not found.detection_changes[["newly_detected", "no_longer_detected"]].to_numpy().any()
    assert (found.detection_changes["p_value"] == 1).all()
    assert not found.sample_detection["change"].any()


def test_a_planted_group_becomes_exposed_and_is_found_by_class(bank, again):
    planted = bank.labels == 2
    found = audited({"dense": bank, "pruned": with_gain(again, planted, 4.0)}).results
    table = found.detection_changes.set_index("class")
    assert (table["attack"] == "lira").all()
    assert table.loc["2", "p_value"] < 0.01
    assert table.loc["2", "newly_detected"] > 0.5 * table.loc["2", "num_samples"]
    others = table.drop(["all", "2"])
    assert (others["p_value"] > 0.05).all(), "what moves there moves both ways"
    top = found.sample_detection.sort_values("change", ascending=False).head(30)
    assert (top["class_id"] == 2).mean() > 0.9


def disjoint_scores(bank, attack="lira"):
    """The attack with each half of the bank as the references of the other."""
    attack_input = disjoint(AttackInput.of([bank], [bank]), 0)
    scores = ready([attack])[attack].score(attack_input, np.random.default_rng(0)).victims
    return np.where(bank.canaries, np.nan, scores)


def test_every_sample_of_some_victim_is_there_with_its_exposure(bank, again):
    found = audited({"dense": bank, "pruned": again})
    table = found.results.sample_detection
    expected = sample_detection(disjoint_scores(bank), disjoint_scores(again), bank.member, 0.1)
    told = expected.num_victims > 0
    assert table["sample_id"].tolist() == [str(name) for name in bank.sample_ids[told]]
    np.testing.assert_array_equal(table["class_id"], bank.labels[told])
    np.testing.assert_array_equal(table["detection_rate_before"], expected.before[told])
    np.testing.assert_array_equal(table["detection_rate_after"], expected.after[told])
    np.testing.assert_array_equal(table["num_victims"], expected.num_victims[told])
    of_all = found.results.detection_changes.set_index("class").loc["all"]
    assert of_all["num_samples"] == told.sum() <= 580
    assert of_all["newly_detected"] - of_all["no_longer_detected"] == expected.moves.sum()
    assert (of_all["disjoint_references"], of_all["suppressed"]) == (6, "")
    classes = found.results.detection_changes.iloc[1:]
    assert classes["newly_detected"].sum() == of_all["newly_detected"]


@pytest.mark.parametrize("attack", ["lira", "rmia"])
def test_where_nothing_leaks_members_are_found_as_often_as_others(make_bank, attack):
    """The networks leak, but the membership that counts is drawn again."""
    leaking, drawn = make_bank(16, 2000, gain=1.0), make_bank(16, 2000, seed=7).member
    redrawn = dataclasses.replace(leaking, member=drawn)
    scores = disjoint_scores(redrawn, attack)
    limits = barriers(scores, drawn, 0.1)[:, None]
    rates = [(scores > limits)[side & ~np.isnan(scores)].mean() for side in (drawn, ~drawn)]
    assert rates[0] == pytest.approx(rates[1], abs=0.01)
    table = audited({"dense": redrawn, "copy": redrawn}, attacks=[attack]).results.sample_detection
    found = np.average(table["detection_rate_before"], weights=table["num_victims"])
    assert found == pytest.approx(0.1, abs=0.01)


def test_a_bank_that_is_too_small_has_the_reason_and_no_rates(make_bank):
    releases = {name: make_bank(8, 400, gain=1.0, noise_seed=seed) for seed, name in enumerate(("dense", "pruned"))}
    results = audited(releases).results
    (row,) = results.detection_changes.to_dict("records")
    assert (row["release"], row["baseline"], row["class"], row["disjoint_references"]) == ("pruned", "dense", "all", 4)
    assert "12 models" in row["suppressed"]
    assert np.isnan(row["newly_detected"])
    assert np.isnan(row["fpr"])
    assert results.sample_detection.empty
    of_loss = audited(releases, attacks=["loss"]).results.detection_changes  # no references, so none are too few
    assert (of_loss["suppressed"] == "").all()
    assert of_loss["disjoint_references"].isna().all()
    assert of_loss["newly_detected"].notna().all()


def test_with_references_of_their_own_the_scores_of_findings_are_kept(make_bank):
    victims, references = make_bank(4, 400), make_bank(10, 400, first_id=50, noise_seed=3)
    setting = AttackSetting("dense", "matched", AttackInput.of([victims], [references]))
    attack = ready(["lira"])["lira"]
    measured = measure(attack, "lira", setting, (0.1,), 0)
    writer = Writer(setting, "lira", measured, accuracies(victims), np.nan, (0.1,), 0)
    found = scores_apart(attack, writer)
    np.testing.assert_array_equal(found.scores, measured.counted_scores)
    assert np.isnan(found.num_references)
    assert found.suppressed == ""


def test_an_attack_that_learns_on_victims_is_told_to_have_company(bank):
    setting = AttackSetting("dense", "matched", AttackInput.of([bank], [bank]))
    learned, lira = ready(["posterior_lr", "lira"]).values()
    measured = measure(lira, "lira", setting, (0.1,), 0)
    found = scores_apart(learned, Writer(setting, "posterior_lr", measured, accuracies(bank), np.nan, (0.1,), 0))
    assert np.isnan(found.scores).all()
    assert "posterior_lr" in found.suppressed
    assert "rmia" in found.suppressed


def test_the_noise_floor_is_that_of_the_release_or_else_of_the_baseline(bank, again, make_bank):
    third = make_bank(12, 600, gain=1.0, num_canaries=20, noise_seed=2)
    releases = {"dense": bank, "pruned": again, "pruned-again": third, "other": with_gain(third, bank.labels == 1, 1)}
    table = audited(releases, attacks=["loss"], repeats={"pruned-again": "pruned"}).results.detection_changes
    table = table[table["class"] == "all"].set_index(["release", "baseline"])
    assert set(table.index) == {
        *((name, "dense") for name in ("pruned", "pruned-again", "other")),
        ("pruned-again", "pruned"),
    }
    floor = table.loc[("pruned-again", "pruned")]
    assert np.isnan(floor["noise_newly"])
    assert floor["newly_detected"] > 0
    for name in ("pruned", "pruned-again"):
        row = table.loc[(name, "dense")]
        assert row["noise_newly"] == floor["newly_detected"]
        assert row["noise_no_longer"] == floor["no_longer_detected"]
    assert np.isnan(table.loc[("other", "dense"), "noise_newly"])

    of_baseline = audited(
        {"dense": bank, "again": again, "pruned": third}, attacks=["loss"], repeats={"again": "dense"}
    ).results.detection_changes
    row = of_baseline[(of_baseline["class"] == "all") & (of_baseline["release"] == "pruned")].iloc[0]
    floor = of_baseline[(of_baseline["class"] == "all") & (of_baseline["release"] == "again")].iloc[0]
    assert row["noise_newly"] == floor["newly_detected"]


def test_a_pair_and_its_mirror_are_one(bank, again):
    settings = bank_settings({"dense": bank, "control": again}, ["matched"])
    table = evaluate(
        settings, ready(["loss"]), Measuring(0, (0.1,)), Known(ComparisonPlan(("dense", "control")))
    ).results.detection_changes
    assert table[["release", "baseline"]].drop_duplicates().to_numpy().tolist() == [["control", "dense"]]


@pytest.mark.parametrize(
    ("levels", "num_nonmembers", "expected"),
    [
        ((0.1, 0.01, 0.001), 50_000, 0.01),
        ((0.1, 0.01, 0.001), 999, 0.1),
        ((0.1, 0.001), 50_000, 0.001),
        ((0.3, 0.2), 60, 0.2),
        ((0.1, 0.01), 90, None),
    ],
)
def test_the_level_is_chosen_by_counts_alone(levels, num_nonmembers, expected):
    assert fixed_level(levels, num_nonmembers) == expected


def test_without_a_level_or_a_baseline_there_is_nothing(bank, again):
    releases = {"dense": bank, "pruned": again}
    for found in (audited(releases, levels=(0.001,)), audited({"dense": bank})):
        assert found.results.detection_changes.empty
        assert found.results.sample_detection.empty


def test_the_tables_read_back_as_they_were(bank, again, tmp_path):
    found = audited({"dense": bank, "pruned": again}, attacks=["loss"])
    found.save(tmp_path)
    loaded = type(found.results).load(tmp_path)
    for name in ("detection_changes", "sample_detection"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(found.results, name), check_exact=True)


@pytest.mark.slow
def test_under_an_attack_with_shared_references_the_size_is_at_most_nominal(make_bank):
    """Two releases that differ in noise alone: at a nominal 5% 'all' is rejected in about 2% of the banks."""
    rejected, in_classes, trials = 0, 0, 200
    for trial in range(trials):
        releases = {name: make_bank(12, 300, seed=trial, noise_seed=seed) for seed, name in enumerate(("dense", "b"))}
        p_values = audited(releases, attacks=["lira"]).results.detection_changes["p_value"]
        rejected += p_values.iloc[0] < 0.05
        in_classes += (p_values.iloc[1:] < 0.05).sum()
    print(rejected / trials, in_classes / trials / 5)
    assert rejected <= 21  # one-sided binomial 0.1%
    assert in_classes <= 0.06 * trials * 5
