"""Sizes, speed, layers and reactivation on the page; the numbers are made up."""

import copy
import html
import re

import pytest

from pruneaudit.report.page.html import render
from pruneaudit.report.tables.cells import NOT_RECORDED
from pruneaudit.report.tables.released import COLUMNS, ZEROS, released

EVIL = "</script><script>alert(1)</script><img src=http://evil.example/x onerror=alert(2)>"
LAYER = {
    "name": "features.0.conv",
    "type": "Conv2d",
    "shape": [6, 1, 3, 3],
    "dense_shape": [8, 1, 3, 3],
    "weights": 54,
    "dense_weights": 72,
    "nonzero": 54,
    "sparsity": 0.25,
    "sparsity_low": 0.125,
    "sparsity_high": 0.375,
}


def test_what_a_release_left_whole_is_named(make_results):
    rows = [{"name": f"part{n}", "weights": 1000 + n, "why": "added to every input" if n else ""} for n in range(8)]
    report = {"releases": [entry("dense", left_whole=[]), entry("pruned", 6171, left_whole=rows)]}
    found = released(make_results(lambda parts: parts["about"].update(release_report=report)))
    (whole,) = found.left_whole
    assert whole.release == "pruned"
    assert "part0 (1,000 weights), part1 (1,001 weights; added to every input)" in whole.layers
    assert "2 more" in whole.layers and "part6" not in whole.layers
    page = render(make_results(lambda parts: parts["about"].update(release_report=report)))
    assert "part5 (1,005 weights; added to every input)" in page


def entry(name, left=61706, whole=61706, macs=1_200_000, size=250_000, milliseconds=0.02668, **more):
    made = {
        "name": name,
        "method": "",
        "defense": "",
        "bytes": {"dense": 250_000, "released": size, "physically_smaller": None},
        "parameters": {"dense": 61706, "released": whole},
        "nonzero": left,
        "sparsity_all": 1 - left / 61706,
        "sparsity_prunable": 0.9 if left < 61706 else 0.0,
        "size": {"effective_bits": 3.567, "bytes": 24_100, "ratio": 10.26, "gzip_bytes": 25_200, "xz_bytes": 26_300},
        "macs": {"dense": 1_200_000, "released": macs},
        "bit_operations": {"dense": 1_228_800_000, "released": 1024 * macs},
        "layers": [],
        "layers_of_models": 16,
        "latency": {
            "median_milliseconds": milliseconds,
            "min_milliseconds": 0.9 * milliseconds,
            "max_milliseconds": 1300.4,
            "ratio_to_dense": milliseconds / 0.02668,
        },
        "reactivation": None,
        "gaps": {},
    }
    return made | more


def made_up():
    sizes = {"dense": 247_800_000, "released": 44_736_000, "physically_smaller": 44_736_000}
    rates = [(1, 0.5, 0.0), (2, 0.9, 0.0312), (3, 0.9, 0.004)]
    back = [{"epoch": e, "sparsity": s, "reactivation_rate": r} for e, s, r in rates]
    return {
        "model_id": 0,
        "latency": {"batch_size": 32, "rounds": 120, "threads": 1, "machine": "some processor"},
        "releases": [
            entry("dense"),
            entry("l1unstructured-0.9", left=6171, method="l1unstructured", defense="ppb", reactivation=back),
            entry("small", left=6000, whole=6171, macs=300_000, milliseconds=0.01334, bytes=sizes, layers=[LAYER]),
        ],
    }


@pytest.fixture
def with_report(make_results):
    """A function from changes to the made-up report to results that hold it."""

    def build(change=lambda report: None):
        report = copy.deepcopy(made_up())
        change(report)
        return make_results(lambda parts: parts["about"].update(release_report=report))

    return build


def words(text):
    """What a reader sees."""
    shown = re.sub(r"<(script|style).*?</\1>", "", text, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", shown)).split())


def row(found, release):
    line = next(line for line in found.lines if line.release == release)
    return dict(zip(COLUMNS, line.cells, strict=True))


def test_each_release_has_its_line(with_report):
    small = row(released(with_report()), "small")
    texts = {column: (cell.value.replace("\u00a0", " "), cell.interval) for column, cell in small.items()}
    assert texts == {
        "Sparsity of prunable weights": ("90%", ""),
        "Sparsity of all parameters": ("90.3%", ""),
        "Nonzero parameters": ("6,000 of 6,171", "dense 61,706"),
        "Effective bits per weight": ("3.57", ""),
        "Compressed size": ("24.1 kB", "1/10.3 of dense; gzip 25.2\u00a0kB, xz 26.3\u00a0kB"),
        "Multiply-accumulates": ("300,000", "25.0% of dense"),
        "Bit operations": ("307,200,000", "25.0% of dense"),
        "File": ("44.7 MB", "smaller architecture"),
        "Latency, ms": ("0.0133", "[0.0120, 1,300]"),
        "Latency, ratio to dense": ("0.50", ""),
    }


def test_zeros_are_never_called_a_speed_up(with_report):
    found = released(with_report())
    masked, dense = row(found, "l1unstructured-0.9"), row(found, "dense")
    assert masked["Latency, ratio to dense"].interval == "zeros only: no speed-up"
    assert masked["Multiply-accumulates"].value == dense["Multiply-accumulates"].value
    assert dense["Latency, ratio to dense"].interval == ""
    page = words(render(with_report()))
    assert ZEROS in page
    assert "a batch of 32, median [fastest, slowest] of 120 rounds" in page
    assert "on 1 CPU thread (some processor)" in page


def test_layers_say_what_is_gone_and_how_networks_differ(with_report):
    (layers,) = released(with_report()).layers
    assert (layers.release, layers.num_models) == ("small", "16")
    (line,) = layers.lines
    assert (line.shape, line.dense_shape) == ("6 x 1 x 3 x 3", "8 x 1 x 3 x 3")
    assert (line.nonzero, line.sparsity, line.of_models) == ("54 of 54", "25%", "12.5% to 37.5%")


def test_reactivation_is_told_in_a_sentence_and_epoch_by_epoch(with_report):
    (found,) = released(with_report()).reactivation
    assert (found.highest, found.highest_epoch, found.last) == ("3.12%", "2", "0.40%")
    assert found.lines == (("1", "50%", "0.00%"), ("2", "90%", "3.12%"), ("3", "90%", "0.40%"))
    assert "l1unstructured-0.9: at most 3.12% (epoch 2), 0.40% in the last epoch" in words(render(with_report()))


def test_the_page_has_one_more_section_and_tables_that_can_be_reached(with_report):
    text = render(with_report())
    assert text.count("<details>") == 2 + 2, "layers, reactivation, the changes in words, settings"
    scrolled = re.findall(r'<div class="scroll(?: long)?" role="region" aria-labelledby="[^"]+" tabindex="0">', text)
    assert len(scrolled) == len(re.findall("<table", text)) == 5 + 3
    labels = re.findall(r'aria-labelledby="([^"]+)"', text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert set(labels) <= set(ids)
    assert len(ids) == len(set(ids))
    assert words(text).count("Nonzero parameters") == 1
    assert "compressed by l1unstructured 90% defense ppb" in words(text)


@pytest.mark.parametrize("report", [None, {}, {"releases": []}, {"releases": "x"}, ["x"], 7, {"releases": [None]}])
def test_runs_without_measurements_are_reported_as_before(make_results, report):
    before = render(make_results())
    assert render(make_results(lambda parts: parts["about"].update(release_report=report))) == before
    assert "Size and speed" not in before
    assert "Releases." in before
    assert "6,171 of 61,706" in before


def test_what_is_missing_is_a_dash_with_its_reason(with_report):
    def lose(report):
        lost = report["releases"][1]
        lost |= dict.fromkeys(
            ("parameters", "nonzero", "sparsity_all", "sparsity_prunable", "size", "latency", "layers")
        )
        lost |= {
            "macs": None,
            "bit_operations": None,
            "gaps": {"network": "UserError: damaged", "macs": "RuntimeError: no pass"},
        }
        report["releases"][2] = {"name": "bare"}
        report["latency"] = None

    found = released(with_report(lose))
    cells = row(found, "l1unstructured-0.9")
    reasons = {column: found.notes[cell.note - 1] for column, cell in cells.items() if not cell.value}
    assert {reasons.pop(name) for name in ("Multiply-accumulates", "Bit operations")} == {"RuntimeError: no pass"}
    assert set(reasons) == set(COLUMNS) - {"Multiply-accumulates", "Bit operations", "File"}
    assert set(reasons.values()) == {"UserError: damaged"}
    assert {found.notes[cell.note - 1] for cell in row(found, "bare").values()} == {NOT_RECORDED}
    assert found.conditions == ""
    text = render(with_report(lose))
    assert "UserError: damaged" in text
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(re.findall(r' id="([^"]+)"', text))


def strings_replaced(data):
    if isinstance(data, dict):
        return {key: strings_replaced(value) for key, value in data.items()}
    if isinstance(data, list):
        return [strings_replaced(value) for value in data]
    return EVIL if isinstance(data, str) else data


def test_texts_from_outside_stay_texts(with_report):
    def attack(report):
        report["releases"][0]["macs"] = None
        report["releases"][0]["gaps"] = {"macs": "no"}
        report |= strings_replaced(report)

    text = render(with_report(attack))
    assert EVIL not in text
    assert "<img" not in text
    assert words(text).count(EVIL) >= 8, "names, method, layer, type, reason, machine"
    assert text.count("<script") == render(with_report()).count("<script")


def test_numbers_that_are_none_are_not_shown_as_numbers(with_report):
    def spoil(report):
        report["releases"][0] |= {"nonzero": "12", "sparsity_all": float("nan"), "sparsity_prunable": True}
        report["releases"][0]["macs"] = {"dense": [], "released": None}

    cells = row(released(with_report(spoil)), "dense")
    columns = "Nonzero parameters", "Sparsity of all parameters", "Sparsity of prunable weights", "Multiply-accumulates"
    assert [cells[column].value for column in columns] == ["", "", "", ""]


def test_a_structure_that_removes_nothing_is_no_smaller_architecture(with_report):
    def quantised_inputs(report):
        sizes = report["releases"][2]["bytes"]
        sizes["dense"] = sizes["released"] - 600

    assert row(released(with_report(quantised_inputs)), "small")["File"].interval == ""
