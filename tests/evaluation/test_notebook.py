"""What a notebook shows: HTML that parses, in which no name is taken for markup."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from pruneaudit.api.writing import Run
from pruneaudit.evaluation import Audit, audit
from pruneaudit.evaluation.notebook import MAX_ROWS
from pruneaudit.signals.signals import Signals

EVIL = "<script>alert('x')</script>&\"`"


def text_of(html):
    return " ".join(" ".join(ElementTree.fromstring(html).itertext()).split())


def test_an_audit_says_its_answer_and_shows_every_mean_row():
    rng = np.random.default_rng(0)
    member = rng.random((4, 80)) < 0.5
    labels = np.arange(80) % 3
    logits = rng.normal(size=(4, 80, 3)) + 2 * member[..., None] * np.eye(3)[labels]
    found = audit(Signals(logits=logits, labels=labels, member=member), attacks=["loss", "lira"], fpr_levels=[0.3])
    html = found._repr_html_()
    row = found.findings[(found.findings["attack"] == "lira") & (found.findings["victim"] == "mean")].iloc[0]
    figure = f"{row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}]"
    assert f"lira on signals tells members from non-members: AUC {figure}." in text_of(html)
    assert [cell.text for cell in ElementTree.fromstring(html).iter("th")][3:5] == ["AUC", "TPR at 30% FPR"]
    assert len(list(ElementTree.fromstring(html).iter("tr"))) == 1 + 2
    assert found.results._repr_html_() == html


def test_a_run_gives_the_answer_of_its_report_and_says_where_that_is(results):
    html = Run(Path("runs/fashion"), Audit(results, ()), 0, ("train 3: <killed>",))._repr_html_()
    text = text_of(html)
    assert "The dense networks leak: LiRA tells members from non-members with AUC 0.720" in text
    assert "l1unstructured-0.9 : Pruned to 90% sparsity" in text
    assert "failed: train 3: <killed>" in text
    assert str(Path("runs/fashion/report.html")) in text


@pytest.mark.parametrize("column", ["release", "references", "attack", "suppressed"])
def test_no_name_is_taken_for_markup(results, column):
    results.findings[column] = EVIL
    for shown in (results, Run(Path(EVIL), Audit(results, ()), 0, (EVIL,))):
        tree = ElementTree.fromstring(shown._repr_html_())
        assert not list(tree.iter("script"))
        assert EVIL in ElementTree.tostring(tree, "unicode", "text") or column == "suppressed"


@pytest.mark.parametrize(
    ("auc", "words"),
    [
        ((0.52, 0.49, 0.55), "was not shown to do better than guessing: AUC 0.520 [0.490, 0.550]."),
        ((0.4, 0.3, 0.45), "ranks members below non-members"),
        ((np.nan, np.nan, np.nan), "gave no figure: TPR at 0.1% FPR"),
        ((0.8, np.nan, np.nan), "was not shown to do better than guessing: AUC 0.800."),
    ],
)
def test_the_sentence_claims_no_more_than_the_interval(results, auc, words):
    results.findings[["auc", "auc_low", "auc_high"]] = auc
    assert words in text_of(results._repr_html_())


def test_nothing_to_show_and_far_too_much(make_results):
    def none(parts):
        parts["findings"] = parts["findings"].iloc[:0]

    def many(parts):
        parts["findings"] = parts["findings"].loc[np.repeat(parts["findings"].index, 10)]

    assert "nothing to say about leakage" in text_of(make_results(none)._repr_html_())
    html = make_results(many)._repr_html_()
    assert len(list(ElementTree.fromstring(html).iter("tr"))) == 1 + MAX_ROWS
    assert "120 more rows in the findings." in text_of(html)
