"""The one-page summary and the block for a model card: they hold the report's figures, fit, and obey no name."""

import hashlib
import re

import numpy as np
import pandas as pd
import pytest

import pruneaudit
from pruneaudit.core.files import seal_files
from pruneaudit.evaluation.results import RESULT_FILES
from pruneaudit.metrics.standard import tpr_column
from pruneaudit.report.page.first_screen import first_screen
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import finding
from pruneaudit.report.summary import model_card
from pruneaudit.report.summary.content import Limits, summary_of

EVIL = "</script>|`x`_[a](http://evil.example)\n# **b**"
PRIORS = (0.01, 0.1, 0.5)
SEAL = "5" * 64


@pytest.fixture
def saved(make_results, tmp_path):
    """Saves edited results as a finished run."""

    def save(edit=None):
        make_results(edit).save(tmp_path / "run")
        seal_files(tmp_path / "run", RESULT_FILES)
        return tmp_path / "run"

    return save


def ppv(*releases, **more):
    row = {"references": "matched", "attack": "lira", "fpr": 0.01, "low": 0.4, "high": 0.6, "suppressed": ""}
    row |= {f"learned_{name}": np.nan for name in ("ppv", "ppv_sd", "ppv_min", "ppv_max", "tpr")} | {"num_accused": 0}
    row |= {"learned_fpr": np.nan, "learned_fpr_min": np.nan, "learned_fpr_max": np.nan}
    rows = [row | {"release": name, "prior": prior, "ppv": 0.9 * prior} for name in releases for prior in PRIORS]
    return pd.DataFrame([row | more for row in rows])


def many_releases(number):
    """Results with copies of the pruned release."""

    def edit(parts):
        for name in ("findings", "comparisons", "releases", "curves"):
            of_pruned = parts[name][parts[name]["release"] == "l1unstructured-0.9"]
            copies = [of_pruned.assign(release=f"l1unstructured-0.9-{copy}") for copy in range(number)]
            parts[name] = pd.concat([parts[name], *copies], ignore_index=True)
        parts["about"]["warnings"] = [f"warning number {number} about something" for number in range(40)]

    return edit


def called(old, new):
    """Results in which a release has another name."""

    def edit(parts):
        for table in parts.values():
            if isinstance(table, pd.DataFrame):
                for column in table.columns.intersection(["release", "baseline"]):
                    table[column] = table[column].replace(old, new)

    return edit


def part(found, heading):
    return next(part for part in found.parts if heading in part.heading)


def drawn_text(pdf):
    """The texts of an uncompressed PDF, in order."""
    strings = re.findall(rb"\(((?:[^()\\]|\\.)*)\) Tj", pdf)
    return b" ".join(strings).replace(b"\\(", b"(").replace(b"\\)", b")").decode("latin-1")


def num_pages(pdf):
    return len(re.findall(rb"/Type /Page\b", pdf))


def test_the_cells_are_those_of_the_first_screen(results):
    table = part(summary_of(results, SEAL, Limits()), "release").tables[0]
    lines = first_screen(results).lines
    assert [row[0] for row in table.rows] == [line.release for line in lines]
    for row, line in zip(table.rows, lines, strict=True):
        cells = dict(zip(table.columns, row, strict=True))
        for title, cell in (
            ("AUC", line.leakage),
            ("Members of 1,000", line.members),
            ("Test accuracy", line.accuracy),
        ):
            assert cells[title] == f"{cell.value} {cell.interval}"
        if line.change:
            assert cells["Change of AUC"].startswith(f"{line.change.value} {line.change.interval}, {line.change_words}")
            assert cells["Change of AUC"].endswith(line.against)
        else:
            assert cells["Change of AUC"] == ""


def test_the_page_has_what_was_audited_found_and_recorded(saved, results, tmp_path):
    run = saved()
    text = pruneaudit.summary(run, tmp_path / "page.md").read_text()
    row = finding(results, "dense", "lira")
    seal = hashlib.sha256((run / "SHA256SUMS").read_bytes()).hexdigest()
    for fact in (AUC.value(row["auc"]), "2,000 audited samples", "LiRA", seal, "ab" * 32, "2026-01-02", "torch 2.9.0"):
        assert fact in text, fact
    assert f"`{results.about['command']}`" in text
    assert f"{1000 * row[tpr_column(0.01)]:.0f} \\[" in text


def test_failed_sanity_checks_come_before_every_figure(make_results):
    failed = {"attack": "lira", "bank": "made-up bank", "kind": "null", "auc": 0.9, "low": 0.8, "high": 0.95}
    failed |= {"expected": "AUC 0.5", "passed": False, "problem": "far from 0.5"}
    results = make_results(lambda parts: parts["about"].update(sanity_checks=[failed]))
    found = summary_of(results, SEAL, Limits())
    assert "lira" in found.alarms[0]
    assert any(said.startswith("0 of 1 sanity check") for said in part(found, "sure").said)


def test_values_of_accusations_are_at_learned_thresholds_or_say_that_they_are_not(make_results):
    def of(**more):
        return make_results(lambda parts: parts.update(ppv=ppv("dense", **more)))

    own = part(summary_of(of(), SEAL, Limits()), "accusation").tables[0]
    assert own.rows == (("dense", "0.9% [40.0, 60.0]", "9.0% [40.0, 60.0]", "45.0% [40.0, 60.0]"),)
    assert "no attacker knows" in own.caption
    learned = part(summary_of(of(learned_ppv=0.375, learned_ppv_sd=0.081), SEAL, Limits()), "accusation").tables[0]
    assert learned.rows == (("dense", *["37.5% (SD 8.1)"] * 3),)
    assert "references teach" in learned.caption


def test_lists_are_cut_by_place_and_say_how_many_they_leave_out(make_results):
    results = make_results(many_releases(40))
    table = part(summary_of(results, SEAL, Limits(releases=5)), "release").tables[0]
    assert [row[0] for row in table.rows] == [line.release for line in first_screen(results).lines[:5]]
    assert "38 more releases" in table.notes[0]
    sure = part(summary_of(results, SEAL, Limits(items=4)), "sure").said
    assert len(sure) == 5
    assert re.search(r"\d+ more sentences", sure[-1])


def test_a_long_study_fits_on_one_page(saved, tmp_path):
    def long(parts):
        many_releases(20)(parts)
        parts["ppv"] = ppv(*parts["releases"]["release"])
        parts["about"]["command"] = "pruneaudit run " + " ".join(f"--set training.option{i}={i}" for i in range(60))

    pdf = pruneaudit.summary(saved(long), tmp_path / "page.pdf").read_bytes()
    assert num_pages(pdf) == 1
    text = drawn_text(pdf)
    assert "Signature" in text
    assert re.search(r"and \d+ more releases", text)


def test_the_pdf_has_the_numbers_of_the_markdown(saved, tmp_path):
    run = saved(lambda parts: parts.update(ppv=ppv("dense", "l1unstructured-0.9")))
    numbers = set(re.findall(r"-?\d+\.\d+", pruneaudit.summary(run, tmp_path / "page.md").read_text()))
    pdf = pruneaudit.summary(run, tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert num_pages(pdf) == 1
    assert len(numbers) > 20
    assert numbers - set(re.findall(r"-?\d+\.\d+", drawn_text(pdf))) == set()


@pytest.mark.parametrize("suffix", ["md", "pdf"])
def test_the_same_results_give_the_same_bytes(saved, tmp_path, suffix):
    run = saved()
    first, second = (pruneaudit.summary(run, tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first == second


def test_the_file_is_dated_like_the_run_and_never_today(saved, tmp_path):
    dated = pruneaudit.summary(saved(), tmp_path / "dated.pdf").read_bytes()
    assert b"D:20260102030405" in dated
    undated = saved(lambda parts: parts["about"].pop("created"))
    assert b"D:19700102" in pruneaudit.summary(undated, tmp_path / "undated.pdf").read_bytes()


def test_hostile_names_are_text_in_markdown(saved, tmp_path):
    from markdown_it import MarkdownIt

    def edit(parts):
        called("l1unstructured-0.9", EVIL)(parts)
        parts["about"] |= {"name": EVIL, "warnings": [EVIL], "command": EVIL}

    run = saved(edit)
    for text in (pruneaudit.summary(run, tmp_path / "page.md").read_text(), model_card(run)):
        html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
        assert "<script" not in html and "</script" not in html
        assert "<a " not in html
        assert "evil.example" in html
        assert "<strong>b" not in html
        assert "http://" not in re.sub(r"`[^`]*`", "", text), "GitHub makes links of addresses"
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {len(re.findall(r"\|", rows[0]))}


def test_letters_that_the_pdf_cannot_draw_are_replaced_and_the_page_says_so(saved, tmp_path):
    plain = drawn_text(pruneaudit.summary(saved(), tmp_path / "plain.pdf").read_bytes())
    assert "shown as ?" not in plain
    run = saved(called("l1unstructured-0.9", "про-é"))
    text = drawn_text(pruneaudit.summary(run, tmp_path / "page.pdf").read_bytes())
    assert "???-é" in text
    assert "shown as ?" in text


def test_an_endless_name_is_cut_and_numbers_are_not(saved, tmp_path):
    run = saved(called("l1unstructured-0.9", "x" * 2_000))
    pdf = pruneaudit.summary(run, tmp_path / "page.pdf").read_bytes()
    assert num_pages(pdf) == 1
    assert len(pruneaudit.summary(run, tmp_path / "page.md").read_text()) < 10_000


@pytest.mark.parametrize(("number", "is_shown"), [(50, True), (2_000, False)])
def test_a_command_is_shown_whole_or_not_at_all(make_results, number, is_shown):
    command = "pruneaudit run " + " ".join(f"--set a.b{i}={i}" for i in range(number))
    results = make_results(lambda parts: parts["about"].update(command=command))
    shown = part(summary_of(results, SEAL, Limits()), "Versions").facts[-1]
    assert shown.label == "Command"
    assert (shown.text == command) == is_shown
    assert ("about.json" in shown.text) != is_shown


def test_the_card_says_nothing_of_the_machine(saved, results):
    card = model_card(saved())
    assert card.startswith("## ")
    assert results.about["command"] not in card
    assert "Signature" not in card
    assert "Device" not in card
