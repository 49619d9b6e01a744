"""What the page, the terminal and the notebook say of a run's own sanity checks."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from pruneaudit.evaluation.recorded_checks import EXPECTED, NULL, OWN, PLANTED
from pruneaudit.report.notebook import run_html
from pruneaudit.report.page.html import render
from pruneaudit.report.sentences.answer import answer
from pruneaudit.report.tables.sanity_checks import sanity_checks
from pruneaudit.report.terminal import print_results

EVIL = "<script>alert(1)</script>"
REASON = "it trains a classifier, which takes minutes"


def row(attack, kind=NULL, auc=0.503, passed=True, bank="made-up bank"):
    limits = {"low": auc - 0.01, "high": auc + 0.01}
    problem = "" if passed else "false alarm" if kind == NULL else "finds nothing"
    found = {"attack": attack, "bank": bank, "kind": kind, "auc": auc, **limits}
    return found | {"expected": EXPECTED[kind], "passed": passed, "problem": problem}


@pytest.fixture
def sanity_checked(make_results):
    """A function from rows of sanity checks to results."""

    def build(*rows, missing=()):
        return make_results(
            lambda parts: parts["about"].update(sanity_checks=list(rows), not_sanity_checked=list(missing))
        )

    return build


def sound():
    return row("lira"), row("lira", PLANTED, 0.979), row("lira", bank=f"{OWN} (dense)")


def words(page):
    """The text between the tags of the page's main part."""
    main = page[page.index("<main") : page.index("</main>")] if "<main" in page else page
    text = re.sub(r"<[^>]*>", " ", re.sub(r"<script.*?</script>", "", main, flags=re.DOTALL))
    return re.sub(r" (?=[,:.)])|(?<=[(]) ", "", " ".join(text.split()))


def terminal(results):
    stream = io.StringIO()
    print_results(results, Console(file=stream, width=80))
    return " ".join(stream.getvalue().split())


def test_the_table_says_what_was_done_and_what_came_out(sanity_checked):
    text = words(render(sanity_checked(*sound())))
    assert f"lira made-up bank, nothing to find {EXPECTED[NULL]} 0.503 [0.493, 0.513] yes" in text
    assert f"lira made-up bank, members planted {EXPECTED[PLANTED]} 0.979 [0.969, 0.989] yes" in text
    assert f"lira {OWN} (dense), membership redrawn AUC 0.5" in text
    assert "All of them passed." in text


def test_without_a_failure_nobody_is_warned(sanity_checked, results):
    for shown in (sanity_checked(*sound()), sanity_checked(), results):
        assert answer(shown).alarms == ()
        everything = words(render(shown)) + terminal(shown) + run_html(shown, Path("report.html"))
        assert "Do not trust" not in everything
        assert 'class="alarm"' not in render(shown)


def test_a_failure_is_on_the_first_screen_and_in_the_terminal(sanity_checked):
    failed = sanity_checked(*sound(), row("rmia", auc=0.981, passed=False))
    sentence = "Do not trust the figures of rmia: it failed its sanity checks (AUC 0.981 on data without a leak)."
    assert answer(failed).alarms == (sentence,)
    page = words(render(failed))
    assert page.index(sentence) < page.index("The dense networks leak")
    assert "Do not trust the figures of rmia on this page: it failed" in page
    assert sentence in terminal(failed)
    assert sentence in run_html(failed, Path("report.html"))


def test_what_failed_stands_first_and_several_are_all_named(sanity_checked):
    failed = sanity_checked(
        *sound(), row("rmia", auc=0.981, passed=False), row("loss", PLANTED, 0.49, passed=False), row("loss")
    )
    found = sanity_checks(failed)
    assert [line.passed for line in found.lines] == [False] * 2 + [True] * 4
    assert found.failed == ("rmia", "loss")
    assert "they failed" in words(render(failed))
    assert len(answer(failed).alarms) == 2


def test_what_was_not_played_is_listed_by_its_reason(sanity_checked):
    missing = [{"attack": name, "bank": "every bank", "reason": REASON} for name in ("nn", "samia")]
    text = words(render(sanity_checked(*sound(), missing=missing)))
    assert f"nn, samia (every bank: {REASON})" in text


def test_a_run_without_controls_says_where_to_get_them(results):
    assert sanity_checks(results) is None
    text = words(render(results))
    assert "This run did not record" in text
    assert "pruneaudit sanity-check" in text


def test_no_name_is_taken_for_markup(sanity_checked):
    missing = [{"attack": EVIL, "bank": EVIL, "reason": EVIL}]
    failed = sanity_checked(row(EVIL, auc=0.9, passed=False, bank=EVIL), missing=missing)
    assert EVIL not in render(failed)
    assert EVIL not in run_html(failed, Path("report.html"))
