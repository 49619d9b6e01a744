"""Decision thresholds that a victim's own data had no part in.

The models are dealt into at most four folds. The thresholds for the victims of a fold are learned on
references outside it: each plays the victim in turn, with references that lie outside the fold too.
A learned attack deals folds of its own, and brings scores of references that it held out of its training.
"""

# V victims, K references, N samples

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.folds import folds_of
from pruneaudit.attacks.view import Scores, View
from pruneaudit.metrics import best_threshold


def thresholds(attack: Attack, view: View, scores: Scores, seed: int, rng: np.random.Generator) -> np.ndarray:
    """The threshold at which to accuse, for each victim, maximising balanced accuracy on references.

    Args:
        attack: what made the scores.
        view: what it was made from.
        scores: its scores; where it scored the references itself, or held some out, those are used.
        seed: the study's, for the folds.
        rng: for attacks that draw.

    Returns:
        (V,) float64; NaN where there are too few references to learn from.
    """
    result = np.full(len(view.victims), np.nan)
    if not view.references:
        return result
    if scores.held_out is not None:
        for part in scores.held_out:
            result[part.victims] = _best(view, part.references, part.scores)
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
    return _best(view, rows, learned)


def _best(view: View, rows: np.ndarray, learned: np.ndarray) -> float:
    """The best threshold for the scores (K', N) of the references `rows`; NaN where one side is missing."""
    reference = view.reference
    valid = reference.ordinary[rows] & ~np.isnan(learned)
    member = reference.member[rows][valid]
    if not member.any() or member.all():
        return float("nan")
    return best_threshold(learned[valid], member)
