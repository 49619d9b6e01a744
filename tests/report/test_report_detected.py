"""The section on who becomes exposed."""

import re
from dataclasses import replace

import pandas as pd
import pytest

from pruneaudit.evaluation.columns import DETECTION_CHANGE_COLUMNS
from pruneaudit.report.figures.detected import detected_figures
from pruneaudit.report.page.html import render
from pruneaudit.report.samples import Samples
from pruneaudit.report.tables.detected import detected

EVIL = "<script>alert(1)</script>"
RELEASE, BASELINE = "l1unstructured-0.9", "dense+finetune"


def counts(release, baseline, name, newly, no_longer, noise=float("nan"), p_value=0.2):
    row = (release, baseline, "lira", 0.01, name, newly, no_longer, 40, 1990, p_value, noise, noise + 1)
    return dict(zip(DETECTION_CHANGE_COLUMNS, row, strict=True))


@pytest.fixture
def build(make_results):
    def build(noise=float("nan"), sample="s7"):
        rows = [counts(RELEASE, BASELINE, "all", 30, 12, noise, 0.0004), counts(RELEASE, BASELINE, "0", 30, 2, noise)]
        rows += [counts(RELEASE, BASELINE, "1", 0, 10, noise), counts(RELEASE, "dense", "all", 3, 3)]
        rows += [counts(BASELINE, "dense", "all", 0, 0), counts(BASELINE, "dense", "0", 0, 0)]
        changes = [("a", 0.25, 9), (sample, 0.75, 8), ("b", 0.25, 11), ("c", -1.0, 9), ("d", 0.0, 9)]
        samples = [
            {"release": RELEASE, "baseline": BASELINE, "sample_id": name, "class_id": 1, "change": change}
            | {
                "detection_rate_before": max(0.0, -change),
                "detection_rate_after": max(0.0, change),
                "num_victims": victims,
            }
            for name, change, victims in changes
        ]
        return make_results(
            lambda parts: parts.update(detection_changes=pd.DataFrame(rows), sample_detection=pd.DataFrame(samples))
        )

    return build


def test_counts_stand_beside_the_noise_floor(build):
    found = detected(build(noise=4.0))
    line = found.lines[0]
    assert (line.newly, line.newly_by_chance, line.no_longer, line.no_longer_by_chance) == ("30", "4", "12", "5")
    assert (line.detected, line.p_value) == ("40 to 58 of 1,990", "below 0.001")
    assert found.level == "1%"
    assert found.with_floor
    page = render(build())
    assert "finetune_seed" in page
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(re.findall(r' id="([^"]+)"', page)), "links lead somewhere"
    assert "By chance: the same counts" in " ".join(render(build(noise=4.0)).split())


def without_rates(release, reason):
    row = counts(release, BASELINE, "all", float("nan"), float("nan"), p_value=float("nan"))
    return row | {"fpr": float("nan"), "disjoint_references": 4, "suppressed": reason}


def test_a_bank_that_is_too_small_has_a_reason_instead_of_a_table(make_results):
    rows = pd.DataFrame([without_rates(RELEASE, "only 4 references"), without_rates("other", "only 4 references")])
    results = make_results(lambda parts: parts.update(detection_changes=rows))
    found = detected(results)
    assert (found.lines, found.suppressed, found.level) == ((), ("only 4 references",), "")
    assert detected_figures(results) == []
    page = render(results)
    assert page.count("only 4 references") == 1
    assert "Samples that move" not in page


def test_a_pair_without_rates_stands_beside_those_with(build):
    results = build()
    told = results.detection_changes.assign(disjoint_references=14, suppressed="")
    rows = pd.concat([told, pd.DataFrame([without_rates("other", "one model is missing")])])
    results = replace(results, detection_changes=rows)
    found = detected(results)
    assert (len(found.lines), found.suppressed, found.num_references) == (3, ("one model is missing",), 14)
    assert "other" not in {line.release for line in found.lines}
    page = " ".join(render(results).split())
    assert "at least 14 references" in page
    assert "one model is missing" in page
    assert "references each" not in render(build()), "a run of an older version had others"


def test_the_largest_rises_come_first_and_falls_not_at_all(build):
    rising = next(item for item in detected(build()).rising if item.release == RELEASE)
    assert [line.sample_id for line in rising.lines] == ["s7", "b", "a"]
    assert rising.num_rising == 3
    assert (rising.lines[0].before, rising.lines[0].after, rising.lines[0].change) == ("0%", "75%", "+75")


def test_a_release_is_drawn_against_its_own_baseline_if_anything_moved(build):
    (figure,) = detected_figures(build(noise=4.0))
    counts = {}
    for datum in [*figure.spec["data"]["values"], *figure.spec["layer"][1]["data"]["values"]]:
        counts.setdefault(datum["series"], []).append(datum["count"])
    assert counts == {
        "newly detected": [30, 0], "no longer detected": [-2, -10], "by chance alone": [4, 4, -5, -5],
    }  # fmt: skip
    assert len(detected_figures(build())[0].spec["layer"]) == 1
    assert "two fine-tuning seeds" not in detected_figures(build())[0].caption


def test_names_of_samples_stay_texts(build):
    page = render(build(sample=EVIL), show_records=True)
    assert EVIL not in page
    assert "&lt;script&gt;alert(1)" in page


def test_without_anything_compared_there_is_no_section(make_results):
    assert detected(make_results()) is None
    assert detected_figures(make_results()) == []
    assert "Who becomes exposed" not in render(make_results())


@pytest.mark.parametrize("public", [True, False, None])
def test_samples_are_listed_where_everybody_can_have_them_or_where_asked_for(public, build):
    results = build(sample="patient-123")
    results.about["audit_data"] = {"public": public, "name": "npz"}
    assert ("patient-123" in render(results)) == (public is True)
    assert "patient-123" in render(results, show_records=True)
    hidden = " ".join(render(results, show_records=False).split())
    assert "patient-123" not in hidden
    assert "<strong>3</strong> samples" in hidden
    assert "--show-records" in hidden


def test_texts_stand_beside_the_samples_that_are_listed_and_stay_texts(build):
    samples = Samples(("a", "b"), texts={"s7": f"how much is {EVIL}"})
    page = " ".join(render(build(), samples, show_records=True).split())
    assert EVIL not in page and "how much is &lt;script&gt;" in page
    assert '<th scope="col">Text</th>' in page and '<th scope="col">Picture</th>' not in page
    assert "how much is" not in render(build(), samples, show_records=False)
