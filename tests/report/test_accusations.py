"""What an accusation is worth, as the page tells it: the figures of ppv.csv, and which is which."""

import math

import pandas as pd
import pytest

from pruneaudit.evaluation.columns import PPV_COLUMNS
from pruneaudit.evaluation.results import Results
from pruneaudit.report.page.html import render
from pruneaudit.report.tables.accusations import accusations


def row(attack="lira", release="dense", fpr=0.01, prior=0.1, **more):
    found = {"release": release, "references": "matched", "attack": attack, "fpr": fpr, "prior": prior}
    found |= {"ppv": 0.5, "low": 0.4, "high": 0.6, "num_accused": 16, "suppressed": ""}
    found |= {"learned_ppv": 0.375, "learned_ppv_sd": 0.081, "learned_ppv_min": 0.2, "learned_ppv_max": 0.625}
    found |= {"learned_tpr": 0.1, "learned_fpr": 0.0175, "learned_fpr_min": 0.0025, "learned_fpr_max": 0.0425}
    return found | more


@pytest.fixture
def make_run(make_results):
    return lambda *rows: make_results(lambda parts: parts.update(ppv=pd.DataFrame(rows)))


def test_both_thresholds_stand_beside_each_other_under_the_primary_attack(make_run):
    table = accusations(make_run(row("rmia"), row(), row(fpr=0.1), row(prior=0.5, release="l1unstructured-0.9")))
    assert (table.attack, table.level) == ("lira", "1%")
    assert [(line.release, line.prior) for line in table.lines] == [("dense", "10%"), ("l1unstructured-0.9", "50%")]
    line = table.lines[0]
    assert (line.own.value, line.own.interval) == ("50.0%", "[40.0, 60.0]")
    assert (line.learned.value, line.learned.interval) == ("37.5%", "(SD 8.1)")
    assert line.worst.value == "62.5%"
    assert (line.realised.value, line.realised.interval) == ("1.75%", "[0.25, 4.25]")


def test_what_references_cannot_teach_has_its_reason(make_run):
    missing = {name: math.nan for name in row() if name.startswith("learned")}
    why = "no references on which a threshold could be learned"
    table = accusations(make_run(row(**missing, suppressed=why)))
    assert table.lines[0].own.value == "50.0%"
    assert table.notes == (why,)
    assert {table.lines[0].learned.note, table.lines[0].worst.note, table.lines[0].realised.note} == {1}


def test_the_page_has_the_table_where_there_is_one(make_run, results):
    text = render(make_run(row()))
    assert 'id="accusations-title"' in text
    assert all(figure in text for figure in ("50.0%", "37.5%", "62.5%", "1.75%"))
    assert 'id="accusations-title"' not in render(results)


def test_a_table_of_an_older_run_is_read_without_the_learned_figures(make_run, tmp_path):
    run = make_run(row())
    run.save(tmp_path)
    file = tmp_path / "ppv.csv"
    pd.read_csv(file)[list(PPV_COLUMNS)].to_csv(file, index=False)
    table = accusations(Results.load(tmp_path))
    assert (table.lines[0].own.value, table.lines[0].learned.value) == ("50.0%", "")
