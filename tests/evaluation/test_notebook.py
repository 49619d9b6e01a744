"""What a notebook shows: HTML that parses, in which no name is taken for markup."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pruneaudit.api.writing import Run
from pruneaudit.evaluation import Audit, audit
from pruneaudit.evaluation.notebook import MAX_ROWS
from pruneaudit.report.sentences.answer import answer
from pruneaudit.signals.signals import Signals

EVIL = "<script>alert('x')</script>&\"`"


def text_of(html):
    return " ".join(" ".join(ElementTree.fromstring(html).itertext()).split())


def test_an_audit_shows_every_mean_row_and_marks_the_primary_attack():
    rng = np.random.default_rng(0)
    member = rng.random((4, 80)) < 0.5
    labels = np.arange(80) % 3
    logits = rng.normal(size=(4, 80, 3)) + 2 * member[..., None] * np.eye(3)[labels]
    found = audit(Signals(logits=logits, labels=labels, member=member), attacks=["loss", "lira"], fpr_levels=[0.3])
    html = found._repr_html_()
    tree = ElementTree.fromstring(html)
    row = found.findings[(found.findings["attack"] == "lira") & (found.findings["victim"] == "mean")].iloc[0]
    assert f"{row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}]" in text_of(html)
    assert [cell.text for cell in tree.iter("th")][3:5] == ["AUC", "TPR at 30% FPR"]
    assert [name.text for name in tree.iter("strong")] == [found.results.about["primary"]["attack"]]
    assert len(list(tree.iter("tr"))) == 1 + 2
    assert found.results._repr_html_() == html


def test_a_run_gives_the_answer_of_its_report_and_says_where_that_is(results):
    html = Run(Path("runs/fashion"), Audit(results, ()), 0, ("train 3: <killed>",))._repr_html_()
    text, told = text_of(html), answer(results)
    for said in (told.leakage.title, told.leakage.detail, told.counts, *(change.text for change in told.changes)):
        assert " ".join(said.split()) in text
    assert "failed: train 3: <killed>" in text
    assert str(Path("runs/fashion/report.html")) in text


def test_the_text_beside_the_html_counts_instead_of_printing_all_scores(results):
    releases, attacks = results.findings["release"].nunique(), results.findings["attack"].nunique()
    failed = repr(Run(Path("runs/fashion"), Audit(results, ()), 0, ("train 3: killed",)))
    for text in (repr(results), repr(Audit(results, ())), failed):
        assert f"{releases} releases, {attacks} attacks" in text
        assert len(text) < 100
    assert str(Path("runs/fashion")) in failed
    assert "1 failed task" in failed


@pytest.mark.parametrize("column", ["release", "references", "attack", "suppressed"])
def test_no_name_is_taken_for_markup(results, column):
    results.findings[column] = EVIL
    for shown in (results, Run(Path(EVIL), Audit(results, ()), 0, (EVIL,))):
        tree = ElementTree.fromstring(shown._repr_html_())
        assert not list(tree.iter("script"))
        assert EVIL in ElementTree.tostring(tree, "unicode", "text") or column == "suppressed"


def test_nothing_to_show_and_far_too_much(make_results):
    def none(parts):
        parts["findings"] = parts["findings"].iloc[:0]

    def many(parts):
        parts["findings"] = parts["findings"].loc[np.repeat(parts["findings"].index, 10)]

    assert len(list(ElementTree.fromstring(make_results(none)._repr_html_()).iter("tr"))) == 1
    html = make_results(many)._repr_html_()
    assert len(list(ElementTree.fromstring(html).iter("tr"))) == 1 + MAX_ROWS
    assert "120 more rows in the findings." in text_of(html)
