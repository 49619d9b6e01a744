"""Puts into words how many records a model exposes, and how many samples a recipe exposes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from pruneaudit.evaluation.records import MODEL
from pruneaudit.report.conclusions.records import Judged
from pruneaudit.report.words import counted


def record_words(found: Sequence[Judged]) -> tuple[str, ...]:
    """A sentence or two on the first release, and what all lists have in common."""
    of_models, of_recipes = ([one for one in found if (one.kind == MODEL) == is_model] for is_model in (True, False))
    return tuple(_all_words(of_models, of_recipes))


def _all_words(of_models: Sequence[Judged], of_recipes: Sequence[Judged]) -> Iterator[str]:
    listed = [one for one in of_models if one.num_lists]
    if listed:
        yield from _of_model(listed[0])
        num_lists = sum(one.num_lists for one in listed)
        if num_lists > 1:
            yield (
                f"The rate of {percent(listed[0].fdr)} holds for each list (one per release and network), not for all "
                f"{num_lists:,} lists together."
            )
    tested = [one for one in of_recipes if one.num_lists]
    if tested:
        yield from _of_recipe(tested[0])


def _of_model(one: Judged) -> Iterator[str]:
    named, of_all = one.figures["num_named"], f"{one.mean('num_records'):,.0f} records"
    rate = f"at a false discovery rate of {percent(one.fdr)}"
    if not named.highest:
        yield f"Exposed by this model: no record of {one.release} is named {rate}."
    elif one.num_lists == 1:
        wrong = int(one.mean("num_named_nonmembers"))
        yield (
            f"Exposed by this model: {named.mean:,.0f} of {of_all} of {one.release} are named {rate};"
            f" {wrong:,} of them {'is a non-member' if wrong == 1 else 'are non-members'}."
        )
    else:
        yield (
            f"Exposed by this model: {named.mean:,.1f} of {of_all} of {one.release} are named per network {rate}"
            f" ({named.lowest:,.0f} to {named.highest:,.0f}); on average {percent(one.mean('share_nonmembers'))} of a "
            f"list are non-members (0% for an empty list)."
        )
    yield shortest_words(one, "record")


def _of_recipe(one: Judged) -> Iterator[str]:
    named, victims = int(one.mean("num_named")), counted(int(one.mean("num_victims")), "network")
    of_all = f"of {one.mean('num_records'):,.0f} samples of {one.release}"
    found = f"{named:,} {of_all} {'is' if named == 1 else 'are'} named" if named else f"none {of_all} is named"
    others = ", with other networks as references" if one.mean("num_references") else ""
    yield f"Exposed by this recipe: {found}, by a test on {victims}{others}."
    yield shortest_words(one, "sample")


def shortest_words(one: Judged, what: str) -> str:
    """How few records a list can name, and why."""
    if "fewest" not in one.figures:
        return f"No {what} could be named at all: the smallest possible p-value is {p_text(one.mean('smallest_p'))}."
    fewest = one.figures["fewest"]
    if fewest.lowest == 1:
        return f"A list could name a single {what}: the smallest possible p-value is {p_text(one.mean('smallest_p'))}."
    return (
        f"A list names at least {counted(int(fewest.lowest), what)} or none, because no p-value can be below"
        f" {p_text(one.mean('smallest_p'))}."
    )


def percent(share: float) -> str:
    """A share as a percentage, with one decimal below 10%."""
    if math.isnan(share):
        return ""
    return f"{100 * share:.0f}%" if math.isclose(100 * share, round(100 * share)) else f"{100 * share:.1f}%"


def p_text(p_value: float) -> str:
    """A p-value to two digits."""
    return f"{p_value:.2g}"
