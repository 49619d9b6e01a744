"""Rows of findings: each number against its recomputation, each missing number with its reason."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from pruneaudit.evaluation import audit, bank_settings
from pruneaudit.evaluation.columns import FINDING_COLUMNS
from pruneaudit.evaluation.comparison_plan import ComparisonPlan, ready
from pruneaudit.evaluation.crossfit import learn
from pruneaudit.evaluation.evaluating import Known, Measuring, evaluate
from pruneaudit.evaluation.findings import Writer
from pruneaudit.evaluation.measure import accuracies, measure
from pruneaudit.metrics import auc_influence, difference_two_way, two_way
from pruneaudit.metrics.standard import tpr_column

# V victims, N samples

ATTACKS = ("loss", "lira")
LEVELS = (0.1, 0.01)


def rows_of(findings, **values):
    for column, value in values.items():
        findings = findings[findings[column] == value]
    return findings


def row_of(findings, **values):
    found = rows_of(findings, **values)
    assert len(found) == 1
    return found.iloc[0]


@pytest.fixture
def bank(make_bank):
    return make_bank(6, 500, num_holdout=50, num_canaries=10, first_id=20)


@pytest.fixture
def findings(bank):
    return audit(bank, attacks=ATTACKS, fpr_levels=LEVELS).findings


def test_one_row_for_the_mean_one_for_the_pool_and_one_for_each_victim(findings):
    assert list(findings.columns[:5]) == list(FINDING_COLUMNS[:5])
    for attack in ATTACKS:
        victims = rows_of(findings, attack=attack)["victim"].tolist()
        assert victims == ["mean", "pooled", *(str(name) for name in range(20, 26))]


def test_numbers_of_each_victim(bank, findings):
    scores = audit(bank, attacks=ATTACKS, fpr_levels=LEVELS).scores
    for attack in ATTACKS:
        for v in range(6):
            row, counted = scores[attack][v], bank.ordinary[v] & ~np.isnan(scores[attack][v])
            found = row_of(findings, attack=attack, victim=str(20 + v))
            assert found["auc"] == pytest.approx(roc_auc_score(bank.member[v, counted], row[counted]))
            assert found["auc_low"] < found["auc"] < found["auc_high"]
            assert found["num_members"] + found["num_nonmembers"] == counted.sum() == 440 - found["num_unscored"]
            assert found["advantage"] == pytest.approx(2 * found["balanced_accuracy"] - 1)
            assert found["num_victims"] == 1
            right = bank.is_correct[v] & bank.ordinary[v]
            inside = bank.member[v] & bank.ordinary[v]
            assert found["train_accuracy"] == pytest.approx(right[inside].sum() / inside.sum())


def test_the_mean_is_the_victims_mean_with_an_interval_over_both(bank, findings):
    for attack in ATTACKS:
        rows = rows_of(findings, attack=attack)
        victims = rows[~rows["victim"].isin(["mean", "pooled"])]
        mean = row_of(rows, victim="mean")
        for column in ("auc", "balanced_accuracy", "advantage", "test_accuracy", "num_members", tpr_column(0.1)):
            assert mean[column] == pytest.approx(victims[column].mean()), column
        assert mean["num_victims"] == 6
        assert mean["num_unscored"] == victims["num_unscored"].sum()
    scores = np.where(bank.ordinary, audit(bank, attacks=["loss"]).scores["loss"], np.nan)
    estimate = two_way(*auc_influence(scores, bank.member))
    mean = row_of(findings, attack="loss", victim="mean")
    assert (mean["auc_low"], mean["auc_high"]) == pytest.approx((estimate.low, estimate.high))


def test_the_pool_is_one_curve_over_all_pairs(bank, findings):
    scores = np.where(bank.ordinary, audit(bank, attacks=["loss"]).scores["loss"], np.nan)
    valid = ~np.isnan(scores)
    pooled = row_of(findings, attack="loss", victim="pooled")
    assert pooled["auc"] == pytest.approx(roc_auc_score(bank.member[valid], scores[valid]))
    assert pooled["num_members"] + pooled["num_nonmembers"] == valid.sum()
    assert np.isnan(pooled["balanced_accuracy"])
    assert "balanced accuracy" not in pooled["suppressed"]


def test_a_rate_is_reported_where_ten_false_positives_are_expected_and_refused_elsewhere(findings):
    for attack in ATTACKS:
        for _, row in rows_of(findings, attack=attack).iterrows():
            names = [tpr_column(0.01) + end for end in ("", "_low", "_high")]
            assert np.isnan(row[names].astype(float)).all()
            assert row["suppressed"].startswith("TPR at 1% FPR: ")
            assert row["suppressed"].endswith("fewer than 10: 1,000 non-members are needed")
            assert 0 <= row[tpr_column(0.1)] <= 1


def test_the_pool_has_a_rate_where_the_mean_has_one_and_for_the_same_reason(make_bank):
    bank = make_bank(6, 500)  # 250 non-members each, 1,500 pairs
    levels = (0.1, 0.04, 0.02, 0.01, 0.007)
    found = audit(bank, attacks=["loss"], fpr_levels=levels).findings
    mean, pooled = (row_of(found, attack="loss", victim=name) for name in ("mean", "pooled"))
    columns = [tpr_column(level) for level in levels]
    fewest = rows_of(found, attack="loss", num_victims=1)["num_nonmembers"].min()
    expected = [level * fewest < 10 for level in levels]
    assert mean[columns].isna().tolist() == pooled[columns].isna().tolist() == expected
    assert expected[0] < expected[-1]  # at 1% the pairs would give 15 false positives
    assert mean["suppressed"] == pooled["suppressed"]
    assert f"{fewest:,.0f} non-members allow" in pooled["suppressed"]


def test_missing_numbers_say_why(make_bank):
    pair = audit(make_bank(2, 100), attacks=ATTACKS, fpr_levels=LEVELS).findings
    for _, row in rows_of(pair, attack="lira").iterrows():  # one reference has no spread
        assert np.isnan(row["auc"])
        assert row["suppressed"].startswith(
            "AUC: no member or no non-member could be scored: too few references; TPR at 10%"
        )
        assert row["num_unscored"] == (200 if row["victim"] in ("mean", "pooled") else 100)
    alone = audit(make_bank(1, 400), attacks=["loss"], fpr_levels=[0.1]).findings
    for _, row in rows_of(alone, num_victims=1).iterrows():
        assert np.isfinite([row["auc"], row["auc_low"], row["auc_high"], row[tpr_column(0.1)]]).all()
        expected = "" if row["victim"] == "pooled" else "balanced accuracy: too few references to learn a threshold on"
        standard = ("AUC: ", "TPR at 10% FPR: ", "balanced accuracy: ")
        assert "; ".join(part for part in row["suppressed"].split("; ") if part.startswith(standard)) == expected


def test_curves_rise_to_one_and_end_where_the_findings_are(bank):
    results = audit(bank, attacks=ATTACKS, fpr_levels=LEVELS).results
    for attack in ATTACKS:
        curve = rows_of(results.curves, attack=attack)
        assert curve["fpr"].is_monotonic_increasing
        assert curve["tpr"].is_monotonic_increasing
        assert curve["fpr"].iloc[0] == pytest.approx(0.01)
        assert (curve["fpr"].iloc[-1], curve["tpr"].iloc[-1]) == (1, 1)
        nearest = curve.iloc[(curve["fpr"] - 0.1).abs().argmin()]
        mean = row_of(results.findings, attack=attack, victim="mean")
        assert nearest["tpr"] == pytest.approx(mean[tpr_column(0.1)], abs=0.05)


def test_comparisons_are_paired_differences(make_bank):
    dense, pruned = make_bank(6, 400), make_bank(6, 400, gain=0.3, noise_seed=1)
    settings = bank_settings({"dense": dense, "pruned": pruned}, ("matched", "dense"))
    found = evaluate(
        settings, ready(ATTACKS), Measuring(0, LEVELS), Known(ComparisonPlan(("dense",)), {"pruned": {"sparsity": 0.9}})
    )
    comparisons, findings = found.comparisons, found.findings
    assert (comparisons["release"] == "pruned").all()
    assert (comparisons["baseline"] == "dense").all()
    for attack in ATTACKS:
        for references in ("matched", "dense"):
            rows = rows_of(comparisons, attack=attack, references=references)
            assert rows["metric"].tolist() == ["auc", "balanced_accuracy", tpr_column(0.1)]
            mine = row_of(findings, release="pruned", references=references, attack=attack, victim="mean")
            other = row_of(findings, release="dense", references="matched", attack=attack, victim="mean")
            for _, row in rows.iterrows():
                assert row["difference"] == pytest.approx(mine[row["metric"]] - other[row["metric"]])
                assert row["low"] <= row["difference"] <= row["high"]
                assert row["num_victims"] == 6
    scores = found.scores
    mine, other = (auc_influence(scores[f"{name}/matched/loss"], dense.member) for name in ("pruned", "dense"))
    row = row_of(comparisons, attack="loss", references="matched", metric="auc")
    expected = difference_two_way(mine, other)
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert row["high"] < 0  # the pruned release remembers less, and that is seen
    accuracy = row_of(comparisons, metric="test_accuracy")
    releases = found.results.releases.set_index("release")["test_accuracy"]
    assert accuracy["difference"] == pytest.approx(releases["pruned"] - releases["dense"])
    assert (rows_of(findings, release="pruned")["sparsity"] == 0.9).all()
    assert rows_of(findings, release="dense")["sparsity"].isna().all()


def test_a_release_compared_with_its_like_differs_by_nothing(make_bank):
    bank = make_bank(6, 400)
    settings = bank_settings({"dense": bank, "copy": bank}, ("matched",))
    comparisons = evaluate(
        settings, ready(ATTACKS), Measuring(0, LEVELS), Known(ComparisonPlan(("dense",)))
    ).comparisons
    assert len(comparisons) == 7
    assert (comparisons[["difference", "low", "high"]].to_numpy() == 0).all()


def test_auc_within_each_class_is_that_of_its_samples_alone(bank):
    found = audit(bank, attacks=ATTACKS, fpr_levels=LEVELS)
    classes = found.results.classes
    assert set(classes["attack"]) == set(ATTACKS)
    for row in classes.itertuples():
        chosen = bank.labels == row.class_id
        expected = [
            roc_auc_score(bank.member[v, keep], found.scores[row.attack][v, keep])
            for v in range(6)
            for keep in [chosen & bank.ordinary[v] & ~np.isnan(found.scores[row.attack][v])]
        ]
        assert row.auc == pytest.approx(np.mean(expected))
        assert row.auc_low < row.auc < row.auc_high
        assert row.num_victims == 6
    per_class = classes[classes["attack"] == "loss"]
    counted = sum(per_class["num_members"]) + sum(per_class["num_nonmembers"])
    assert counted == pytest.approx(440)


def test_ppv_is_bayes_rule_at_each_reported_level(bank):
    found = audit(bank, attacks=ATTACKS, fpr_levels=LEVELS)
    values = found.results.ppv
    assert set(values["fpr"]) == {0.1}  # at 1% the TPR itself is refused
    for row in values.itertuples():
        tpr = row_of(found.findings, attack=row.attack, victim="mean")[tpr_column(row.fpr)]
        assert row.ppv == pytest.approx(row.prior * tpr / (row.prior * tpr + (1 - row.prior) * row.fpr))
        assert row.low <= row.ppv <= row.high
    assert (values[values["prior"] == 0.5]["ppv"] > 0.5).all()


def ppv_rows(bank, **changes):
    """The rows of `ppv` of `loss` at 10% false positives, by prior, with what was measured changed."""
    (setting,) = bank_settings({"dense": bank}, ("matched",))
    measured = replace(measure(ready(["loss"])["loss"], "loss", setting, (0.1,), 0), **changes)
    writer = Writer(setting, "loss", measured, accuracies(bank), np.nan, (0.1,), 0)
    return {row["prior"]: row for row in writer.ppv()}


def test_ppv_at_the_learned_threshold_by_hand(make_bank):
    rates = {"learned_tpr": [[0.4], [0.2], [0.0]], "learned_fpr": [[0.1], [0.2], [0.0]]}
    rows = ppv_rows(make_bank(3, 300), **{name: np.array(values) for name, values in rates.items()})
    half = rows[0.5]  # .4 / (.4 + .1) and .2 / (.2 + .2); the third network accuses nobody
    assert (half["learned_ppv"], half["learned_ppv_min"], half["learned_ppv_max"]) == pytest.approx((0.65, 0.5, 0.8))
    assert half["learned_ppv_sd"] == pytest.approx(0.3 / np.sqrt(2))
    assert half["num_accused"] == 2
    assert (half["learned_tpr"], half["learned_fpr"]) == pytest.approx((0.2, 0.1))
    assert (half["learned_fpr_min"], half["learned_fpr_max"]) == (0.0, 0.2)
    tenth = [0.04 / (0.04 + 0.09), 0.02 / (0.02 + 0.18)]
    assert rows[0.1]["learned_ppv"] == pytest.approx(np.mean(tenth))
    assert rows[0.01]["learned_ppv_max"] == pytest.approx(0.004 / (0.004 + 0.099))
    assert {row["suppressed"] for row in rows.values()} == {""}


def test_the_learned_threshold_is_used_on_the_victims(make_bank):
    bank = make_bank(6, 400, num_canaries=20)
    found = audit(bank, attacks=["loss"], fpr_levels=(0.1,))
    row = row_of(found.results.ppv, attack="loss", prior=0.5)
    attack_input = bank_settings({"dense": bank}, ("matched",))[0].attack_input
    attack = ready(["loss"])["loss"]
    scores = attack.score(attack_input, np.random.default_rng(0))
    limits = learn(attack, attack_input, scores, (0.1,), 0, np.random.default_rng(0)).barriers[:, 0]
    fpr, tpr = (
        [np.mean(scores.victims[v][bank.ordinary[v] & (bank.member[v] == side)] > limits[v]) for v in range(6)]
        for side in (False, True)
    )
    assert row["learned_fpr"] == pytest.approx(np.mean(fpr))
    assert row["learned_tpr"] == pytest.approx(np.mean(tpr))
    assert 0.05 < row["learned_fpr_min"] < row["learned_fpr_max"] < 0.16  # it is not the nominal rate
    assert row["learned_ppv"] == pytest.approx(np.mean([t / (t + f) for t, f in zip(tpr, fpr, strict=True)]))


def test_without_references_no_threshold_is_learned_and_the_row_says_why(make_bank):
    rows = ppv_rows(make_bank(1, 400))
    assert all(row["suppressed"].startswith("no references") for row in rows.values())
    assert np.isnan([row["learned_ppv"] for row in rows.values()]).all()
    assert all(row["ppv"] > 0 for row in rows.values())
