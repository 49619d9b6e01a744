"""What page, Markdown and figures say of made-up certificates."""

import re

import pytest
from certificate_rows import LIMITS, SCOPE, candidate, confirmed, searched
from test_report_html import EVIL, Page

from pruneaudit.evaluation.certificate import PassedOver, certify
from pruneaudit.report.chosen import certificate_markdown, certificate_page
from pruneaudit.report.conclusions.certificate import naive_choice, needed_models, needed_samples, not_chosen
from pruneaudit.report.figures.certified import certified_front, rungs_figure
from pruneaudit.report.sentences.certificate import limits_words, meaning_words, outcome_words, title_words


def said(certificate):
    return " ".join([title_words(certificate), *outcome_words(certificate)])


def test_the_chosen_network_with_every_limit_value_and_bound():
    found = confirmed()
    assert found.chosen.name == "l1-0.7"
    words = said(found)
    for test in found.chosen.tests[:3]:
        assert f"{100 * test.value:.1f}%" in words and f"{100 * test.bound:.1f}%" in words
    assert "RMIA" in words and "LiRA" in words and "25.0" in words and "75.0%" in words and "40.0" in words
    assert "smallest of 2" in words


def test_no_network_and_how_many_models_would_do():
    found = confirmed(safe_tpr=0.0488)
    words = said(found)
    assert found.chosen is None and "p = " in words
    needed = needed_models(found)
    assert needed > 16 and f"{needed:,} models" in words
    assert needed_models(confirmed(safe_tpr=0.06)) is None, "more models do not help where the value breaks the limit"
    target = SCOPE.model_copy(update={"is_target": True})
    assert needed_models(confirmed(safe_tpr=0.0488, scope=target)) is None
    assert f"{needed_samples(confirmed(safe_tpr=0.0488, scope=target)):,} audited samples" in said(
        confirmed(safe_tpr=0.0488, scope=target)
    )
    assert needed_samples(confirmed(safe_tpr=0.06, scope=target)) is None and needed_samples(found) is None
    assert "nothing was confirmed" in said(certify([], LIMITS, SCOPE))
    assert "too large" in said(certify([candidate("x", size=1e6)], LIMITS, SCOPE))


def test_each_other_candidate_has_one_reason():
    found = {one.name: one for one in not_chosen(confirmed())}
    assert {name: one.why for name, one in found.items()} == {
        "l1-0.5": "certified",
        "tiny": "failed",
        "dense": "passed over",
        "bad": "passed over",
        "raced": "passed over",
    }
    assert found["l1-0.5"].against == "l1-0.7" and found["tiny"].test.figure == "tpr_at_1%_fpr"
    found = {one.name: one for one in not_chosen(confirmed(safe_tpr=0.06))}
    assert found["tiny"].why == "not tested" and found["tiny"].against == "l1-0.5"


def test_the_naive_choice_and_what_became_of_it():
    naive = naive_choice(confirmed(), searched())
    assert naive.searched.name == "tiny" and naive.confirmed is not None and not naive.is_certified
    assert naive_choice(confirmed(), searched("l1-0.7")).is_chosen
    assert naive_choice(confirmed(), searched("raced")).confirmed is None
    assert naive_choice(confirmed(), searched("")) is None


def test_the_scope_of_a_bank_and_of_a_target():
    bank = " ".join(meaning_words(confirmed()))
    assert all(word in bank for word in ("recipe", "2,200 samples", "8 models", "LiRA and RMIA", "7 references", "5%"))
    assert "differential privacy" in bank and "stronger attack" in bank
    scope = SCOPE.model_copy(update={"is_target": True, "num_confirm_models": 1, "num_earlier": 2})
    target = " ".join(meaning_words(confirmed(scope=scope)))
    assert "this model" in target and "these 7 references" in target and "2,200" in target
    assert "2 earlier choices" in target and "recipe" not in target
    assert "operations" in " ".join(limits_words(LIMITS.model_copy(update={"minimize": "macs"})))


@pytest.mark.parametrize("make", [confirmed, lambda: confirmed(safe_tpr=0.06), lambda: certify([], LIMITS, SCOPE)])
def test_the_page_is_whole_and_says_what_the_certificate_says(make):
    found, path = make(), searched()
    page = Page(certificate_page(found, path))
    assert title_words(found) in page.words
    for sentence in (*outcome_words(found), *meaning_words(found)):
        assert " ".join(sentence.split()) in page.words
    for name in ("l1-0.5", "tiny", "dense", "raced"):
        assert (name in page.words) == (
            name in {one.candidate.name for one in found.judged} | {p.name for p in found.passed_over} or name == "tiny"
        )
    assert "certified-leakage" in page.figures and "search-rungs" in page.figures
    assert not re.search(r"(src|href)=\"http", certificate_page(found, path))


def test_hostile_names_are_text():
    evil = PassedOver(name=EVIL, description=EVIL, why="failed", detail=EVIL)
    found = certify([candidate(EVIL)], LIMITS, SCOPE.model_copy(update={"study": EVIL}), passed_over=[evil])
    page = Page(certificate_page(found, searched()))
    assert page.words.count("alert(1)") > 2
    assert not any("onerror" in attributes for attributes in page.all("img"))
    outside_code = re.sub("`[^`]*`", "", certificate_markdown(found, searched()))
    assert "<script" not in outside_code.replace("\\<script", "")


def test_markdown_has_the_list_and_the_reasons():
    text = certificate_markdown(confirmed(), searched())
    assert text.startswith("# Chosen: l1-0.7\n")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert [row.split("`")[1] for row in rows[:3]] == ["l1-0.5", "l1-0.7", "tiny"]
    assert "not shown to keep" in next(row for row in rows[3:] if "`tiny`" in row)
    width = {line.count(" | ") for line in text.splitlines() if line.startswith("|") and "outcome" in line}
    assert width == {rows[0].count(" | ")}


def test_figures_follow_the_schema_and_have_the_region():
    altair = pytest.importorskip("altair")
    found, path = confirmed(), searched()
    figures = [certified_front(found, path, figure) for figure in ("tpr_at_1%_fpr", "test_accuracy")]
    for figure in (*figures, rungs_figure(path, LIMITS)):
        altair.Root.validate(figure.spec)
        for choice in figure.choices:
            altair.Root.validate(choice.spec)
    region = figures[0].spec["layer"][0]["data"]["values"][0]
    assert region["high"] == 0.05 and region["right"] == 40_000
    data = {datum["name"]: datum for datum in figures[0].spec["data"]["values"] if "name" in datum}
    assert data["l1-0.7"]["series"] == "chosen" and data["tiny"]["series"] == "not shown to keep the limits"
    assert data["l1-0.7"]["value_high"] == max(test.bound for test in found.chosen.tests[1:3])
    accuracy = figures[1].spec["layer"][0]["data"]["values"][0]
    assert accuracy["low"] == 0.75


def test_without_sizes_there_are_no_figures():
    found = certify([candidate("x", size=None)], LIMITS.model_copy(update={"max_bytes": None}), SCOPE)
    assert certified_front(found, searched().model_copy(update={"rungs": ()}), "auc") is None
    assert "x" in certificate_page(found, searched().model_copy(update={"rungs": ()}))
