import numpy as np
import pytest

from pruneaudit.report.conclusions.leakage import members_named, verdict
from pruneaudit.report.conclusions.next_steps import next_steps
from pruneaudit.report.selection import primary_attack, primary_references
from pruneaudit.report.sentences.answer import answer, shown_change
from pruneaudit.report.sentences.certainty import DEMONSTRATION
from pruneaudit.report.sentences.leakage import NO_PROOF
from pruneaudit.report.words import attack_name

PRUNED, BASELINE = "l1unstructured-0.9", "dense+finetune"


def declare(*attacks):
    """An edit of the parts: the study declares these attacks, in this order."""

    def edit(parts):
        parts["about"]["study"]["audit"]["attacks"] = list(attacks)

    return edit


def set_finding(release, **values):
    """An edit of the parts: new figures of LiRA on a release, mean over victims."""

    def edit(parts):
        table = parts["findings"]
        rows = (table["release"] == release) & (table["attack"] == "lira") & (table["victim"] == "mean")
        assert rows.sum() == 1
        for column, value in values.items():
            table.loc[rows, column] = value

    return edit


def set_difference(metric, difference, low, high, release=PRUNED, baseline=BASELINE):
    def edit(parts):
        table = parts["comparisons"]
        rows = (table["release"] == release) & (table["baseline"] == baseline) & (table["metric"] == metric)
        assert rows.any()
        table.loc[rows, ["difference", "low", "high"]] = [difference, low, high]

    return edit


def change_of(results, release=PRUNED):
    return next(change.text for change in answer(results).changes if change.release == release)


RATE = "tpr_at_1%_fpr"
FEW, MANY = (
    {f"{RATE}": 0.011, f"{RATE}_low": 0.008, f"{RATE}_high": 0.014},
    {
        f"{RATE}": 0.124,
        f"{RATE}_low": 0.101,
        f"{RATE}_high": 0.146,
    },
)


def whole(results):
    return answer(results).leakage.whole


def test_dense_networks_that_leak(make_results):
    results = make_results(set_finding("dense", auc=0.763, auc_low=0.751, auc_high=0.775, **MANY))
    assert verdict(results, "dense") == "leaks"
    named = members_named(results, "dense")
    np.testing.assert_allclose((named.rightly, named.low, named.high, named.wrongly), (124, 101, 146, 10))
    assert answer(results).leakage.title == "The dense networks leak."
    for figure in ("LiRA", "AUC 0.763 [0.751, 0.775]", "1,000 members", "124 [101, 146]", "10 of 1,000 others"):
        assert figure in whole(results)


def guess(parts):
    """An edit: no attack does better than guessing on the dense networks."""
    table = parts["findings"]
    for column, value in ({"auc": 0.505, "auc_low": 0.49, "auc_high": 0.52} | FEW).items():
        table.loc[table["release"] == "dense", column] = value


def test_guessing_is_not_called_an_absence_of_leakage(make_results):
    results = make_results(guess)
    assert verdict(results, "dense") == "not shown"
    assert answer(results).leakage.title == "The dense networks are not shown to leak."
    assert "AUC 0.505 [0.490, 0.520]" in whole(results)
    assert NO_PROOF in whole(results)


def test_another_attack_that_does_better_makes_them_disagree(make_results):
    def edit(parts):
        guess(parts)
        table = parts["findings"]
        rows = (table["release"] == "dense") & (table["attack"] == "rmia")
        table.loc[rows, ["auc", "auc_low", "auc_high"]] = [0.6, 0.59, 0.61]

    results = make_results(edit)
    assert verdict(results, "dense") == "disagree"
    assert answer(results).leakage.title == "Attacks disagree on whether the dense networks leak."
    assert "RMIA does better" in whole(results)
    assert NO_PROOF not in whole(results)
    assert "RMIA" in answer(results).disagreement


def test_a_leak_at_low_false_positive_rates_alone_is_a_leak(make_results):
    rates = {RATE: 0.03, f"{RATE}_low": 0.02, f"{RATE}_high": 0.04}
    results = make_results(set_finding("dense", auc=0.505, auc_low=0.49, auc_high=0.52, **rates))
    assert verdict(results, "dense") == "leaks at low rates"
    assert "30 [20, 40]" in whole(results)


def test_an_auc_below_guessing_points_at_the_setup(make_results):
    results = make_results(set_finding("dense", auc=0.4, auc_low=0.38, auc_high=0.42, **{RATE: np.nan}))
    assert verdict(results, "dense") == "reversed"
    assert "below" in answer(results).leakage.title
    assert "AUC 0.400 [0.380, 0.420]" in whole(results)
    assert next_steps(results)[0].kind == "check the join"


def test_a_refused_figure_gives_its_reason_and_no_other_attack_steps_in(make_results):
    results = make_results(set_finding("dense", auc=np.nan, suppressed="no references"))
    assert verdict(results, "dense") == "no figure"
    assert answer(results).leakage.detail == "LiRA: no references."


def test_without_an_interval_nothing_is_concluded(make_results):
    results = make_results(set_finding("dense", auc_low=np.nan))
    assert verdict(results, "dense") == "no interval"
    assert "leak." not in whole(results)
    text = change_of(make_results(set_difference("auc", -0.1, np.nan, np.nan)))
    assert "-0.100 compared with" in text and "no interval" in text
    assert "leak less" not in text


def test_lower_than_the_baseline(make_results):
    text = change_of(make_results(set_difference("auc", -0.12, -0.141, -0.099)))
    assert text.startswith("Pruned to 90% sparsity. The networks leak less under LiRA and under 5 of 5 other attacks.")
    assert "still does better than guessing" in text
    assert "AUC 0.630 [0.618, 0.642], -0.120 [-0.141, -0.099] compared with the baseline" in text
    assert "1% false positives: -10.0 points [-12.0, -8.0]" in text
    assert "accuracy: -3.1 points [-3.6, -2.6]" in text


def test_higher_than_the_baseline(make_results):
    def edit(parts):
        set_difference("auc", 0.05, 0.03, 0.07)(parts)
        set_difference(RATE, 0.002, -0.01, 0.014)(parts)

    text = change_of(make_results(edit))
    assert "leak more under LiRA and under 5 of 5 other attacks" in text
    assert "+0.050 [+0.030, +0.070]" in text
    assert "1% false positives: +0.2 points [-1.0, +1.4]" in text


@pytest.mark.parametrize("limits", [(-0.02, 0.001), (-0.001, 0.02), (0.0, 0.02), (-0.02, 0.0)])
def test_an_interval_that_includes_zero_shows_no_difference(make_results, limits):
    text = change_of(make_results(set_difference("auc", sum(limits) / 2, *limits)))
    assert "No difference is shown under LiRA" in text
    assert "leak less" not in text
    assert "leak more" not in text


def test_a_tpr_that_contradicts_the_auc_is_contrasted_with_it(make_results):
    text = change_of(make_results(set_difference(RATE, 0.03, 0.02, 0.04)))
    assert "But members found at 1% false positives: +3.0 points [+2.0, +4.0]" in text


def without_baseline(parts):
    table = parts["comparisons"]
    parts["comparisons"] = table[table["baseline"] == "dense"]


def test_a_missing_baseline_is_named(make_results):
    text = change_of(make_results(without_baseline))
    assert (
        "compared with the dense networks (no baseline was fine-tuned the same way, so pruning and the extra epochs"
        in text
    )


def test_a_release_without_fine_tuning_is_compared_with_the_dense_networks(make_results):
    def edit(parts):
        parts["releases"]["test_accuracy_after_finetuning"] = np.nan

    text = change_of(make_results(edit))
    assert "compared with the dense networks." in text
    assert "baseline" not in text


@pytest.mark.parametrize(
    ("epochs", "words"),
    [(5, "the baseline, fine-tuned the same way."), (9, "the baseline (it was trained differently, so pruning and")],
)
def test_a_baseline_counts_as_trained_the_same_way_only_if_it_was(make_results, epochs, words):
    def edit(parts):
        pruned = {"compress": "l1unstructured", "sparsity": 0.9, "finetune": {"epochs": epochs}}
        parts["about"]["study"]["releases"] = [{"finetune": {"epochs": 5}}, pruned]

    assert f"compared with {words}" in change_of(make_results(edit))


def test_the_baseline_itself_is_compared_with_the_dense_networks(make_results):
    text = change_of(make_results(), BASELINE)
    assert text.startswith("Fine-tuned without compression. No difference is shown under LiRA")
    assert "compared with the dense networks." in text


def test_no_comparison(make_results):
    text = change_of(make_results(lambda parts: parts.update(comparisons=parts["comparisons"].iloc[:0])))
    assert text.startswith("Pruned to 90% sparsity. AUC 0.630 [0.618, 0.642] under LiRA.")
    assert "No paired difference" in text


def test_one_victim_is_spoken_of_as_one(make_results):
    told = answer(make_results(set_finding("dense", num_victims=1)))
    assert told.leakage.title == "The dense network leaks."
    assert "another training run" in told.certainty


@pytest.mark.parametrize(("networks", "expected"), [(2, True), (9, True), (10, False), (16, False)])
def test_few_victims_are_a_caveat(make_results, networks, expected):
    results = make_results(set_finding("dense", num_victims=networks))
    told = answer(results)
    assert f"{networks} networks" in told.certainty
    assert ("few networks" in told.certainty) == expected
    assert ("audit more networks" in [step.kind for step in next_steps(results)]) == expected
    assert told.certainty in told.caveats


def test_a_demonstration_says_so_first(make_results):
    caveats = answer(make_results(lambda parts: parts["about"].update(demonstration=True))).caveats
    assert caveats[0] == DEMONSTRATION
    assert DEMONSTRATION not in answer(make_results()).caveats


@pytest.mark.parametrize("auc", [0.3, 0.5, 0.9])
def test_nothing_is_ever_called_safe_or_private(make_results, auc):
    def edit(parts):
        for release in ("dense", PRUNED):
            set_finding(release, auc=auc, auc_low=auc - 0.01, auc_high=auc + 0.01)(parts)

    told = answer(make_results(edit))
    steps = [step.text for step in told.next_steps]
    changes = [change.text for change in told.changes]
    words = " ".join([told.leakage.whole, told.counts, *changes, *told.agreement, *steps, *told.caveats]).lower()
    assert not any(word in words for word in ("safe", "private", "secure", "protected"))


@pytest.mark.parametrize(
    ("attacks", "num_models", "expected"),
    [
        (["loss", "lira", "rmia"], 65, "lira"),
        (["loss", "lira", "rmia"], 64, "rmia"),
        (["lira:mode=offline", "lira"], 16, "lira"),
        (["loss", {"name": "lira", "options": {"mode": "offline"}}], 16, "lira:mode=offline"),
        (["entropy", "loss"], 16, "loss"),
        (["entropy", "confidence"], 16, "entropy"),
    ],
)
def test_the_attack_is_chosen_by_rule_and_never_by_result(make_results, attacks, num_models, expected):
    def of_an_older_version(parts):
        declare(*attacks)(parts)
        del parts["about"]["primary"]
        parts["about"]["study"]["membership"] = {"num_models": num_models}

    def reversed_results(parts):
        of_an_older_version(parts)
        parts["findings"]["auc"] = 1 - parts["findings"]["auc"]

    assert primary_attack(make_results(of_an_older_version)) == expected
    assert primary_attack(make_results(reversed_results)) == expected


def test_what_the_run_recorded_is_the_primary_attack(make_results):
    def edit(parts):
        parts["about"]["primary"] = {"attack": "rmia", "num_references": 127, "floored": True}

    assert primary_attack(make_results(edit)) == "rmia"


def test_without_a_study_the_findings_say_which_attacks_there_are(make_results):
    def bare(parts):
        parts["about"] = {}
        parts["findings"] = parts["findings"][parts["findings"]["attack"].isin(["entropy", "loss"])]

    assert primary_attack(make_results(bare)) == "loss"


def test_a_group_that_the_study_lists_stands_for_its_attacks(make_results):
    def grouped(parts):
        declare("scores")(parts)
        del parts["about"]["primary"]

    assert primary_attack(make_results(grouped)) == "rmia"


def test_a_dense_finding_under_another_knowledge_serves(make_results):
    def edit(parts):
        table = parts["findings"]
        table.loc[table["release"] == "dense", "references"] = "dense"

    results = make_results(edit)
    assert primary_references(results) == "matched"
    assert answer(results).leakage == answer(make_results()).leakage


def test_the_short_summary_takes_the_sparsest_release(results):
    changes = answer(results).changes
    assert shown_change(results, changes).release == PRUNED
    assert shown_change(results, ()) is None


def test_no_attack_at_all(make_results):
    def nothing(parts):
        parts |= {name: parts[name].iloc[:0] for name in ("findings", "comparisons", "curves")}
        parts["about"] = {}

    results = make_results(nothing)
    assert verdict(results, "dense") == "no attack"
    assert answer(results).leakage.title.startswith("No attack was played")
    assert next_steps(results) == ()


@pytest.mark.parametrize(
    ("label", "name"), [("lira", "LiRA"), ("lira:mode=offline", "LiRA (mode=offline)"), ("loss", "loss")]
)
def test_how_an_attack_is_called(label, name):
    assert attack_name(label) == name
