"""A report on one network calls nothing a mean, and claims equal accuracy only with networks of similar accuracy."""

import io

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from pruneaudit.evaluation.columns import FRONTIER_COLUMNS
from pruneaudit.report.conclusions.changes import none_is_similar
from pruneaudit.report.conclusions.next_steps import next_steps
from pruneaudit.report.figures.by_release import leakage_by_release
from pruneaudit.report.page.first_screen import first_screen
from pruneaudit.report.sentences.agreement import agreement_words
from pruneaudit.report.sentences.counts import counted_changes
from pruneaudit.report.sentences.leakage import leakage_words
from pruneaudit.report.sentences.next_steps import next_step_words
from pruneaudit.report.sentences.power import power_words
from pruneaudit.report.summary.content import Limits, summary_of
from pruneaudit.report.terminal import print_results

PRUNED = "l1unstructured-0.9"
FILES = {"dense": {"name": "prod.pt", "sha256": "ab"}, PRUNED: {"name": "small.pt", "sha256": "cd"}}


def with_accuracies(parts, accuracies):
    """Adds a frontier with these (release, accuracy, is a baseline) rows; all others leak 0.1 less than dense."""
    table = pd.DataFrame(accuracies, columns=["release", "test_accuracy", "is_baseline"])
    table = table.assign(metric="auc", attack="lira", references="matched", leakage=0.6, suppressed="", num_victims=16)
    table["difference"] = np.where(table["is_baseline"] == 1, 0.0, -0.1)
    limits = np.where(table["is_baseline"] == 1, np.nan, 0.01)
    table["difference_low"], table["difference_high"] = table["difference"] - limits, table["difference"] + limits
    parts["frontier"] = table.reindex(columns=FRONTIER_COLUMNS)


@pytest.fixture
def one_network(make_results):
    """Results of one network per release; with a target, the user's files."""

    def build(accuracy=None, target=True, function=None):
        def edit(parts):
            parts["findings"]["num_victims"] = 1
            if target:
                parts["about"]["target"] = {"name": "prod.pt", "num_members": 9, "num_references": 4, "files": FILES}
            if function:
                parts["about"]["study"]["training"] = {"function": function}
            if accuracy:
                with_accuracies(parts, [("dense", 0.8, 1), (PRUNED, accuracy, 0)])

        return make_results(edit)

    return build


def printed(results):
    console = Console(file=io.StringIO(), width=100)
    print_results(results, console)
    return console.file.getvalue()


def texts_of(results):
    return [
        printed(results),
        *(said for part in summary_of(results, "0" * 64, Limits()).parts for said in part.said),
        *(table.caption for part in summary_of(results, "0" * 64, Limits()).parts for table in part.tables),
        leakage_by_release(results).caption,
        *power_words(results),
    ]


@pytest.mark.parametrize("target", [True, False])
def test_nothing_is_called_a_mean_where_one_network_was_attacked(one_network, make_results, target):
    of_several = " ".join(texts_of(make_results()))
    assert "over victims" in of_several
    for text in texts_of(one_network(target=target)):
        assert not any(words in text for words in ("over victims", "over networks", "per network"))


def test_the_users_model_is_named_with_its_file_at_first(one_network):
    results = one_network()
    assert "prod.pt" in leakage_words(results, "dense").title
    assert "prod.pt" in printed(results).splitlines()[0]
    assert not any("dense network" in said for said in agreement_words(results))
    assert next(line for line in first_screen(results).lines if line.release == "dense").made.endswith("prod.pt")


def test_each_fact_of_the_target_is_told_once_in_the_summary(one_network):
    facts = [fact for part in summary_of(one_network(), "0" * 64, Limits()).parts for fact in part.facts]
    assert [fact.label for fact in facts].count("Target") == 1
    assert "Networks" not in [fact.label for fact in facts]
    assert next(fact.text for fact in facts if fact.label == "Releases").startswith("dense (prod.pt)")


@pytest.mark.parametrize("target", [True, False])
def test_without_a_network_of_similar_accuracy_nothing_is_claimed_at_equal_accuracy(one_network, target):
    results = one_network(0.7, target)
    assert none_is_similar(results)
    screen = first_screen(results)
    assert not screen.with_equal
    assert all(line.equal is None for line in screen.lines)
    said = counted_changes(results, "dense")
    assert "At equal accuracy" not in said
    assert said.count("similar accuracy") == 1
    assert screen.far[1] == ()


def test_near_networks_are_compared_at_equal_accuracy(one_network):
    results = one_network(0.79)
    assert not none_is_similar(results)
    assert first_screen(results).with_equal
    assert "equal accuracy" in counted_changes(results, "dense")


def test_the_next_step_follows_from_what_is_shown(one_network):
    kinds = [step.kind for step in next_steps(one_network(0.7))]
    assert kinds[:3] == ["compare at equal accuracy", "choose at lower accuracy", "or add a defence"]
    assert "train weaker baselines" not in kinds
    assert next_steps(one_network(0.79))[0].kind == "choose a release"


def test_the_advice_on_a_weaker_network_is_one_that_the_study_accepts(one_network):
    by_epochs, by_model = (next_step_words(one_network(0.7, function=f))[0] for f in (None, "train:fit"))
    assert "epochs" in by_epochs.text
    assert "epochs" not in by_model.text
    assert "model" in by_model.text
    assert by_epochs.releases == by_model.releases == (PRUNED,)
