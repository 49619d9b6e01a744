"""The gate: made-up results with known intervals, and what it must say of them."""

import dataclasses
import math
import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruneaudit.core.errors import UserError
from pruneaudit.gate import ANY, as_markdown, as_record, budgets_of, check, parse_rate

STUDY = {
    "name": "fashion",
    "releases": [
        {"name": "dense+finetune", "finetune": {"epochs": 1}},
        {"compress": "l1unstructured", "sparsity": 0.9, "finetune": {"epochs": 1}},
    ],
    "audit": {"attacks": ["loss", "confidence", "entropy", "modified_entropy", "lira", "rmia"]},
}
PRUNED = "l1unstructured-0.9"


@pytest.fixture
def make_run(make_results):
    """Results in which LiRA's AUC has a given upper end on the pruned release, and 0.55 elsewhere."""

    def build(high=0.55, study=STUDY, **changes):
        def edit(parts):
            parts["about"]["study"] = study
            table = parts["findings"]
            table[["auc", "auc_low", "auc_high"]] = 0.52, 0.51, 0.55
            where = (table["release"] == PRUNED) & (table["attack"] == "lira") & (table["victim"] == "mean")
            table.loc[where, "auc_high"] = high
            for column, value in changes.items():
                table.loc[where, column] = value

        return make_results(edit)

    return build


def outcomes(gate):
    """The outcome of each release: the worst of its figures, as the exit code has it."""
    found = {}
    for verdict in gate.verdicts:
        found.setdefault(verdict.release, set()).add(verdict.outcome)
    return {name: max(said, key=("within", "over", "suppressed").index) for name, said in found.items()}


def of_attack(gate, attack):
    return {verdict.release: verdict.outcome for verdict in gate.verdicts if verdict.attack == attack}


def rows_of(text, *words):
    """The rows of the summary's tables that hold all these words."""
    return [line for line in text.splitlines() if line.startswith("|") and all(word in line for word in words)]


@pytest.mark.parametrize(
    ("high", "outcome", "code"),
    [(0.6, "within", 0), (np.nextafter(0.6, 1), "over", 1), (np.nextafter(0.6, 0), "within", 0)],
)
def test_the_upper_end_decides_and_equal_is_within(make_run, high, outcome, code):
    results = make_run(high)
    gate = check(results, budgets_of(results, max_auc="0.6"))
    assert outcomes(gate) == {"dense": "within", PRUNED: outcome}
    assert (gate.outcome, gate.exit_code) == (outcome, code)


def test_an_end_just_above_its_budget_is_not_shown_as_equal(make_run):
    results = make_run(0.600004)
    text = as_markdown(check(results, budgets_of(results, max_auc="0.6")), "run")
    (row,) = rows_of(text, PRUNED, "**not shown to be within**")
    assert "0.600004]" in row
    assert "at most 0.600000" in row


def test_only_the_mean_over_victims_counts(make_run):
    results = make_run()
    others = results.findings["victim"] != "mean"
    results.findings.loc[others, "auc_high"] = 0.99
    assert check(results, budgets_of(results, max_auc="0.6")).exit_code == 0


def test_a_run_without_the_figure_is_told_how_to_have_it(make_run):
    message = r"--max-partial-auc: .*'partial_auc_at_1%_fpr'.*pruneaudit attack RUN --attacks 'loss,"
    with pytest.raises(UserError, match=message):
        budgets_of(make_run(), max_partial_auc="0.6")
    results = make_run()
    results.findings["partial_auc_at_1%_fpr"], results.findings["partial_auc_at_1%_fpr_low"] = 0.52, 0.51
    results.findings["partial_auc_at_1%_fpr_high"] = 0.56
    for budget, code in (("0.56", 0), ("0.55", 1)):
        assert check(results, budgets_of(results, max_partial_auc=budget)).exit_code == code
    with pytest.raises(UserError, match=r"at least .* guessing \(0.500\)"):
        budgets_of(results, max_partial_auc="0.49")


def test_a_budget_of_no_figure_is_refused_with_the_nearest(make_run):
    with pytest.raises(UserError, match=r"budget 'max_auk' \(did you mean 'max_auc'\?\)"):
        budgets_of(make_run(), max_auk="0.6")


def test_a_run_without_a_mean_is_judged_by_its_one_victim(make_results):
    def edit(parts):
        parts["findings"] = parts["findings"][parts["findings"]["victim"] == "0"]

    results = make_results(edit)
    gate = check(results, budgets_of(results, max_auc="0.99"))
    assert gate.exit_code == 0
    assert gate.verdicts[0].num_victims == 1


def test_controls_are_left_out_and_named(make_run):
    results = make_run()
    gate = check(results, budgets_of(results, max_auc="0.6"))
    assert gate.not_checked == ("dense+finetune",)
    assert re.search("not checked, .*: `dense\\+finetune`", as_markdown(gate, "run"))
    named = check(results, budgets_of(results, max_auc="0.6"), releases=["dense+finetune"])
    assert list(outcomes(named)) == ["dense+finetune"]
    assert named.not_checked == ()


def test_without_a_study_every_release_is_checked(make_run):
    results = make_run(study=None)
    assert list(outcomes(check(results, budgets_of(results, max_auc="0.6")))) == ["dense", "dense+finetune", PRUNED]


def test_a_release_that_the_run_lost_is_refused_and_not_passed_over(make_run):
    lost = {
        **STUDY,
        "releases": [*STUDY["releases"], {"compress": "l1unstructured", "sparsity": 0.95, "finetune": {"epochs": 1}}],
    }
    unknown = {**lost, "releases": [{"name": "l1unstructured-0.95", "a_setting_of_another_version": 1}]}
    for attack, study in ((None, lost), (ANY, lost), (None, unknown)):
        results = make_run(study=study)
        gate = check(results, budgets_of(results, max_auc="0.99"), attack)
        assert outcomes(gate)["l1unstructured-0.95"] == "suppressed"
        assert gate.exit_code == 2
        assert "no findings of this release" in gate.verdicts[-1].reason


def test_a_refused_figure_gives_its_own_reason_and_wins_over_a_failure(make_run):
    results = make_run(0.9)
    gate = check(results, budgets_of(results, max_tpr=["0.1%:5%"], max_auc="0.6"))
    said = [verdict.outcome for verdict in gate.verdicts]
    assert [said.count(outcome) for outcome in ("within", "over", "suppressed")] == [11, 1, 12]
    assert gate.exit_code == 2
    suppressed = next(verdict for verdict in gate.verdicts if verdict.outcome == "suppressed")
    assert suppressed.reason == "1,000 non-members give 1 false positive, at least 10 are needed"
    text = as_markdown(gate, "run")
    assert "12 figures are missing or refused, of 24" in text
    assert "1 of the others was not shown to be within budget" in text
    assert text.count(suppressed.reason) == 1


def test_an_attack_that_failed_its_controls_answers_nothing(make_run):
    results = make_run(0.55)
    row = {"attack": "lira", "bank": "made-up bank", "kind": "planted", "auc": 0.5, "low": 0.4, "high": 0.6}
    results.about["sanity_checks"] = [row | {"expected": "AUC above 0.5", "passed": False}]
    gate = check(results, budgets_of(results, max_auc="0.6"), ANY)
    assert gate.exit_code == 2
    assert {verdict.attack for verdict in gate.verdicts if verdict.outcome == "suppressed"} == {"lira"}
    assert "failed the run's own sanity checks (AUC 0.500 " in as_markdown(gate, "run")
    assert check(results, budgets_of(results, max_auc="0.6")).exit_code == 2
    beside = check(results, budgets_of(results, max_auc="0.54"), "rmia")
    assert (beside.exit_code, {verdict.attack for verdict in beside.others_over}) == (
        1,
        {"loss", "confidence", "entropy", "modified_entropy"},
    )
    assert any("lira does not decide" in note and "0.500" in note for note in beside.notes)


def test_attacks_that_were_chosen_after_the_run_do_not_stand_in_for_the_declared_one(make_run):
    results = make_run(0.55)
    results.about["declared"] = "bavaria"
    with pytest.raises(UserError, match=r"declared bavaria.* --attacks bavaria"):
        check(results, budgets_of(results, max_auc="0.6"))
    assert check(results, budgets_of(results, max_auc="0.6"), "rmia").exit_code == 0
    results.about["declared"] = "rmia"
    assert check(results, budgets_of(results, max_auc="0.6")).exit_code == 0


def test_a_figure_without_an_interval_is_refused(make_run):
    results = make_run(math.nan)
    gate = check(results, budgets_of(results, max_auc="0.99"))
    assert of_attack(gate, "lira") == {"dense": "within", PRUNED: "suppressed"}
    assert gate.exit_code == 2
    assert {verdict.reason for verdict in gate.verdicts} == {"", "it has no interval"}


def test_a_budget_holds_for_every_attack(make_run):
    results = make_run()
    where = (results.findings["attack"] == "entropy") & (results.findings["release"] == "dense")
    results.findings.loc[where, "auc_high"] = 0.7
    for attack in (None, ANY):
        gate = check(results, budgets_of(results, max_auc="0.6"), attack)
        assert len(gate.verdicts) == 2 * 6
        over = [(verdict.release, verdict.attack) for verdict in gate.verdicts if verdict.outcome == "over"]
        assert over == [("dense", "entropy")]
        assert (gate.exit_code, gate.others_over) == (1, ())


def test_lira_within_and_rmia_over_is_over(make_run):
    results = make_run()
    table = results.findings
    where = (table["attack"] == "rmia") & (table["release"] == PRUNED) & (table["victim"] == "mean")
    table.loc[where, ["auc", "auc_low", "auc_high"]] = 0.66, 0.65, 0.67
    gate = check(results, budgets_of(results, max_auc="0.6"))
    assert (of_attack(gate, "lira")[PRUNED], of_attack(gate, "rmia")[PRUNED]) == ("within", "over")
    assert gate.exit_code == 1
    narrowed = check(results, budgets_of(results, max_auc="0.6"), "lira")
    assert (narrowed.exit_code, {verdict.attack for verdict in narrowed.verdicts}) == (0, {"lira"})
    assert [(verdict.release, verdict.attack, verdict.high) for verdict in narrowed.others_over] == [
        (PRUNED, "rmia", 0.67)
    ]
    text = as_markdown(narrowed, "run")
    assert text.startswith("## pruneaudit check: within budget\n")
    assert "1 more figure of this run was not shown to be within budget" in text
    assert len(rows_of(text, PRUNED, "`rmia`", "0.670", "not shown to be within")) == 1
    record = as_record(narrowed, "run")
    assert [(row["attack"], row["high"], row["outcome"]) for row in record["others_over"]] == [("rmia", 0.67, "over")]


def with_references(results, name, **figures):
    """Adds the same findings under other references, with figures of the pruned release changed."""
    table = results.findings
    more = table.assign(references=name)
    if name == "dense":  # of the dense networks they are the matched ones
        more = more[more["release"] != "dense"].copy()
    for column, value in figures.items():
        more.loc[(more["attack"] == "rmia") & (more["release"] == PRUNED) & (more["victim"] == "mean"), column] = value
    return dataclasses.replace(results, findings=pd.concat([table, more], ignore_index=True))


@pytest.mark.parametrize("references", ["dense", "undefended", "dense+finetune"])
def test_a_budget_holds_under_every_kind_of_references(make_run, references):
    results = with_references(make_run(study=None), references, auc_high=0.71)
    gate = check(results, budgets_of(results, max_auc="0.6"), releases=["dense", PRUNED])
    over = [(v.release, v.attack, v.references) for v in gate.verdicts if v.outcome == "over"]
    assert over == [(PRUNED, "rmia", references)]
    assert gate.exit_code == 1
    assert len(rows_of(as_markdown(gate, "run"), PRUNED, "`rmia`", f"`{references}`", "not shown to be within")) == 1
    narrowed = check(results, budgets_of(results, max_auc="0.6"), references="matched", releases=["dense", PRUNED])
    assert narrowed.exit_code == 0
    assert [(v.attack, v.references) for v in narrowed.others_over] == [("rmia", references)]


def test_references_that_the_study_asks_for_and_the_run_could_not_make_are_refused(make_run):
    audit = {**STUDY["audit"], "references": ["matched", "dense"]}
    results = make_run(study={**STUDY, "audit": audit})
    gate = check(results, budgets_of(results, max_auc="0.6"))
    assert [(v.release, v.references) for v in gate.verdicts if v.outcome == "suppressed"] == [(PRUNED, "dense")]
    assert gate.exit_code == 2
    complete = with_references(results, "dense")
    assert check(complete, budgets_of(results, max_auc="0.6")).exit_code == 0


def test_an_attack_on_pairs_is_not_missed_where_there_is_no_pair(make_run):
    results = make_run()
    table = results.findings
    pairs = dataclasses.replace(results, findings=table[(table["attack"] != "rmia") | (table["release"] == PRUNED)])
    assert check(pairs, budgets_of(pairs, max_auc="0.6")).exit_code == 0
    named = check(pairs, budgets_of(pairs, max_auc="0.6"), "rmia")
    assert of_attack(named, "rmia") == {"dense": "suppressed", PRUNED: "within"}


def test_learned_attacks_count_and_are_marked_unchecked(make_run):
    results = make_run(0.55)
    checked = [name for name in STUDY["audit"]["attacks"] if name != "rmia"]
    row = {"bank": "made-up bank", "kind": "null", "auc": 0.5, "low": 0.4, "high": 0.6, "passed": True}
    results.about["sanity_checks"] = [row | {"attack": name, "expected": "AUC 0.5"} for name in checked]
    why = "it trains a classifier, which takes minutes; check it with: pruneaudit sanity-check RUN"
    results.about["not_sanity_checked"] = [{"attack": "rmia", "bank": "every bank", "reason": why}]
    gate = check(results, budgets_of(results, max_auc="0.6"))
    assert gate.exit_code == 0
    assert gate.unchecked == {"rmia": why}
    text = as_markdown(gate, "run")
    assert len(rows_of(text, "(unchecked)")) == len(rows_of(text, "`rmia`", "(unchecked)")) == 2
    assert why in text
    record = as_record(gate, "run")
    assert {row["attack"]: row["unchecked"] for row in record["verdicts"]} == dict.fromkeys(checked, False) | {
        "rmia": True
    }
    assert check(results, budgets_of(results, max_auc="0.54"), "rmia").exit_code == 1


def test_the_advantage_has_the_limits_of_the_balanced_accuracy(make_run):
    figures = {"balanced_accuracy": 0.55, "balanced_accuracy_low": 0.5, "balanced_accuracy_high": 0.625}
    results = make_run(**figures)
    for limit, outcome in (("0.25", "within"), ("0.2499", "over")):
        gate = check(results, budgets_of(results, max_advantage=limit), "lira", releases=[PRUNED])
        assert gate.verdicts[0].outcome == outcome
        assert (gate.verdicts[0].value, gate.verdicts[0].high) == (pytest.approx(0.1), 0.25)


def test_members_ranked_last_are_pointed_out(make_run):
    results = make_run(0.4, auc=0.38, auc_low=0.36)
    notes = check(results, budgets_of(results, max_auc="0.6")).notes
    assert f"lira ranks members below non-members on {PRUNED}: check how membership was joined" in notes


def test_knowledge_that_comes_to_matched_is_found_there(make_run):
    results = make_run()
    pruned = results.findings["release"] == PRUNED
    results.findings.loc[pruned, "references"] = "dense"
    gate = check(results, budgets_of(results, max_auc="0.6"), references="dense")
    assert {(verdict.release, verdict.references) for verdict in gate.verdicts} == {
        ("dense", "matched"),
        (PRUNED, "dense"),
    }
    gate = check(results, budgets_of(results, max_auc="0.6"), references="adaptive")
    assert outcomes(gate) == {"dense": "within", PRUNED: "suppressed"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"attack": "lyra"}, r"--attack: got 'lyra' \(did you mean 'lira'\?\), expected one of: loss, .*, any"),
        ({"releases": ["l1unstructured-0.8"]}, r"--release: .*did you mean 'l1unstructured-0.9'"),
        ({"references": "mached"}, r"--references: got 'mached' \(did you mean 'matched'\?\)"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest_known(make_run, options, message):
    results = make_run()
    with pytest.raises(UserError, match=message):
        check(results, budgets_of(results, max_auc="0.6"), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no budget was given, expected at least one, such as: --max-tpr 1%:0.05 --max-auc 0.6"),
        ({"max_tpr": ["5%:10%"]}, "got the false-positive rate '5%', expected one that the run reports: 10%, 1%, 0.1%"),
        ({"max_tpr": ["0.05"]}, "expected FPR:BUDGET"),
        ({"max_tpr": ["1:5"]}, "got '5', expected a rate from 0 to 1"),
        ({"max_tpr": ["10%:1%"]}, r"at least .* guessing \(10.0%\)"),
        ({"max_auc": "0.4"}, r"at least .* guessing \(0.500\)"),
        ({"max_auc": "nan"}, "expected a rate from 0 to 1"),
        ({"max_advantage": "-0.1"}, "expected a rate from 0 to 1"),
    ],
)
def test_budgets_that_make_no_sense_are_refused(make_run, options, message):
    with pytest.raises(UserError, match=message):
        budgets_of(make_run(), **options)


def test_no_findings_are_no_pass(make_results):
    def edit(parts):
        parts["findings"] = parts["findings"].iloc[:0]

    results = make_results(edit)
    with pytest.raises(UserError, match="no findings"):
        check(results, budgets_of(results, max_auc="0.6"))


def test_one_budget_in_two_spellings_is_one(make_run):
    assert len(budgets_of(make_run(), max_tpr=["1%:0.05", "0.01:5%", " 1 % : .05 "])) == 1


@given(st.integers(0, 10**9), st.integers(0, 12))
def test_percent_and_fraction_name_the_same_number(digits, places):
    number = digits % (10**places + 1)
    fraction = f"{number / 10**places:.{places}f}" if places < 9 else f"{number}e-{places}"
    percent = f"{number}e{2 - places}%"
    assert parse_rate(percent, "x") == parse_rate(fraction, "x") == float(f"{number}e-{places}")


@given(st.text(alphabet="0129.eE%+-_ x٣²", max_size=12))
def test_any_text_is_a_rate_or_one_line(text):
    try:
        assert 0 <= parse_rate(text, "--max-auc") <= 1
    except UserError as error:
        assert str(error).startswith("--max-auc: got ")


def test_the_record_is_json_data_without_nan(make_run):
    results = make_run(math.nan)
    record = as_record(check(results, budgets_of(results, max_auc="0.6"), "lira"), "run")
    assert record["exit_code"] == 2
    assert [row["high"] for row in record["verdicts"]] == [0.55, None]


def test_names_cannot_break_out_of_the_summary(make_run):
    results = make_run()
    name = "a`|<b>\n# x"
    for table in (results.findings, results.releases):
        table.loc[table["release"] == "dense", "release"] = name
    lines = as_markdown(check(results, budgets_of(results, max_auc="0.6")), "run").splitlines()
    assert not any(line.startswith("# x") for line in lines)
    table = [line for line in lines if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {9}
