"""What the page, the terminal and the summary say of the epsilon of several releases."""

import pandas as pd
import pytest
from rich.console import Console

from pruneaudit.evaluation.canaries import EVERY, GAUSSIAN, ONE_RUN
from pruneaudit.evaluation.columns import CANARY_COLUMNS
from pruneaudit.report.page.html import write_report
from pruneaudit.report.sentences.family_epsilon import epsilon_of, epsilon_words
from pruneaudit.report.summary.content import Limits, summary_of
from pruneaudit.report.tables.family_epsilon import epsilon_table
from pruneaudit.report.tables.released import released
from pruneaudit.report.terminal import print_results


def record(*releases, **changes):
    made = {"family": "; ".join(releases), "epsilon": 4.7826, "delta": 1e-5, "accountant": "rdp", "void_reason": ""}
    made |= {"own": dict.fromkeys(releases, 3.858), "trainings": [*releases]}
    return made | changes


BOUND = record("parent", "a", "b", own={"parent": 3.511, "a": 3.858, "b": 3.858})
VOID = record("parent", "bare", epsilon=None, own={"parent": 3.511, "bare": None}, void_reason="'bare' has no noise")
UNKNOWN = record("old", "older", epsilon=None, own={"old": None}, void_reason="unknown: steps of 'old' are missing")


@pytest.fixture
def with_records(make_results):
    def make(*records):
        return make_results(lambda parts: parts["about"].update(family_epsilon=list(records)))

    return make


def test_numbers_of_the_family_and_of_its_releases_are_said(with_records):
    bound, void, unknown, alike = epsilon_words(with_records(BOUND, VOID, UNKNOWN, record("a", "b")))
    assert all(text in bound for text in ("parent, a and b", "epsilon 4.78", "delta 1e-05", "3.51 to 3.86"))
    assert all(text in void for text in ("parent and bare", "no epsilon", "'bare' has no noise"))
    assert "unknown" in unknown
    assert "unknown: " not in unknown
    assert "alone: 3.86" in alike


def test_the_table_has_each_release_alone_and_reasons(with_records):
    table = epsilon_table(with_records(BOUND, VOID))
    shown = [(line.releases, line.is_family, line.epsilon.value) for line in table.lines]
    assert shown == [
        ("parent, a and b", True, "epsilon 4.78 at delta 1e-05"),
        ("parent", False, "epsilon 3.51"),
        ("a", False, "epsilon 3.86"),
        ("b", False, "epsilon 3.86"),
        ("parent and bare", True, ""),
        ("parent", False, "epsilon 3.51"),
        ("bare", False, ""),
    ]
    assert "'bare' has no noise" in table.notes
    assert {line.epsilon.note for line in table.lines if not line.epsilon.value} == {1, 2}


def test_bounds_by_canaries_stand_beside_the_epsilon_of_the_same_releases(make_results, tmp_path):
    def rows(release, attack, value, figure=ONE_RUN, references="matched"):
        row = dict.fromkeys(CANARY_COLUMNS, 0.0) | {"release": release, "references": references, "attack": attack}
        return row | {"figure": figure, "victim": EVERY, "value": value, "delta": 1e-5}

    name = "dense+finetune"
    bound = record(name, "b", "c")

    def edit(parts):
        primary = "rmia"
        parts["about"].update(family_epsilon=[bound], primary={"attack": primary, "num_references": 7})
        parts["canaries"] = pd.DataFrame(
            [
                rows("c; b; dense+finetune", "family", 0.751),
                rows("c; b; dense+finetune", "family", 0.9, figure=GAUSSIAN),
                rows("c; b; dense+finetune", "family", 0.8, references="undefended"),
                rows(name, primary, 0.252),
                rows(name, "loss", 0.6),
                rows("b; c", "family", 0.5),
            ]
        )

    results = make_results(edit)
    table = epsilon_table(results)
    told = {line.releases: line.at_least for line in table.lines}
    assert told == {f"{name}, b and c": "0.75 at delta 1e-05", name: "0.25 at delta 1e-05", "b": "", "c": ""}
    assert table.has_bounds
    write_report(results, tmp_path / "with.html")
    assert "0.75 at delta 1e-05" in (tmp_path / "with.html").read_text()
    without = make_results(lambda parts: parts["about"].update(family_epsilon=[bound]))
    assert not epsilon_table(without).has_bounds
    write_report(without, tmp_path / "without.html")
    assert "At least" not in (tmp_path / "without.html").read_text()


def test_the_family_of_one_set_is_found_in_any_order(with_records):
    results = with_records(BOUND, VOID)
    assert "4.78" in epsilon_of(results, ("b", "parent", "a"))
    assert epsilon_of(results, ("b", "a")) == ""


@pytest.mark.parametrize("number", [0, 1, 1200])
def test_copies_in_the_data_are_said_beside_every_epsilon(make_results, tmp_path, number):
    private = {
        "name": "parent",
        "defense": "dp",
        "defense_report": {"epsilon": 3.511, "delta": 1e-5, "statement": "S."},
    }
    void = {"name": "ppb", "defense": "ppb", "defense_report": {"statement": "T."}}

    def edit(parts):
        parts["about"].update(family_epsilon=[BOUND, VOID], release_report={"releases": [private, void]})
        parts["about"]["audit_data"]["num_copies"] = number

    results = make_results(edit)
    said = [
        *epsilon_words(results)[2:],
        epsilon_of(results, ("parent", "a", "b")).partition("3.86).")[2].strip(),
        released(results).promises[0].statement.partition("S.")[2].strip(),
    ]
    assert len(set(said)) == 1
    if number:
        assert len(said) == 3
        assert said[0].startswith(("1 sample is", "1,200 samples are"))
    assert len(epsilon_words(results)) == (3 if number else 2)
    assert epsilon_of(results, ("parent", "bare")) == epsilon_words(results)[1]
    assert released(results).promises[1].statement == "T."
    write_report(results, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("1,200 samples are exact copies") == (2 if number > 1 else 0)


@pytest.mark.parametrize("told", [None, "text", [3], [{}], []])
def test_other_runs_say_nothing(make_results, told):
    results = make_results(lambda parts: parts["about"].update(family_epsilon=told))
    assert epsilon_words(results) == ()
    assert epsilon_table(results) is None


def test_page_terminal_and_summary_say_it(with_records, tmp_path, capsys):
    results = with_records(BOUND | {"family": "parent; <b>a"})
    write_report(results, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert "epsilon 4.78 at delta 1e-05" in page
    assert "<b>a" not in page
    print_results(results, Console(width=200))
    assert "epsilon 4.78 at delta 1e-05" in capsys.readouterr().out
    told = summary_of(results, "0" * 64, Limits())
    assert any("4.78" in str(part) for part in told.parts)
