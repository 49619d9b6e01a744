import numpy as np
import pytest

from pruneaudit.report.selection import primary_attack, primary_references
from pruneaudit.report.sentences.answer import answer, shown_change
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


def test_dense_networks_that_leak(make_results):
    figures = {"tpr_at_1%_fpr": 0.124, "tpr_at_1%_fpr_low": 0.101, "tpr_at_1%_fpr_high": 0.146}
    told = answer(make_results(set_finding("dense", auc=0.763, auc_low=0.751, auc_high=0.775, **figures)))
    assert told.headline == (
        "The dense networks leak: LiRA tells members from non-members with AUC 0.763 [0.751, 0.775] "
        "and finds 12.4% [10.1, 14.6] of the members at 1% false positives (guessing: 1%)."
    )


def test_guessing_is_not_called_an_absence_of_leakage(make_results):
    rates = {"tpr_at_1%_fpr": 0.011, "tpr_at_1%_fpr_low": 0.008, "tpr_at_1%_fpr_high": 0.014}

    def guessing(parts):
        table = parts["findings"]
        of_dense = table["release"] == "dense"
        for column, value in ({"auc": 0.505, "auc_low": 0.49, "auc_high": 0.52} | rates).items():
            table.loc[of_dense, column] = value

    headline = answer(make_results(guessing)).headline
    assert "was not shown to do better than guessing: AUC 0.505 [0.490, 0.520]" in headline
    assert "no proof that nothing leaks" in headline
    assert "leak:" not in headline


def test_a_leak_at_low_false_positive_rates_alone_is_a_leak(make_results):
    rates = {"tpr_at_1%_fpr": 0.03, "tpr_at_1%_fpr_low": 0.02, "tpr_at_1%_fpr_high": 0.04}
    headline = answer(make_results(set_finding("dense", auc=0.505, auc_low=0.49, auc_high=0.52, **rates))).headline
    assert headline.startswith("The dense networks leak at low false-positive rates: LiRA finds 3.0% [2.0, 4.0]")


def test_an_auc_below_guessing_points_at_the_setup(make_results):
    rates = {"tpr_at_1%_fpr": np.nan}
    headline = answer(make_results(set_finding("dense", auc=0.4, auc_low=0.38, auc_high=0.42, **rates))).headline
    assert "ranks members below non-members: AUC 0.400 [0.380, 0.420]. Check how" in headline


def test_a_refused_figure_gives_its_reason_and_no_other_attack_steps_in(make_results):
    headline = answer(make_results(set_finding("dense", auc=np.nan, suppressed="no references"))).headline
    assert headline == "LiRA, the attack chosen by rule, gave no figure on the dense networks: no references."


def test_without_an_interval_nothing_is_concluded(make_results):
    told = answer(make_results(set_finding("dense", auc_low=np.nan)))
    assert told.headline.endswith("without an interval nothing is concluded from it.")
    text = change_of(make_results(set_difference("auc", -0.1, np.nan, np.nan)))
    assert text.endswith(
        "-0.100 compared with the baseline fine-tuned alike; without an interval nothing is concluded from it."
    )


def test_lower_than_the_control(make_results):
    text = change_of(make_results(set_difference("auc", -0.12, -0.141, -0.099)))
    assert text == (
        "Pruned to 90% sparsity, the networks leak less under LiRA, as under 5 of 5 other attacks, but still above "
        "guessing: AUC 0.630 [0.618, 0.642], -0.120 [-0.141, -0.099] compared with the baseline fine-tuned alike; "
        "members found at 1% false positives: -10.0 points [-12.0, -8.0]; test accuracy: -3.1 points [-3.6, -2.6]."
    )


def test_higher_than_the_control(make_results):
    def edit(parts):
        set_difference("auc", 0.05, 0.03, 0.07)(parts)
        set_difference("tpr_at_1%_fpr", 0.002, -0.01, 0.014)(parts)

    text = change_of(make_results(edit))
    assert "the networks leak more under LiRA, as under 5 of 5 other attacks: AUC" in text
    assert "+0.050 [+0.030, +0.070]" in text
    assert "; members found at 1% false positives: +0.2 points [-1.0, +1.4]" in text


@pytest.mark.parametrize("limits", [(-0.02, 0.001), (-0.001, 0.02), (0.0, 0.02), (-0.02, 0.0)])
def test_an_interval_that_holds_zero_shows_no_difference(make_results, limits):
    text = change_of(make_results(set_difference("auc", sum(limits) / 2, *limits)))
    assert "no difference could be shown under LiRA" in text
    assert "leak less" not in text
    assert "leak more" not in text


def test_a_tpr_that_contradicts_the_auc_is_set_against_it(make_results):
    text = change_of(make_results(set_difference("tpr_at_1%_fpr", 0.03, 0.02, 0.04)))
    assert "; but members found at 1% false positives: +3.0 points [+2.0, +4.0]" in text


def without_control(parts):
    table = parts["comparisons"]
    parts["comparisons"] = table[table["baseline"] == "dense"]


def test_no_control_is_said(make_results):
    text = change_of(make_results(without_control))
    assert "compared with the dense networks (no baseline was fine-tuned alike, so pruning and the extra epochs" in text


def test_a_release_without_fine_tuning_is_held_against_the_dense_networks(make_results):
    def edit(parts):
        parts["releases"]["test_accuracy_after_finetuning"] = np.nan

    text = change_of(make_results(edit))
    assert "compared with the dense networks; " in text
    assert "control" not in text


@pytest.mark.parametrize(
    ("epochs", "words"),
    [(5, "the baseline fine-tuned alike; "), (9, "the baseline (it was not trained alike, so pruning and the extra")],
)
def test_a_control_is_called_alike_only_if_it_is(make_results, epochs, words):
    def edit(parts):
        pruned = {"compress": "l1unstructured", "sparsity": 0.9, "finetune": {"epochs": epochs}}
        parts["about"]["study"]["releases"] = [{"finetune": {"epochs": 5}}, pruned]

    assert f"compared with {words}" in change_of(make_results(edit))


def test_the_control_itself_is_held_against_the_dense_networks(make_results):
    text = change_of(make_results(), BASELINE)
    assert text.startswith("Fine-tuned without compression, no difference could be shown under LiRA")
    assert "compared with the dense networks; " in text


def test_no_comparison(make_results):
    text = change_of(make_results(lambda parts: parts.update(comparisons=parts["comparisons"].iloc[:0])))
    assert text == "Pruned to 90% sparsity: AUC 0.630 [0.618, 0.642] under LiRA; no paired difference was computed."


def test_one_victim_is_spoken_of_as_one(make_results):
    told = answer(make_results(set_finding("dense", num_victims=1)))
    assert told.headline.startswith("The dense network leaks: ")
    assert any(caveat.startswith("One network was attacked") for caveat in told.caveats)


@pytest.mark.parametrize(("networks", "expected"), [(2, True), (9, True), (10, False), (16, False)])
def test_few_victims_are_a_caveat(make_results, networks, expected):
    caveats = answer(make_results(set_finding("dense", num_victims=networks))).caveats
    assert any(f"Only {networks} networks" in caveat for caveat in caveats) == expected


def test_a_demonstration_says_so_first(make_results):
    caveats = answer(make_results(lambda parts: parts["about"].update(demonstration=True))).caveats
    assert caveats[0] == "A demonstration on a small subset: these numbers describe these networks, not yours."


@pytest.mark.parametrize("auc", [0.3, 0.5, 0.9])
def test_nothing_is_ever_called_safe_or_private(make_results, auc):
    def edit(parts):
        for release in ("dense", PRUNED):
            set_finding(release, auc=auc, auc_low=auc - 0.01, auc_high=auc + 0.01)(parts)

    told = answer(make_results(edit))
    words = " ".join([told.headline, *(change.text for change in told.changes), *told.caveats]).lower()
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
    assert answer(results).headline == answer(make_results()).headline


def test_the_short_summary_takes_the_sparsest_release(results):
    changes = answer(results).changes
    assert shown_change(results, changes).release == PRUNED
    assert shown_change(results, ()) is None


def test_no_attack_at_all(make_results):
    def nothing(parts):
        parts |= {name: parts[name].iloc[:0] for name in ("findings", "comparisons", "curves")}
        parts["about"] = {}

    assert answer(make_results(nothing)).headline.startswith("No attack was played")


@pytest.mark.parametrize(
    ("label", "name"), [("lira", "LiRA"), ("lira:mode=offline", "LiRA (mode=offline)"), ("loss", "loss")]
)
def test_how_an_attack_is_called(label, name):
    assert attack_name(label) == name
