"""Bounds on epsilon are shown with what they hold for: on the page, in the terminal, in the summary, in the table."""

import io
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from pruneaudit.evaluation.canaries import DP_SGD, EVERY, GAUSSIAN, HYPOTHESES, MANY_RUNS, ONE_RUN
from pruneaudit.report.page.html import render
from pruneaudit.report.selection import primary_attack, release_names
from pruneaudit.report.sentences.canaries import NO_BOUND, canary_words
from pruneaudit.report.summary.content import Limits, summary_of
from pruneaudit.report.terminal import print_results


def rows(release, attack, bounds, thresholds="bonferroni"):
    which = {"release": release, "references": "matched", "attack": attack, "num_canaries": 100, "num_victims": 4}
    counts = {"delta": 1e-5, "guesses": 50, "correct": 47, "high": np.nan}
    return [
        which
        | counts
        | {"victim": EVERY, "figure": figure, "value": value, "low": value}
        | {"thresholds": "" if figure == MANY_RUNS else thresholds, "hypothesis": HYPOTHESES[figure]}
        for figure, value in bounds.items()
    ]


@pytest.fixture
def planted(results):
    first, second, *_ = release_names(results)
    primary = primary_attack(results)
    table = [
        *rows(first, "loss", {ONE_RUN: 9.87}),
        *rows(first, primary, {ONE_RUN: 1.23, GAUSSIAN: 2.34}),
        *rows(second, primary, {ONE_RUN: 0.0, GAUSSIAN: 0.0, DP_SGD: 0.0}),
    ]
    return replace(results, canaries=pd.DataFrame(table))


def test_each_bound_of_the_primary_attack_is_told_with_what_it_holds_for(planted):
    first, second = canary_words(planted)
    for words in (f"1.23 for {HYPOTHESES[ONE_RUN]}", f"2.34 for {HYPOTHESES[GAUSSIAN]}", "47 of 50", "1e-05"):
        assert words in first
    assert "9.87" not in first
    assert HYPOTHESES[DP_SGD] in second
    assert (NO_BOUND in first, NO_BOUND in second) == (False, True)


def test_families_are_told_by_the_joint_attack_alone(planted):
    family = "; ".join(release_names(planted)[:2])
    table = [*rows(family, "family", {ONE_RUN: 3.21}), *rows(family, "pair_nn", {ONE_RUN: 8.76})]
    table += rows(release_names(planted)[0], "family", {ONE_RUN: 7.65})  # the attack on a release beside its parent
    together = replace(planted, canaries=pd.concat([planted.canaries, pd.DataFrame(table)]))
    *alone, whole = canary_words(together)
    assert tuple(alone) == canary_words(planted)
    assert all(word in whole for word in ("3.21", "together", *release_names(planted)[:2]))
    assert family in render(together)
    assert "Several releases in one line" in render(together)
    assert "Several releases in one line" not in render(planted)


def test_terminal_and_summary_say_the_same(planted):
    out = io.StringIO()
    print_results(planted, Console(file=out, width=10_000))
    summary = summary_of(planted, "0" * 64, Limits())
    told = [sentence for part in summary.parts for sentence in part.said]
    for sentence in canary_words(planted):
        assert sentence in out.getvalue()
        assert sentence in told


def test_without_canaries_nothing_is_said(results):
    assert canary_words(results) == ()
    assert not [part for part in summary_of(results, "0" * 64, Limits()).parts if "anar" in part.heading]


def test_the_page_has_a_column_for_dp_sgd_only_where_there_is_such_a_release(planted):
    page = render(planted)
    assert "for DP-SGD with unknown noise" in page
    assert "Half of the canaries" not in page
    table = planted.canaries
    without = replace(planted, canaries=table[table["figure"] != DP_SGD].assign(thresholds="split"))
    page = render(without)
    assert "DP-SGD with unknown noise" not in page
    assert "Half of the canaries" in page
    assert "for a Gaussian trade-off curve" in page
