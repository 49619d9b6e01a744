"""Finds the differences between two finished runs: leakage, accuracy, settings, and parts that only one of them has."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pruneaudit.attacks.reference_free import WRONG_WAY
from pruneaudit.core.errors import UserError
from pruneaudit.evaluation.columns import MEAN
from pruneaudit.evaluation.results import Results
from pruneaudit.report.quantities import TEST_ACCURACY, TRAIN_ACCURACY, Quantity, headline_quantities
from pruneaudit.report.selection import reference_free_of, release_row
from pruneaudit.report.two_runs.paired import Interval, Paired, independent_difference, paired_scores
from pruneaudit.report.words import counted
from pruneaudit.runs.folder import RunFolder
from pruneaudit.study.differences import Setting, changed_settings

PAIRED = "paired"
INDEPENDENT = "independent"
COLUMNS = (
    *("release", "references", "attack", "metric"),
    *("first", "first_low", "first_high", "second", "second_low", "second_high"),
    *("difference", "low", "high", "method", "first_victims", "second_victims", "suppressed"),
)
"""Of the table of differences; rates in 0..1, a missing number is NaN: `suppressed` says why. An accuracy belongs to a
release and has no attack."""
SHOWN_DIGITS = 12
"""Of a SHA-256 that differs."""
_NOT_PAIRED_ACCURACY = "accuracies: not paired, because runs do not keep the answers for each sample"


@dataclass(frozen=True, eq=False)
class Comparison:
    """Two runs compared with each other, first minus second throughout."""

    first: str
    """The folder of the first run."""
    second: str
    table: pd.DataFrame
    """One row per release, references, attack and metric that both have; see `COLUMNS`."""
    quantities: tuple[Quantity, ...]
    """The metrics of the table."""
    settings: tuple[Setting, ...]
    only_first: Mapping[str, tuple[str, ...]]
    """Releases, references and attacks that only the first run has, under these three keys."""
    only_second: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]
    """Why differences are not paired."""


def compare_runs(first: Path, second: Path, say: Callable[[str], None] = lambda _: None) -> Comparison:
    """Compares two finished runs, and changes neither.

    Args:
        first: a run's folder.
        second: the folder of the run that is subtracted.
        say: called with a line for each attack setting that is read.

    Raises:
        UserError: a folder has no finished run, or one that has changed; or the two have nothing in common.
    """
    one, other = (RunFolder(folder).results() for folder in (first, second))
    names, kinds = (_names_in_second(one, other, column) for column in ("release", "references"))
    other = _renamed(_renamed(other, "release", names), "references", kinds)
    quantities = headline_quantities(name for name in one.findings.columns if name in set(other.findings.columns))
    mine, theirs = _means(one), _means(other)
    settings: dict[tuple[str, str], list[str]] = {}
    for release, references, attack in mine:
        if (release, references, attack) in theirs:
            settings.setdefault((release, references), []).append(attack)
    if not settings:
        raise UserError(
            f"{first} and {second} have no release, references and attack in common, so nothing can be compared:"
            f" {_listed(one)} against {_listed(other)}"
        )
    why_not = _not_one_audit_data(one, other)
    rows: dict[str, list[dict[str, Any]]] = {release: _accuracies(one, other, release) for release, _ in settings}
    notes = [_NOT_PAIRED_ACCURACY] if any(rows.values()) else []
    for number, ((release, references), attacks) in enumerate(settings.items(), start=1):
        say(f"comparing {release}, references {references} ({number}/{len(settings)})")
        theirs_called = names.get(release, release), kinds.get(references, references)
        pairs = why_not or paired_scores(first, second, (release, references), theirs_called, attacks)
        if isinstance(pairs, Paired) and pairs.are_some_models:
            some = (
                f"on the {counted(len(pairs.member), 'model')} that both runs audit; A and B are means over all models"
            )
            notes.append(f"paired, {release} / {references}: A - B is {some}")
        if isinstance(pairs, str):
            notes.append(f"not paired: {pairs}" if why_not else f"not paired, {release} / {references}: {pairs}")
        for attack in attacks:
            key = release, references, attack
            rows[release] += [_leakage(mine[key], theirs[key], quantity, pairs) for quantity in quantities]
    notes += _without_references({str(first): one, str(second): other})
    return Comparison(
        str(first),
        str(second),
        pd.DataFrame([row for of_release in rows.values() for row in of_release], columns=list(COLUMNS)),
        (*quantities, TEST_ACCURACY, TRAIN_ACCURACY),
        changed_settings(_recorded(one), _recorded(other)),
        _only(one, other),
        _only(other, one),
        tuple(dict.fromkeys(notes)),
    )


def _names_in_second(one: Results, other: Results, column: str) -> dict[str, str]:
    """The second's name of a release or of a kind of references, by the first's, if both audits have just one.

    Then names do not matter in audits of predictions. Studies are compared by name.
    """
    names = [list(dict.fromkeys(results.findings[column])) for results in (one, other)]
    if any(len(found) != 1 for found in names) or any(results.about.get("study") for results in (one, other)):
        return {}
    return {names[0][0]: names[1][0]}


def _renamed(other: Results, column: str, names: Mapping[str, str]) -> Results:
    """The second's results, with its only release or kind of references called as in the first."""
    if not names:
        return other
    ((name, _),) = names.items()
    releases = other.releases.assign(release=name) if column == "release" else other.releases
    return replace(other, findings=other.findings.assign(**{column: name}), releases=releases)


def _recorded(results: Results) -> dict[str, Any]:
    """The study as it was audited, and what else results can depend on."""
    about = results.about
    given = about.get("study")
    settings = given if isinstance(given, Mapping) else {}
    study = {key: value for key, value in settings.items() if key not in ("name", "description")}
    more = {key: about[key] for key in ("device", "versions", "audit_data") if about.get(key)}
    if "audit_data" in more:
        more["audit_data"] = more["audit_data"] | {"sha256": str(more["audit_data"].get("sha256", ""))[:SHOWN_DIGITS]}
    return study | more


def _without_references(runs: Mapping[str, Results]) -> list[str]:
    """The warnings if a run's attacks used no references: such attacks can rank two networks the wrong way round."""
    alone = {name: found for name, results in runs.items() if (found := reference_free_of(results)) is not None}
    facts = [f"{name}: {found.fact}" for name, found in alone.items()]
    return [*facts, WRONG_WAY, *dict.fromkeys(found.advice for found in alone.values())] if alone else []


def _means(results: Results) -> dict[tuple[str, str, str], pd.Series]:
    table = results.findings[results.findings["victim"] == MEAN]
    return {(row["release"], row["references"], row["attack"]): row for _, row in table.iterrows()}


def _not_one_audit_data(one: Results, other: Results) -> str:
    """Why no attack setting of two studies can be paired; empty if one might be.

    The checksum of a study is that of the samples. The checksum of saved predictions covers the file with the answers
    too, so files about the same samples can differ. There, ids, labels and members decide.
    """
    digests = [
        (results.about.get("audit_data") or {}).get("sha256") for results in (one, other) if results.about.get("study")
    ]
    return "the runs were not made on the same audit data" if len(digests) == 2 and digests[0] != digests[1] else ""


def _leakage(mine: pd.Series, other: pd.Series, quantity: Quantity, pairs: Paired | str) -> dict[str, Any]:
    first, second = _interval(mine, quantity), _interval(other, quantity)
    names = {name: mine[name] for name in ("release", "references", "attack")}
    difference, method = independent_difference(first, second), INDEPENDENT
    if isinstance(pairs, Paired) and not math.isnan(difference[0]):
        method, difference = PAIRED, pairs.difference(str(mine["attack"]), quantity)
    missing = [row["suppressed"] or "no figure" for row, it in ((mine, first), (other, second)) if math.isnan(it[0])]
    victims = {"first_victims": mine["num_victims"], "second_victims": other["num_victims"]}
    return names | _figures(quantity, first, second, difference, method) | victims | {"suppressed": "; ".join(missing)}


def _accuracies(one: Results, other: Results, release: str) -> list[dict[str, Any]]:
    mine, theirs = release_row(one, release), release_row(other, release)
    if mine is None or theirs is None:
        return []
    names = {"release": release, "references": "", "attack": "", "suppressed": ""}
    found = []
    for quantity in (TEST_ACCURACY, TRAIN_ACCURACY):
        first, second = _interval(mine, quantity), _interval(theirs, quantity)
        found.append(names | _figures(quantity, first, second, independent_difference(first, second), INDEPENDENT))
    return found


def _interval(row: pd.Series, quantity: Quantity) -> Interval:
    value, low, high = (float(row[f"{quantity.column}{end}"]) for end in ("", "_low", "_high"))
    return value, low, high


def _figures(quantity: Quantity, first: Interval, second: Interval, both: Interval, method: str) -> dict[str, Any]:
    names = [(name, f"{name}_low", f"{name}_high") for name in ("first", "second")] + [("difference", "low", "high")]
    numbers = dict(zip((part for group in names for part in group), (*first, *second, *both), strict=True))
    return {"metric": quantity.column, "method": method} | numbers


def _only(one: Results, other: Results) -> dict[str, tuple[str, ...]]:
    """Releases, references and attacks in the findings of one that the other lacks."""
    columns = {"releases": "release", "references": "references", "attacks": "attack"}
    return {
        word: tuple(name for name in dict.fromkeys(one.findings[column]) if name not in set(other.findings[column]))
        for word, column in columns.items()
    }


def _listed(results: Results) -> str:
    names: Sequence[str] = list(dict.fromkeys(results.findings["release"]))
    return ", ".join(names) or "no findings"
