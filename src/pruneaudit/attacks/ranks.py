"""Ranks of the scaled confidence (Ye et al. 2022, arXiv 2111.09679): among a holdout, or among OUT references.

A rank takes few values. A second number breaks ties, by less than one step.
"""

# V victims, K references, N samples, Z holdout samples

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.moments import moments
from pruneaudit.attacks.ties import tie_break
from pruneaudit.core.options import Options
from pruneaudit.metrics.arrays import for_each

SAMPLES_AT_ONCE = 512
"""Block size: small enough that all victims' values stay in the processor's cache."""


class AttackP(Attack[Options]):
    """Attack P: is the sample's loss low compared with samples that are certainly not members?

    Ye et al. 2022 (arXiv 2111.09679). Score: the fraction of nulls (half B of the holdout) whose scaled confidence
    under the victim is at most the sample's, which is one minus the p-value of the hypothesis "not a member".
    Within a victim it ranks as `loss` does; unlike `loss`, it is comparable between victims. The confidence itself
    breaks ties of the fraction, by less than one step.
    """

    needs = frozenset({"holdout"})
    semantics_version = 2
    """2: nulls are half B of the holdout, instead of all."""

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores each victim, and each reference, by its own answers on the holdout. `rng` is not used."""
        nulls = attack_input.nulls
        references = ranked(attack_input.reference.phi[..., 0], nulls) if attack_input.references else None
        if references is not None and attack_input.reference is attack_input.attacked:
            victims = references[attack_input.victims]
        else:
            victims = ranked(attack_input.attacked.phi[attack_input.victims, :, 0], nulls)
        victims[~attack_input.eligible] = np.nan
        return Scores(victims, references, "z from the holdout")


def ranked(phi: np.ndarray, nulls: np.ndarray) -> np.ndarray:
    """Fraction of the nulls (N,) at or below each value (M, N), ties broken by the value itself."""
    below, num_nulls = np.empty(phi.shape), nulls.sum()

    def rank(model: int) -> None:
        row = phi[model]
        order = np.argsort(row)  # sorted queries make each lookup start near the last one
        own = below[model]
        own[order] = np.searchsorted(np.sort(row[nulls]), row[order], side="right")
        below[model] = own / num_nulls + tie_break(row)

    for_each(rank, len(phi), phi.size)
    return below


class AttackR(Attack):
    """Attack R: is the victim's loss on the sample low compared with models that never saw it?

    Ye et al. 2022 (arXiv 2111.09679). Score: the fraction of OUT references whose scaled confidence is below
    the victim's. With few references the fraction takes few values. It is smoothed to (count + 1/2) / (K + 1),
    so that samples with different numbers of OUT references are comparable. The victim's distance from the
    references' mean breaks ties, by less than one step.
    """

    needs = frozenset({"references"})

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        phi, references = attack_input.attacked.phi[attack_input.victims, :, 0], attack_input.reference.phi[..., 0]
        out = ~attack_input.reference.member  # (K, N)
        below = _below(phi, np.where(out, references, np.inf), attack_input.allowed)
        known = moments(references, out, attack_input.allowed)
        scores = np.empty(phi.shape)

        def smooth(victim: int) -> None:
            distance = phi[victim] - known.mean[victim]  # NaN without OUT references
            scores[victim] = (below[victim] + 0.5) / (known.count[victim] + 1) + tie_break(distance)

        for_each(smooth, len(scores), scores.size)
        scores[~attack_input.eligible] = np.nan
        return Scores(scores)


def _below(phi: np.ndarray, references: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """How many of its allowed references (K, N) each victim's phi (V, N) exceeds, (V, N)."""
    found = np.zeros(phi.shape)
    barred = [np.flatnonzero(~column) for column in allowed.T]  # per reference: victims that may not use it

    def count(index: int) -> None:
        part = slice(index * SAMPLES_AT_ONCE, (index + 1) * SAMPLES_AT_ONCE)
        own = np.ascontiguousarray(phi[:, part])
        counted = np.zeros(own.shape, dtype=np.uint8)  # bytes add fastest; moved to `below` before they overflow
        for k, reference in enumerate(references[:, part]):
            exceeds = reference < own
            exceeds[barred[k]] = False
            counted += exceeds.view(np.uint8)
            if k % 255 == 254:
                found[:, part] += counted
                counted[:] = 0
        found[:, part] += counted

    for_each(count, -(-phi.shape[1] // SAMPLES_AT_ONCE), phi.size)
    return found


ATTACK = {"attack_p": AttackP, "attack_r": AttackR}
