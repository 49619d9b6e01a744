"""The section "What structure gives away": its sentences and its table, from rows that are known."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pruneaudit.evaluation.columns import MEAN
from pruneaudit.evaluation.recorded_checks import PLANTED
from pruneaudit.report.conclusions.structure import structure_leaks
from pruneaudit.report.page.html import render
from pruneaudit.report.sentences.attacker import not_tested_words
from pruneaudit.report.sentences.structure import COMPOSES, HIDDEN, structure_in_short, structure_words
from pruneaudit.report.tables.structure import NULL, structure_table

TPR = "tpr_at_1%_fpr"
AUCS = {"masked": (0.62, 0.60, 0.64), "smaller": (0.505, 0.49, 0.52), "at-start": (0.501, 0.49, 0.51)}
RELEASES = [
    {"name": "masked", "compress": "l1unstructured:sparsity=0.7"},
    {"name": "smaller", "compress": "l1structured:sparsity=0.5"},
    {"name": "at-start", "compress": "static:start=init:sparsity=0.7"},
]


def with_structure(results, aucs=AUCS, init="own", **about):
    """Rows of `mask_filter` beside those of two attacks on outputs."""
    first = results.findings[results.findings["victim"] == MEAN].iloc[0].to_dict()
    rows = []
    for release, (auc, low, high) in aucs.items():
        outputs = {"loss": (0.6, 0.58, 0.62), "lira": (0.7, 0.68, 0.72)}
        for attack, limits in {**outputs, "mask_filter": (auc, low, high)}.items():
            variant = "70 of 200 bits vary" if attack == "mask_filter" else ""
            figures = dict(zip(("auc", "auc_low", "auc_high"), limits, strict=True))
            said = {"suppressed": "" if limits[0] == limits[0] else "too few", "variant": variant}
            rows.append({**first, "release": release, "references": "matched", "attack": attack, **figures, **said})
    study = {"name": "s", "data": {"num_holdout": 100}, "training": {"init": init}, "releases": RELEASES}
    study["audit"] = {"attacks": ["loss", "lira", "mask_filter"]}
    return replace(
        results,
        findings=pd.concat([results.findings, pd.DataFrame(rows)], ignore_index=True),
        about=results.about | {"study": study} | about,
    )


def test_without_such_an_attack_there_is_no_section(results):
    assert structure_leaks(results) == ()
    assert structure_words(results) == structure_in_short(results) == ()
    assert structure_table(results) is None
    assert "structure-heading" not in render(results)
    assert "masks" in not_tested_words(results)


def test_a_mask_that_names_members_is_said_with_its_interval_and_the_best_attack_on_outputs(results):
    first, nothing, null, hidden, composes = structure_words(with_structure(results))
    for word in ("masked", "mask alone", "0.620 [0.600, 0.640]", "mask_filter", "0.700 [0.680, 0.720]", "LiRA"):
        assert word in first
    assert "smaller" in nothing
    assert "0.505 [0.490, 0.520]" in nothing
    assert "at-start" in null
    assert "null" in null
    assert "0.501 [0.490, 0.510]" in null
    assert (hidden, composes) == (HIDDEN, COMPOSES)
    assert structure_in_short(with_structure(results)) == (first,)


def test_one_sentence_per_release_however_many_attacks(results):
    aucs = {"masked": (0.62, 0.60, 0.64), "smaller": (0.6, 0.59, 0.61)}
    full = with_structure(results, aucs)
    stronger = full.findings[full.findings["attack"] == "mask_filter"].assign(attack="mask_saliency")
    stronger[["auc", "auc_low", "auc_high"]] += 0.05
    both = replace(full, findings=pd.concat([full.findings, stronger], ignore_index=True))
    masked, smaller, _ = structure_words(both)
    assert masked.index("0.670 [0.650, 0.690]") < masked.index("0.620 [0.600, 0.640]")
    assert "kept channels" in smaller
    (short,) = structure_in_short(both)
    assert "0.670" in short
    assert "0.620" not in short
    assert "1 release more" in short


def test_networks_from_the_same_weights_hide_nothing(results):
    assert HIDDEN not in structure_words(with_structure(results, init="shared"))
    quiet = {"masked": (0.5, 0.48, 0.52)}
    assert HIDDEN in structure_words(with_structure(results, quiet))
    assert HIDDEN not in structure_words(with_structure(results, {"at-start": (0.5, 0.48, 0.52)}))
    assert structure_in_short(with_structure(results, quiet)) == structure_words(with_structure(results, quiet))


def test_a_null_that_names_members_is_an_error_and_no_leak(results):
    said = structure_words(with_structure(results, {"at-start": (0.62, 0.6, 0.64)}))
    assert len(said) == 1
    assert "before any training" in said[0]
    assert "0.620 [0.600, 0.640]" in said[0]


def test_without_a_figure_the_reason_stands_there(results):
    said = structure_words(with_structure(results, {"masked": (np.nan, np.nan, np.nan)}))
    assert len(said) == 1
    assert "too few" in said[0]


def test_an_attack_that_failed_its_sanity_checks_supports_no_claim(results):
    failed = [{"kind": PLANTED, "attack": "mask_filter", "auc": 0.5, "passed": False}]
    said = structure_words(with_structure(results, {"masked": AUCS["masked"]}, sanity_checks=failed))
    assert len(said) == 1
    assert "0.620" not in said[0]


def test_the_table_has_every_number_and_the_page_shows_it(results):
    full = with_structure(results)
    table = structure_table(full)
    assert [quantity.column for quantity in table.quantities] == ["auc", TPR]
    assert [line.release for line in table.lines] == list(AUCS)
    assert [line.what for line in table.lines] == ["mask", "kept channels", f"mask, {NULL}"]
    assert {line.best_on_outputs for line in table.lines} == {"lira"}
    assert {line.variant for line in table.lines} == {"70 of 200 bits vary"}
    page = render(full)
    assert 'id="structure-heading"' in page
    for line in table.lines:
        assert len(line.cells) == 4
        for cell in line.cells:
            assert cell.value in page
    assert "masks" not in not_tested_words(full)


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "a & b"])
def test_names_are_escaped(results, name):
    full = with_structure(results, {name: AUCS["masked"]})
    assert f"{name}:" in structure_words(full)[0]
    assert name not in render(full)
