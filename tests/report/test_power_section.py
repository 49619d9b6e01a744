"""The section "Power against the number of references": sentences, table and figure, from rows that are known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.recorded_checks import PLANTED
from pruneaudit.report.conclusions.power import standings, uncharted_references
from pruneaudit.report.figures.by_references import leakage_by_references
from pruneaudit.report.page.html import render
from pruneaudit.report.sentences.power import power_words
from pruneaudit.report.tables.power import power_table

NAN = np.nan
NO_REFERENCES = "AUC: no member or no non-member has the references that the attack needs"
CURVES = {"lira": {2: 0.66, 8: 0.72, 15: 0.74}, "rmia": {2: 0.73, 8: 0.755, 15: 0.755}}
CHANGES = {("lira", 8): (0.05, 0.06, 0.07), ("lira", 15): (0.01, 0.02, 0.03), ("rmia", 15): (-0.001, 0.0, 0.001)}


def row(attack, count, value, samples="scored", kind="measured", why="", release="dense", metric="auc"):
    low, change, high = CHANGES.get((attack, count), (NAN, NAN, NAN)) if kind == "measured" else (NAN, NAN, NAN)
    return {
        **{"release": release, "references": "matched", "attack": attack, "kind": kind, "num_references": count},
        **{"samples": samples, "metric": metric, "value": value, "low": value - 0.01, "high": value + 0.01},
        **{"difference": change, "difference_low": low, "difference_high": high, "lowest": NAN, "highest": NAN},
        **{"share_scored": 0.5, "num_subsets": 5, "num_victims": 16, "suppressed": why},
    }


def rows(release="dense"):
    found = []
    for attack, curve in CURVES.items():
        for samples in ("scored", "common"):
            found.append(row(attack, 1, NAN, samples, why=NO_REFERENCES, release=release))
            found += [row(attack, count, value, samples, release=release) for count, value in curve.items()]
    found.append(row("lira", 64, 0.76, kind="extrapolated", release=release))
    found.append(row("lira", 500, NAN, kind="extrapolated", why="500 is more than 8 times 15", release=release))
    return found


@pytest.fixture
def with_power(results):
    return replace(results, power=pd.DataFrame([*rows(), *rows("l1unstructured-0.9")]))


def test_without_curves_the_report_says_how_many_references_there_were_and_how_to_draw_one(results):
    number = uncharted_references(results)
    assert number > 0
    (sentence,) = power_words(results)
    assert f"{number} references" in sentence
    assert "pruneaudit power RUN" in sentence
    page = render(results)
    assert "pruneaudit power RUN" in page
    assert "power-heading" not in page
    assert leakage_by_references(results) is None
    assert power_table(results.power) is None


def test_only_a_curve_that_is_shown_to_rise_supports_a_statement_on_weak_leaks(with_power):
    lira, rmia = standings(with_power)
    assert (lira.attack, lira.num_references, lira.fewer, lira.value) == ("lira", 15, 8, 0.74)
    assert (lira.direction, lira.understates_weak_leaks) == (1, True)
    assert (rmia.direction, rmia.understates_weak_leaks) == (0, False)
    assert lira.further.num_references == 64  # the furthest that is not refused
    said = " ".join(power_words(with_power))
    assert "+0.020 [+0.010, +0.030]" in said
    assert said.count("weak leaks") == 1
    assert "0.760 [0.750, 0.770]" in said
    flat = with_power.power.copy()
    flat.loc[flat["difference"] == 0.02, "difference_low"] = -0.001
    assert "weak leaks" not in " ".join(power_words(replace(with_power, power=flat)))
    only_rmia = with_power.power[with_power.power["attack"] == "rmia"].copy()
    only_rmia.loc[only_rmia["num_references"] == 15, "difference_low"] = 0.0005
    assert standings(replace(with_power, power=only_rmia))[0].direction == 1
    assert "weak leaks" not in " ".join(power_words(replace(with_power, power=only_rmia)))


def test_a_refused_extrapolation_has_its_reason(with_power):
    refused = with_power.power[with_power.power["num_references"] != 64]
    assert "500 is more than 8 times 15" in " ".join(power_words(replace(with_power, power=refused)))


def test_an_attack_that_failed_its_sanity_checks_supports_no_sentence(with_power):
    failed = [{"kind": PLANTED, "attack": "lira", "auc": 0.5, "passed": False}]
    distrusted = replace(with_power, about=with_power.about | {"sanity_checks": failed})
    assert [one.attack for one in standings(distrusted)] == ["rmia"]


def test_the_table_has_every_number_or_the_reason(with_power):
    table = power_table(with_power.power)
    assert len(table.lines) == 2 * (2 * 4 + 2)
    none, first, *_ = table.lines
    assert (none.num_references, none.cells[0].value) == (1, "")
    assert table.notes[none.cells[0].note - 1] == NO_REFERENCES
    assert (first.num_references, first.share_scored, first.cells[0].value) == (2, "50%", "0.660")
    assert table.lines[2].cells[1].stands_out
    far = next(line for line in table.lines if line.num_references == 500)
    assert far.is_extrapolated
    assert "8 times 15" in table.notes[far.cells[0].note - 1]


def test_the_figure_draws_measured_and_extrapolated_points(with_power):
    figure = leakage_by_references(with_power)
    assert [choice.name for choice in figure.choices] == ["dense", "l1unstructured-0.9"]
    data = figure.spec["data"]["values"]
    assert [datum["auc"] for datum in data] == [0.66, 0.72, 0.74, 0.73, 0.755, 0.755, 0.76]
    assert [datum["measured"] for datum in data] == [True] * 6 + [False]
    assert [round(datum["at"]) for datum in data] == [1, 3, 4, 1, 3, 4, 6]
    json.dumps(figure.spec, allow_nan=False)
    page = render(with_power)
    assert 'id="power-heading"' in page
    assert "leakage-by-references" in page
