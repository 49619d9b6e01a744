"""Attack R: is the sample's loss low among its losses under models that never saw it?

Ye et al. 2022 (arXiv 2111.09679). Score: the fraction of OUT references whose scaled confidence is below
the victim's. With few references the fraction takes few values; it is smoothed to (count + 1/2) / (K + 1),
so that samples with different numbers of OUT references compare, and ties are broken by how far the
victim stands from the references' mean, by less than one step.
"""

# V victims, K references, N samples

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.moments import moments
from pruneaudit.attacks.ties import tie_break
from pruneaudit.attacks.view import Scores, View

SAMPLES_AT_ONCE = 512
"""So few that a block of all victims' values stays close to the processor."""


class AttackR(Attack):
    """Rank of the victim's confidence among OUT references'."""

    needs = frozenset({"references"})

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        phi, references = view.attacked.phi[view.victims, :, 0], view.reference.phi[..., 0]
        out = ~view.reference.member  # (K, N)
        below = _below(phi, np.where(out, references, np.inf), view.allowed)
        known = moments(references, out, view.allowed)
        distance = phi - known.mean  # NaN without OUT references
        scores = (below + 0.5) / (known.count + 1) + tie_break(distance)
        scores[~view.eligible] = np.nan
        return Scores(scores)


def _below(phi: np.ndarray, references: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """How many of its allowed references (K, N) each victim's phi (V, N) exceeds, (V, N)."""
    found = np.zeros(phi.shape)
    barred = [np.flatnonzero(~column) for column in allowed.T]  # K times the victims that may not use it
    for start in range(0, phi.shape[1], SAMPLES_AT_ONCE):
        part = slice(start, start + SAMPLES_AT_ONCE)
        own = np.ascontiguousarray(phi[:, part])
        counted = np.zeros(own.shape, dtype=np.uint8)  # bytes add fastest; emptied before they overflow
        for k, reference in enumerate(references[:, part]):
            exceeds = reference < own
            exceeds[barred[k]] = False
            counted += exceeds.view(np.uint8)
            if k % 255 == 254:
                found[:, part] += counted
                counted[:] = 0
        found[:, part] += counted
    return found


ATTACK = AttackR
