"""From signals to findings: every attack in every game, measured, compared, written up."""

# V victims, N samples

from __future__ import annotations

import hashlib
import warnings
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from threadpoolctl import threadpool_limits

from pruneaudit.attacks import ATTACKS
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.groups import expand, skips
from pruneaudit.attacks.view import View
from pruneaudit.auditing.canaries import DEFAULT_BOUNDS, Bounds, canary_findings
from pruneaudit.auditing.comparisons import compare_accuracy, compare_attacks, compare_releases
from pruneaudit.auditing.findings import Row, Writer
from pruneaudit.auditing.frontier import declared_attack, frontier_rows
from pruneaudit.auditing.game import MATCHED, NO_TWINS, Game, game_of
from pruneaudit.auditing.measure import Accuracies, accuracies, measure
from pruneaudit.auditing.migration import migrations
from pruneaudit.errors import UserError
from pruneaudit.files import writing_error
from pruneaudit.metrics import two_way
from pruneaudit.options import validated
from pruneaudit.results import RELEASE_COLUMNS, TABLES, Results
from pruneaudit.signals.signals import Signals
from pruneaudit.study import Plugin

DEFAULT_ATTACKS = ("loss", "confidence", "entropy", "modified_entropy", "lira", "rmia")
DEFAULT_LEVELS = (0.1, 0.01, 0.001)
GameKey = tuple[str, str]


@dataclass(frozen=True, eq=False)
class GameScores:
    """All attacks' scores in one game."""

    game: Game
    by_attack: dict[str, np.ndarray] = field(default_factory=dict)
    """(V, N) float64 by attack played; higher = more likely a member, NaN = not scored."""


@dataclass(frozen=True, eq=False)
class Audit:
    """Findings, and the scores that they come from."""

    results: Results
    games: tuple[GameScores, ...]

    @property
    def findings(self) -> pd.DataFrame:
        """One row per (release, knowledge, attack, victim)."""
        return self.results.findings

    @property
    def comparisons(self) -> pd.DataFrame:
        """Paired differences between releases."""
        return self.results.comparisons

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """Scores (V, N) by attack; with several games by "release/knowledge/attack"."""
        if len(self.games) == 1:
            return dict(self.games[0].by_attack)
        return {
            f"{scores.game.release}/{scores.game.knowledge}/{attack}": array
            for scores in self.games
            for attack, array in scores.by_attack.items()
        }

    def save(self, folder: str | Path) -> Path:
        """Writes findings.csv, findings.json, comparisons.csv, ... and scores.parquet into a folder."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _write_scores(self.games, folder / "scores.parquet")
            self.results.save(folder)
        except OSError as error:
            raise writing_error(folder, error) from None
        return folder

    def _repr_html_(self) -> str:
        return str(self.findings[self.findings["victim"] == "mean"].to_html(index=False))


def audit(
    signals: Signals,
    references: Signals | None = None,
    paired: Signals | None = None,
    paired_references: Signals | None = None,
    attacks: Sequence[str | Plugin] | str = DEFAULT_ATTACKS,
    seed: int = 0,
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
) -> Audit:
    """Attacks models by their predictions.

    Args:
        signals: the victims' predictions; each victim's references are the other models in it.
        references: predictions of other models on the same samples, to be used as references instead.
        paired: predictions of the same models in another release that is public too (say, before pruning).
        paired_references: predictions of the references in that other release, where both are given.
        attacks: names such as "loss", "lira:mode=offline"; or the groups "scores" and "all",
            which leave out what the signals do not allow.
        seed: seed of folds and bootstrap.
        fpr_levels: false-positive rates at which the true-positive rate is reported.

    Returns:
        The audit; `.findings` is a table, `.scores` maps attack names to (V, N) arrays.

    Raises:
        UserError: an attack is unknown, or lacks what it needs; a rate is out of range.
    """
    if not fpr_levels or not all(0 < level < 1 for level in fpr_levels):
        raise UserError(f"fpr_levels: got {list(fpr_levels)}, expected rates above 0 and below 1 (0.01 is 1%)")
    parts = {"references": references, "paired": paired, "paired_references": paired_references}
    for name, given in {"signals": signals, **parts}.items():
        if given is not None and not isinstance(given, Signals):
            raise UserError(f"{name}: got {type(given).__name__}, expected Signals; use Signals.load(path)")
    if isinstance(attacks, str):
        attacks = attacks.split(",")
    games = [Game("signals", MATCHED, _given_view(signals, references, paired, paired_references))]
    found = audit_games(games, ready(attacks), seed, fpr_levels, skip=skips(named(attacks)))
    for note in found.results.about["warnings"]:
        warnings.warn(note, stacklevel=2)
    return found


def _given_view(
    signals: Signals, references: Signals | None, paired: Signals | None, paired_references: Signals | None
) -> View:
    releases = [signals] if paired is None else [paired, signals]
    if references is None:
        if paired_references is not None:
            raise UserError("paired_references goes with references, which are not given; give both, or neither")
        return View.of(releases, releases if signals.num_models > 1 else ())
    if (paired is None) != (paired_references is None):
        raise UserError(
            "references of pairs are pairs too: give paired (the victims' other release) and paired_references (the"
            " references' other release) together"
        )
    own = [references] if paired_references is None else [paired_references, references]
    allowed = None
    if signals.model_ids is None or references.model_ids is None:
        # Without ids from both sides nothing says which model is which; copies are refused below.
        allowed = signals.groups[signals.victims][:, None] == references.groups[None, :]
    view = View.of(releases, own, allowed)
    _refuse_copies(view)
    return view


def _refuse_copies(view: View) -> None:
    """Refuses a reference that answers exactly as the victim that it may serve: that is the victim itself."""
    attacked, reference = view.attacked, view.reference
    by_answer: dict[bytes, list[int]] = defaultdict(list)
    for row in range(reference.num_models):
        by_answer[_fingerprint(reference.logits[row])].append(row)
    for victim, row in enumerate(view.victims):
        for copy in by_answer.get(_fingerprint(attacked.logits[row]), ()):
            if view.allowed[victim, copy]:
                raise UserError(
                    f"references: model {reference.model_names[copy]} answers exactly as victim"
                    f" {attacked.model_names[row]}, expected other models (a victim must not be its own reference);"
                    " leave it out, or give both files model_ids"
                )


def _fingerprint(logits: np.ndarray) -> bytes:
    return hashlib.sha256(logits.tobytes()).digest()


def named(attacks: Sequence[str | Plugin]) -> list[Plugin]:
    """Attacks and groups given as texts or as they are.

    Raises:
        UserError: there are none, or a text is malformed.
    """
    if not attacks:
        raise UserError(f"attacks: got none, expected some of: {', '.join(ATTACKS.names())}")
    return [validated(Plugin, given, "attacks") if isinstance(given, str) else given for given in attacks]


def ready(attacks: Sequence[str | Plugin]) -> dict[str, Attack]:
    """Attacks made ready, groups taken apart, by label.

    Raises:
        UserError: a name or option is unknown.
    """
    made = {}
    for plugin in expand(named(attacks)):
        found = ATTACKS.get(plugin.name)
        made[plugin.label] = found(validated(found.Options, plugin.options, f"options of attack '{plugin.name}'"))
    return made


def audit_games(
    games: Sequence[Game],
    attacks: Mapping[str, Attack],
    seed: int,
    fpr_levels: Sequence[float] = DEFAULT_LEVELS,
    baselines: Sequence[str] = (),
    twins: Mapping[str, str] = NO_TWINS,
    facts: Mapping[str, Mapping[str, Any]] | None = None,
    about: Mapping[str, Any] | None = None,
    skip: bool = False,
    bounds: Bounds = DEFAULT_BOUNDS,
    undefended: Sequence[str] = (),
    repeats: Mapping[str, str] = NO_TWINS,
) -> Audit:
    """Plays every attack in every game.

    Args:
        games: who is attacked, with what references.
        attacks: the attacks by label.
        seed: the study's.
        fpr_levels: false-positive rates at which the true-positive rate is reported.
        baselines: releases that the others are compared with.
        twins: the release that each defended one would be without its defence; the two are compared.
        facts: what else is known of each release (sparsity, parameters, ...), by release.
        about: how this came to be.
        skip: leave out attacks that lack something, and say so in `about["warnings"]`, instead of refusing.
        bounds: what lower bounds on epsilon are made of, where there are canaries.
        undefended: the dense releases without any defence, whose leakage at equal accuracy the others are held
            against; without any there is no frontier.
        repeats: releases that repeat another one with another `finetune_seed`, and which: the noise floor.

    Raises:
        UserError: an attack lacks what it needs.
    """
    facts = facts or {}
    known = {game.release: accuracies(game.view.attacked) for game in games}
    sparsity = {name: facts.get(name, {}).get("sparsity", float("nan")) for name in known}
    pairs = _pairs(known, baselines, twins)
    scores = tuple(GameScores(game) for game in games)
    skipped = {label: lack for label, attack in attacks.items() if (lack := _lacking(label, attack, games, skip))}
    rows: dict[str, dict[str, list[Row]]] = {}
    written: dict[str, dict[GameKey, Writer]] = {}
    playable = [label for label in attacks if label not in skipped]
    rivals = _rivals({label: attacks[label] for label in playable})
    samples: dict[str, pd.DataFrame] = {}
    # One thread: the same sums in the same order, whatever the number of cores.
    with threadpool_limits(limits=1, user_api="blas"):
        # Attacks that others are compared with come first; only their measurements are kept.
        for label in sorted(playable, key=lambda label: -sum(label in others for others in rivals.values())):
            written[label] = {}
            for game, kept in zip(games, scores, strict=True):
                if attacks[label].lacks(game.view):
                    continue  # an attack on pairs, and a game with a single release
                measured = measure(attacks[label], label, game, fpr_levels, seed)
                kept.by_attack[label] = measured.scores
                writer = Writer(game, label, measured, known[game.release], sparsity[game.release], fpr_levels, seed)
                written[label][game.release, game.knowledge] = writer
            rows[label] = _rows(written[label], games, pairs, [written[other] for other in rivals[label]])
            for writer in written[label].values():
                rows[label]["canaries"] += canary_findings(writer, attacks[label], bounds)
            if label == declared_attack(attacks):
                matched = {release: writer for (release, what), writer in written[label].items() if what == MATCHED}
                rows[label]["frontier"] += frontier_rows(matched, undefended, seed)
                rows[label]["migrations"], samples["migration"] = migrations(matched, pairs, repeats, seed)
            if not any(label in others for others in rivals.values()):
                written[label].clear()
        rows[""] = {"comparisons": _accuracies_compared(known, pairs)}
    tables = _tables([rows[label] for label in (*attacks, "") if label in rows])
    tables["releases"] = pd.DataFrame([_release_row(name, known[name], facts.get(name, {})) for name in known])
    about = dict(about or {})
    about["warnings"] = [*about.get("warnings", []), *skipped.values()]
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


def _rivals(attacks: Mapping[str, Attack]) -> dict[str, list[str]]:
    """The played attacks that each is held against: the common standard, and the one that it names itself."""
    first_of: dict[str, str] = {}
    for label in attacks:
        first_of.setdefault(label.partition(":")[0], label)
    named = {label: dict.fromkeys([Attack.standard, attack.standard]) for label, attack in attacks.items()}
    return {
        label: [first_of[name] for name in names if first_of.get(name, label) != label]
        for label, names in named.items()
    }


def _lacking(label: str, attack: Attack, games: Sequence[Game], skip: bool) -> str:
    """Why an attack is left out, where it may be; empty where it can be played.

    An attack on several releases is played wherever there are several.
    """
    needed = games
    if "two releases" in attack.needs:
        needed = [game for game in games if len(game.view.releases) > 1] or games
    lacking = next((lack for game in needed if (lack := attack.lacks(game.view))), "")
    if lacking and not skip:
        raise UserError(f"attack '{label}' needs {lacking}, which these signals do not have; leave it out or add them")
    return lacking and f"attack '{label}' left out: it needs {lacking}"


def _pairs(releases: Iterable[str], baselines: Sequence[str], twins: Mapping[str, str]) -> list[tuple[str, str]]:
    """Which release is compared with which: all with each baseline, and the defended with their undefended twins."""
    releases = list(releases)
    pairs = [(release, baseline) for baseline in baselines for release in releases]
    pairs += [(release, twin) for release, twin in twins.items() if release in releases and twin in releases]
    return [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]


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
    row: dict[str, Any] = {column: facts.get(column, float("nan")) for column in RELEASE_COLUMNS}
    for column in ("pruner", "defense", "origin"):
        row[column] = facts.get(column, "")
    for which, accuracy in (("train", found.train), ("test", found.test)):
        estimate = two_way(*accuracy)
        row[f"{which}_accuracy"] = estimate.value
        row[f"{which}_accuracy_low"], row[f"{which}_accuracy_high"] = estimate.low, estimate.high
    return {**row, "release": name}


def _write_scores(games: Sequence[GameScores], path: Path) -> None:
    """One row per (release, knowledge, model, sample), one column per attack; written whole or not at all."""
    temporary = path.with_name(f".{path.name}.tmp")
    schema_writer: pq.ParquetWriter | None = None
    played = list(dict.fromkeys(attack for scores in games for attack in scores.by_attack))
    try:
        for scores in games:
            table = _scores_table(scores, played)
            schema_writer = schema_writer or pq.ParquetWriter(temporary, table.schema, compression="zstd")
            schema_writer.write_table(table)
        if schema_writer is not None:
            schema_writer.close()
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _scores_table(scores: GameScores, attacks: Sequence[str]) -> pa.Table:
    """The rows of one game; NaN where one of the attacks was not played in it."""
    game, signals = scores.game, scores.game.view.attacked
    rows = game.view.victims
    scored = signals.scored[rows]  # (V, N)
    victim, sample = np.nonzero(scored)
    columns: dict[str, Any] = {
        "release": pa.repeat(game.release, len(victim)).dictionary_encode(),
        "knowledge": pa.repeat(game.knowledge, len(victim)).dictionary_encode(),
        "model_id": signals.model_names[rows][victim],
        "sample_id": signals.sample_ids[sample],
        "member": signals.member[rows][scored],
        "canary": signals.canaries[sample],
    }
    nothing = np.full(scored.shape, np.nan)
    columns |= {attack: scores.by_attack.get(attack, nothing)[scored] for attack in attacks}
    return pa.table(columns)
