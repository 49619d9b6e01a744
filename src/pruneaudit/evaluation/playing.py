"""Every attack in every game: measured, compared, written up as tables."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.primary import MANY_FLOORED, Primary
from pruneaudit.attacks.view import Scores
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.canaries import DEFAULT_BOUNDS, Bounds, canary_findings
from pruneaudit.evaluation.columns import LATER_RELEASE_COLUMNS, RELEASE_COLUMNS, TABLES
from pruneaudit.evaluation.comparisons import compare_accuracy, compare_attacks, compare_releases
from pruneaudit.evaluation.findings import Row, Writer
from pruneaudit.evaluation.frontier import frontier_rows
from pruneaudit.evaluation.game import Game, game_of
from pruneaudit.evaluation.learned import record_not_learned
from pruneaudit.evaluation.lineup import Lineup, fewest_references, rivals_first, rivals_of, why_left_out
from pruneaudit.evaluation.measure import Accuracies, accuracies, measure
from pruneaudit.evaluation.migration import migrations
from pruneaudit.evaluation.outcome import Audit, GameScores
from pruneaudit.evaluation.results import Results
from pruneaudit.metrics import two_way
from pruneaudit.study.audit import DEFAULT_LEVELS, MATCHED

GameKey = tuple[str, str]
NO_LINEUP = Lineup()
Recall = Callable[[str, Game], Scores | None]
"""What an attack, by its label, has said in a game before; None: nothing, it is to be played."""
Begin = Callable[[str, int, int], None]
"""Told of an attack before it is played: its label, its number from 1, and how many there are."""


@dataclass(frozen=True)
class Measuring:
    """How findings are measured."""

    seed: int
    """The study's."""
    fpr_levels: Sequence[float] = DEFAULT_LEVELS
    """False-positive rates at which the true-positive rate is reported."""
    bounds: Bounds = DEFAULT_BOUNDS
    """What lower bounds on epsilon are made of, where there are canaries."""


@dataclass(frozen=True)
class Known:
    """What is known of the releases beforehand."""

    lineup: Lineup = NO_LINEUP
    """How they stand to each other."""
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What else is known of each (sparsity, parameters, ...), by release."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """How all this came to be."""


NOTHING_KNOWN = Known()


def audit_games(
    games: Sequence[Game],
    attacks: Mapping[str, Attack],
    measuring: Measuring,
    known: Known = NOTHING_KNOWN,
    skip: bool = False,
    recall: Recall = lambda label, game: None,
    begin: Begin = lambda label, number, count: None,
) -> Audit:
    """Plays every attack in every game.

    Args:
        games: who is attacked, with what references.
        attacks: the attacks by label.
        measuring: how findings are measured.
        known: what is known of the releases.
        skip: leave out attacks that lack something, and say so in `about["warnings"]`, instead of refusing.
        recall: what attacks that train have said already.
        begin: told of every attack before it is played.

    Raises:
        UserError: an attack lacks what it needs.
    """
    seed, levels, lineup, facts = measuring.seed, measuring.fpr_levels, known.lineup, known.facts
    found = {game.release: accuracies(game.view.attacked) for game in games}
    sparsity = {name: facts.get(name, {}).get("sparsity", float("nan")) for name in found}
    pairs = lineup.pairs(found)
    scores = tuple(GameScores(game) for game in games)
    skipped = {label: lack for label, attack in attacks.items() if (lack := why_left_out(label, attack, games, skip))}
    rows: dict[str, dict[str, list[Row]]] = {}
    written: dict[str, dict[GameKey, Writer]] = {}
    playable = [label for label in attacks if label not in skipped]
    many_floored = any(game.view.share_floored > MANY_FLOORED for game in games)
    primary = Primary.of(playable, fewest_references(games), many_floored)
    rivals = rivals_of({label: attacks[label] for label in playable}, primary.attack)
    held_against = {other for others in rivals.values() for other in others}
    samples: dict[str, pd.DataFrame] = {}
    # One thread: the same sums in the same order, whatever the number of cores.
    with one_blas_thread():
        # Attacks that others are compared with come first; only their measurements are kept.
        for turn, label in enumerate(rivals_first(rivals), start=1):
            begin(label, turn, len(rivals))
            written[label] = {}
            for game, kept in zip(games, scores, strict=True):
                if attacks[label].lacks(game.view):
                    continue  # an attack on pairs, and a game with a single release
                measured = measure(attacks[label], label, game, levels, seed, recall(label, game))
                kept.by_attack[label] = measured.scores
                writer = Writer(game, label, measured, found[game.release], sparsity[game.release], levels, seed)
                written[label][game.release, game.knowledge] = writer
            rows[label] = _rows(written[label], games, pairs, [written[other] for other in rivals[label]])
            for writer in written[label].values():
                rows[label]["canaries"] += canary_findings(writer, attacks[label], measuring.bounds)
            if label == primary.attack:
                matched = {release: writer for (release, what), writer in written[label].items() if what == MATCHED}
                rows[label]["frontier"] += frontier_rows(matched, lineup.undefended, seed)
                rows[label]["migrations"], samples["migration"] = migrations(matched, pairs, lineup.repeats, seed)
            if label not in held_against:
                written[label].clear()
        rows[""] = {"comparisons": _accuracies_compared(found, pairs)}
    tables = _tables([rows[label] for label in (*attacks, "") if label in rows])
    tables["releases"] = pd.DataFrame([_release_row(name, found[name], facts.get(name, {})) for name in found])
    about = dict(known.about)
    about["warnings"] = [*about.get("warnings", []), *skipped.values()]
    about |= primary.record()
    about |= record_not_learned({game.release: game.view.attacked for game in games}, found)
    for kept in scores:
        kept.by_attack.update({label: kept.by_attack.pop(label) for label in attacks if label in kept.by_attack})
    return Audit(Results(**tables, **samples, about=about), scores)


def _rows(
    written: Mapping[GameKey, Writer],
    games: Sequence[Game],
    pairs: Sequence[tuple[str, str]],
    rivals: Sequence[Mapping[GameKey, Writer]],
) -> dict[str, list[Row]]:
    """All rows of one attack, by table; `rivals` are the attacks that it is held against."""
    rows: dict[str, list[Row]] = defaultdict(list)
    for key, writer in written.items():
        rows["findings"] += writer.findings()
        rows["curves"] += writer.curve()
        rows["classes"] += writer.by_class()
        rows["ppv"] += writer.ppv()
        for other in rivals:
            if key in other:
                rows["contests"] += compare_attacks(writer, other[key])
    rows["comparisons"] += _compared(written, games, pairs)
    return rows


def _tables(parts: Sequence[Mapping[str, list[Row]]]) -> dict[str, Any]:
    """The tables that are put together from the rows of all attacks, in their order."""
    joined = {name: [row for part in parts for row in part.get(name, [])] for name in TABLES if name != "releases"}
    return {name: pd.DataFrame(rows, columns=None if rows else list(TABLES[name])) for name, rows in joined.items()}


def _compared(written: Mapping[GameKey, Writer], games: Sequence[Game], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """Every game of a release against its baseline under the same knowledge."""
    rows: list[Row] = []
    for release, baseline in pairs:
        for (played, knowledge), writer in written.items():
            other = game_of(games, baseline, knowledge) if played == release else None
            if other is not None and (other.release, other.knowledge) in written:
                rows += compare_releases(writer, written[other.release, other.knowledge])
    return rows


def _accuracies_compared(known: Mapping[str, Accuracies], pairs: Sequence[tuple[str, str]]) -> list[Row]:
    """Every release's test accuracy against its baseline's."""
    return [compare_accuracy(release, known[release], baseline, known[baseline]) for release, baseline in pairs]


def _release_row(name: str, found: Accuracies, facts: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {
        column: facts.get(column, float("nan")) for column in (*RELEASE_COLUMNS, *LATER_RELEASE_COLUMNS)
    }
    for column in ("pruner", "defense", "origin"):
        row[column] = facts.get(column, "")
    for which, accuracy in (("train", found.train), ("test", found.test)):
        estimate = two_way(*accuracy)
        row[f"{which}_accuracy"] = estimate.value
        row[f"{which}_accuracy_low"], row[f"{which}_accuracy_high"] = estimate.low, estimate.high
    return {**row, "release": name}
