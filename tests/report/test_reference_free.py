"""One network and no references: page, terminal and notebook say what that is worth, and claim no references."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from pruneaudit.attacks.reference_free import reference_free
from pruneaudit.evaluation import audit
from pruneaudit.report.notebook import run_html
from pruneaudit.report.page.html import render
from pruneaudit.report.selection import references_shown
from pruneaudit.report.sentences.answer import answer
from pruneaudit.report.terminal import print_results
from pruneaudit.signals.signals import Signals

ALONE = {"primary": {"attack": "loss", "num_references": 0}}
WITH_EIGHT = {"primary": {"attack": "rmia", "num_references": 8}}


@pytest.fixture(scope="module")
def alone():
    """An audit of one network."""
    rng = np.random.default_rng(0)
    member = np.arange(200)[None] < 100
    labels = np.arange(200) % 3
    logits = rng.normal(size=(1, 200, 3)) + 1.5 * member[..., None] * np.eye(3)[labels]
    signals = Signals(logits=logits, labels=labels, member=member)
    return audit(signals, attacks=["loss", "modified_entropy"], fpr_levels=(0.2,)).results


def shown(results):
    """What page, terminal and notebook say, without markup."""
    stream = io.StringIO()
    print_results(results, Console(file=stream, width=200))
    page = re.sub(r"<script.*?</script>|<style.*?</style>", "", render(results), flags=re.DOTALL)
    texts = (page, stream.getvalue(), run_html(results, "report.html"), results._repr_html_())
    return [" ".join(re.sub(r"<[^>]*>", " ", text).split()) for text in texts]


def test_every_face_says_that_there_were_no_references_and_what_to_do(alone):
    for text in shown(alone):
        assert "One network was attacked, and the attacker had no references." in text
        assert "weakest" in text
        assert "--references" in text
        for number in ("0.558", "0.549", "0.653", "0.670"):
            assert number in text


def test_no_face_claims_references(alone):
    for text in shown(alone):
        assert "networks of her own" not in text
        assert "went through" not in text
        assert "matched" not in text
    assert references_shown(alone) == "none"


def test_the_first_screen_and_the_caveats_say_so(alone):
    assert alone.about["primary"]["attack"] == "modified_entropy"
    told = answer(alone)
    assert any("no references" in caveat for caveat in told.caveats)
    assert "no references" in told.certainty
    assert any("--references" in step.text for step in told.next_steps)


def test_with_references_nothing_of_this_is_said(results):
    for text in shown(results):
        assert "no references" not in text
        assert "--references" not in text
    assert "the references" in shown(results)[0]
    assert references_shown(results) == "matched"


@pytest.mark.parametrize(
    ("attacks", "about", "expected"),
    [
        (["loss"], ALONE, False),
        (["loss"], WITH_EIGHT, True),
        (["loss", "rmia"], WITH_EIGHT, None),
        (["loss", "lira:mode=offline"], {}, None),
        (["loss"], {}, True),
        (["gone"], WITH_EIGHT, None),
        ([], ALONE, None),
    ],
)
def test_references_that_no_attack_uses_are_as_good_as_none(attacks, about, expected):
    found = reference_free(attacks, 3, about)
    assert (None if found is None else found.were_given) == expected
    if found is not None:
        assert found.fact.startswith("3 networks were attacked")
        assert ("rmia" in found.advice) == found.were_given
