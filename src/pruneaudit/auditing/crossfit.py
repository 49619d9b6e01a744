"""Decision thresholds that a victim's own data had no part in.

The models are dealt into at most four folds. The thresholds for the victims of a fold are learned on
references outside it: each plays the victim in turn, with references that lie outside the fold too.
"""

# V victims, K references, N samples

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.view import Scores, View
from pruneaudit.metrics import best_threshold
from pruneaudit.randomness import numpy_generator

MAX_FOLDS = 4
_OUTSIDE = -1


def folds_of(view: View, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The fold of each victim and of each reference.

    Args:
        view: victims and references; a model that is both has one fold.
        seed: the study's.

    Returns:
        (V,) and (K,) int. Victims that are nobody's reference have fold -1: all references lie outside it.
    """
    names = np.sort(view.reference.model_names)
    dealt = numpy_generator(seed, "folds").permutation(len(names)) % min(MAX_FOLDS, len(names))
    fold = dict(zip(names.tolist(), dealt.tolist(), strict=True))
    victim_names = view.attacked.model_names[view.victims]
    victims = np.array([fold.get(name, _OUTSIDE) for name in victim_names.tolist()])
    return victims, np.array([fold[name] for name in view.reference.model_names.tolist()])


def thresholds(attack: Attack, view: View, scores: Scores, seed: int, rng: np.random.Generator) -> np.ndarray:
    """The threshold at which to accuse, for each victim, maximising balanced accuracy on references.

    Args:
        attack: what made the scores.
        view: what it was made from.
        scores: its scores; where it scored the references itself, those are used.
        seed: the study's, for the folds.
        rng: for attacks that draw.

    Returns:
        (V,) float64; NaN where there are too few references to learn from.
    """
    result = np.full(len(view.victims), np.nan)
    if not view.references:
        return result
    victim_folds, reference_folds = folds_of(view, seed)
    for fold in np.unique(victim_folds):
        here = victim_folds == fold
        rows = np.flatnonzero((reference_folds != fold) & view.allowed[here].any(axis=0))
        result[here] = _learned(attack, view, scores, rows, rng)
    return result


def _learned(attack: Attack, view: View, scores: Scores, rows: np.ndarray, rng: np.random.Generator) -> float:
    """The best threshold over the references `rows`; NaN where they do not suffice."""
    if not len(rows):
        return float("nan")
    if scores.references is not None:
        learned = scores.references[rows]
    else:
        among = view.among_references(rows)
        if attack.lacks(among):
            return float("nan")
        learned = attack.score(among, rng).victims
    reference = view.reference
    valid = reference.ordinary[rows] & ~np.isnan(learned)
    member = reference.member[rows][valid]
    if not member.any() or member.all():
        return float("nan")
    return best_threshold(learned[valid], member)
