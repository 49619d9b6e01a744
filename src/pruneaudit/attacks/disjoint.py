"""References that are disjoint from the victims: the bank in two halves, each the references of the other.

Usually a victim's references are all other models of the bank. Then victims are references of each other, and their
scores of one sample are not comparable: each model changes the references of all other models, but not its own. If
nothing leaks, the AUC of one sample over such victims is below 0.5 (0.41 with 16 models, 0.46 with 128;
docs/statistics.md), although each victim's AUC over samples is 0.5. With references from the other half it is 0.5
within each half. So figures of one sample over victims need these references: detection rates, and the test of whether
a recipe exposes a sample. The cost: each victim has only half of the references.

Between the halves, scores of one sample are not comparable either: each half's victims are the other's references.
"""

# V victims, K references, N samples

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.core import seeds
from pruneaudit.core.randomness import numpy_generator

OUTSIDE = -1
"""The half of a reference that is no victim: victims of both halves may use it."""
MIN_SHARE = 0.95
"""Each victim must have references for at least this share of its samples.

Membership is a fair coin, so n references hold both kinds, trained on the sample and not, with probability
1 - 2^(1 - n): 87.5% for 4, 93.8% for 5, 96.9% for 6, 99.2% for 8. So an attack that uses both kinds needs six in each
half, a bank of twelve. Offline attacks need five in each half.
"""
_MOST_ADVISED = 500


def halves(attack_input: AttackInput, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The half of each victim and of each reference.

    The victims of each group, sorted by id, are taken in pairs, and a coin sends one of each pair to either half. The
    coin depends on the seed and the first id of the pair, so models with higher ids change no half when they are added.

    Args:
        attack_input: victims and references; a model that is both is in one half.
        seed: the study's.

    Returns:
        (V,) int, 0 or 1; and (K,) int, 0, 1, or -1 for references that are no victims.
    """
    attacked = attack_input.attacked
    names, groups = attacked.model_names[attack_input.victims], attacked.groups[attack_input.victims]
    half: dict[int | str, int] = {}
    for group in np.unique(groups):
        mine = np.sort(names[groups == group]).tolist()
        for first in range(0, len(mine), 2):
            coin = int(numpy_generator(seed, seeds.BANK_HALVES, mine[first]).integers(2))
            half |= {name: coin ^ place for place, name in enumerate(mine[first : first + 2])}
    references = attack_input.reference.model_names.tolist() if attack_input.references else []
    return (
        np.array([half[name] for name in names.tolist()], dtype=np.int64),
        np.array([half.get(name, OUTSIDE) for name in references], dtype=np.int64),
    )


def disjoint(attack_input: AttackInput, seed: int) -> AttackInput:
    """The attack input in which no victim is a reference of a victim of its own half.

    Args:
        attack_input: victims and references.
        seed: as for `halves`.

    Returns:
        The same object if no victim is an allowed reference of another one, as with external references, under
        protocol 'disjoint', and with a target. Otherwise a copy in which references that are victims serve the other
        half alone.
    """
    of_victims, of_references = halves(attack_input, seed)
    allowed = attack_input.allowed & (of_victims[:, None] != of_references)  # (V, K)
    return attack_input if np.array_equal(allowed, attack_input.allowed) else replace(attack_input, allowed=allowed)


def share_with_references(attack_input: AttackInput, compares_in: bool) -> np.ndarray:
    """Share of each victim's eligible samples for which it has references, (V,) in [0, 1]; 0 without any such sample.

    Args:
        attack_input: victims and references.
        compares_in: whether the attack uses references that were trained on the sample, too; all use others.
    """
    eligible = attack_input.eligible & attack_input.attacked.counted  # (V, N)
    if not attack_input.references:
        return np.zeros(len(eligible))
    member = attack_input.reference.member.astype(np.float64)  # (K, N)
    allowed = attack_input.allowed.astype(np.float64)
    num_in = allowed @ member  # (V, N)
    has = num_in < allowed.sum(axis=1, keepdims=True)
    if compares_in:
        has &= num_in > 0
    return np.asarray((has & eligible).sum(axis=1) / np.maximum(eligible.sum(axis=1), 1))


def too_few(attack_input: AttackInput, compares_in: bool) -> str:
    """Why a disjoint attack input has too few references, in words; empty if it has enough.

    Args:
        attack_input: one that `disjoint` gave.
        compares_in: as for `share_with_references`.
    """
    share = share_with_references(attack_input, compares_in)
    worst = int(np.argmin(share))
    if share[worst] >= MIN_SHARE:
        return ""
    count, which = (
        int(attack_input.allowed[worst].sum()),
        "trained on it and not" if compares_in else "not trained on it",
    )
    needed = _sufficient(attack_input, compares_in, count)
    advice = f"; a bank of {2 * needed} models has enough" if needed else ""
    return (
        f"victims and references must be different models here, but with {count} references only "
        f"{100 * share[worst]:.0f}% of a victim's samples have references that were {which} (required: "
        f"{100 * MIN_SHARE:.0f}%){advice}"
    )


def _sufficient(attack_input: AttackInput, compares_in: bool, too_small: int) -> int:
    """The number of references in a half, above one that is too small, that is expected to be enough; 0 if none is."""
    if not attack_input.references:
        return 0
    member, counted = attack_input.reference.member, attack_input.eligible.any(axis=0)
    inside = float(member[:, counted].mean()) if counted.any() else 0.0
    for count in range(too_small + 1, _MOST_ADVISED):
        missed = inside**count + ((1 - inside) ** count if compares_in else 0)
        if 1 - missed > MIN_SHARE:
            return count
    return 0
