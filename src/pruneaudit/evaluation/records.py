"""Verdicts on records: the records that one model exposes, and those that a recipe exposes. The two are kept apart.

    model    H: the victim was not trained on the record. p: the rank of its score among the victim's own nulls, half B
             of the holdout (`metrics/verdicts.py`). One list per victim and release.
    recipe   H: training on the sample does not raise its score. p: an exact rank test over victims trained on it and
             not (`metrics/exposed.py`). One list per release.

The test of a recipe compares victims on one sample. References that are not victims would move and stretch the scores
of all victims alike, so `lira`, offline `rmia` and phi itself give the same ranks. So the default is phi, without
references, over all victims. With another score the bank is divided (`attacks/disjoint.py`): one half are victims, the
other half their references, because victims that are references of each other are not exchangeable.

Each list is a family of its own: Benjamini and Hochberg's bound holds for each release and victim, not for all lists
together. Each list comes with the agreement of two other lists: from two disjoint halves of the references, or, for the
recipe, of the victims.
"""

# V victims, K references, N samples, Z nulls

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.disjoint import disjoint, halves, too_few
from pruneaudit.attacks.record_scores import (
    WITHOUT_REFERENCES,
    RecordScores,
    halves_of_references,
    record_scores,
)
from pruneaudit.core.threads import one_blas_thread
from pruneaudit.evaluation.attack_setting import AttackSetting
from pruneaudit.evaluation.columns import VERDICT_COLUMNS
from pruneaudit.evaluation.findings import PRIORS
from pruneaudit.metrics import ppv
from pruneaudit.metrics.detection import barriers
from pruneaudit.metrics.exposed import RecipeTest, exposed_by_recipe
from pruneaudit.metrics.verdicts import fewest_named, jaccard, named_at, q_values, record_verdicts
from pruneaudit.study.parts import MIN_HOLDOUT, SUFFICIENT_HOLDOUT

MODEL, RECIPE = "model", "recipe"
"""Values of the column `kind`."""
FOUND_AT = 0.02
"""The false-positive rate at which members count as found, for the agreement of two sets of references."""
RECORD_COLUMNS = ("kind", "release", "victim", "id", "class", "p", "q", "named")
"""The columns of records.csv."""

Row = dict[str, Any]
Begin = Callable[[str], None]
"""Called with the release before its lists."""


@dataclass(frozen=True)
class Judging:
    """How records are judged."""

    rate: float
    """The false discovery rate of each list."""
    score: str
    """A name of `record_scores.SCORES`."""
    seed: int
    """The study's, for coins, folds and halves."""
    recipe_score: str = WITHOUT_REFERENCES
    """The score for the list of the recipe."""
    victims: tuple[str, ...] = ()
    """Ids of the victims whose lists are made; default: all, and the lists of the recipe."""
    repeats: Mapping[str, str] = field(default_factory=dict)
    """For each release that repeats another with a different `finetune_seed`, the repeated one."""


def lacking(attack_input: AttackInput, score: str) -> str:
    """What a release lacks for lists of its victims' records, and how to mend it; empty if it lacks nothing.

    Args:
        attack_input: victims and references of the release.
        score: a name of `record_scores.SCORES`.
    """
    if why := lacking_scores(attack_input, score):
        return why
    number = int(attack_input.nulls.sum())
    if number >= MIN_HOLDOUT:
        return ""
    return (
        f"{MIN_HOLDOUT} or more nulls, got {number}: half B of the holdout, samples that no model was trained on or"
        f" made with. A holdout of {SUFFICIENT_HOLDOUT} samples has enough (in a study data.num_holdout="
        f"{SUFFICIENT_HOLDOUT}, and data.num_public for training that reads it; in files of predictions, of every"
        " release and of references, rows with eligible=False and member=False for all models)"
    )


def lacking_scores(attack_input: AttackInput, score: str) -> str:
    """What a release lacks for the scores alone, which the list of the recipe needs."""
    if any(part.predicted is not None for part in (*attack_input.releases, *attack_input.references)):
        return "logits or probabilities, got predicted classes (too coarse for ranks)"
    if score != WITHOUT_REFERENCES and not (attack_input.allowed.size and attack_input.allowed.any(axis=1).all()):
        return (
            f"references for every victim, got a victim without any: give other models as references, or use the score"
            f" '{WITHOUT_REFERENCES}', which needs none"
        )
    return ""


@dataclass(frozen=True, eq=False)
class Listed:
    """One list."""

    row: Row
    """Of the table `verdicts`."""
    records: pd.DataFrame
    """A row per judged record, the smallest p-values first; columns as in records.csv."""


def lists(settings: Sequence[AttackSetting], judging: Judging, begin: Begin = lambda release: None) -> Iterator[Listed]:
    """Judges the records of every release, victim by victim, then those of the recipe.

    Args:
        settings: the attacked releases and their references; see `lacking` for what they must have.
        judging: how.
        begin: called before the lists of each release.
    """
    kept: dict[tuple[str, str], np.ndarray] = {}
    for setting in settings:
        begin(setting.release)
        with one_blas_thread():
            if why := lacking(setting.attack_input, judging.score):
                yield Listed(_counts(setting, judging, MODEL) | {"suppressed": f"needs {why}"}, _no_records())
            else:
                yield from _by_model(setting, judging, kept)
            can_score = not lacking_scores(setting.attack_input, judging.recipe_score)
            if can_score and not judging.victims and len(setting.attack_input.victims) > 1:
                yield _by_recipe(setting, judging)


def chosen_rows(attack_input: AttackInput, victims: Sequence[str]) -> list[int]:
    """The rows of these victims; all without any. A victim that the release does not have is left out."""
    names = [str(name) for name in attack_input.attacked.model_names[attack_input.victims].tolist()]
    return [row for row, name in enumerate(names) if not victims or name in victims]


def _by_model(setting: AttackSetting, judging: Judging, kept: dict[tuple[str, str], np.ndarray]) -> Iterator[Listed]:
    """The list of each victim. `kept` holds the named records of releases that another release repeats."""
    attack_input = setting.attack_input
    attacked, rows = attack_input.attacked, chosen_rows(attack_input, judging.victims)
    inputs = [attack_input, *_halves(attack_input, judging)]
    scored = [record_scores(judging.score, each, rows, judging.seed) for each in inputs]
    for row, (own, *of_halves) in zip(rows, zip(*scored, strict=True), strict=True):
        victim = attack_input.victims[row]
        name, member = str(attacked.model_names[victim]), attacked.member[victim]
        found = record_verdicts(own.audited[None], own.nulls[None], judging.rate)
        named, p_values = found.named[0], found.p_values[0]
        num_records = int((~np.isnan(p_values)).sum())
        floor = 1 / (1 + len(own.nulls))
        counts = _counts(setting, judging, MODEL) | {
            **{"victim": name, "num_victims": 1, "num_records": num_records, "num_nulls": len(own.nulls)},
            **{"num_references": own.num_references, "smallest_p": floor, "num_named": int(named.sum())},
            "fewest": _or_nan(fewest_named(np.full(num_records, floor), judging.rate)),
        }
        counts |= _truth(named, p_values, member) | _agreement(of_halves, member, judging.rate)
        counts |= _stability(setting.release, name, named, judging, kept)
        yield Listed(counts, _records(setting, MODEL, name, p_values, found.q_values[0], named))


def _halves(attack_input: AttackInput, judging: Judging) -> tuple[AttackInput, ...]:
    """The attack input with each of two disjoint sets of references; none where a victim would have no references."""
    if judging.score == WITHOUT_REFERENCES:
        return ()
    both = halves_of_references(attack_input, judging.seed)
    return both if all(half.allowed.any(axis=1).all() for half in both) else ()


def _truth(named: np.ndarray, p_values: np.ndarray, member: np.ndarray) -> Row:
    """What the known membership says of a list, and what an accusation would be worth at other priors."""
    is_judged = ~np.isnan(p_values)
    num_named, num_members = int(named.sum()), int((is_judged & member).sum())
    row: Row = {"num_named_nonmembers": int((named & ~member).sum())}
    if num_members:
        row["share_found"] = int((named & member).sum()) / num_members
    if num_named:
        row["share_nonmembers"] = row["num_named_nonmembers"] / num_named
        row["largest_p"] = float(p_values[named].max())
        if num_members:  # the nulls bound the false-positive rate of the list's threshold
            row |= {f"ppv_at_{prior:.0%}": float(ppv(row["share_found"], row["largest_p"], prior)) for prior in PRIORS}
    return row


def _agreement(of_halves: Sequence[RecordScores], member: np.ndarray, rate: float) -> Row:
    """How far the lists, and the members found at `FOUND_AT`, agree between two sets of references."""
    if not of_halves:
        return {}
    named = [record_verdicts(half.audited[None], half.nulls[None], rate).named[0] for half in of_halves]
    scores = np.stack([half.audited for half in of_halves])  # (2, N)
    limits = barriers(scores, np.stack([member, member]), FOUND_AT)
    found = (scores > limits[:, None]) & member
    return {"agreement_named": jaccard(*named), "agreement_found": jaccard(*found)}


def _stability(
    release: str, victim: str, named: np.ndarray, judging: Judging, kept: dict[tuple[str, str], np.ndarray]
) -> Row:
    """How far the list agrees with that of the release that this one repeats with another seed."""
    if release in judging.repeats.values():
        kept[release, victim] = named
    first = judging.repeats.get(release)
    if first is None:
        return {}
    earlier = kept.get((first, victim))
    return {"repeats": first, "stability": np.nan if earlier is None else jaccard(earlier, named)}


def _by_recipe(setting: AttackSetting, judging: Judging) -> Listed:
    """The samples that a recipe exposes, over all victims, or over half of them if the others are their references."""
    given, uses_references = setting.attack_input, judging.recipe_score != WITHOUT_REFERENCES
    apart = disjoint(given, judging.seed) if uses_references else given
    row = _counts(setting, judging, RECIPE)
    if uses_references and (why := too_few(apart, compares_in=False)):
        return Listed(row | {"suppressed": why}, _no_records())
    of_victims, _ = halves(given, judging.seed)
    both = [np.flatnonzero(of_victims == half) for half in (0, 1)]
    rows = np.arange(len(of_victims)) if apart is given else both[0]
    test = _tested(apart, rows, judging)
    adjusted, is_judged = q_values(test.p_value[None])[0], ~np.isnan(test.p_value)
    named = named_at(adjusted, judging.rate)
    of_halves = [named_at(q_values(_tested(apart, half, judging).p_value[None])[0], judging.rate) for half in both]
    row |= {
        **{"num_victims": len(rows), "num_records": int(is_judged.sum()), "num_named": int(named.sum())},
        "num_references": int(apart.allowed[rows].sum(axis=1).min()) if uses_references else 0,
        "smallest_p": float(np.nanmin(test.smallest)) if is_judged.any() else np.nan,
        "fewest": _or_nan(fewest_named(test.smallest, judging.rate)),
        "agreement_named": jaccard(*of_halves),
    }
    if named.any():
        row["largest_p"] = float(test.p_value[named].max())
    return Listed(row, _records(setting, RECIPE, "", test.p_value, adjusted, named))


def _tested(attack_input: AttackInput, rows: np.ndarray, judging: Judging) -> RecipeTest:
    """The exact test of every sample over these victims."""
    scores = np.stack(
        [one.audited for one in record_scores(judging.recipe_score, attack_input, rows.tolist(), judging.seed)]
    )
    return exposed_by_recipe(scores, attack_input.attacked.member[attack_input.victims[rows]])


def _counts(setting: AttackSetting, judging: Judging, kind: str) -> Row:
    """A row of the table `verdicts` in which all figures are missing."""
    return {
        **dict.fromkeys(VERDICT_COLUMNS, np.nan),
        **{"kind": kind, "release": setting.release, "references": setting.references, "victim": ""},
        "score": judging.score if kind == MODEL else judging.recipe_score,
        **{"fdr": judging.rate, "repeats": "", "suppressed": ""},
    }


def _or_nan(count: int | None) -> float:
    return np.nan if count is None else count


def _records(
    setting: AttackSetting, kind: str, victim: str, p_values: np.ndarray, adjusted: np.ndarray, named: np.ndarray
) -> pd.DataFrame:
    """The judged records, the smallest p-values first."""
    attacked = setting.attack_input.attacked
    order = np.argsort(p_values, kind="stable")
    order = order[~np.isnan(p_values[order])]
    values = (attacked.sample_ids, attacked.labels, p_values, adjusted, named.astype(np.int64))
    columns = dict(zip(RECORD_COLUMNS[3:], (each[order] for each in values), strict=True))
    return pd.DataFrame({"kind": kind, "release": setting.release, "victim": victim} | columns)


def _no_records() -> pd.DataFrame:
    return pd.DataFrame(columns=list(RECORD_COLUMNS))
