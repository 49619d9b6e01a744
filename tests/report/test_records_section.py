"""The section "Records that can be named": sentences and tables from rows that are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.columns import VERDICT_COLUMNS
from pruneaudit.report.conclusions.records import judged
from pruneaudit.report.page.html import render
from pruneaudit.report.samples import Samples
from pruneaudit.report.sentences.records import percent
from pruneaudit.report.tables.records import NONE_NAMED, NUM_SHOWN, record_tables

NAN = np.nan


def row(kind="model", release="dense", victim="0", named=0, wrong=NAN, **more):
    values = dict.fromkeys(VERDICT_COLUMNS, NAN)
    values |= {"kind": kind, "release": release, "references": "matched", "victim": victim, "score": "rmia"}
    values |= {"fdr": 0.1, "num_victims": 1, "num_records": 2000, "num_nulls": 999, "num_references": 15}
    values |= {"smallest_p": 0.001, "fewest": 20, "num_named": named, "num_named_nonmembers": wrong}
    if named:
        values |= {"share_nonmembers": wrong / named, "ppv_at_1%": 0.25, "ppv_at_10%": 0.75, "agreement_named": 0.5}
    return values | {"repeats": "", "suppressed": ""} | more


LISTS = [
    row(victim="0", named=40, wrong=4),
    row(victim="1", named=80, wrong=2),
    row(victim="2", wrong=0),
    row(release="pruned", victim="", suppressed="needs 200 or more nulls, got 150"),
    row("recipe", victim="", named=7, wrong=NAN, num_victims=14, num_references=0, smallest_p=1 / 3432, fewest=7),
    row("recipe", "pruned", victim="", num_victims=2, num_references=0, smallest_p=0.5, fewest=NAN),
]


@pytest.fixture
def with_verdicts(results):
    return replace(results, verdicts=pd.DataFrame(LISTS))


def test_without_verdicts_there_is_no_section(results):
    assert record_tables(results.verdicts) is None
    assert "records-heading" not in render(results)


def test_figures_are_means_over_networks_with_their_range(with_verdicts):
    dense, pruned, *recipes = judged(with_verdicts.verdicts)
    assert (dense.num_lists, dense.mean("num_named")) == (3, 40)
    wrong = dense.figures["share_nonmembers"]  # an empty list has no wrong name
    assert (wrong.mean, wrong.lowest, wrong.highest) == (pytest.approx((0.1 + 0.025 + 0) / 3), 0, 0.1)
    assert dense.figures["ppv_at_1%"].number == 2
    assert (pruned.num_lists, pruned.suppressed) == (0, "needs 200 or more nulls, got 150")
    assert [one.kind for one in recipes] == ["recipe", "recipe"]
    tables = record_tables(with_verdicts.verdicts)
    shown = dict(zip(tables.model_columns, tables.of_models[0].cells, strict=True))
    assert (shown["Named"].value, shown["Named"].interval) == ("40", "[0, 80]")
    assert shown["Non-members among them"].interval == "[0%, 10%]"
    assert "Agreement of seeds" not in tables.model_columns  # no release repeats another
    assert tables.num_named == 120
    missing = tables.of_models[1].cells[0]
    assert "150" in tables.notes[missing.note - 1]
    brief = record_tables(with_verdicts.verdicts, is_brief=True)
    assert set(brief.model_columns) < set(tables.model_columns)


def test_sentences_say_how_many_how_wrong_and_how_few_is_possible(with_verdicts):
    said = record_tables(with_verdicts.verdicts).said
    model, shortest, each_list, recipe, floor = said
    assert all(part in model for part in ("40.0 of 2,000", "dense", "10%", "(0 to 80)", "4.2%"))
    assert "20 records" in shortest and "0.001" in shortest
    assert "3 lists" in each_list
    assert "7 of 2,000" in recipe and "14 networks" in recipe
    assert "7 samples" in floor
    one = record_tables(pd.DataFrame([row(named=40, wrong=1)])).said
    assert "40 of 2,000" in one[0] and "1 of them is a non-member" in one[0]
    assert len(one) == 2  # one list is one family
    none = record_tables(pd.DataFrame([row(wrong=0, fewest=NAN)]))
    assert "no record" in none.said[0] and "0.001" in none.said[1]
    assert NONE_NAMED in none.notes


def test_names_are_listed_only_where_they_were_asked_for(with_verdicts):
    assert "row-7" not in render(with_verdicts)
    named = [
        {
            "kind": "model",
            "release": "dense",
            "victim": "0",
            "id": f"row-{n}",
            "class": "3",
            "p": "0.001",
            "q": f"0.0{n}",
        }
        for n in range(1, 13)
    ]
    samples = Samples(classes=("a", "b", "c", "<d>"), named=tuple(named))
    (listed,) = record_tables(with_verdicts.verdicts, samples).named
    assert (listed.num_named, len(listed.lines)) == (12, NUM_SHOWN)
    assert [line.sample_id for line in listed.lines[:3]] == ["row-1", "row-10", "row-11"]  # q: .01, .010, .011
    assert listed.lines[0].class_name == "<d>"
    page = render(with_verdicts, samples)
    assert "row-7" in page and "&lt;d&gt;" in page and "<d>" not in page


@pytest.mark.parametrize(("share", "text"), [(0.1, "10%"), (0.0421, "4.2%"), (0, "0%"), (1, "100%"), (NAN, "")])
def test_shares_are_percentages(share, text):
    assert percent(share) == text
