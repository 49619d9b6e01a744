"""Learns decision thresholds without a victim's own data.

The models are dealt into at most four folds. The thresholds for the victims of a fold are learned on
references outside it: each plays the victim in turn, with the other references outside the fold.
A learned attack deals its own folds, and returns scores of references that it held out of its training. An attack
with a fixed threshold (`Scores.threshold`) keeps it.

Two kinds of thresholds are learned: the threshold of best balanced accuracy; and for each false-positive rate, the
score that at most this fraction of the references' non-members exceed. The latter is common to all classes.

If an attack asks for thresholds per class (`thresholds=per_class`, as in Song & Mittal 2021, arXiv 2003.10595),
every class has its own; a class without members or non-members among the references takes the one of all classes.
"""

# V victims, K references, N samples, C classes, L levels

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.folds import settings
from pruneaudit.metrics import barriers, best_cut, refusal


@dataclass(frozen=True, eq=False)
class Learned:
    """The thresholds that references teach for one attack, for each victim."""

    best: np.ndarray
    """(V, C) thresholds of best balanced accuracy; scores at or above accuse. NaN where there are too few
    references."""
    barriers: np.ndarray
    """(V, L) thresholds for each false-positive rate; scores above accuse. NaN where the references have too few
    non-members."""
    num_nonmembers: np.ndarray
    """(V,) int: number of scored non-members over all teaching references."""


def thresholds(
    attack: Attack, attack_input: AttackInput, scores: Scores, seed: int, rng: np.random.Generator
) -> np.ndarray:
    """The thresholds (V, C) at which to accuse, maximising balanced accuracy on references; see `learn`."""
    return learn(attack, attack_input, scores, (), seed, rng).best


def learn(
    attack: Attack,
    attack_input: AttackInput,
    scores: Scores,
    levels: Sequence[float],
    seed: int,
    rng: np.random.Generator,
) -> Learned:
    """Learns each victim's thresholds on its references outside its own fold.

    Args:
        attack: the attack that gave the scores.
        attack_input: its input.
        scores: its scores, with those of references, held-out references, or a fixed threshold if it has them.
        levels: (L,) false-positive rates in (0, 1).
        seed: the study's seed, for the folds.
        rng: for attacks with random draws.
    """
    num_victims = len(attack_input.victims)
    found = Learned(
        np.full((num_victims, attack_input.attacked.num_classes), np.nan),
        np.full((num_victims, len(levels)), np.nan),
        np.zeros(num_victims, dtype=np.int64),
    )
    is_fixed = scores.threshold is not None
    if is_fixed:
        found.best[:] = scores.threshold
        if scores.held_out is None:
            return found
    for victims, rows, learned in _taught(attack, attack_input, scores, seed, rng):
        teachers = _Teachers.of(attack_input, rows, learned)
        members, others = (np.sort(learned[side]) for side in (teachers.members, teachers.others))
        if not is_fixed:
            overall = best_cut(members, others) if members.size and others.size else float("nan")
            found.best[victims] = _of_classes(teachers, overall) if attack.per_class else overall
        found.num_nonmembers[victims] = others.size
        enough = np.array([refusal(others.size, level) is None for level in levels], dtype=bool)
        found.barriers[victims] = np.where(enough, barriers(others, levels, ascending=True), np.nan)
    return found


def _taught(
    attack: Attack, attack_input: AttackInput, scores: Scores, seed: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Victims (V',), the references (K',) that teach for them, and the attack's scores of those (K', N)."""
    if not attack_input.references:
        return
    if scores.held_out is not None:
        for part in scores.held_out:
            yield part.victims, part.references, part.scores
        return
    for victims, unsorted in settings(attack_input, seed):
        rows = np.sort(unsorted)
        learned = _scored(attack, attack_input, scores, rows, rng)
        if learned is not None:
            yield victims, rows, learned


def _scored(
    attack: Attack, attack_input: AttackInput, scores: Scores, rows: np.ndarray, rng: np.random.Generator
) -> np.ndarray | None:
    """The attack's scores of the references `rows` (K', N); None if they are too few."""
    if not len(rows):
        return None
    if scores.references is not None:
        return np.asarray(scores.references[rows])
    among = attack_input.among_references(rows)
    return None if attack.lacks(among) else attack.score(among, rng).victims


@dataclass(frozen=True, eq=False)
class _Teachers:
    """The scores of the references that teach for some victims."""

    scores: np.ndarray
    """(K', N)."""
    members: np.ndarray
    """(K', N) bool: scored members."""
    others: np.ndarray
    """(K', N) bool: scored non-members."""
    labels: np.ndarray
    """(N,)."""
    num_classes: int

    @classmethod
    def of(cls, attack_input: AttackInput, rows: np.ndarray, scores: np.ndarray) -> _Teachers:
        """Takes the references' `rows` and their scores (K', N)."""
        reference = attack_input.reference
        valid, member = reference.ordinary[rows] & ~np.isnan(scores), reference.member[rows]
        return cls(scores, valid & member, valid & ~member, reference.labels, reference.num_classes)


def _of_classes(teachers: _Teachers, overall: float) -> np.ndarray:
    """The best threshold of every class (C,); `overall` for a class without members or non-members."""
    result = np.full(teachers.num_classes, overall)
    for label in range(teachers.num_classes):
        of_class = np.flatnonzero(teachers.labels == label)
        scores = teachers.scores[:, of_class]
        members, others = (np.sort(scores[side[:, of_class]]) for side in (teachers.members, teachers.others))
        if members.size and others.size:
            result[label] = best_cut(members, others)
    return result
