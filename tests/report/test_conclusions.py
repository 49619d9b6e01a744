"""What may be concluded from small tables: directions, names and numbers, and which attacks found what."""

import io
import math
import re
from pathlib import Path

import pytest
from frontier_rows import BASELINE, PRUNED, frontier_row, with_frontier
from rich.console import Console

from pruneaudit.report.conclusions.changes import at_equal_accuracy, concluded, readings_of_changed
from pruneaudit.report.conclusions.collapsed import collapsed
from pruneaudit.report.conclusions.leakage import better_than_guessing, verdict
from pruneaudit.report.notebook import run_html
from pruneaudit.report.page.first_screen import first_screen
from pruneaudit.report.page.html import render
from pruneaudit.report.sentences.answer import answer
from pruneaudit.report.sentences.certainty import collapsed_words
from pruneaudit.report.sentences.counts import counted_changes
from pruneaudit.report.sentences.leakage import NO_PROOF
from pruneaudit.report.terminal import print_results

LESS, SAME, MORE = (-0.05, -0.06, -0.04), (0.001, -0.01, 0.012), (0.03, 0.02, 0.04)
NONE = (math.nan,) * 3


def showing(figures, references="matched"):
    """An edit: the paired differences of the pruned release to its baseline, by attack; others show none."""

    def edit(parts):
        table = parts["comparisons"]
        pair = (table["release"] == PRUNED) & (table["baseline"] == BASELINE) & (table["metric"] == "auc")
        table.loc[pair, ["difference", "low", "high"]] = SAME
        for attack, limits in figures.items():
            table.loc[pair & (table["attack"] == attack), ["difference", "low", "high"]] = limits
            table.loc[pair & (table["attack"] == attack), "references"] = references

    return edit


def text_of(results):
    return next(change.text for change in answer(results).changes if change.release == PRUNED)


@pytest.mark.parametrize(
    ("figures", "reading"),
    [
        ({}, "not shown"),
        ({"lira": LESS}, "less"),
        ({"lira": MORE, "loss": MORE}, "more"),
        ({"rmia": LESS}, "disagree"),
        ({"rmia": LESS, "loss": MORE}, "disagree"),
        ({"lira": LESS, "loss": MORE}, "disagree"),
        ({"lira": NONE}, "not compared"),
    ],
)
def test_the_reading_is_made_of_all_attacks(make_results, figures, reading):
    results = make_results(showing(figures))
    assert concluded(results, PRUNED, BASELINE).reading == reading
    line = next(line for line in first_screen(results).lines if line.release == PRUNED)
    assert line.reading == reading
    said = text_of(results)
    assert ("Attacks disagree" in said) == (reading == "disagree")


def test_no_difference_is_never_claimed_beside_one_that_was_found(make_results):
    results = make_results(showing({"rmia": LESS, "loss": MORE}))
    found = concluded(results, PRUNED, BASELINE)
    assert found.primary.attack == "lira"
    assert [shown.attack for shown in found.of_others(-1)] == ["rmia"]
    assert [shown.attack for shown in found.of_others(1)] == ["loss"]
    said = text_of(results)
    assert "RMIA (-0.050 [-0.060, -0.040]) shows less leakage" in said
    assert "loss (+0.030 [+0.020, +0.040]) shows more leakage" in said
    assert "disputed" in counted_changes(results, "dense")


def test_another_kind_of_references_counts_and_is_named(make_results):
    results = make_results(showing({"rmia": LESS}, references="dense"))
    assert [(shown.attack, shown.references) for shown in concluded(results, PRUNED, BASELINE).of_others(-1)] == [
        ("rmia", "dense")
    ]
    assert "RMIA, references dense (-0.050" in text_of(results)


def test_what_failed_its_controls_has_no_say(make_results):
    def edit(parts):
        showing({"rmia": LESS})(parts)
        parts["about"]["sanity_checks"] = [failed_row("rmia")]

    assert concluded(make_results(edit), PRUNED, BASELINE).reading == "not shown"


def failed_row(attack):
    row = {"attack": attack, "bank": "made-up bank", "kind": "null", "passed": False, "problem": "AUC 0.6"}
    return row | {"expected": "0.5", "auc": 0.6, "low": 0.59, "high": 0.61}


def test_nothing_is_concluded_from_a_primary_attack_that_failed_its_controls(make_results):
    def edit(parts):
        with_frontier(frontier_row(PRUNED, -0.03, -0.05, -0.01))(parts)
        parts["about"]["sanity_checks"] = [failed_row("lira")]

    results = make_results(edit)
    assert verdict(results, "dense") == "distrusted"
    assert "leak" not in answer(results).leakage.title
    assert "leak less" not in text_of(results)
    assert at_equal_accuracy(results, PRUNED).why_not == "distrusted"
    assert concluded(results, PRUNED, BASELINE).reading == "not compared"


def test_guessing_under_one_attack_is_not_guessing_under_all(make_results):
    def edit(parts):
        table = parts["findings"]
        of_lira = (table["attack"] == "lira") & (table["release"] == "dense")
        table.loc[of_lira, ["auc", "auc_low", "auc_high"]] = [0.505, 0.49, 0.52]
        rates = [column for column in table if str(column).startswith("tpr_at_")]
        table.loc[of_lira, rates] = math.nan

    results = make_results(edit)
    assert better_than_guessing(results, "dense") == ("loss", "confidence", "entropy", "modified_entropy", "rmia")
    assert verdict(results, "dense") == "disagree"
    for said in (answer(results).leakage.detail, answer(results).disagreement):
        assert "loss, confidence, entropy and 2 more do better" in said
        assert NO_PROOF not in said


@pytest.mark.parametrize(
    ("rows", "why_not"),
    [
        ([frontier_row(PRUNED, *NONE)], ["too accurate"]),
        ([frontier_row(PRUNED, -0.002, math.nan, 0.009), frontier_row("b", *NONE)], ["open", "too accurate"]),
        ([frontier_row(PRUNED, *NONE) | {"leakage": math.nan}], ["no figure"]),
    ],
)
def test_where_nothing_was_compared_at_equal_accuracy_the_reason_stands_instead(make_results, rows, why_not):
    results = make_results(with_frontier(*rows))
    assert [at_equal_accuracy(results, row["release"]).why_not for row in rows] == why_not
    said = counted_changes(results, "dense")
    assert "no release could be compared" in said.lower()
    assert "leak" not in said.replace("leakage", "")


def test_without_any_baseline_that_is_the_reason(make_results):
    def edit(parts):
        with_frontier(frontier_row(PRUNED, *NONE))(parts)
        parts["frontier"].loc[parts["frontier"]["is_baseline"] == 1, "leakage"] = math.nan

    assert at_equal_accuracy(make_results(edit), PRUNED).why_not == "no baseline"


def test_an_interval_without_a_lower_end_is_read_as_a_bound(make_results):
    results = make_results(with_frontier(frontier_row(PRUNED, -0.03, math.nan, -0.01)))
    line = next(line for line in first_screen(results).lines if line.release == PRUNED)
    assert (line.equal.interval, line.equal_reading) == ("[at most -0.010]", "less")


def test_a_network_that_did_not_learn_is_named_with_its_release(make_results):
    def edit(parts):
        table = parts["findings"]
        one = (table["release"] == PRUNED) & (table["victim"] == "1")
        table.loc[one, "test_accuracy"] = 0.094

    (found,) = collapsed(make_results(edit))
    assert (found.release, found.num_collapsed, found.num_networks, found.accuracy) == (PRUNED, 1, 2, 0.094)
    (said,) = collapsed_words(make_results(edit))
    assert "1 of 2 networks" in said and "9.4%" in said
    stream = io.StringIO()
    print_results(make_results(edit), Console(file=stream, width=200))
    for text in (stream.getvalue(), run_html(make_results(edit), Path("report.html")), render(make_results(edit))):
        assert said in " ".join(text.split())
    assert collapsed(make_results()) == ()


def test_the_groups_of_the_first_screen_hold_each_changed_release_once(make_results):
    rows = [frontier_row(PRUNED, -0.03, -0.05, -0.01), frontier_row("b", 0.03, 0.01, 0.05), frontier_row("c", *NONE)]
    results = make_results(with_frontier(*rows))
    assert readings_of_changed(results, "dense") == {PRUNED: "less", "b": "more", "c": "not compared"}
    groups = {group.words: [name for name, _ in group.releases] for group in first_screen(results).groups}
    assert list(groups.values()) == [[PRUNED], ["b"], ["c"]]
    facts = dict(first_screen(results).groups[0].releases)
    assert "78.9% accuracy" in facts[PRUNED]


def test_the_first_screen_says_why_releases_could_not_be_compared_as_the_terminal_does(make_results):
    rows = [frontier_row(PRUNED, -0.03, -0.05, -0.01), frontier_row("b", -0.04, math.nan, 0.003)]
    rows += [frontier_row("c", *NONE), frontier_row("d", *NONE)]
    results = make_results(with_frontier(*rows))
    less, unknown = first_screen(results).groups
    assert less.why == ""
    assert [name for name, _ in unknown.releases] == ["b", "c", "d"]
    assert re.match(r"1 has no .* in enough resamples and 2 are more accurate", unknown.why)
    assert f"({unknown.why})" in answer(results).counts
    page = " ".join(re.sub("<[^>]+>", " ", render(results)).split())
    assert f"{unknown.words} ({unknown.why}) b " in page


def test_no_reason_of_equal_accuracy_stands_beside_paired_comparisons(make_results):
    def edit(parts):
        parts["comparisons"][["difference", "low", "high"]] = math.nan

    results = make_results(edit)
    (unknown,) = first_screen(results).groups
    assert ([name for name, _ in unknown.releases], unknown.why) == ([PRUNED], "")
