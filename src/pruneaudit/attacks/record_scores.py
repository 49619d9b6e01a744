"""Scores for verdicts on records. Each score follows the same rule for nulls as for audited samples.

    lira    (phi - m) / sqrt(v (1 + 1 / n)), from the n OUT references: offline LiRA with a moderated variance (below)
    rmia    ln p_y - ln p(x), offline, with a tuned on references: RMIA with gamma 1 ranks by it (arXiv 2312.03262)
    loss    phi of the victim alone: for victims without references

A p-value is the rank of a record's score among the scores of the nulls, so both must follow one rule. Online attacks
cannot be used, because no reference was trained on a null. Also, all references of a null are OUT references, but only
about half of the references of an audited sample are. The mean for a null would be more precise, and its score too
close to 0. So coins decide which references of a null count as OUT references. Each reference counts for a null with
the probability with which it is an OUT reference of an audited sample of the victim. Where no reference saw the
victim's samples (protocol `disjoint`), all count.

Moderated variance (Smyth 2004, doi:10.2202/1544-6115.1027): the variances of samples have an inverse-gamma prior with
d0 = 2 a0 degrees of freedom and scale s0^2, estimated by moments as in `bavaria`, from audited samples and nulls alike:

    v = (d0 s0^2 + (n - 1) s^2) / (d0 + n - 1)

With few references v is near the pooled variance, with many near the sample's own. The statistic is used only for its
rank: no tail of a t distribution is looked up. Several queries: the mean of `lira`, the middle one of `rmia`.
"""

# V victims, K references, N samples, Z nulls, n samples or nulls of a group of victims, Q queries

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.attacks.bavaria import variance_prior
from pruneaudit.attacks.moments import Moments, averaged, means, moments
from pruneaudit.attacks.ratios import PUBLISHED_A, offline_score
from pruneaudit.attacks.tuning import Tunable, constant
from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.signals.derived import log_probability, probability

WITHOUT_REFERENCES = "loss"


@dataclass(frozen=True, eq=False)
class RecordScores:
    """The scores of one victim."""

    audited: np.ndarray
    """(N,) float64, higher = more likely a member; NaN where a sample is not audited or cannot be scored."""
    nulls: np.ndarray
    """(Z,) float64, of the nulls that can be scored."""
    num_references: int


@dataclass(frozen=True, eq=False)
class _Part:
    """Victims that are audited on the same samples, and all that their scores depend on."""

    phi: np.ndarray  # (V, n, Q)
    references: np.ndarray  # (K, n, Q) phi
    outside: np.ndarray  # (K, n) bool: the reference counts as an OUT reference
    allowed: np.ndarray  # (V, K) bool
    a: np.ndarray  # (V, 1) RMIA's constant; empty for other scores


def record_scores(score: str, attack_input: AttackInput, rows: Sequence[int], seed: int) -> Iterator[RecordScores]:
    """Scores some victims' audited samples and nulls.

    Args:
        score: one of `SCORES`.
        attack_input: victims and references.
        rows: (V',) rows of `attack_input.victims`. The scores of a victim do not depend on which others are asked for.
        seed: the study's, for coins and folds.

    Yields:
        The scores of each of these victims, in this order.
    """
    attacked, nulls = attack_input.attacked, attack_input.nulls
    audited = attack_input.eligible & attacked.counted  # (V, N)
    coins = _coins(attack_input, nulls, seed)
    a = _constants(attack_input, seed) if score == "rmia" else np.empty((len(audited), 0))
    for group in _alike(audited, rows):
        chosen = audited[group[0]] | nulls
        phi = attacked.phi[attack_input.victims[group]][:, chosen]
        if attack_input.references:
            outside = _outside(attack_input, audited[group[0]], nulls, coins)[:, chosen]
            part = _Part(phi, attack_input.reference.phi[:, chosen], outside, attack_input.allowed[group], a[group])
        else:
            part = _Part(phi, phi[:0], np.zeros((0, phi.shape[1]), dtype=bool), attack_input.allowed[group], a[group])
        found = np.full((len(group), len(nulls)), np.nan)
        found[:, chosen] = SCORES[score](part)
        for victim, scores in zip(group, found, strict=True):
            own = scores[nulls]
            yield RecordScores(
                np.where(audited[victim], scores, np.nan),
                own[~np.isnan(own)],
                int(attack_input.allowed[victim].sum()) if score != WITHOUT_REFERENCES else 0,
            )


def halves_of_references(attack_input: AttackInput, seed: int) -> tuple[AttackInput, AttackInput]:
    """The same attack input with two disjoint sets of references, of equal size in each group.

    Args:
        attack_input: victims and references.
        seed: the study's.
    """
    names, groups = attack_input.reference.model_names, attack_input.reference.groups
    is_second = np.zeros(len(names), dtype=bool)
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        by_name = mine[np.argsort(names[mine])]
        dealt = numpy_generator(seed, seeds.RECORD_HALVES, int(group)).permutation(by_name)
        is_second[dealt[1::2]] = True
    return _with_references(attack_input, ~is_second), _with_references(attack_input, is_second)


def _with_references(attack_input: AttackInput, kept: np.ndarray) -> AttackInput:
    return AttackInput(
        attack_input.releases, attack_input.references, attack_input.victims, attack_input.allowed & kept
    )


def _alike(audited: np.ndarray, rows: Sequence[int]) -> Iterator[list[int]]:
    """Neighbouring victims that are audited on the same samples."""
    group: list[int] = []
    for row in rows:
        if group and not np.array_equal(audited[row], audited[group[0]]):
            yield group
            group = []
        group.append(row)
    if group:
        yield group


def _coins(attack_input: AttackInput, nulls: np.ndarray, seed: int) -> np.ndarray:
    """A number in [0, 1) for each reference and null, (K, Z); it depends on the seed, the reference and the samples."""
    if not attack_input.references:
        return np.zeros((0, int(nulls.sum())))
    order = np.argsort(attack_input.reference.sample_ids)
    place = np.empty(len(order), dtype=np.intp)
    place[order] = np.arange(len(order))
    names = attack_input.reference.model_names.tolist()
    draws = (numpy_generator(seed, seeds.RECORD_COINS, name).random(len(order)) for name in names)
    return np.stack([drawn[place[nulls]] for drawn in draws])


def _outside(attack_input: AttackInput, audited: np.ndarray, nulls: np.ndarray, coins: np.ndarray) -> np.ndarray:
    """Which references count as OUT references of which samples, (K, N) bool."""
    member = attack_input.reference.member
    outside = ~member
    share_inside = member[:, audited].mean(axis=1, keepdims=True)  # (K, 1)
    outside[:, nulls] = coins >= share_inside
    return outside


def _constants(attack_input: AttackInput, seed: int) -> np.ndarray:
    """RMIA's a for every victim, tuned on references, (V, 1)."""
    generator = numpy_generator(seed, seeds.RECORD_FOLDS)
    return constant(Tunable("a", PUBLISHED_A, offline_score), None, attack_input, generator).values


def _lira(part: _Part) -> np.ndarray:
    """Scores (V, n)."""

    def of_query(query: int) -> np.ndarray:
        side = moments(part.references[..., query], part.outside, part.allowed)
        return moderated_t(part.phi[..., query], side)

    return averaged(of_query(query) for query in range(part.phi.shape[2]))


def moderated_t(phi: np.ndarray, side: Moments) -> np.ndarray:
    """How far phi lies above the references' mean, in moderated standard errors of one more value.

    Args:
        phi: (V, N).
        side: its OUT references.

    Returns:
        (V, N); NaN where a sample has no reference.
    """
    mean, shape = variance_prior(side, np.ones(phi.shape[1], dtype=bool))  # (V, 1) each
    freedom = np.maximum(side.count - 1, 0)  # (V, N)
    variance = (2 * (shape - 1) * mean + side.squares) / (2 * shape + freedom)  # d0 s0^2 = 2 (a0 - 1) mean
    known = side.count > 0
    return np.where(known, (phi - side.mean) / np.sqrt(variance * (1 + 1 / np.where(known, side.count, 1))), np.nan)


def _rmia(part: _Part) -> np.ndarray:
    """Scores (V, n)."""
    num_queries = part.phi.shape[2]
    ratios = np.stack(
        [
            offline_score(
                log_probability(part.phi[..., query]),
                means(probability(part.references[..., query]), part.outside, part.allowed),
                part.a,
            )
            for query in range(num_queries)
        ]
    )  # (Q, V, n)
    return np.asarray(np.sort(ratios, axis=0)[num_queries - (num_queries // 2 + 1)])


def _loss(part: _Part) -> np.ndarray:
    """Scores (V, n)."""
    return part.phi[..., 0].copy()


SCORES: dict[str, Callable[[_Part], np.ndarray]] = {"rmia": _rmia, "lira": _lira, "loss": _loss}
"""The scores by name."""
