"""All ways of compressing beside each other: ways, their table and figure, and what is said at equal size."""

import io
import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from frontier_rows import frontier_row
from rich.console import Console

from pruneaudit.compression import COMPRESSORS
from pruneaudit.core.registry import registry_of
from pruneaudit.report.compressed import WAYS, way_of
from pruneaudit.report.conclusions.changes import at_equal_size
from pruneaudit.report.figures.by_method import leakage_by_method
from pruneaudit.report.figures.look import PAPER
from pruneaudit.report.notebook import run_html
from pruneaudit.report.page.html import render
from pruneaudit.report.paper import draw
from pruneaudit.report.paper.latex import latex_tables
from pruneaudit.report.sentences.answer import answer
from pruneaudit.report.sentences.counts import counted_at_equal_size
from pruneaudit.report.summary.content import Limits, summary_of
from pruneaudit.report.tables.ways import by_way, ways_table
from pruneaudit.report.terminal import print_results
from pruneaudit.study import Study
from pruneaudit.study.lineage import way_of as way_in_study

MADE = {
    # name: what the study says, way, bits, bytes, AUC, test accuracy
    "pruned": ({"compress": "l1unstructured", "sparsity": 0.7}, "pruning", 10.5, 90_000, 0.66, 0.82),
    "narrow": ({"compress": "l1structured", "sparsity": 0.5}, "structure", 16.0, 120_000, 0.67, 0.83),
    "rtn-8": ({"compress": "rtn", "bits": 8}, "quantisation", 8.0, 62_000, 0.69, 0.83),
    "rtn-2": ({"compress": "rtn", "bits": 2}, "quantisation", 1.9, 17_000, 0.55, 0.70),
    "shared": ({"compress": "kmeans", "clusters": 16}, "clustering", 3.6, 31_000, 0.65, 0.82),
    "factors": ({"compress": "svd:fraction=0.3"}, "low rank", 9.0, 71_000, 0.6, 0.8),
    "both": ({"compress": ["l1unstructured:sparsity=0.7", "rtn:bits=4"]}, "chains", 2.1, 19_000, 0.61, 0.81),
    "child": ({"parent": "pruned", "compress": "kmeans", "clusters": 4}, "chains", 1.1, 12_000, 0.6, 0.8),
}


def of_ways(*names, sizes=True):
    """An edit: these releases beside the dense ones, in all tables and in the study."""

    def edit(parts):
        table, findings = parts["releases"], parts["findings"]
        example, found = (part[part["release"] == "l1unstructured-0.9"] for part in (table, findings))
        kept = table["release"] != "l1unstructured-0.9"
        dense = table[kept].assign(effective_bits=32.0, compressed_bytes=246_900.0, compression_ratio=1.0)
        rows, more, frontier = [dense], [findings[findings["release"].isin(dense["release"])]], []
        for name in names:
            said, _, bits, size, auc, accuracy = MADE[name]
            compress = said["compress"] if isinstance(said["compress"], str) else "+".join(said["compress"])
            facts = {"compress": compress, "effective_bits": bits, "compressed_bytes": size, "sparsity": 0.0}
            facts |= {"compression_ratio": 246_900 / size, "test_accuracy": accuracy}
            rows.append(example.assign(release=name, **facts))
            more.append(found.assign(release=name, auc=auc, auc_low=auc - 0.01, auc_high=auc + 0.01))
            row = frontier_row(name, -0.02, -0.03, -0.01)
            at_size = {"size_difference": 0.01, "size_difference_low": 0.002, "size_difference_high": 0.02}
            frontier.append(row | (at_size | {"size_release": "rtn-2", "size_suppressed": ""} if sizes else {}))
        base = [frontier_row(name, 0.0, math.nan, math.nan, is_baseline=1) for name in dense["release"]]
        parts["releases"], parts["findings"] = (pd.concat(each, ignore_index=True) for each in (rows, more))
        parts["frontier"] = pd.DataFrame([*base, *frontier])
        for name in ("curves", "comparisons"):
            parts[name] = parts[name][parts[name]["release"] != "l1unstructured-0.9"]
        study = [{"name": "dense+finetune", "finetune": {"epochs": 5}}]
        parts["about"]["study"]["releases"] = [*study, *({"name": name} | MADE[name][0] for name in names)]

    return edit


def words(page):
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)).split())


def test_each_compressor_has_a_family():
    found = {}
    for name in COMPRESSORS.names():
        compressor = COMPRESSORS.get(name)
        required = {"sparsity": 0.5, "bits": 8, "clusters": 4, "fraction": 0.5, "data": "members"}
        wanted = [key for key, field in compressor.Options.model_fields.items() if field.is_required()]
        if set(wanted) <= set(required):
            found[name] = compressor.way(compressor.Options(**{key: required[key] for key in wanted}))
    assert {found[name] for name in ("l1unstructured", "random", "iterative", "dpf")} == {"pruning"}
    assert [found[name] for name in ("l1structured", "rtn", "kmeans")] == ["structure", "quantisation", "clustering"]
    assert [found[name] for name in ("svd", "distil")] == ["low rank", "distillation"]
    assert set(found.values()) <= {*WAYS, ""}


def test_a_release_belongs_to_the_way_of_all_that_compressed_it(make_results):
    study = Study.model_validate(
        {
            "name": "s",
            "data": {"source": "digits"},
            "model": {"name": "mlp"},
            "releases": [{"name": name} | said for name, (said, *_) in MADE.items()],
        }
    )
    assert registry_of("compressor") is COMPRESSORS
    assert {release.name: way_in_study(study, release) for release in study.releases} == {
        name: way for name, (_, way, *_) in MADE.items()
    }
    results = make_results(of_ways(*MADE))
    assert {name: way_of(results, name) for name in MADE} == {name: made[1] for name, made in MADE.items()}
    assert way_of(results, "dense") == "not compressed"

    def without_study(parts):
        of_ways(*MADE)(parts)
        parts["about"]["study"] = None

    assert way_of(make_results(without_study), "rtn-8") == "other"


def test_a_table_has_a_group_for_each_family(make_results):
    table = ways_table(make_results(of_ways(*MADE)))
    assert [group.release for group in table.groups] == [
        *("Not compressed", "Pruned weights", "Removed channels or heads", "Quantisation", "Clustering", "Low rank"),
        "Chains of methods",
    ]
    assert [[row.head for row in group.rows] for group in table.groups][3] == ["rtn-8", "rtn-2"]
    (rtn_8, _), columns = table.groups[3].rows, dict(enumerate(table.columns))
    cells = {
        columns[place]: (cell.value.replace("\u00a0", " "), cell.interval) for place, cell in enumerate(rtn_8.cells)
    }
    rate = cells.pop("TPR at 1% FPR")
    assert rate[0].endswith("%")
    accuracy = cells.pop("Test accuracy")
    assert accuracy[0] == "83.0%"
    assert cells == {
        "Effective bits": ("8.00", ""),
        "Compressed size": ("62.0 kB", "1/3.98 of dense"),
        "AUC": ("0.690", "[0.680, 0.700]"),
        "AUC at equal accuracy": ("-0.020", "[-0.030, -0.010]"),
        "AUC at equal size": ("+0.010", "[+0.002, +0.020]"),
    }
    assert rtn_8.detail == "rtn 8 bits"


def test_one_family_or_few_releases_have_neither_table_nor_figure(make_results):
    for names in ((), ("rtn-8", "rtn-2"), ("pruned",), ("pruned", "rtn-8", "shared")):
        results = make_results(of_ways(*names))
        assert ways_table(results) is None and by_way(results) == {}
        assert leakage_by_method(results) is None
        assert "ways.tex" not in latex_tables(results)
        assert not [stem for stem in draw(results)[0] if stem.startswith("methods")]
        assert not [line for line in draw(results)[1] if line.startswith("methods")]
    without_sizes = ways_table(make_results(of_ways("pruned", "rtn-8", "rtn-2", "shared", sizes=False)))
    assert "AUC at equal size" not in without_sizes.columns


def test_the_figure_has_every_release_against_bits_and_against_accuracy(make_results):
    figure = leakage_by_method(make_results(of_ways(*MADE)))
    assert [choice.name for choice in figure.choices] == ["Effective bits per weight", "Test accuracy"]
    bits, accuracy = (choice.spec["data"]["values"] for choice in figure.choices)
    assert len(bits) == len(accuracy) == len(MADE) + 2
    by_name = {datum["tooltip"].strip("\u2068").partition("\u2069")[0]: datum for datum in bits}
    for name, (_, way, number, _, auc, _) in MADE.items():
        datum = by_name[name]
        assert (datum["at"], datum["auc"], datum["series"]) == (number, auc, WAYS[way])
        np.testing.assert_allclose([datum["auc_low"], datum["auc_high"]], [auc - 0.01, auc + 0.01])
    assert by_name["dense"]["at"] == 32
    assert by_name["rtn-8"]["method"] == by_name["rtn-2"]["method"] != by_name["shared"]["method"]
    assert figure.choices[0].spec["layer"][-1]["encoding"]["x"]["scale"]["type"] == "log"
    assert sorted(datum["at"] for datum in accuracy)[0] == 0.70
    assert all("at_low" in datum for datum in accuracy) and not any("at_low" in datum for datum in bits)
    json.dumps([choice.spec for choice in figure.choices], allow_nan=False)


def test_every_figure_is_what_vega_lite_understands(make_results):
    altair = pytest.importorskip("altair")
    results = make_results(of_ways(*MADE))
    specs = [choice.spec for choice in leakage_by_method(results).choices]
    specs += [leakage_by_method(results, PAPER, across).spec for across in ("bits", "accuracy")]
    for spec in specs:
        altair.Root.validate(spec)
    keys = [stem for stem in draw(results)[0] if stem.startswith("methods")]
    assert keys == ["methods-bits", "methods-accuracy"]


def test_latex_has_a_block_for_each_family(make_results):
    text = latex_tables(make_results(of_ways(*MADE)))["ways.tex"]
    assert text.count(r"\multicolumn") == 7
    assert text.index("Quantisation") < text.index(r"\texttt{rtn-8}") < text.index("Clustering")


@pytest.mark.parametrize(
    ("ends", "reading"),
    [
        ((0.01, 0.002, 0.02), "more"),
        ((-0.01, -0.02, -0.002), "less"),
        ((-0.01, math.nan, -0.002), "less"),
        ((0.01, -0.002, 0.02), "not shown"),
        ((0.01, math.nan, 0.02), "not compared"),
        ((math.nan, math.nan, math.nan), "not compared"),
    ],
)
def test_what_is_said_at_equal_size_follows_from_the_interval(make_results, ends, reading):
    def edit(parts):
        of_ways("pruned", "rtn-8")(parts)
        of_it = parts["frontier"]["release"] == "rtn-8"
        for end, value in zip(("", "_low", "_high"), ends, strict=True):
            parts["frontier"].loc[of_it, f"size_difference{end}"] = value

    results = make_results(edit)
    assert at_equal_size(results, "rtn-8") == reading
    said = counted_at_equal_size(results)
    assert "the least leaking other undefended release" in said
    assert {"more": "2 leak more", "less": "1 of 2 compressed releases leaks less"}.get(reading, "1 leaks more") in said
    assert at_equal_size(results, "absent") == "not compared"


def test_an_attack_that_failed_its_sanity_checks_says_nothing(make_results):
    def edit(parts):
        of_ways("pruned", "rtn-8")(parts)
        row = {"attack": "lira", "bank": "made-up bank", "kind": "null", "passed": False, "auc": 0.6}
        parts["about"]["sanity_checks"] = [row]

    assert at_equal_size(make_results(edit), "rtn-8") == "not compared"
    assert counted_at_equal_size(make_results(edit)) == counted_at_equal_size(make_results()) == ""


def test_page_terminal_notebook_and_summary_say_the_same_at_equal_size(make_results):
    def edit(parts):
        of_ways("pruned", "rtn-8", "rtn-2", "shared", "factors")(parts)
        table, ends = parts["frontier"], ["size_difference", "size_difference_low", "size_difference_high"]
        for name, values in (
            ("pruned", (-0.02, -0.03, -0.01)),
            ("rtn-8", (0.0, -0.01, 0.01)),
            ("shared", (0.0, math.nan, 0.01)),
            ("rtn-2", (math.nan,) * 3),
        ):
            table.loc[table["release"] == name, ends] = values

    results = make_results(edit)
    said = answer(results).at_equal_size
    assert "under LiRA" in said
    number = re.findall(r"(\d) (?:of|compressed|leak|is not shown to differ|could not be compared)", said)
    assert number == ["1", "5", "1", "1", "2"]
    stream = io.StringIO()
    print_results(results, Console(file=stream, width=80))
    shown = [stream.getvalue(), run_html(results, Path("report.html")), words(render(results))]
    shown += [sentence for part in summary_of(results, "5" * 64, Limits()).parts for sentence in part.said]
    assert [said in " ".join(text.split()) for text in shown[:3]] == [True] * 3
    assert said in shown[3:]


@pytest.mark.parametrize("sizes", [True, False])
def test_nothing_is_said_at_equal_size_where_no_size_is_known_or_no_release_compared(make_results, sizes):
    def edit(parts):
        of_ways("pruned", "rtn-8", sizes=sizes)(parts)
        if sizes:
            parts["frontier"].loc[parts["frontier"]["is_baseline"] == 0, "size_difference"] = math.nan

    results = make_results(edit)
    assert answer(results).counts
    assert answer(results).at_equal_size == ""
    assert "At equal size and under" not in render(results)


@pytest.mark.slow
def test_the_page_has_the_section_only_with_several_families(make_results):
    page = render(make_results(of_ways(*MADE)))
    assert "Ways of compressing" in page
    assert 'data-figure="methods"' in page and 'data-figure="bits"' not in page
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r' id="([^"]+)"', page))
    assert "At equal size and under LiRA" in words(page)
    single = render(make_results(of_ways("rtn-8", "rtn-2")))
    assert "Ways of compressing" not in single
    assert 'data-figure="bits"' in single
