"""The answer of a report in words. Page, terminal, notebook and Markdown place these sentences and write none.

Every function here is pure. A sentence claims a direction only where an interval excludes the other one. Names of
releases are kept apart from sentences, so that layouts can mark them.
"""

from __future__ import annotations

from dataclasses import dataclass

from pruneaudit.evaluation.results import Results
from pruneaudit.report.compressed import most_compressed
from pruneaudit.report.selection import base_release, release_names
from pruneaudit.report.sentences.agreement import agreement_words, disagreement
from pruneaudit.report.sentences.certainty import caveats, certainty, collapsed_words
from pruneaudit.report.sentences.changes import change_words
from pruneaudit.report.sentences.counts import counted_at_equal_size, counted_changes
from pruneaudit.report.sentences.doubts import doubt_words
from pruneaudit.report.sentences.leakage import LeakageWords, leakage_words
from pruneaudit.report.sentences.next_steps import StepWords, next_step_words
from pruneaudit.report.sentences.sanity_checks import distrusted, unlearned


@dataclass(frozen=True)
class Change:
    """What one release changes."""

    release: str
    text: str


@dataclass(frozen=True)
class Answer:
    """The answer of a report."""

    alarms: tuple[str, ...]
    """Said first: failed checks of the attacks and the data."""
    unlearned: tuple[str, ...]
    """Networks that did not learn, and doubts about members and references of a single network."""
    disagreement: str
    """Says that attacks contradict each other; empty if none do."""
    leakage: LeakageWords
    """Says whether the networks of the base release leak."""
    counts: str
    """Says how many releases leak less, and how many more; empty without compressed or defended releases."""
    at_equal_size: str
    """The same at equal size; empty if no release could be compared."""
    changes: tuple[Change, ...]
    """One for each release but the base, in the order of the study."""
    collapsed: tuple[str, ...]
    """Releases in which single networks did not learn."""
    agreement: tuple[str, ...]
    """Says how many attacks succeed, and which find more than the primary one."""
    certainty: str
    """Says what the intervals cover, and whether the attacker had references."""
    next_steps: tuple[StepWords, ...]
    """What to do, the most urgent first."""
    caveats: tuple[str, ...]
    """Says what the figures do not show."""


def answer(results: Results) -> Answer:
    """Returns the answer that these results give."""
    base = base_release(results)
    others = [release for release in release_names(results) if release != base]
    return Answer(
        distrusted(results),
        unlearned(results) or doubt_words(results),
        disagreement(results),
        leakage_words(results, base),
        counted_changes(results, base),
        counted_at_equal_size(results),
        tuple(Change(release, change_words(results, release, base)) for release in others),
        collapsed_words(results),
        agreement_words(results),
        certainty(results),
        next_step_words(results),
        caveats(results),
    )


def shown_change(results: Results, changes: tuple[Change, ...]) -> Change | None:
    """Returns the change of the most compressed release, for short summaries."""
    chosen = most_compressed(results, [change.release for change in changes])
    return next((change for change in changes if change.release == chosen), None)
