"""Puts the leakage of a family of releases into words.

A sentence claims an increase only if an interval excludes 0. It never claims a decrease, because an attacker can ignore
a release.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import takewhile

from pruneaudit.evaluation.family_sets import LATTICE_UP_TO
from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.families import FamilyLeakage, Figure, Marginal, told_families
from pruneaudit.report.quantities import AUC, Quantity
from pruneaudit.report.sentences.family_epsilon import epsilon_of
from pruneaudit.report.words import attack_name, first_few, listed, verb

CHANGE_OF_AUC = replace(AUC, places=4)
"""AUC with more decimals: a further release often adds less than 0.001."""
WEAK = "the joint attack is weak here"
NOTHING = "nothing"
"""The empty set of releases."""


def family_words(results: Results) -> dict[FamilyLeakage, tuple[str, ...]]:
    """The sentences about each family that has a figure."""
    return {family: (*_words(family), *_epsilon(results, family)) for family in told_families(results)}


def families_in_short(results: Results) -> tuple[str, ...]:
    """For each family: what all of its releases give away, and what one more costs now."""
    return tuple(said for family in told_families(results) for said in (*_whole(family), *_now(family)))


def family_title(family: FamilyLeakage, usual: str) -> str:
    """Its releases, and its references if they are not the usual ones."""
    return f"{listed(family.releases)}{'' if family.references == usual else f' (references {family.references})'}"


def set_words(releases: Sequence[str], family: Sequence[str]) -> str:
    """`dense and int8`; of the empty set `nothing`; of a large family `all 8 releases` or `all but int8`.

    Args:
        releases: the set.
        family: all releases of its family.
    """
    left = [name for name in family if name not in releases]
    if len(family) <= LATTICE_UP_TO or len(left) > 1:
        return listed(releases) or NOTHING
    return f"all but {left[0]}" if left else f"all {len(family)} releases"


def change_words(change: Figure) -> str:
    """`+0.0108 [+0.0088, +0.0127]`."""
    return f"{CHANGE_OF_AUC.signed(change.value)} {change_interval(CHANGE_OF_AUC, change.low, change.high)}".rstrip()


def change_interval(quantity: Quantity, low: float, high: float) -> str:
    """The interval of a difference; with more decimals where they show that it lies above 0, never below."""
    if low > 0 or math.isnan(low) or math.isnan(high):
        return quantity.signed_interval(low, high)
    return f"[{quantity.signed(low)}, {quantity.signed(high)}]"


def _words(family: FamilyLeakage) -> Iterator[str]:
    yield from _whole(family)
    yield from _now(family)
    yield from _greedy(family)
    yield from _noise(family)
    yield from _post_processing(family)
    yield from _rivals(family)


def _epsilon(results: Results, family: FamilyLeakage) -> Iterator[str]:
    """What DP-SGD guarantees for the whole family, if it was trained with it."""
    said = epsilon_of(results, family.releases)
    if said:
        yield said


def _whole(family: FamilyLeakage) -> Iterator[str]:
    whole, best = family.whole, family.best_alone
    if whole is None or best is None:
        return
    together = f"AUC {AUC.value(whole.auc.value)} {AUC.interval(whole.auc.low, whole.auc.high)}".rstrip()
    alone = f"{AUC.value(best.auc.value)} {AUC.interval(best.auc.low, best.auc.high)}".rstrip()
    yield (
        f"{first_few(family.releases)} together: {together}. The one that leaks most alone is {listed(best.releases)}:"
        f" {alone} (difference {change_words(whole.gain)})."
    )
    if whole.gain.direction > 0:
        yield "An attacker with all of them finds more than with any one alone."
    elif whole.is_weak:
        yield f"That is less, so {WEAK}: an attacker can use {listed(best.releases)} alone."
    else:
        yield "All of them together are not shown to reveal more than that one alone."


def _now(family: FamilyLeakage) -> Iterator[str]:
    if not family.now:
        return
    shown = [one for one in family.now if one.is_shown]
    costly = sorted((one for one in shown if one.change.direction > 0), key=lambda one: -one.change.value)
    others = [one for one in shown if one.change.direction <= 0]
    weak = [one for one in family.now if not one.is_shown]
    if costly:
        told = first_few([f"{one.added} {change_words(one.change)}" for one in costly])
        yield f"With {set_words(family.released, family.releases)} public, each of these adds to the AUC: {told}."
    if others:
        no, public = ("No further", "") if costly else ("No", _public(family))
        yield f"{no} addition is shown for {_added(others)}{public}."
    if weak:
        yield (
            f"{_added(weak)} {verb(len(weak), 'has', 'have')} no figure{'' if shown else _public(family)}: {WEAK}."
            " This says nothing about their leakage."
        )


def _public(family: FamilyLeakage) -> str:
    return f" with {set_words(family.released, family.releases)} public"


def _added(marginals: Sequence[Marginal]) -> str:
    return first_few([one.added for one in marginals])


def _greedy(family: FamilyLeakage) -> Iterator[str]:
    """The order of the releases as far as an addition is shown: the table has its numbers."""
    counted = [one.added for one in takewhile(lambda one: one.is_shown and one.change.direction > 0, family.greedy)]
    if counted:
        rest = "" if len(counted) == len(family.greedy) else "; from there on no addition is shown"
        yield f"Largest addition first: {', then '.join(counted)}{rest}."


def _noise(family: FamilyLeakage) -> Iterator[str]:
    for one in family.noise:
        repeat = f"{one.added} repeats {one.repeats} with another seed"
        public = f"with {set_words(one.given, family.releases)} public"
        if one.is_shown:
            yield (
                f"Noise floor: {repeat}, and adds {change_words(one.change)} {public}. So much is added by another"
                " training on the same data that differs only in its seed."
            )
        else:
            yield f"Noise floor: {repeat}. It has no figure {public}: {WEAK}."
    if not family.noise and family.greedy:
        yield (
            "No release of this family repeats another with a different seed, so there is no noise floor to compare"
            " these figures with."
        )


def _post_processing(family: FamilyLeakage) -> Iterator[str]:
    by_parent: dict[str, list[Marginal]] = {}
    for one in family.post_processed:
        by_parent.setdefault(one.post_processing_of, []).append(one)
    for parent, made in by_parent.items():
        yield (
            f"{_added(made)} {verb(len(made), 'is', 'are')} post-processing of {parent}: made from it without any data."
            f" An attacker with the weights of {parent} can make {verb(len(made), 'it', 'them')} as well, so"
            f" {verb(len(made), 'it adds', 'they add')} nothing to an optimal attacker with these weights. An "
            f"attacker with outputs only may gain, because outputs show less than weights do."
        )
        for one in made:
            if one.is_shown and one.change.direction > 0:
                public = set_words(one.given, family.releases)
                yield f"The outputs of {one.added} do reveal more: {change_words(one.change)} with {public} public."


def _rivals(family: FamilyLeakage) -> Iterator[str]:
    better = [one for one in family.rivals if one.difference.direction > 0]
    if better:
        named = [f"{attack_name(one.attack)} ({change_words(one.difference)})" for one in better]
        yield (
            f"On all of them {listed(named)} {verb(len(better), 'finds', 'find')} more than the joint attack, so the"
            " figures of this section are too low."
        )
