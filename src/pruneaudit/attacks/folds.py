"""Deals models into folds, so that nothing learned for a victim comes from the victim's own fold."""

# V victims, K references

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator

MAX_FOLDS = 4
OUTSIDE = -1
"""The fold of a victim that is not also a reference."""


def folds_of(attack_input: AttackInput, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The fold of each victim and of each reference.

    Args:
        attack_input: victims and references; a model that is both has one fold.
        seed: the study's, or one that a learned attack drew for itself.

    Returns:
        (V,) and (K,) int. Victims that are not also references have fold -1: all references lie outside it.
    """
    names = np.sort(attack_input.reference.model_names[attack_input.allowed.any(axis=0)])
    dealt = numpy_generator(seed, seeds.FOLDS).permutation(len(names)) % max(1, min(MAX_FOLDS, len(names)))
    fold = dict(zip(names.tolist(), dealt.tolist(), strict=True))
    victim_names = attack_input.attacked.model_names[attack_input.victims]
    victims, references = (
        np.array([fold.get(name, OUTSIDE) for name in some.tolist()])
        for some in (victim_names, attack_input.reference.model_names)
    )
    return victims, references


def settings(attack_input: AttackInput, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Groups of victims that share the references on which something may be learned for them.

    Args:
        attack_input: victims and references.
        seed: as for `folds_of`.

    Yields:
        Victims (V',) int and references (K',) int, rows of the attack input, in the order of ids: all victims of a
        fold with the same allowed references outside it, and those references.
    """
    victim_folds, reference_folds = folds_of(attack_input, seed)
    victims = np.argsort(attack_input.attacked.model_names[attack_input.victims])
    references = np.argsort(attack_input.reference.model_names)
    usable = attack_input.allowed & (victim_folds[:, None] != reference_folds)  # (V, K)
    patterns = usable[np.ix_(victims, references)]
    together: dict[tuple[int, bytes], list[int]] = {}
    for victim, pattern in zip(victims, patterns, strict=True):
        together.setdefault((victim_folds[victim], pattern.tobytes()), []).append(victim)
    for alike in together.values():
        yield np.array(alike), references[usable[alike[0], references]]
