"""The report's section on leakage at equal accuracy: what it shows, and that names stay names."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.columns import FRONTIER_COLUMNS
from pruneaudit.report.figures.frontier import KINDS, frontier_figure
from pruneaudit.report.page.html import render
from pruneaudit.report.quantities import tpr_quantities
from pruneaudit.report.tables.equal_accuracy import frontier_metrics, frontier_table

EVIL = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
TPR = "tpr_at_1%_fpr"
REASON = "TPR at 1% FPR: 500 non-members allow 5 false positives"


def row(release, metric, leakage, accuracy, **more):
    ends = {
        **{f"leakage{end}": leakage + by for end, by in (("", 0), ("_low", -0.01), ("_high", 0.01))},
        **{f"test_accuracy{end}": accuracy + by for end, by in (("", 0), ("_low", -0.02), ("_high", 0.02))},
    }
    found = dict.fromkeys(FRONTIER_COLUMNS, math.nan) | ends
    found |= {"release": release, "references": "matched", "attack": "lira", "metric": metric, "suppressed": ""}
    return found | {"dominated": 0, "is_baseline": 0, "envelope_release": "", "num_victims": 16} | more


def build_frontier(more=()):
    baseline = {"is_baseline": 1, "difference": 0.0, "suppressed": "a baseline"}
    rows = [
        row("dense", "auc", 0.70, 0.83, envelope_release="dense", **baseline),
        row("early", "auc", 0.62, 0.75, envelope_release="early", **baseline),
        row("worse", "auc", 0.66, 0.74, envelope_release="early", dominated=1, **(baseline | {"difference": 0.04})),
        row(
            "l1unstructured-0.9", "auc", 0.64, 0.74, dominated=1, envelope_release="early",
            difference=0.02, difference_low=0.005, difference_high=0.035,
        ),
        row(
            "smooth", "auc", 0.60, 0.82, envelope_release="dense", difference=-0.1, difference_high=-0.08,
            suppressed="x",
        ),
        row("better", "auc", 0.60, 0.90, suppressed="nothing is extrapolated"),
    ]  # fmt: skip
    rows += [row(found["release"], TPR, math.nan, found["test_accuracy"], suppressed=REASON) for found in rows]
    return pd.DataFrame([*rows, *more])


@pytest.fixture
def with_frontier(make_results):
    def build(edit=lambda frontier: frontier, also=lambda parts: None):
        def join(parts):
            parts["frontier"] = edit(build_frontier())
            smooth = parts["releases"].iloc[[0]].assign(release="smooth", defense="label_smoothing")
            both = parts["releases"].iloc[[2]].assign(release="better", defense="ppb")
            parts["releases"] = pd.concat([parts["releases"], smooth, both], ignore_index=True)
            also(parts)

        return make_results(join)

    return build


def words(page):
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)).split())


def test_the_table_shows_every_release_with_its_difference_or_the_reason(with_frontier):
    table = frontier_table(with_frontier())
    assert [metric.column for metric in table.metrics] == ["auc"], "where every release is refused there is no column"
    assert table.num_baselines == 3
    assert not table.conditional
    by_name = {line.release: line for line in table.lines}
    assert list(by_name) == ["dense", "early", "worse", "l1unstructured-0.9", "smooth", "better"]
    pruned = by_name["l1unstructured-0.9"]
    assert pruned.kind == "compressed"
    assert pruned.accuracy.value == "74.0%"
    item = pruned.compared[0]
    assert (item.leakage.value, item.leakage.interval) == ("0.640", "[0.630, 0.650]")
    assert (item.difference.value, item.difference.interval) == ("+0.020", "[+0.005, +0.035]")
    assert item.dominated
    assert item.difference.stands_out
    assert item.against == "early"
    assert by_name["smooth"].compared[0].difference.interval == "[at most -0.080]"
    assert by_name["smooth"].compared[0].difference.stands_out
    assert by_name["dense"].compared[0].difference.interval == ""
    assert table.notes[by_name["better"].compared[0].difference.note - 1] == "nothing is extrapolated"


def test_a_metric_that_was_refused_gives_its_reason_when_asked_for(with_frontier):
    results = with_frontier()
    table = frontier_table(results, tpr_quantities([TPR]))
    assert table.notes == (REASON,)
    assert {line.compared[0].leakage.note for line in table.lines} == {1}
    assert frontier_metrics(results)[0].title == "AUC"


def test_few_victims_are_said_to_be_few(with_frontier):
    results = with_frontier(lambda frontier: frontier.assign(num_victims=9))
    assert frontier_table(results).conditional
    assert "So few networks" in words(render(results))
    assert "So few networks: the intervals" not in words(render(with_frontier()))


def test_the_envelope_steps_from_baseline_to_baseline_and_ends_at_the_most_accurate(with_frontier):
    figure = frontier_figure(with_frontier())
    line = figure.plot["data"][0]
    assert line["line"]["shape"] == "vh"  # up at a point's accuracy, then on to the next
    assert list(zip(line["x"], line["y"], strict=True)) == [(0.74, 0.62), (0.75, 0.62), (0.83, 0.70)]


def test_points_are_told_apart_by_marker_and_colour_and_the_dominated_are_grey(with_frontier):
    results = with_frontier()
    traces = {trace["name"]: trace for trace in frontier_figure(results).plot["data"][1:]}
    names = list(KINDS.values())
    assert list(traces) == [names[0], f"{names[0]}, dominated", "compressed, dominated", "defended", names[3]]
    for name, trace in traces.items():
        symbol, colour = trace["marker"]["symbol"], trace["marker"]["color"]
        assert (colour == "#808080") == symbol.endswith("-open") == name.endswith("dominated")
        assert trace["error_x"]["color"] == colour
        np.testing.assert_allclose(trace["error_y"]["array"], 0.01)
        np.testing.assert_allclose(trace["error_x"]["arrayminus"], 0.02)
    assert len({(trace["marker"]["symbol"], trace["marker"]["color"]) for trace in traces.values()}) == len(traces)
    assert sum(len(trace["x"]) for trace in traces.values()) == 6


def test_plotly_understands_the_figure(with_frontier):
    objects = pytest.importorskip("plotly.graph_objects")
    objects.Figure(frontier_figure(with_frontier()).plot)


def test_the_section_says_what_it_shows_and_what_it_does_not(with_frontier):
    page = render(with_frontier())
    text = words(page)
    assert "do not generalise beyond this study" in text
    assert "undefended dense networks of this study (3 releases)" in text
    assert "-0.100 [at most -0.080] against smooth" not in text
    assert "-0.100 [at most -0.080] against dense" in text
    assert "nothing is extrapolated" in text
    assert 'href="#frontier-note-None"' not in page
    assert text.index("Its numbers as a table") < text.index("Findings, mean over") < text.index("Paired differences")
    assert "Leakage at equal accuracy. Under lira" in text
    assert "nan" not in text.lower()


def test_without_a_frontier_there_is_no_section(results):
    assert frontier_table(results) is None
    assert frontier_figure(results) is None
    assert "equal accuracy" not in words(render(results))


def test_names_from_outside_stay_names(with_frontier):
    def rename(frontier):
        frontier = frontier.replace({"l1unstructured-0.9": EVIL, "early": EVIL + "early", "lira": EVIL})
        return frontier.assign(suppressed=EVIL, references=EVIL)

    def also(parts):
        for table in ("releases", "findings", "curves", "comparisons"):
            parts[table] = parts[table].replace({"l1unstructured-0.9": EVIL})

    page, safe = render(with_frontier(rename, also)), render(with_frontier())
    assert page.count("<script") == safe.count("<script"), "no script has joined"
    assert "<img" not in page
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in page
    figure = frontier_figure(with_frontier(rename, also))
    assert "<img" not in json.dumps(figure.plot)
    assert "<script" not in json.dumps(figure.plot)
    assert "\u2026" in json.dumps(figure.plot, ensure_ascii=False), "names are cut"


def test_many_points_are_named_by_hovering_alone(with_frontier):
    more = [row(f"r{index}", "auc", 0.6, 0.7) for index in range(10)]
    figure = frontier_figure(with_frontier(lambda frontier: build_frontier(more)))
    assert {trace["mode"] for trace in figure.plot["data"][1:]} == {"markers"}
    assert "r7" in json.dumps(figure.plot)
