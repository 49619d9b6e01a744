import math

import numpy as np
import pandas as pd
import pytest

from pruneaudit.report.quantities import AUC, TEST_ACCURACY, headline_tpr, sparsity_text, tpr_quantities
from pruneaudit.report.selection import resolution
from pruneaudit.report.tables.cells import NO_REASON, NO_STEP, NOT_RECORDED
from pruneaudit.report.tables.findings import differences_table, findings_table, refusals
from pruneaudit.report.tables.releases import releases_table


@pytest.mark.parametrize(
    ("sparsity", "text"),
    [
        (0.0, "0%"),
        (0.9, "90%"),
        (0.975, "97.5%"),
        (0.99996, "99.996%"),
        (0.0002, "0.02%"),
        (1.0, "100%"),
    ],
)
def test_sparsity(sparsity, text):
    assert sparsity_text(sparsity) == text


@pytest.mark.parametrize(
    ("quantity", "value", "text"),
    [(AUC, -0.12, "-0.120"), (AUC, -0.0004, "+0.000"), (TEST_ACCURACY, -0.0312, "-3.1 points"), (AUC, 0.1, "+0.100")],
)
def test_differences_carry_their_sign_and_zero_has_none_below(quantity, value, text):
    assert quantity.difference(value) == text


def test_a_missing_limit_gives_no_interval():
    assert AUC.interval(0.5, math.nan) == ""
    assert AUC.interval(0.5, 0.6) == "[0.500, 0.600]"


@pytest.mark.parametrize(
    ("columns", "level"),
    [(["tpr_at_10%_fpr", "tpr_at_1%_fpr", "tpr_at_0.1%_fpr"], 0.01), (["tpr_at_10%_fpr", "tpr_at_5%_fpr"], 0.05)],
)
def test_summaries_show_one_percent_or_the_lowest_level(columns, level):
    assert headline_tpr(columns).level == pytest.approx(level)


def test_limits_of_a_rate_are_no_rates_of_their_own():
    assert [q.title for q in tpr_quantities(["tpr_at_1%_fpr", "tpr_at_1%_fpr_low", "auc"])] == ["TPR at 1% FPR"]


def test_every_mean_finding_has_its_line_with_its_numbers(results):
    table = findings_table(results)
    means = results.findings[results.findings["victim"] == "mean"]
    lines = [(group.release, row) for group in table.groups for row in group.rows]
    assert len(lines) == len(means)
    for (release, line), (_, row) in zip(lines, means.iterrows(), strict=True):
        assert (release, line.head) == (row["release"], row["attack"])
        auc = line.cells[table.columns.index("AUC")]
        assert (auc.value, auc.interval) == (f"{row['auc']:.3f}", f"[{row['auc_low']:.3f}, {row['auc_high']:.3f}]")
        suppressed = line.cells[table.columns.index("TPR at 0.1% FPR")]
        assert suppressed.value == ""
        assert table.notes[suppressed.note - 1] == row["suppressed"]


def test_a_missing_number_without_a_reason_still_leads_to_one(make_results):
    def edit(parts):
        parts["findings"]["suppressed"] = ""

    table = findings_table(make_results(edit))
    assert table.notes == (NO_REASON,)


def test_differences_stand_out_only_where_the_interval_excludes_zero(results):
    table = differences_table(results)
    assert [(group.release, group.against) for group in table.groups] == [
        ("dense+finetune", "dense"), ("l1unstructured-0.9", "dense"), ("l1unstructured-0.9", "dense+finetune"),
    ]  # fmt: skip
    control, *pruned = table.groups
    metrics = len(table.columns) - 1
    assert not any(cell.stands_out for row in control.rows for cell in row.cells)
    assert all(cell.stands_out for group in pruned for row in group.rows for cell in row.cells[:metrics])
    assert (control.extra.value, control.extra.interval) == ("-3.1", "[-3.6, -2.6]")


def test_releases_say_why_a_step_has_no_accuracy(results):
    lines, notes = releases_table(results)
    dense, _, pruned = lines
    assert [cell.value for cell in pruned.cells[2:]] == ["83.4%", "41.0%", "78.9%"]
    assert [cell.value for cell in dense.cells[2:]] == ["83.4%", "", ""]
    assert notes[dense.cells[3].note - 1] == NO_STEP
    assert (pruned.sparsity.value, pruned.nonzero.value) == ("90%", "6,171 of 61,706")


def test_a_release_from_which_nothing_was_removed_shows_its_bits(make_results):
    def rounded(parts):
        parts["releases"]["sparsity"] = parts["releases"]["sparsity_all"] = 0.0
        parts["releases"]["effective_bits"] = [32.0, 32.0, 4.256]

    lines, _ = releases_table(make_results(rounded))
    assert [(line.sparsity.value, line.sparsity.interval) for line in lines] == [
        ("0%", ""),
        ("0%", ""),
        ("0%", "4.26 bits per weight"),
    ]


def test_sparsity_is_shown_of_the_prunable_weights_and_of_all_parameters(make_results):
    def edit(parts):
        parts["releases"]["sparsity_all"] = [0.0, 0.0, 0.24]

    lines, _ = releases_table(make_results(edit))
    assert [(line.sparsity.value, line.sparsity.interval[:3]) for line in lines] == [
        ("0%", ""),
        ("0%", ""),
        ("90%", "24%"),
    ]


def test_what_was_not_recorded_is_said(make_results):
    def edit(parts):
        parts["releases"]["sparsity"] = np.nan
        parts["releases"]["nonzero_parameters"] = np.nan

    lines, notes = releases_table(make_results(edit))
    assert {notes[cell.note - 1] for line in lines for cell in (line.sparsity, line.nonzero)} == {NOT_RECORDED}


def test_a_missing_figure_leads_to_the_reasons_that_name_it(make_results):
    both = "TPR at 0.1% FPR: too few; balanced accuracy: no threshold"

    def edit(parts):
        parts["findings"]["suppressed"] = both
        parts["findings"][["balanced_accuracy", "advantage"]] = np.nan

    table = findings_table(make_results(edit))
    cells = dict(zip(table.columns, table.groups[0].rows[0].cells, strict=True))
    reason = {title: table.notes[cell.note - 1] for title, cell in cells.items() if cell.note}
    assert reason == {
        "TPR at 0.1% FPR": "TPR at 0.1% FPR: too few",
        "Balanced accuracy": "balanced accuracy: no threshold",
        "Advantage": both,
    }


def test_the_pooled_table_has_no_column_that_is_never_measured(make_results):
    def edit(parts):
        pooled = parts["findings"]["victim"] == "pooled"
        parts["findings"].loc[pooled, ["balanced_accuracy", "advantage"]] = np.nan

    assert "Balanced accuracy" in findings_table(make_results(), "pooled").columns
    columns = findings_table(make_results(edit), "pooled").columns
    assert not {"Balanced accuracy", "Advantage"} & set(columns)
    assert {"AUC", "TPR at 0.1% FPR"} <= set(columns), "a refused level stays, with its reason"


def test_the_base_is_not_compared_a_second_time_the_other_way_round(make_results):
    def edit(parts):
        table = parts["comparisons"]
        mirrored = table[table["release"] == "dense+finetune"].assign(release="dense", baseline="dense+finetune")
        parts["comparisons"] = pd.concat([mirrored, table])

    assert differences_table(make_results(edit)) == differences_table(make_results())


def test_refusals_are_counted_by_reason(make_results):
    def edit(parts):
        parts["findings"]["suppressed"] = ""
        parts["findings"].loc[:2, "suppressed"] = "too few non-members; no references"

    assert refusals(make_results(edit)) == (
        ("too few non-members", "3 rows: loss"),
        ("no references", "3 rows: loss"),
    )


def test_the_resolution_is_that_of_the_fewest_non_members(make_results):
    def edit(parts):
        table = parts["findings"]
        table.loc[(table["victim"] == "mean") & (table["attack"] == "lira"), "num_nonmembers"] = 500

    assert resolution(make_results(edit)) == pytest.approx(0.02)
    nothing = make_results(lambda parts: parts["findings"].update({"num_nonmembers": np.zeros(len(parts["findings"]))}))
    assert math.isnan(resolution(nothing))
