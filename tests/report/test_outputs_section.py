"""The section "What hiding outputs buys": its sentences, its table and its figure, from rows that are known."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.recorded_checks import PLANTED
from pruneaudit.report.conclusions.outputs import hiding_outputs
from pruneaudit.report.figures.by_outputs import leakage_by_outputs
from pruneaudit.report.page.html import render
from pruneaudit.report.sentences.outputs import hiding_words
from pruneaudit.report.tables.outputs import outputs_table

TPR = "tpr_at_1%_fpr"
STEPS = {
    "logits": (0.72, None),
    "round:2": (0.721, (0.001, -0.002, 0.004)),
    "top:1": (0.70, (-0.02, -0.03, -0.01)),
    "round:1": (0.73, (0.01, 0.005, 0.015)),
    "label": (0.51, (-0.21, -0.23, -0.19)),
}
"""AUC at each kind of outputs, and its difference from the stored ones."""
TIES = "TPR at 1% FPR: more than 1% of the non-members share the highest score"


def rows(attack="lira", release="dense"):
    found = []
    for outputs, (value, change) in STEPS.items():
        which = {"release": release, "references": "matched", "attack": attack, "outputs": outputs, "num_victims": 16}
        change = change or (np.nan,) * 3
        limits = dict(zip(("difference", "difference_low", "difference_high"), change, strict=True))
        auc = {"metric": "auc", "value": value, "low": value - 0.02, "high": value + 0.02, "suppressed": ""}
        found.append({**which, **auc, **limits, "tied": 0.0})
        is_tied = outputs == "label"
        rate = {"value": np.nan if is_tied else 0.1, "low": 0.08, "high": 0.12, "suppressed": TIES if is_tied else ""}
        none = dict.fromkeys(limits, np.nan)
        found.append({**which, "metric": TPR, **rate, **(none if is_tied else limits), "tied": 0.7 * is_tied})
    return found


@pytest.fixture
def with_outputs(results):
    return replace(results, outputs=pd.DataFrame([*rows(), *rows("loss"), *rows(release="l1unstructured-0.9")]))


def test_without_the_table_there_is_no_section(results):
    assert outputs_table(results) is None
    assert leakage_by_outputs(results) is None
    assert hiding_words(results) == ()
    assert "outputs-heading" not in render(results)


def test_a_direction_is_stated_only_where_the_interval_excludes_the_other(with_outputs):
    found = hiding_outputs(with_outputs)
    assert (found.attack, found.release, found.stored, found.stored_value) == ("lira", "dense", "logits", 0.72)
    assert {one.outputs: one.direction for one in found.steps} == {"round:2": 0, "top:1": -1, "round:1": 1, "label": -1}
    lower, same, higher, lost = hiding_words(with_outputs)[1:]
    assert re.findall(r"(?:round|top):\d|label", lower) == ["top:1", "label"]
    assert "-0.210 [-0.230, -0.190]" in lower
    assert re.findall(r"(?:round|top):\d|label", same) == ["round:2"]
    assert re.findall(r"(?:round|top):\d|label", higher) == ["round:1"]
    assert re.findall(r"(?:round|top):\d|label", lost) == ["label"]  # its interval holds one half


def test_an_attack_that_failed_its_sanity_checks_supports_no_sentence(with_outputs):
    failed = [{"kind": PLANTED, "attack": "lira", "auc": 0.5, "passed": False}]
    assert hiding_words(with_outputs)
    distrusted = replace(with_outputs, about=with_outputs.about | {"sanity_checks": failed})
    assert hiding_words(distrusted) == ()


def test_the_table_has_every_number_or_the_reason(with_outputs):
    table = outputs_table(with_outputs)
    assert [quantity.column for quantity in table.quantities] == ["auc", TPR]
    assert len(table.lines) == 3 * len(STEPS)
    first, last = table.lines[0], table.lines[len(STEPS) - 1]
    assert (first.outputs, first.cells[0].value, first.cells[1].value) == ("logits", "0.720", "")
    assert (last.outputs, last.cells[0].value, last.cells[1].value) == ("label", "0.510", "-0.210")
    assert last.cells[1].stands_out
    assert TIES in table.notes[last.cells[2].note - 1]
    assert not table.lines[1].cells[1].stands_out


def test_the_page_shows_it_and_its_figure(with_outputs):
    page = render(with_outputs)
    assert 'href="#outputs-heading"' in page
    figure = leakage_by_outputs(with_outputs)
    assert [choice.name for choice in figure.choices] == ["dense", "l1unstructured-0.9"]
    data = json.dumps(figure.spec["data"])
    assert [data.count(f'"outputs": "{name}"') for name in STEPS] == [2] * len(STEPS)  # two attacks
    altair = pytest.importorskip("altair")
    for choice in figure.choices:
        altair.Root.validate(choice.spec)
