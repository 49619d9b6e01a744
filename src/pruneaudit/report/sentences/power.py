"""Puts into words how the number of references limits the attacks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.power import Standing, standings, uncharted_references
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import base_release, is_one_network, study_of
from pruneaudit.report.words import attack_name, counted


def power_words(results: Results) -> tuple[str, ...]:
    """How many references there were, and what fewer and more of them find; empty without references."""
    number = uncharted_references(results)
    if number:
        each = "" if is_one_network(results) else " per network"
        source = "RUN" if study_of(results) else "FILE... --out RUN"
        return (
            f"Each sample was compared with {counted(number, 'reference')}{each}; `pruneaudit power {source}` shows "
            f"what more references would find.",
        )
    return standing_words(standings(results), base_release(results))


def standing_words(found: Sequence[Standing], release: str) -> tuple[str, ...]:
    """A sentence or two for each attack on a release."""
    return tuple(sentence for one in found for sentence in _words(one, release))


def _words(one: Standing, release: str) -> Iterator[str]:
    who = f"{attack_name(one.attack)} on {release}"
    reached = f"{who}: AUC {AUC.value(one.value)} with {counted(one.num_references, 'reference')}"
    if not one.fewer:
        yield f"{reached}."
    else:
        interval = AUC.signed_interval(one.difference_low, one.difference_high)
        change = f"{AUC.difference(one.difference)} {interval}".rstrip()
        shown = {1: "The curve still rises", -1: "The curve falls", 0: "No change is shown"}[one.direction]
        yield f"{reached}, {AUC.value(one.value - one.difference)} with {one.fewer} ({change}). {shown}."
    if one.understates_weak_leaks:
        yield "So more references would find more, and LiRA understates weak leaks more than strong ones."
    if one.further is not None:
        more = one.further
        yield (
            f"Extrapolated to {counted(more.num_references, 'reference')}: AUC {AUC.value(more.value)}"
            f" {AUC.interval(more.low, more.high)}."
        )
    elif one.refused:
        yield f"Nothing is extrapolated: {one.refused}."
