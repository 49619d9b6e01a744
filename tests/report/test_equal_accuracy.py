"""The report's section on leakage at equal accuracy: what it shows, and that names stay names."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.columns import FRONTIER_COLUMNS
from pruneaudit.report.figures.against_accuracy import ENVELOPE, leakage_against_accuracy
from pruneaudit.report.page.html import render
from pruneaudit.report.quantities import tpr_quantities
from pruneaudit.report.tables.equal_accuracy import KINDS, frontier_metrics, frontier_table

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


def sized(frontier):
    """The same with sizes: the pruned release is compared with a smaller one."""
    added = {"size_difference": 0.04, "size_difference_low": 0.01, "size_difference_high": 0.07}
    is_pruned = (frontier["release"] == "l1unstructured-0.9") & (frontier["metric"] == "auc")
    found = frontier.assign(compressed_bytes=4000.0, size_release="", size_suppressed="no other release is as small")
    for column, value in (added | {"size_release": "better", "size_suppressed": ""}).items():
        found[column] = [
            value if its else other
            for its, other in zip(is_pruned, found.get(column, [math.nan] * len(found)), strict=True)
        ]
    return found


def test_equal_size_has_columns_only_where_releases_were_compared_so(with_frontier):
    plain, table = frontier_table(with_frontier()), frontier_table(with_frontier(sized))
    assert not plain.with_sizes and {item.at_size for line in plain.lines for item in line.compared} == {None}
    assert table.with_sizes
    by_name = {line.release: line.compared[0] for line in table.lines}
    pruned = by_name["l1unstructured-0.9"]
    assert (pruned.at_size.value, pruned.at_size.interval, pruned.size_against) == (
        "+0.040",
        "[+0.010, +0.070]",
        "better",
    )
    assert pruned.at_size.stands_out
    assert table.notes[by_name["dense"].at_size.note - 1] == "no other release is as small"
    assert pruned.difference.value == "+0.020"


@pytest.mark.slow
def test_the_page_says_what_equal_size_compares(with_frontier):
    text, plain = words(render(with_frontier(sized))), words(render(with_frontier()))
    assert "AUC at equal size" in text and "at equal size" not in plain
    assert "(1% more counts as equal)" in text
    assert "no release is compared with a defended one" in text
    assert "against better" in text


def test_a_metric_that_was_refused_gives_its_reason_when_asked_for(with_frontier):
    results = with_frontier()
    table = frontier_table(results, tpr_quantities([TPR]))
    assert table.notes == (REASON,)
    assert {line.compared[0].leakage.note for line in table.lines} == {1}
    assert frontier_metrics(results)[0].title == "AUC"


@pytest.mark.slow
def test_few_victims_are_said_to_be_few(with_frontier):
    results = with_frontier(lambda frontier: frontier.assign(num_victims=9))
    assert frontier_table(results).conditional
    assert "So few networks" in words(render(results))
    assert "So few networks: the intervals" not in words(render(with_frontier()))


def test_the_envelope_steps_from_baseline_to_baseline_and_ends_at_the_most_accurate(with_frontier):
    spec = leakage_against_accuracy(with_frontier()).spec
    (line,) = [layer for layer in spec["layer"] if layer.get("mark", {}).get("interpolate")]
    # Up at a point's accuracy, then on to the next.
    assert line["mark"]["interpolate"] == "step-before"
    assert [(at["accuracy"], at["auc"]) for at in line["data"]["values"]] == [(0.74, 0.62), (0.75, 0.62), (0.83, 0.70)]


def test_points_are_told_apart_by_marker_and_colour_and_the_dominated_are_grey_and_hollow(with_frontier):
    spec = leakage_against_accuracy(with_frontier()).spec
    points = [layer for layer in spec["layer"] if layer.get("mark", {}).get("type") == "point"]
    looks = {}
    for channel in ("color", "shape"):
        scale = points[0]["encoding"][channel]["scale"]
        for name, look in zip(scale["domain"], scale["range"], strict=True):
            looks.setdefault(name, []).append(look)
    names, envelope = list(KINDS.values()), ENVELOPE
    shown = [names[0], f"{names[0]}, dominated", "compressed, dominated", "defended", names[3]]
    assert list(looks) == [*shown, envelope]
    assert len({tuple(look) for look in looks.values()}) == len(looks)
    filled, hollow = points
    assert (filled["transform"], hollow["transform"]) == (
        [{"filter": "!datum.dominated"}],
        [{"filter": "datum.dominated"}],
    )
    assert hollow["mark"]["fill"] == "transparent"
    data = spec["data"]["values"]
    assert len(data) == 6
    for datum in data:
        assert datum["dominated"] == datum["series"].endswith("dominated") == (looks[datum["series"]][0] == "#808080")
        np.testing.assert_allclose([datum["auc"] - datum["auc_low"], datum["auc_high"] - datum["auc"]], 0.01)
        np.testing.assert_allclose(datum["accuracy_high"] - datum["accuracy_low"], 0.04)


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
    assert leakage_against_accuracy(results).key == "tradeoff"
    assert "equal accuracy" not in words(render(results))


@pytest.mark.slow
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
    figure = leakage_against_accuracy(with_frontier(rename, also))
    assert {datum["series"] for datum in figure.spec["data"]["values"]}.isdisjoint({EVIL, EVIL + "early"})
    assert "\u2026" in json.dumps(figure.spec, ensure_ascii=False), "names are cut"


def test_many_points_are_named_by_hovering_alone(with_frontier):
    more = [row(f"r{index}", "auc", 0.6, 0.7) for index in range(10)]
    few, many = (
        leakage_against_accuracy(with_frontier(edit)).spec for edit in (lambda x: x, lambda _: build_frontier(more))
    )
    for spec, named in ((few, True), (many, False)):
        assert any("name" in datum for datum in spec["data"]["values"]) == named
        assert any(layer.get("mark", {}).get("type") == "text" for layer in spec["layer"]) == named
    assert any("r7" in datum["tooltip"] for datum in many["data"]["values"])
