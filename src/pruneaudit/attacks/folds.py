"""Dealing models into folds, so that nothing that is learned for a victim comes from the victim's own fold."""

# V victims, K references

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.view import View
from pruneaudit.randomness import numpy_generator

MAX_FOLDS = 4
OUTSIDE = -1
"""The fold of a victim that is nobody's reference."""


def folds_of(view: View, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The fold of each victim and of each reference.

    Args:
        view: victims and references; a model that is both has one fold.
        seed: the study's, or one that a learned attack drew for itself.

    Returns:
        (V,) and (K,) int. Victims that are nobody's reference have fold -1: all references lie outside it.
    """
    names = np.sort(view.reference.model_names)
    dealt = numpy_generator(seed, "folds").permutation(len(names)) % min(MAX_FOLDS, len(names))
    fold = dict(zip(names.tolist(), dealt.tolist(), strict=True))
    victim_names = view.attacked.model_names[view.victims]
    victims = np.array([fold.get(name, OUTSIDE) for name in victim_names.tolist()])
    return victims, np.array([fold[name] for name in view.reference.model_names.tolist()])
