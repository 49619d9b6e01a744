"""Decision thresholds that a victim's own data had no part in.

The models are dealt into at most four folds. The thresholds for the victims of a fold are learned on
references outside it: each plays the victim in turn, with references that lie outside the fold too.
A learned attack deals folds of its own, and brings scores of references that it held out of its training. An attack
whose threshold was fixed beforehand (`Scores.threshold`) keeps it.

Where an attack asks for thresholds per class (`thresholds=per_class`, as in Song & Mittal 2021, arXiv 2003.10595),
every class has its own; a class of which the references have no member or no non-member takes the one of all classes.
"""

# V victims, K references, N samples, C classes

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.folds import games
from pruneaudit.attacks.view import Scores, View
from pruneaudit.metrics import best_threshold


def thresholds(attack: Attack, view: View, scores: Scores, seed: int, rng: np.random.Generator) -> np.ndarray:
    """The thresholds at which to accuse, for each victim and class, maximising balanced accuracy on references.

    Args:
        attack: what made the scores.
        view: what it was made from.
        scores: its scores; where it scored the references itself, or held some out, those are used; and its threshold,
            where it has one.
        seed: the study's, for the folds.
        rng: for attacks that draw.

    Returns:
        (V, C) float64; NaN where there are too few references to learn from.
    """
    result = np.full((len(view.victims), view.attacked.num_classes), np.nan)
    if scores.threshold is not None:
        return np.full_like(result, scores.threshold)
    if not view.references:
        return result
    if scores.held_out is not None:
        for part in scores.held_out:
            result[part.victims] = _best(attack, view, part.references, part.scores)
        return result
    for victims, rows in games(view, seed):
        result[victims] = _learned(attack, view, scores, np.sort(rows), rng)
    return result


def _learned(attack: Attack, view: View, scores: Scores, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The best thresholds (C,) over the references `rows`; NaN where they do not suffice."""
    nothing = np.full(view.attacked.num_classes, np.nan)
    if not len(rows):
        return nothing
    if scores.references is not None:
        learned = scores.references[rows]
    else:
        among = view.among_references(rows)
        if attack.lacks(among):
            return nothing
        learned = attack.score(among, rng).victims
    return _best(attack, view, rows, learned)


def _best(attack: Attack, view: View, rows: np.ndarray, learned: np.ndarray) -> np.ndarray:
    """The best thresholds (C,) for the scores (K', N) of the references `rows`; NaN where one side is missing."""
    reference = view.reference
    valid = reference.ordinary[rows] & ~np.isnan(learned)
    overall = _threshold(learned, reference.member[rows], valid)
    result = np.full(reference.num_classes, overall)
    if attack.per_class:
        for label in range(reference.num_classes):
            of_class = reference.labels == label  # (N,)
            own = _threshold(learned[:, of_class], reference.member[rows][:, of_class], valid[:, of_class])
            result[label] = overall if np.isnan(own) else own
    return result


def _threshold(scores: np.ndarray, member: np.ndarray, valid: np.ndarray) -> float:
    """The threshold of best balanced accuracy where `valid` (K', N); NaN without members or without non-members."""
    truth = member[valid]
    if not truth.any() or truth.all():
        return float("nan")
    return best_threshold(scores[valid], truth)
